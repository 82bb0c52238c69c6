"""Whatever file of weights a user names → a checkpoint of ours: other people's are converted once, and kept beside.

Nothing here imports MindSpore.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from mspose.backends.card import file_hash
from mspose.checkpoints.ckpt_file import write_ckpt
from mspose.checkpoints.origins import Recognised, read_weights, recognise
from mspose.config.builder import read_yaml, save_conventions
from mspose.config.schema import CONVENTIONS, Config
from mspose.errors import PoseError, UsageError
from mspose.files import atomic_path

log = logging.getLogger("pose")

# Raised when conversion changes, so that what an earlier version kept is not taken for its result.
_VERSION = 1


def resolve_checkpoint(path: str | Path, config: Config) -> Path:
    """A checkpoint with our names for a file of weights of any known origin: the file itself, or its conversion.

    A conversion is kept as `FILE.converted.ckpt` beside the file, or in `runtime.output` where that folder cannot be
    written, and made again when the file changes.

    Raises:
        PoseError: unreadable, of no known network, not the network of the configuration, or nowhere to write.
    """
    path = Path(path)
    kept = [folder / f"{path.name}.converted.ckpt" for folder in (path.parent, Path(config.runtime.output))]
    for target in kept:
        if _is_fresh(target, path):
            return target
    recognised = recognise(read_weights(path), path)
    check_model(recognised, config, path)
    if recognised.origin.is_own and path.suffix == ".ckpt":
        return path
    values, source = float_weights(recognised.values, path), describe_source(path)
    fed = _with_conventions(config, stored_conventions(path) or recognised.conventions)
    try:
        write_weights(write_ckpt, values, kept[0], fed, source)
        target = kept[0]
    except PoseError:
        write_weights(write_ckpt, values, kept[1], fed, source)
        target = kept[1]
    log.info(f"{path}: {recognised.origin.title}, converted; kept as {target}")
    return target


def _is_fresh(target: Path, path: Path) -> bool:
    described = conventions_file(target)
    if not target.is_file() or not described.is_file():
        return False
    source = read_yaml(described).get("source")
    now = path.stat()
    return isinstance(source, dict) and (source.get("converter"), source.get("size"), source.get("modified")) == (
        _VERSION,
        now.st_size,
        now.st_mtime_ns,
    )


def write_weights(
    write: Callable[[Mapping[str, np.ndarray], Path], None],
    values: Mapping[str, np.ndarray],
    target: Path,
    config: Config,
    source: dict[str, Any],
) -> None:
    """Write weights with `write`, and beside them how they must be fed: both files, or neither.

    Raises:
        PoseError: they cannot be written.
    """
    # The description gets its name last, when nothing is left that could fail.
    with atomic_path(conventions_file(target)) as temporary:
        save_conventions(config, temporary, source)
        write(values, target)


def _with_conventions(config: Config, conventions: Mapping[str, Any]) -> Config:
    """The configuration without what a command line may have said against the conventions of the weights."""
    config = deepcopy(config)
    for key, value in conventions.items():
        section, name = key.split(".")
        setattr(getattr(config, section), name, value)
    return config


def describe_source(path: Path) -> dict[str, Any]:
    """What a converted checkpoint remembers of its source."""
    now = path.stat()
    return {
        "file": path.name,
        "sha256": file_hash(path),
        "size": now.st_size,
        "modified": now.st_mtime_ns,
        "converter": _VERSION,
    }


def conventions_file(path: str | Path) -> Path:
    """Where the conventions of a checkpoint lie: X.yaml for X.ckpt."""
    return Path(path).parent / f"{Path(path).stem}.yaml"


def stored_conventions(path: str | Path, keys: Iterable[str] = CONVENTIONS) -> dict[str, Any]:
    """Those of `keys` that a checkpoint must be fed with, as X.yaml beside X.ckpt says; none without such a file.

    Raises:
        UsageError: the file is no YAML mapping.
    """
    described = conventions_file(path)
    return pick(read_yaml(described), keys) if described.is_file() and described != Path(path) else {}


def pick(content: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """The dotted keys among `keys` that {section: {name: value}} has."""
    pairs = [(key, *key.split(".")) for key in keys]
    return {
        key: content[section][name]
        for key, section, name in pairs
        if isinstance(content.get(section), dict) and name in content[section]
    }


def conventions_of(path: str | Path) -> dict[str, Any]:
    """Keys that weights of other people must be fed with, by their origin; none for our own checkpoints.

    Raises:
        PoseError: unreadable, or of no known network.
    """
    return recognise(read_weights(path), path).conventions


def check_model(recognised: Recognised, config: Config, path: str | Path) -> None:
    """Refuse weights of a network other than the configured one, naming each key that differs.

    Raises:
        PoseError, UsageError: another network, depth, width or the like; or no pose network at all.
    """
    check_network(recognised, config, path)
    _check_keys(list(recognised.model), recognised, config, path)


def check_network(recognised: Recognised, config: Config, path: str | Path) -> None:
    """Refuse weights that are not of the kind of network that is configured, whatever its depth or width.

    Raises:
        PoseError, UsageError: another network, or no pose network at all.
    """
    title = recognised.origin.title
    if recognised.origin.part == "backbone":
        raise UsageError(f"{path} is an {title}, no pose network: train from it with model.pretrained={path}")
    if recognised.origin.part == "detector":
        raise UsageError(f"{path} is {title}, no pose network: use it with demo.detector_file={path}")
    _check_keys([key for key in recognised.model if key == "model.name"], recognised, config, path)


def _check_keys(keys: list[str], recognised: Recognised, config: Config, path: str | Path) -> None:
    wrong = [key for key in keys if getattr(config.model, key.split(".")[1]) != recognised.model[key]]
    if wrong:
        need = " ".join(f"{key}={recognised.model[key]}".replace(" ", "") for key in wrong)
        raise PoseError(
            f"checkpoint does not fit the network of the configuration: {path} is "
            f"{recognised.origin.title} and needs {need}"
        )


def float_weights(values: Mapping[str, np.ndarray], path: str | Path) -> dict[str, np.ndarray]:
    """The values that are weights; counters and other single whole numbers are left out.

    Raises:
        PoseError: a tensor holds whole numbers.
    """
    for name, value in values.items():
        if value.dtype.kind != "f" and value.size > 1:
            raise PoseError(f"{path}: {name} holds numbers of type {value.dtype}, which are no weights (quantised?)")
    return {name: value for name, value in values.items() if value.dtype.kind == "f"}
