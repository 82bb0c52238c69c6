"""Following people from picture to picture by the similarity of their poses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from mspose.evaluation.oks import oks

# Two people are compared only where they share this many keypoints: fewer look alike by accident.
MIN_SHARED = 3
# Of the difference between where people were expected and where they are, what their velocity takes over.
GAIN = 0.5
# What is left of the velocity after each picture in which somebody is not seen.
DAMPING = 0.95


class Tracker:
    """Gives people numbers (0, 1, …) that stay theirs; call it once for each picture, in order.

    People are expected to move on as they did, and are compared with where they are expected: otherwise those who cross
    would change numbers. Each person of a picture is matched with at most one seen before, so that the sum of the OKS
    over all matches is as large as possible (the Hungarian method); whoever is left gets a new number.

    Args:
        sigmas: K keypoint constants (`Skeleton.sigmas`).
        threshold: people less alike than this OKS are not the same.
        patience: pictures after which somebody who is no longer seen is forgotten.
        keypoint_threshold: keypoints with a lower score are not compared.
    """

    def __init__(
        self, sigmas: Sequence[float], threshold: float = 0.3, patience: int = 30, keypoint_threshold: float = 0.2
    ) -> None:
        self._sigmas, self._threshold = np.array(sigmas, np.float64), threshold
        self._patience, self._keypoint_threshold = patience, keypoint_threshold
        joints = len(self._sigmas)
        self._next = 0
        self._ids, self._unseen = np.zeros(0, np.int64), np.zeros(0, np.int64)
        # Where people are expected in the next picture, and pixels a picture in x and y.
        self._keypoints, self._velocities = np.zeros((0, joints, 2)), np.zeros((0, 2))
        self._areas = np.zeros(0)
        self._sure = np.zeros((0, joints), bool)

    def __call__(self, keypoints: np.ndarray, keypoint_scores: np.ndarray, areas: np.ndarray) -> np.ndarray:
        """Numbers (N,) int64 of the people of the next picture.

        Args:
            keypoints: (N, K, 2) x, y in pixels.
            keypoint_scores: (N, K).
            areas: (N,) of the people in square pixels.
        """
        keypoints, areas = np.asarray(keypoints, np.float64), np.asarray(areas, np.float64)
        sure = np.asarray(keypoint_scores) >= self._keypoint_threshold
        ids = np.full(len(keypoints), -1, np.int64)
        similarity = self._similarity(keypoints, sure, areas)
        rows, columns = linear_sum_assignment(similarity, maximize=True)
        same = similarity[rows, columns] > 0
        rows, columns = rows[same], columns[same]
        ids[rows] = self._ids[columns]
        new = np.flatnonzero(ids < 0)
        ids[new] = self._next + np.arange(len(new))
        self._next += len(new)

        self._unseen += 1
        velocities = np.zeros((len(ids), 2))
        shared = (sure[rows] & self._sure[columns])[..., None]
        surprise = np.mean(keypoints[rows] - self._keypoints[columns], axis=1, where=shared)
        velocities[rows] = self._velocities[columns] + GAIN * surprise / self._unseen[columns, None]

        # Whoever was not found again is expected to go on for a while, ever slower.
        waiting = self._unseen <= self._patience
        waiting[columns] = False
        self._ids = np.concatenate([ids, self._ids[waiting]])
        self._unseen = np.concatenate([np.zeros(len(ids), np.int64), self._unseen[waiting]])
        self._velocities = np.concatenate([velocities, DAMPING * self._velocities[waiting]])
        self._keypoints = np.concatenate([keypoints, self._keypoints[waiting]]) + self._velocities[:, None]
        self._sure = np.concatenate([sure, self._sure[waiting]])
        self._areas = np.concatenate([areas, self._areas[waiting]])
        return ids

    def _similarity(self, keypoints: np.ndarray, sure: np.ndarray, areas: np.ndarray) -> np.ndarray:
        """OKS (N, T) of people with where those seen before are expected, over the keypoints that both show.

        It is 0 where they are not alike enough, so that such a pair does not sway the choice of the others.
        """
        shared = sure[:, None] & self._sure
        areas = (areas[:, None] + self._areas) / 2
        similarity = oks(keypoints[:, None], self._keypoints, areas, self._sigmas, shared)
        enough = shared.sum(axis=-1) >= min(MIN_SHARED, len(self._sigmas))
        return np.where(enough & (similarity >= self._threshold), similarity, 0)
