"""Whatever file of weights a user names → a checkpoint of ours: other people's are converted once, and kept beside.

Nothing here imports MindSpore.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mspose.checkpoints.beside import (
    description_file,
    is_conversion,
    read_description,
    save_description,
    stamp_of,
)
from mspose.checkpoints.card import file_hash
from mspose.checkpoints.ckpt_file import write_ckpt
from mspose.checkpoints.origins import Recognised, recognise_file
from mspose.config.schema import Config, get
from mspose.errors import PoseError, UsageError
from mspose.filenames import short_name
from mspose.files import atomic_group, unlisted, write_text
from mspose.networks import find_network
from mspose.skeleton import load_skeleton

log = logging.getLogger("pose")

# Raised when conversion changes, so that what an earlier version kept is not taken for its result.
_VERSION = 2


def resolve_checkpoint(path: str | Path, config: Config) -> Path | None:
    """A checkpoint with our names for a file of weights of any known origin: the file itself, or its conversion.

    A conversion is kept as `FILE.converted.ckpt` beside the file, or in `runtime.output` where that folder cannot be
    written, and made again when the file changes. None: neither can be written, and it must be converted each time.

    Raises:
        PoseError: unreadable, of no known network, or not the network of the configuration.
    """
    path = Path(path)
    kept = [folder / f"{short_name(path.name)}.converted.ckpt" for folder in (path.parent, Path(config.runtime.output))]
    for target in kept:
        if _is_fresh(target, path):
            return target
    recognised = recognise_file(path)
    check_model(recognised, config, path)
    if recognised.origin.is_own and path.suffix == ".ckpt":
        return path
    values, source = float_weights(recognised.values, path), describe_source(path)
    described = read_description(path)
    known = {**recognised.model, **(described.values if described else recognised.conventions)}
    reasons = []
    for target in kept:
        try:
            write_weights(write_ckpt, values, target, config, source, known)
        except PoseError as error:  # the folder cannot be written, or something else has that name
            reasons.append(str(error))
            continue
        log.info(f"{path}: {recognised.origin.title}, converted; kept as {target}")
        return target
    log.warning(f"note: {path}: {recognised.origin.title}, converted, and not kept: {'; '.join(reasons)}")
    return None


def _is_fresh(target: Path, path: Path) -> bool:
    described = description_file(target)
    if not target.is_file() or not described.is_file():
        return False
    source = stamp_of(described).get("source")
    # Size and time stay where another file is put there with its time kept.
    return (
        isinstance(source, dict)
        and (source.get("converter"), source.get("size")) == (_VERSION, path.stat().st_size)
        and source.get("sha256") == file_hash(path)
    )


def write_weights(
    write: Callable[[Mapping[str, np.ndarray], Path], None],
    values: Mapping[str, np.ndarray],
    target: Path,
    config: Config,
    source: dict[str, Any],
    known: Mapping[str, Any] | None = None,
    texts: Mapping[Path, str] | None = None,
) -> None:
    """Write weights with `write`, and beside them what belongs to them: all of it, or nothing.

    What is there already, of an earlier conversion, goes when both are written.

    Args:
        known: what is known of the weights, where that is less than the configuration says.
        texts: further files, beside the weights.

    Raises:
        PoseError: they cannot be written.
    """
    check_replaceable(target)
    texts = texts or {}
    with unlisted(), atomic_group(target, description_file(target), *texts) as (weights, description, *others):
        save_description(config, description, source, known)
        for path, text in zip(others, texts.values()):
            write_text(path, text)
        write(values, weights)


def check_replaceable(target: Path) -> None:
    """Refuse to write weights over a file, or beside a description, that no conversion wrote.

    Raises:
        UsageError: one is in the way.
    """
    described = description_file(target)
    if is_conversion(described):
        return
    for path in (target, described):
        if path.exists() or path.is_symlink():
            raise UsageError(
                f"{path} is there already and no conversion wrote it: choose another name, or move it away"
            )


def describe_source(path: Path) -> dict[str, Any]:
    """What a converted checkpoint remembers of its source."""
    return {
        "file": path.name,
        "sha256": file_hash(path),
        "size": path.stat().st_size,
        "converter": _VERSION,
    }


def check_model(recognised: Recognised, config: Config, path: str | Path) -> None:
    """Refuse weights of a network other than the configured one, naming each key that differs.

    Raises:
        PoseError, UsageError: another network, depth, width or the like, or of a kind that is not read; or no pose
            network at all.
    """
    check_network(recognised, config, path)
    _check_keys(list(recognised.model), recognised, config, path)
    shapes = {name: value.shape for name, value in recognised.values.items()}
    reason = find_network(config.model.name).refused(shapes, load_skeleton(config.data.skeleton))
    if reason:
        raise PoseError(f"{path} {reason}")


def check_network(recognised: Recognised, config: Config, path: str | Path) -> None:
    """Refuse weights that are not of the kind of network that is configured, whatever its depth or width, or are for
    another input than it.

    Raises:
        PoseError, UsageError: another network, or no pose network at all.
    """
    title = recognised.origin.title
    if recognised.origin.part == "backbone":
        raise UsageError(f"{path} is an {title}, no pose network: train from it with model.pretrained={path}")
    if recognised.origin.part == "detector":
        raise UsageError(f"{path} is {title}, no pose network: use it with demo.detector_file={path}")
    keys = [key for key in recognised.model if key == "model.name" or not key.startswith("model.")]
    _check_keys(keys, recognised, config, path)


def _check_keys(keys: list[str], recognised: Recognised, config: Config, path: str | Path) -> None:
    wrong = [key for key in keys if get(config, key) != recognised.model[key]]
    if wrong:
        need = " ".join(f"{key}={recognised.model[key]}".replace(" ", "") for key in wrong)
        raise PoseError(
            f"checkpoint does not fit the network of the configuration: {path} is "
            f"{recognised.origin.title} and needs {need}"
        )


def float_weights(values: Mapping[str, np.ndarray], path: str | Path) -> dict[str, np.ndarray]:
    """The values that are weights; counters and other single whole numbers are left out.

    Raises:
        PoseError: a tensor holds whole numbers, or what is not finite as float32.
    """
    for name, value in values.items():
        if value.dtype.kind != "f" and value.size > 1:
            raise PoseError(f"{path}: {name} holds numbers of type {value.dtype}, which are no weights (quantised?)")
        if value.dtype.kind == "f" and not _is_finite(value):
            raise PoseError(f"{path}: {name} has values that are not finite: the file is damaged, or training diverged")
    return {name: value for name, value in values.items() if value.dtype.kind == "f"}


def _is_finite(value: np.ndarray) -> bool:
    with np.errstate(over="ignore"):  # of float64
        return bool(np.isfinite(value.astype(np.float32, copy=False)).all())
