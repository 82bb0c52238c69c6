"""The folder of a run on an edge device: raw inputs, raw results, and the files that say what they are.

    manifest.json        which inputs there are, their shape and dtype, whom or what each shows
    inputs/000012.bin    one input, and 000012_flip.bin its mirror image where the flip test is on
    results/run.json     which model made the results, and the shapes of its outputs
    results/000012_0.bin first output for that input, 000012_1.bin the second

Every file is complete or absent. Inputs and results carry the hash of what they were made of, so that a run that was
interrupted continues, and files of another run are removed instead of being taken for its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mspose.config.schema import Config, get, keys_of
from mspose.errors import PoseError, UsageError
from mspose.files import atomic_path, read_json, write_json
from mspose.networks import find_network

# Keys that decide what the inputs show. The stages after them must be run with the same values.
INPUT_KEYS = (
    "model.name",
    "data.input_size",
    "data.color",
    "data.scale",
    "data.mean",
    "data.std",
    "eval.flip_test",
    "eval.resize",
    "eval.short_side",
)


@dataclass(frozen=True)
class Manifest:
    """What the inputs of a folder are.

    Attributes:
        run: hash of everything that the inputs were made of.
        shape, dtype: of each input, without a batch axis.
        settings: the values of `INPUT_KEYS`.
        category_id: COCO's number of people in the annotation file.
        samples: for each input its `image_id`; top-down also `box`, `center` and `size` of the crop and `score`;
            bottom-up also `to_image` (2, 3) and `size`, see `mspose.methods.bottomup.View`.
    """

    run: str
    shape: list[int]
    dtype: str
    settings: dict[str, Any]
    category_id: int
    samples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def flip(self) -> bool:
        """Whether there are mirrored copies."""
        return bool(self.settings["eval.flip_test"])

    def names(self) -> list[str]:
        """Stems of all inputs, in order; each mirrored copy behind its original."""
        suffixes = ("", "_flip") if self.flip else ("",)
        return [f"{i:06d}{suffix}" for i in range(len(self.samples)) for suffix in suffixes]

    def column(self, name: str, dtype: type) -> np.ndarray:
        """One value of every sample, as an array."""
        return np.array([sample[name] for sample in self.samples], dtype)


def read_manifest(folder: Path, config: Config) -> Manifest:
    """The manifest of a folder, if it was made with this configuration.

    Raises:
        PoseError: it is missing or damaged.
        UsageError: the inputs were made with another value of some key.
    """
    path = folder / "manifest.json"
    content = read_json(path, "manifest of the inputs (run data_to_bin.py first)")
    try:
        if not isinstance(content, dict):
            raise TypeError("a manifest is a mapping")
        manifest = Manifest(**content)
        given = input_settings(config)
        other = [key for key in given if manifest.settings[key] != given[key]]
    except (TypeError, KeyError) as error:
        raise PoseError(f"not a manifest of data_to_bin.py: {path}; run data_to_bin.py again") from error
    if other:
        key = other[0]
        raise UsageError(
            f"the inputs in {folder} were made with {key}={manifest.settings[key]}, now it is "
            f"{given[key]}: give each step the same --config and --ckpt, or run data_to_bin.py again"
        )
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make a folder ready for the inputs of a manifest: what another run left there is removed first.

    Raises:
        PoseError: the folder cannot be written.
    """
    path = folder / "manifest.json"
    try:
        current = read_json(path, "manifest")
    except PoseError:
        current = None
    if isinstance(current, dict) and current.get("run") == manifest.run:
        return
    path.unlink(missing_ok=True)  # before anything else: without it, no file here counts
    clear(folder / "inputs")
    clear(folder / "results")
    write_json(path, asdict(manifest))


def input_settings(config: Config) -> dict[str, Any]:
    """The values of those of `INPUT_KEYS` that the network has."""
    known = keys_of(find_network(config.model.name).schema)
    return {key: get(config, key) for key in INPUT_KEYS if key in known}


def run_hash(*parts: object) -> str:
    """One hash of many JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def clear(folder: Path) -> None:
    """Remove the .bin files and the run.json of a folder, and nothing else."""
    for path in (folder / "run.json", *folder.glob("*.bin")):
        path.unlink(missing_ok=True)


def write_bin(path: Path, values: np.ndarray) -> None:
    """Write the bytes of an array, whole or not at all.

    Raises:
        PoseError: the disk is full, or the folder cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(np.ascontiguousarray(values).data)


def read_bin(path: Path, shape: list[int], dtype: str, remedy: str) -> np.ndarray:
    """Read an array; `remedy` tells in the error what to run again.

    Raises:
        PoseError: the file is missing or has another length.
    """
    expected = int(np.prod(shape)) * np.dtype(dtype).itemsize
    try:
        values = np.fromfile(path, dtype)
        length = path.stat().st_size
    except OSError as error:
        raise PoseError(f"{path} cannot be read ({error.strerror}); {remedy}") from error
    if length != expected:
        raise PoseError(f"{path} has {length} bytes instead of {expected} (cut short?); {remedy}")
    return values.reshape(shape)


def has_length(path: Path, shape: list[int], dtype: str) -> bool:
    """Whether a file is there with the length of such an array."""
    try:
        return path.stat().st_size == int(np.prod(shape)) * np.dtype(dtype).itemsize
    except OSError:
        return False


def chunks(names: list[str], count: int) -> Iterator[list[str]]:
    """Names in groups of `count`."""
    for start in range(0, len(names), count):
        yield names[start : start + count]
