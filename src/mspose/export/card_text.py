"""Model cards, and what they say to people: how pictures become input, and the network's maps keypoints.

It is complete: whoever has the model, its card, NumPy and OpenCV gets the keypoints that this repository gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mspose.checkpoints.card import ModelCard, card_config
from mspose.geometry import BOX_PADDING
from mspose.methods.base import Method
from mspose.skeleton import describe_skeleton
from mspose.version import software


def make_card(
    method: Method,
    model: dict[str, str],
    given: dict[str, Any],
    outputs: list[dict[str, Any]],
    source: dict[str, Any],
    packages: Sequence[str],
) -> ModelCard:
    """The card of a model.

    Args:
        method: how it is run.
        model: its file name, format and hash.
        given: of its input: name, dtype, layout, shape and size.
        outputs: see `describe_outputs`.
        source: what it was made of.
        packages: whose versions are written down, besides our own.
    """
    config, data = method.config, method.config.data
    return ModelCard(
        model=model,
        network=config.model.name,
        input={
            **given,
            "color": data.color,
            "scale": data.scale,
            "mean": data.mean,
            "std": data.std,
            "formula": input_formula(given["dtype"] == "uint8"),
        },
        outputs=outputs,
        skeleton=describe_skeleton(method.skeleton),
        decode=decode_steps(method),
        source=source,
        versions={**software(), **{name: _version(name) for name in packages}},
        config=card_config(config),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def input_formula(pixels: bool) -> str:
    """How pixels become what the model takes."""
    if pixels:
        return (
            "uint8 pixels as OpenCV reads them: (batch, height, width, 3), channels blue, green, red; the model "
            "normalises them itself"
        )
    return (
        "(pixel / scale - mean) / std, channel by channel, the channels in the order `color`; mean and std are in "
        "that order too; float32 (batch, 3, height, width)"
    )


def decode_steps(method: Method) -> dict[str, Any]:
    """Numbers and steps from a picture to keypoints: the method's, the codec's, and back to the picture."""
    codec = method.codec.describe()
    steps = [*method.describe(), *codec.pop("steps"), method.describe_back()]
    padding = {"box_padding": BOX_PADDING} if method.needs_boxes else {}
    return {**codec, **padding, "flip_test": method.config.eval.flip_test, "steps": steps}


def describe_outputs(method: Method, shapes: list[list[int | None]]) -> list[dict[str, Any]]:
    """Name, shape and meaning of each output."""
    specs = method.codec.outputs(None)
    return [{"name": s.name, "shape": shape, "meaning": s.meaning} for s, shape in zip(specs, shapes, strict=True)]
