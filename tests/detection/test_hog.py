"""OpenCV's people detector behind our interface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mspose.detection.hog import HogDetector
from mspose.images import read_image

# People of coco-mini who stand upright: picture, and the annotated box.
STANDING = ("val2017/000000397133.jpg", (388.7, 69.9, 109.4, 277.6))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[:2] + a[2:], b[:2] + b[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (np.prod(a[2:]) + np.prod(b[2:]) - shared)


@pytest.mark.parametrize("factor", [1, 3])
def test_finds_somebody_who_stands(coco_mini: Path, factor: int) -> None:
    path, box = STANDING
    image = read_image(coco_mini / path).repeat(factor, axis=0).repeat(factor, axis=1)
    found = HogDetector(0.3, 0.45)(image)
    assert overlap(found.boxes[0], np.array(box) * factor) > 0.6
    assert (np.diff(found.scores) <= 0).all()
    assert 0.3 < found.scores.min() <= found.scores.max() < 1


@pytest.mark.parametrize("shape", [(1, 1, 3), (100, 63, 3), (127, 500, 3), (20, 9000, 3), (300, 300, 3)])
def test_finds_nobody_in_an_empty_or_tiny_picture(shape: tuple[int, int, int]) -> None:
    assert len(HogDetector(0.0, 0.45)(np.full(shape, 90, np.uint8))) == 0
