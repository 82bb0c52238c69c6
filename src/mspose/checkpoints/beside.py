"""What lies beside weights, and is obeyed by whatever loads them: X.yaml beside X.ckpt, X.pth.yaml beside X.pth.

    format: 2
    weights: {network: simplepose, mspose: 1.0.0, commit: …}    # the stamp; `source` where they were converted
    skeleton: {name: coco17, keypoints: […], …}
    model: {…}                                                  # keys that belong to weights, see `config.schema`

Files without the stamp are of earlier versions, which knew fewer keys, or recipes, which are none of our business.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mspose.config.builder import WEIGHTS, Layer, dotted
from mspose.config.keys import INPUT, NEVER, keys_of
from mspose.config.schema import Config, DataConfig, get
from mspose.config.text import FORMAT, read_yaml
from mspose.errors import PoseError, UsageError
from mspose.files import write_text
from mspose.networks import find_network
from mspose.skeleton import describe_skeleton, is_built_in, load_skeleton
from mspose.version import software

log = logging.getLogger("pose")

# What files without a stamp hold.
_OLD_KEYS = (
    "model.maxpool",
    "model.se",
    "model.shuffle",
    "data.color",
    "data.scale",
    "data.mean",
    "data.std",
    "eval.rescore",
    "data.input_size",
    "codec.sigma",
)
_OLD_SIZES = ("data.input_size", "codec.sigma")
_OLD_HEATMAP = "codec.heatmap_size"


def description_file(path: str | Path) -> Path:
    """Where what belongs to weights lies: X.yaml for X.ckpt, X.pth.yaml for X.pth."""
    path = Path(path)
    return path.with_suffix(".yaml") if path.suffix == ".ckpt" else path.with_name(f"{path.name}.yaml")


def weights_values(config: Config) -> dict[str, Any]:
    """The keys of a configuration that belong to weights: dotted key → value."""
    keys = keys_of(find_network(config.model.name).schema)
    return {name: get(config, name) for name, key in keys.items() if key.metadata["role"] != NEVER}


def save_description(
    config: Config, path: str | Path, source: Mapping[str, Any] | None = None, values: Mapping[str, Any] | None = None
) -> None:
    """Write what belongs to the weights of a configuration.

    Args:
        path: the YAML file, see `description_file`.
        source: where converted weights came from, for whoever asks later.
        values: dotted key → value, where less is known of the weights than a configuration says.
    """
    stamp: dict[str, Any] = {"network": config.model.name, **software()}
    content: dict[str, Any] = {"format": FORMAT, "weights": {**stamp, **({"source": dict(source)} if source else {})}}
    if values is None:
        values = weights_values(config)
    if "data.skeleton" in values:
        content["skeleton"] = describe_skeleton(load_skeleton(config.data.skeleton))
    for key, value in {"model.name": config.model.name, **values}.items():
        section, _, name = key.partition(".")
        content.setdefault(section, {})[name] = value
    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def read_description(weights: str | Path) -> Layer | None:
    """What lies beside weights; None without such a file.

    Raises:
        UsageError: the file is no YAML mapping of sections.
    """
    path = description_of(weights)
    if path is None:
        return None
    content = read_yaml(path)
    if "weights" not in content:
        return _old(content, path)
    skeleton = content.pop("skeleton", None)
    for key in ("format", "weights"):
        content.pop(key, None)
    values = dotted(content, str(path))
    if skeleton is not None and not is_built_in(values.get("data.skeleton")):
        values["data.skeleton"] = str(path)  # the skeleton itself stands here
    return Layer(values, str(path), WEIGHTS)


def stamp_of(path: Path) -> dict[str, Any]:
    """The stamp of a description; empty without one."""
    content = read_yaml(path) if path.is_file() else {}
    stamp = content.get("weights", content)  # earlier versions had `source` at the top
    return stamp if isinstance(stamp, dict) else {}


def is_description(path: Path) -> bool:
    """Whether a file is what this program writes beside weights, in this version or an earlier one: it is stamped, or
    holds nothing but what earlier versions wrote."""
    try:
        content = read_yaml(path)
        if "weights" in content:
            return isinstance(content["weights"], dict) and "network" in content["weights"]
        values = dotted({key: value for key, value in content.items() if key != "source"}, str(path))
    except PoseError:
        return False
    return values.keys() <= {*_OLD_KEYS, _OLD_HEATMAP} and bool(content)


def is_conversion(path: Path) -> bool:
    """Whether a description is of weights that were converted."""
    try:
        source = stamp_of(path).get("source")
    except PoseError:
        return False
    return isinstance(source, dict) and isinstance(source.get("sha256"), str)


def description_of(weights: str | Path) -> Path | None:
    """The file that `read_description` reads; None without one."""
    weights = Path(weights)
    if not weights.name:  # a folder
        return None
    path = description_file(weights)
    if path.exists() and path != weights:  # what is no file is refused by name
        return path
    # Earlier versions left out the ending of all weights.
    earlier = weights.with_suffix(".yaml")
    if weights.suffix != ".ckpt" and earlier.is_file() and "source" in read_yaml(earlier):
        return earlier
    return None


def _old(content: dict[str, Any], path: Path) -> Layer | None:
    recipe = [key for key in ("base", "format", "train", "runtime") if key in content]
    if recipe:
        log.warning(f"note: {path} lies beside the weights, and is a recipe ({recipe[0]}): it does not count")
        return None
    values = dotted({key: value for key, value in content.items() if key != "source"}, str(path))
    strange = next((key for key in values if key not in (*_OLD_KEYS, _OLD_HEATMAP)), None)
    if strange is not None:
        raise UsageError(
            f"{path} lies beside the weights and sets {strange}, which does not belong to weights: remove it there, or "
            "give the file another name"
        )
    # They were written together: a part of them is somebody's own.
    is_whole = _OLD_HEATMAP in values and all(key in values for key in _OLD_SIZES)
    values.pop(_OLD_HEATMAP, None)
    if not is_whole:
        values = {key: value for key, value in values.items() if key not in _OLD_SIZES}
    return Layer(values, str(path), WEIGHTS, is_old=True, always=tuple(values))


def input_only(layer: Layer) -> Layer:
    """A layer without all but how pixels become input."""
    keys = {name for name, key in keys_of({"data": DataConfig}).items() if key.metadata["role"] == INPUT}
    return Layer({k: v for k, v in layer.values.items() if k in keys}, layer.source, layer.kind, layer.is_old)


def check_same_network(layer: Layer, config: Config, path: str | Path) -> None:
    """Refuse weights whose description names another network than the configured one.

    Raises:
        UsageError: both are named.
    """
    name = layer.values.get("model.name", config.model.name)
    if name != config.model.name:
        raise UsageError(f"{path} is of {name}, the configuration's model.name is {config.model.name}")
