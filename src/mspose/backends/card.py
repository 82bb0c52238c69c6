"""Model cards: a JSON file beside an exported model, with all that is needed to use it (X.onnx.json for X.onnx).

The card holds the input's name, shape and normalisation, what the outputs mean, the skeleton, how to get keypoints from
the maps, the checkpoint's hash, and the part of the configuration with which this repository runs the model.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mspose.config.schema import CONVENTIONS, Config
from mspose.errors import PoseError
from mspose.files import read_json, write_json
from mspose.skeleton import BUILT_IN

FORMAT = "pose-model-card-1"
# Endings of files that may have a card.
ENDINGS = (".mindir", ".onnx", ".air")
# Configuration that a model needs wherever it runs; data sets, boxes, devices and folders are the user's.
_KEPT = {
    "model": None,
    "data": ("skeleton", "input_size", "color", "scale", "mean", "std"),
    "codec": None,
    "eval": (
        "flip_test",
        "shift_heatmap",
        "rescore",
        "visible_threshold",
        "nms",
        "oks_threshold",
        "resize",
        "short_side",
        "scales",
    ),
}

# What is read of a card before anything else could complain of its absence.
_NEEDED = {
    "model": ("sha256",),
    "input": ("dtype", "shape", "size", "color", "scale", "mean", "std"),
    "config": tuple(_KEPT),
}


@dataclass(frozen=True)
class ModelCard:
    """What a model card says.

    Attributes:
        model: file name of the model, and its hash.
        network: `model.name`.
        input: name, dtype, layout, shape (null: any), and how pixels become input: color, scale, mean, std.
        outputs: name, shape and meaning of each, in order.
        skeleton: the keypoints, as in a skeleton file (see `mspose.skeleton`).
        decode: the recipe from maps to keypoints, in words and numbers.
        source: the checkpoint, its hash, and the largest differences from its outputs.
        versions: of the software that wrote the model.
        config: the configuration's part that belongs to the model: {section: {key: value}}.
    """

    model: dict[str, str]
    network: str
    input: dict[str, Any]
    outputs: list[dict[str, Any]]
    skeleton: dict[str, Any]
    decode: dict[str, Any]
    source: dict[str, Any]
    versions: dict[str, str]
    config: dict[str, dict[str, Any]]

    def values(self, model: str | Path) -> dict[str, dict[str, Any]]:
        """Configuration {section: {key: value}} with which `model`, whose card this is, runs."""
        values = {section: dict(content) for section, content in self.config.items()}
        if values["data"]["skeleton"] not in BUILT_IN:  # a file of somebody else's machine: the card has it too
            values["data"]["skeleton"] = str(card_path(model))
        return values

    @property
    def conventions(self) -> tuple[str, ...]:
        """Keys that no other configuration can set for this model: the input it was made for."""
        fixed = ("data.input_size", "codec.heatmap_size", "eval.resize") if self.input["size"] else ()
        return (*CONVENTIONS, "data.skeleton", *fixed)

    def save(self, path: Path) -> None:
        """Write the card as JSON.

        Raises:
            PoseError: the file cannot be written.
        """
        write_json(path, {"format": FORMAT, **asdict(self)}, indent=2)


def card_path(model: str | Path) -> Path:
    """Where the card of a model lies."""
    return Path(f"{model}.json")


def read_card(model: str | Path) -> ModelCard | None:
    """The card of an exported model; None if the file is no such model or has no card.

    Raises:
        PoseError: the card is damaged.
    """
    path = card_path(model)
    if Path(model).suffix.lower() not in ENDINGS or not path.is_file():
        return None
    content = read_json(path, "model card")
    if not _is_card(content):
        raise PoseError(f"not a model card of this repository: {path}; export the model again, or remove that file")
    return ModelCard(**{f.name: content[f.name] for f in fields(ModelCard)})


def _is_card(content: object) -> bool:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return False
    kinds = {"network": str, "outputs": list}
    if not all(isinstance(content.get(f.name), kinds.get(f.name, dict)) for f in fields(ModelCard)):
        return False
    if not all(name in content[part] for part, names in _NEEDED.items() for name in names):
        return False
    shape, config = content["input"]["shape"], content["config"]
    return (
        isinstance(shape, list)
        and len(shape) == 4
        and all(isinstance(part, dict) for part in config.values())
        and "skeleton" in config["data"]
    )


def card_config(config: Config) -> dict[str, dict[str, Any]]:
    """The part of a configuration that belongs to a model."""
    kept: dict[str, dict[str, Any]] = {}
    for section, names in _KEPT.items():
        values = asdict(getattr(config, section))
        kept[section] = {name: values[name] for name in (names or values)}
    kept["model"].pop("pretrained")
    return kept


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, as hexadecimal text.

    Raises:
        PoseError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise PoseError(f"cannot be read: {path}: {error.strerror}") from error
    return digest.hexdigest()
