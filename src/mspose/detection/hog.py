"""OpenCV's people detector: histograms of oriented gradients and a linear classifier (Dalal and Triggs, 2005).

It needs no file and no network library. It finds people who stand upright and whom the picture shows from head to
foot, at least about 100 pixels tall; it misses most others.
"""

from __future__ import annotations

import cv2
import numpy as np

from mspose.detection.boxes import Boxes, select_boxes

# Pictures are shrunk to this longest side: time grows with the area, and larger ones gave false alarms, not people.
LONGEST_SIDE = 480
# Candidates with a lower margin of the classifier are never looked at.
LEAST_MARGIN = 0.0
# Part of the 64×128 window around a person that is background: left and right, above and below.
MARGIN = (0.14, 0.08)


class HogDetector:
    """Finds upright people.

    Args:
        threshold: boxes with a lower score are left out. The score of a classifier margin m > 0 is 1 - exp(-m / 2).
        nms: boxes that overlap a better one by more than this IoU are left out.
    """

    def __init__(self, threshold: float, nms: float) -> None:
        self._threshold, self._nms = threshold, nms
        self._hog = cv2.HOGDescriptor()
        self._hog.setSVMDetector(cv2.HOGDescriptor.getDefaultPeopleDetector())

    def __call__(self, image: np.ndarray, name: str = "") -> Boxes:
        """People in a picture (H, W, 3) uint8 BGR."""
        height, width = image.shape[:2]
        scale = min(1.0, LONGEST_SIDE / max(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
        if size[0] < 64 or size[1] < 128:  # smaller than one window
            return select_boxes(np.zeros((0, 4)), np.zeros(0), (width, height), self._threshold, self._nms)
        # No grouping by OpenCV, whose rule needs several hits a person: the best of overlapping ones is taken below.
        found, confidences = self._hog.detectMultiScale(
            small, hitThreshold=LEAST_MARGIN, winStride=(8, 8), padding=(16, 16), scale=1.05, groupThreshold=0
        )
        windows = np.asarray(found, np.float64).reshape(-1, 4)
        margins = np.asarray(confidences, np.float64).reshape(-1)
        side, top = MARGIN
        people = windows * (1, 1, 1 - 2 * side, 1 - 2 * top)
        people[:, :2] += windows[:, 2:] * MARGIN
        people *= np.tile([width / size[0], height / size[1]], 2)
        return select_boxes(people, 1 - np.exp(-margins / 2), (width, height), self._threshold, self._nms)
