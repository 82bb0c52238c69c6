"""Pose-guided proposals (RMPE, arXiv 1612.00137, section 3.3): boxes around an annotated one, as detectors give them.

Training on them makes a network get used to boxes that fit badly. The paper draws the offsets from one distribution
for each cluster of poses; AlphaPose's released training, followed here, uses a single one for all.
"""

from __future__ import annotations

import numpy as np

# A draw from [0, 1) above this is the share of the box that is kept, somewhere inside it; any other moves its sides.
CROP_ABOVE = 0.85
# Offsets of left, top, right and bottom: mean and standard deviation in widths (left, right) or heights of the box.
OFFSET_MEANS = np.array([-0.0142, 0.0043, 0.0154, -0.0013])
OFFSET_DEVIATIONS = np.array([0.1158, 0.0680, 0.1337, 0.0711])
MIN_SIDE = 2.0


def propose(rng: np.random.Generator, box: np.ndarray, image_width: int, image_height: int) -> np.ndarray:
    """Draw a box such as a detector might give for an annotated one.

    Args:
        box: (4,) x, y, width, height in pixels.

    Returns:
        (4,) float64, within the image (last pixel at size - 1) where its sides were moved; no side is shorter than
        2 pixels there.
    """
    corner, size = np.asarray(box[:2], np.float64), np.asarray(box[2:], np.float64)
    share = rng.random()
    if share > CROP_ABOVE:
        return np.concatenate([corner + rng.random(2) * (1 - share) * size, share * size])
    offsets = rng.normal(OFFSET_MEANS, OFFSET_DEVIATIONS)
    limit = np.array([image_width, image_height]) - 1
    low = np.maximum(0, np.minimum(corner + offsets[:2] * size, limit - MIN_SIDE))
    high = np.maximum(low + MIN_SIDE, np.minimum(corner + size + offsets[2:] * size, limit))
    return np.concatenate([low, high - low])
