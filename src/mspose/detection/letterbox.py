"""Bringing pictures into the fixed input of a detector, and its boxes back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Placement:
    """Where a picture lies in a network input: input = picture × scale + offset, (x, y), in pixels.

    Attributes:
        picture: (width, height) of the picture.
        scale, offset: (2,).
    """

    picture: tuple[int, int]
    scale: np.ndarray
    offset: np.ndarray

    def to_picture(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (N, 4) x, y, width, height in the input → in the picture."""
        corners = (boxes[:, :2] - self.offset) / self.scale
        return np.concatenate([corners, boxes[:, 2:] / self.scale], axis=1)


def stretch(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, Placement]:
    """Resize a picture (H, W, 3) to `size` (width, height), whatever its aspect ratio."""
    height, width = image.shape[:2]
    resized = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return resized, Placement((width, height), np.divide(size, (width, height)), np.zeros(2))


def letterbox(image: np.ndarray, size: tuple[int, int], level: int) -> tuple[np.ndarray, Placement]:
    """Fit a picture (H, W, 3) uint8 into the middle of `size` (width, height), keeping its aspect ratio.

    Args:
        level: grey level of what the picture leaves free.
    """
    height, width = image.shape[:2]
    factor = min(size[0] / width, size[1] / height)
    fitted = max(1, round(width * factor)), max(1, round(height * factor))
    left, top = (size[0] - fitted[0]) // 2, (size[1] - fitted[1]) // 2
    pixels = _on_canvas(image, fitted, (left, top), size, level)
    return pixels, Placement((width, height), np.divide(fitted, (width, height)), np.array([left, top], np.float64))


def top_left(image: np.ndarray, size: tuple[int, int], level: int) -> tuple[np.ndarray, Placement]:
    """Fit a picture into the top left corner as YOLOX's authors do: sides are cut down to whole pixels, not rounded,
    and boxes are divided by the exact factor.
    """
    height, width = image.shape[:2]
    factor = min(size[0] / width, size[1] / height)
    fitted = max(1, int(width * factor)), max(1, int(height * factor))
    return _on_canvas(image, fitted, (0, 0), size, level), Placement((width, height), np.full(2, factor), np.zeros(2))


def _on_canvas(
    image: np.ndarray, fitted: tuple[int, int], corner: tuple[int, int], size: tuple[int, int], level: int
) -> np.ndarray:
    """A grey canvas of `size` with the picture, resized to `fitted`, at `corner`."""
    (left, top), (width, height) = corner, fitted
    canvas = np.full((size[1], size[0], 3), level, np.uint8)
    canvas[top : top + height, left : left + width] = cv2.resize(image, fitted, interpolation=cv2.INTER_LINEAR)
    return canvas
