"""People found in a picture, as every part behind the networks passes them on."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Poses:
    """N people of K keypoints; coordinates in pixels of the picture.

    Attributes:
        keypoints: (N, K, 2) float32 x, y; (0, 0) for a keypoint that was not found.
        keypoint_scores: (N, K) float32; 0 for a keypoint that was not found.
        scores: (N,) float32, how sure the person is; falling.
        boxes: (N, 4) float32 x, y, width, height: the detector's boxes, or those around the keypoints of a bottom-up
            network.
        ids: (N,) int64 numbers that people keep from picture to picture; -1 without tracking.
    """

    keypoints: np.ndarray
    keypoint_scores: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, rows: np.ndarray) -> Poses:
        """The people of a boolean mask or of row numbers, in that order."""
        return Poses(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @property
    def triplets(self) -> np.ndarray:
        """(N, K, 3) float32 x, y, score: as COCO writes and `mspose.visual` draws them."""
        return np.concatenate([self.keypoints, self.keypoint_scores[..., None]], axis=-1)


def make_poses(triplets: np.ndarray, scores: np.ndarray, boxes: np.ndarray) -> Poses:
    """People without ids of keypoints (N, K, 3), scores (N,) and boxes (N, 4)."""
    triplets = np.asarray(triplets, np.float32)
    return Poses(
        triplets[..., :2],
        triplets[..., 2],
        np.asarray(scores, np.float32),
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.full(len(triplets), -1, np.int64),
    )
