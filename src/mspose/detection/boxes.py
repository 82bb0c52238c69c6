"""Boxes around people: what every detector returns, and how raw candidates become it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Boxes:
    """N people found in a picture, best first.

    Attributes:
        boxes: (N, 4) float32 x, y, width, height in pixels; (0, 0) is the outer corner of the first pixel. All lie
            within the picture and have an extent.
        scores: (N,) float32 in [0, 1].
    """

    boxes: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)


def select_boxes(boxes: np.ndarray, scores: np.ndarray, size: tuple[int, int], threshold: float, nms: float) -> Boxes:
    """Keep candidates whose score is above `threshold`, the best of those that overlap, and clip them to the picture.

    Overlap is measured before clipping, as Darknet does.

    Args:
        boxes: (N, 4) x, y, width, height in pixels, in any order and beyond the borders.
        scores: (N,).
        size: (width, height) of the picture.
        nms: a candidate that overlaps a better one by more than this IoU is left out; 1 keeps all.
    """
    with np.errstate(invalid="ignore"):
        candidates = (scores > threshold) & np.isfinite(boxes).all(axis=1)
    boxes, scores = boxes[candidates].astype(np.float64), scores[candidates]
    if nms < 1:
        rows = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), threshold, nms)
        kept = np.asarray(rows, np.int64).reshape(-1)
    else:
        kept = np.argsort(-scores, kind="stable")
    return clipped(boxes[kept], scores[kept], size)


def clipped(boxes: np.ndarray, scores: np.ndarray, size: tuple[int, int]) -> Boxes:
    """Boxes (N, 4) within a picture of `size` (width, height), in the given order; those beyond it are left out."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    low = np.clip(boxes[:, :2], 0, size)
    extent = np.clip(boxes[:, :2] + boxes[:, 2:], 0, size) - low
    visible = (extent > 0).all(axis=1)
    inside = np.concatenate([low, extent], axis=1)[visible]
    return Boxes(inside.astype(np.float32), np.asarray(scores, np.float32).reshape(-1)[visible])
