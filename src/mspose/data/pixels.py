"""What training does to the pixels of a crop: colours, blur, a hole. RTMPose's (arXiv 2303.07399), in its order."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mspose.config.topdown import TopDownData

# Albumentations' `CoarseDropout` as RTMPose sets it: one hole, its sides shares of the crop's.
HOLE_SHARES = (0.2, 0.4)


def change_pixels(rng: np.random.Generator, crop: np.ndarray, data: TopDownData) -> np.ndarray:
    """Draw and make the changes that `data` asks for; nothing is drawn for those that it does not.

    Keypoints below a hole keep their weight: the network is to tell them from what is around.

    Args:
        crop: (H, W, 3) uint8 BGR, which may be written into.
    """
    if any(data.hsv_jitter):
        shifts = jitter(rng, data.hsv_jitter)
        crop = shift_color(crop, shifts) if shifts.any() else crop
    if data.blur_prob and rng.random() < data.blur_prob:
        side = _filter_side(rng)
        crop = cv2.blur(crop, (side, side))
    if data.median_blur_prob and rng.random() < data.median_blur_prob:
        crop = cv2.medianBlur(crop, _filter_side(rng))
    if data.cutout_prob and rng.random() < data.cutout_prob:
        cut_out(rng, crop)
    return crop


def jitter(rng: np.random.Generator, bounds: Sequence[int]) -> np.ndarray:
    """Draw shifts (3,) of hue, saturation and value as YOLOX does: uniform, rounded to 0, each every other time."""
    return (rng.uniform(-1, 1, 3) * bounds * rng.integers(0, 2, 3)).astype(int)


def shift_color(image: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Add to hue (units of two degrees, round the circle), saturation and value (bounded) of (H, W, 3) uint8 BGR."""
    levels = np.arange(256)[:, None] + shifts
    table = np.clip(levels, 0, 255)
    table[:, 0] = levels[:, 0] % 180
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    return cv2.cvtColor(cv2.LUT(hsv, table[None].astype(np.uint8)), cv2.COLOR_HSV2BGR)


def cut_out(rng: np.random.Generator, crop: np.ndarray) -> None:
    """Make a random rectangle of (H, W, 3) black."""
    sides = np.array(crop.shape[:2])
    hole = (sides * rng.uniform(*HOLE_SHARES, 2)).astype(int)
    top, left = rng.integers(0, sides - hole + 1)
    crop[top : top + hole[0], left : left + hole[1]] = 0


def _filter_side(rng: np.random.Generator) -> int:
    return 3 + 2 * int(rng.integers(3))
