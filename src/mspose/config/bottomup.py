"""Sections of bottom-up networks."""

from __future__ import annotations

from dataclasses import dataclass

from mspose.config.keys import FREE, INPUT, INPUT_SIZE, NOT_NEGATIVE, THREE, THREE_POSITIVE, Check, key
from mspose.config.schema import DataConfig, EvalConfig


@dataclass
class BottomUpData(DataConfig):
    """Where the pictures and annotations are, and how they become network input."""

    input_size: list[int] = key([368, 368], "network input [width, height]", INPUT_SIZE, FREE)
    mean: list[float] = key([0.5, 0.5, 0.5], "then this is subtracted, channel by channel", THREE, INPUT)
    std: list[float] = key([1.0, 1.0, 1.0], "then they are divided by this", THREE_POSITIVE, INPUT)
    crop: str = key(
        "person",
        "training input: around one of the people, or the whole picture, fitted into input_size",
        ("person", "picture"),
    )
    max_rotation: float = key(40.0, "bound of the random rotation in degrees", NOT_NEGATIVE)
    scale_range: list[float] = key(
        [0.5, 2.0],
        "bounds of the random scale",
        Check(lambda v: len(v) == 2 and 0 < v[0] <= 1 <= v[1], "be [low, high] around 1"),
    )
    person_range: list[int] = key(
        [64, 512],
        "smallest and largest size of people after scaling, in pixels",
        Check(lambda v: len(v) == 2 and 0 < v[0] <= v[1], "be [low, high]"),
    )
    crop_shift: int = key(40, "bound of the random shift of the crop in pixels", NOT_NEGATIVE)
    color_jitter: bool = key(True, "random hue, saturation and brightness")
    min_keypoints: int = key(
        0,
        "people with fewer labelled keypoints are not learnt from; 0: a third of the skeleton's, at most 5",
        NOT_NEGATIVE,
    )
    min_area: float = key(1024.0, "nor are people on at most so many square pixels", NOT_NEGATIVE)
    mask_dir: str = key("", "folder of written ignore masks for training; empty: made as needed")


@dataclass
class BottomUpEval(EvalConfig):
    """Evaluation."""

    flip_test: bool = key(False, "average with the maps of the mirrored input", role=FREE)
    resize: str = key(
        "short_side",
        "whole images: short side to input_size, or into a canvas of input_size",
        ("short_side", "canvas"),
        FREE,
    )
    short_side: int = key(0, "short side of whole images with short_side; 0: that of input_size", NOT_NEGATIVE, FREE)
    scales: list[float] = key(
        [1.0],
        "sizes at which whole images are seen and averaged",
        Check(lambda v: len(v) > 0 and min(v) > 0, "be positive numbers"),
        FREE,
    )
