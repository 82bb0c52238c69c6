"""Pictures fit into network inputs, and boxes find back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mspose.detection.letterbox import letterbox, stretch, top_left


@pytest.mark.parametrize(("fit", "top"), [(letterbox, 16), (top_left, 0)])
def test_letterbox_keeps_the_aspect_ratio(fit, top: int) -> None:
    image = np.full((50, 100, 3), 200, np.uint8)
    canvas, placement = fit(image, (64, 64), 114)
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


@pytest.mark.parametrize("size", [(640, 427), (333, 500), (101, 203), (64, 64), (416, 7)])
def test_yolox_sees_what_its_authors_feed_it(size: tuple[int, int]) -> None:
    """Line by line as in their `preproc`; boxes go back by the ratio alone."""
    width, height = size
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    ratio = min(416 / height, 416 / width)
    resized = cv2.resize(image, (int(width * ratio), int(height * ratio)), interpolation=cv2.INTER_LINEAR)
    expected = np.full((416, 416, 3), 114, np.uint8)
    expected[: int(height * ratio), : int(width * ratio)] = resized
    pixels, placement = top_left(image, (416, 416), 114)
    np.testing.assert_array_equal(pixels, expected)
    box = np.array([[10.0, 20.0, 30.0, 40.0]])
    np.testing.assert_allclose(placement.to_picture(box), box / ratio)


@pytest.mark.parametrize("fit", [letterbox, top_left])
def test_thin_pictures_keep_a_pixel(fit) -> None:
    canvas, _ = fit(np.zeros((1, 5000, 3), np.uint8), (64, 64), 114)
    assert (canvas == 0).any()


def test_a_thin_picture_finds_back() -> None:
    _, placement = letterbox(np.zeros((1, 5000, 3), np.uint8), (64, 64), 114)
    np.testing.assert_allclose(placement.to_picture(np.array([[0, 31, 64, 1]])), [[0, 0, 5000, 1]])
