"""Model cards: a JSON file beside an exported model, with all that is needed to use it (X.onnx.json for X.onnx).

The card holds the input's name, shape and normalisation, what the outputs mean, the skeleton, how to get keypoints from
the maps, the checkpoint's hash, and the part of the configuration with which this repository runs the model.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mspose.checkpoints.beside import weights_values
from mspose.config.builder import WEIGHTS, Layer, dotted
from mspose.config.schema import Config
from mspose.errors import PoseError
from mspose.files import file_fault, read_json, write_json
from mspose.skeleton import is_built_in

FORMAT = "pose-model-card-2"
# Cards of the first form hold the keys of all networks.
OLD_FORMAT = "pose-model-card-1"
# Endings of files that may have a card.
ENDINGS = (".mindir", ".onnx", ".air")
# What is read of a card before anything else could complain of its absence.
_NEEDED = {
    "model": ("sha256",),
    "input": ("dtype", "shape", "size", "color", "scale", "mean", "std"),
    "config": ("model", "data", "codec", "eval"),
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
        decode: the way from maps to keypoints, in words and numbers.
        source: the checkpoint, its hash, and the largest differences from its outputs.
        versions: of the software that wrote the model.
        config: the configuration's part that belongs to the model: {section: {key: value}}.
        format: of the card.
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
    format: str = FORMAT

    def values(self, model: str | Path) -> dict[str, dict[str, Any]]:
        """Configuration {section: {key: value}} with which `model`, whose card this is, runs."""
        values = {section: dict(content) for section, content in self.config.items()}
        if not is_built_in(values["data"]["skeleton"]):  # a file of somebody else's machine: the card has it too
            values["data"]["skeleton"] = str(card_path(model))
        return values

    def save(self, path: Path) -> None:
        """Write the card as JSON.

        Raises:
            PoseError: the file cannot be written.
        """
        write_json(path, {"format": self.format, **asdict(self)}, indent=2)


def card_path(model: str | Path) -> Path:
    """Where the card of a model lies."""
    return Path(f"{model}.json")


def read_card(model: str | Path) -> ModelCard | None:
    """The card of an exported model; None if the file is no such model or has no card.

    Raises:
        PoseError: the card is damaged.
    """
    path = card_path(model)
    if Path(model).suffix.lower() not in ENDINGS or not path.exists():
        return None
    content = read_json(path, "model card")
    if not _is_card(content):
        raise PoseError(f"not a model card of this repository: {path}; export the model again, or remove that file")
    return ModelCard(**{f.name: content[f.name] for f in fields(ModelCard)})


def is_exported(card: Path) -> bool:
    """Whether a file is a model card, and the model beside it, if there is one, the very model that it describes."""
    model = card.with_suffix("")
    try:
        content = read_json(card, "model card")
        return _is_card(content) and (not model.exists() or file_hash(model) == content["model"]["sha256"])
    except PoseError:
        return False


def _is_card(content: object) -> bool:
    if not isinstance(content, dict) or content.get("format") not in (FORMAT, OLD_FORMAT):
        return False
    kinds = {"network": str, "outputs": list, "format": str}
    if not all(isinstance(content.get(f.name), kinds.get(f.name, dict)) for f in fields(ModelCard)):
        return False
    if not all(name in content[part] for part, names in _NEEDED.items() for name in names):
        return False
    config = content["config"]
    return (
        isinstance(content["model"]["sha256"], str)
        and _is_input(content["input"])
        and all(isinstance(part, dict) for part in config.values())
        and "skeleton" in config["data"]
    )


def _is_input(given: dict[str, Any]) -> bool:
    """Whether a card's input can be computed with."""

    def are(values: object, count: int, kinds: tuple[type, ...], least: float, free: bool = False) -> bool:
        return (
            isinstance(values, list)
            and len(values) == count
            and all((v is None and free) or (type(v) in kinds and v >= least) for v in values)
        )

    numbers = (int, float)
    return (
        given["dtype"] in ("float32", "uint8")
        and given["color"] in ("bgr", "rgb")
        and are(given["shape"], 4, (int,), 1, free=True)
        and (given["size"] is None or are(given["size"], 2, (int,), 1))
        and are([given["scale"]], 1, numbers, 1e-9)
        and are(given["mean"], 3, numbers, -math.inf)
        and are(given["std"], 3, numbers, 1e-9)
    )


def card_layer(model: str | Path) -> Layer | None:
    """What a model card says of the configuration; None without a card.

    Raises:
        PoseError, UsageError: the card is damaged, or has unknown sections.
    """
    card = read_card(model)
    if card is None:
        return None
    values = dotted(card.values(model), str(card_path(model)))
    # A model of one input size can be shown whole pictures in one way only.
    fixed = ("eval.resize", "eval.scales") if card.input["size"] else ()
    always = (*fixed, "eval.rescore") if card.format == OLD_FORMAT else fixed
    return Layer(values, str(card_path(model)), WEIGHTS, card.format == OLD_FORMAT, always)


def card_config(config: Config) -> dict[str, dict[str, Any]]:
    """The part of a configuration that belongs to a model: {section: {key: value}}."""
    result: dict[str, dict[str, Any]] = {section: {} for section in ("model", "data", "codec", "eval")}
    for key, value in weights_values(config).items():
        section, _, name = key.partition(".")
        result[section][name] = value
    return result


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, as hexadecimal text.

    Raises:
        PoseError: the file cannot be read.
    """
    fault = file_fault(path)
    if fault:
        raise PoseError(f"{path} {fault}")
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise PoseError(f"cannot be read: {path}: {error.strerror}") from error
    return digest.hexdigest()
