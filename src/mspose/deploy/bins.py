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
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from mspose.config.keys import keys_of
from mspose.config.schema import Config, get
from mspose.errors import PoseError, UsageError
from mspose.files import atomic_path, file_fault, read_json, write_json
from mspose.networks import find_network

# Keys that decide what the inputs show. The stages after them must be run with the same values.
INPUT_KEYS = (
    "model.name",
    "data.input_size",
    "data.color",
    "data.scale",
    "data.mean",
    "data.std",
    "data.unbiased",
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
    read_json(path, "manifest of the inputs (run data_to_bin.py first)")
    manifest, given = _manifest(path), input_settings(config)
    if manifest is None or not manifest.run or given.keys() - manifest.settings.keys():
        raise PoseError(f"not a whole manifest of data_to_bin.py: {path}; run data_to_bin.py again")
    other = [key for key in given if manifest.settings[key] != given[key]]
    if other:
        key = other[0]
        raise UsageError(
            f"the inputs in {folder} were made with {key}={manifest.settings[key]}, now it is "
            f"{given[key]}: give each step the same --config and --ckpt, or run data_to_bin.py again"
        )
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make a folder ready for the inputs of a manifest: what another run left there is removed first.

    Removed are the files that the manifest in the folder lists, and their results; nobody else's.

    Raises:
        UsageError: files of somebody else are in the way.
        PoseError: the folder cannot be written.
    """
    path = folder / "manifest.json"
    found = _manifest(path)
    if found is None:
        _refuse(path, [path, *(folder / "inputs" / f"{name}.bin" for name in manifest.names())])
    elif found.run == manifest.run:
        return
    else:
        known = set(found.names())
        _refuse(path, [folder / "inputs" / f"{name}.bin" for name in manifest.names() if name not in known])
        clear_results(folder / "results", found)
        # Its inputs count no more, and are still known to be ours, should this be interrupted.
        write_json(path, asdict(replace(found, run="")))
        for name in known:
            (folder / "inputs" / f"{name}.bin").unlink(missing_ok=True)
    write_json(path, asdict(manifest))


def _manifest(path: Path) -> Manifest | None:
    """A manifest of ours; None where there is none."""
    try:
        content = read_json(path, "manifest")
    except PoseError:
        return None
    if not isinstance(content, dict) or content.keys() != {f.name for f in fields(Manifest)}:
        return None
    settings, samples, shape = content["settings"], content["samples"], content["shape"]
    is_ours = (
        isinstance(content["run"], str)
        and type(content["category_id"]) is int
        and content["dtype"] in ("float32", "uint8")
        and isinstance(shape, list)
        and len(shape) == 3
        and all(type(side) is int and side > 0 for side in shape)
        and isinstance(settings, dict)
        and "eval.flip_test" in settings
        and isinstance(samples, list)
        and all(isinstance(sample, dict) for sample in samples)
    )
    return Manifest(**content) if is_ours else None


def _refuse(record: Path, targets: Iterable[Path]) -> None:
    """Refuse files that nothing here says are ours."""
    for path in targets:
        if path.exists():
            raise UsageError(
                f"{path} is there already, and {record} does not list it: choose another output=DIR, or move it away"
            )


def input_settings(config: Config) -> dict[str, Any]:
    """The values of those of `INPUT_KEYS` that the network has."""
    known = keys_of(find_network(config.model.name).schema)
    return {key: get(config, key) for key in INPUT_KEYS if key in known}


def run_hash(*parts: object) -> str:
    """One hash of many JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def read_record(results: Path) -> dict[str, Any] | None:
    """The record of the results in a folder; None where there is none of ours."""
    try:
        content = read_json(results / "run.json", "record of the results")
    except PoseError:
        return None
    keys = {"run": str, "inputs": str, "outputs": list, "model": str}
    if not isinstance(content, dict) or not all(isinstance(content.get(key), kind) for key, kind in keys.items()):
        return None
    is_ours = all(
        isinstance(shape, list) and all(type(side) is int and side > 0 for side in shape)
        for shape in content["outputs"]
    )
    return content if is_ours else None


def clear_results(results: Path, manifest: Manifest) -> None:
    """Remove the results for the inputs of a manifest, and then their record; nothing without a record of ours.

    Raises:
        UsageError: files of somebody else are in the way.
    """
    record = read_record(results)
    if record is None:
        _refuse(results / "run.json", [results / "run.json", *results.glob("[0-9]*_0.bin")])
        return
    for name in manifest.names():
        for number in range(len(record["outputs"])):
            (results / f"{name}_{number}.bin").unlink(missing_ok=True)
    (results / "run.json").unlink()


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
    fault = file_fault(path)
    if fault:
        raise PoseError(f"{path} {fault}; {remedy}")
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
