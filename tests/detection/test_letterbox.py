"""Pictures fit into network inputs, and boxes find back."""

from __future__ import annotations

import numpy as np
import pytest

from mspose.detection.letterbox import letterbox, stretch


@pytest.mark.parametrize(("centred", "top"), [(True, 16), (False, 0)])
def test_letterbox_keeps_the_aspect_ratio(centred: bool, top: int) -> None:
    image = np.full((50, 100, 3), 200, np.uint8)
    canvas, placement = letterbox(image, (64, 64), 114, centred)
    inside = (canvas == 200).all(axis=2)
    assert inside[top : top + 32].all()
    assert inside.sum() == 32 * 64
    assert (canvas[~inside] == 114).all()
    found = placement.to_picture(np.array([[0, top, 64, 32]]))
    np.testing.assert_allclose(found, [[0, 0, 100, 50]])


def test_stretch_fills_the_input() -> None:
    image = np.zeros((50, 100, 3), np.uint8)
    image[:, 50:] = 255
    pixels, placement = stretch(image, (64, 96))
    assert pixels.shape == (96, 64, 3)
    assert pixels[:, 40:].min() == 255
    np.testing.assert_allclose(placement.to_picture(np.array([[32, 48, 32, 48]])), [[50, 25, 50, 25]])


def test_thin_pictures_keep_a_pixel() -> None:
    canvas, placement = letterbox(np.zeros((1, 5000, 3), np.uint8), (64, 64), 114, True)
    assert (canvas == 0).any()
    np.testing.assert_allclose(placement.to_picture(np.array([[0, 31, 64, 1]])), [[0, 0, 5000, 1]])
