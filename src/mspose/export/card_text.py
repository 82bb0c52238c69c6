"""What a model card says to people: how pictures become input, and the network's maps keypoints.

It is complete: whoever has the model, its card, NumPy and OpenCV gets the keypoints that this repository gets.
"""

from __future__ import annotations

from typing import Any

from mspose.geometry import BOX_PADDING
from mspose.methods.base import Method


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
