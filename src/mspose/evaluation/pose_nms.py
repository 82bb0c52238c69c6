"""Parametric pose NMS (RMPE, arXiv 1612.00137, section 3.2): duplicates are merged, not only dropped.

The constants and the details that the paper leaves open are those of AlphaPose's released code, whose later versions
measure closeness in pixels where the paper takes a tenth of the box.
"""

from __future__ import annotations

import numpy as np

from mspose.evaluation.oks import PAIR_BLOCK, number_images, split_leaders

# Pose similarity: sum over joints of tanh(c/δ1) tanh(c'/δ1) where two joints lie within CLOSE of each other, plus μ
# times the sum of exp(-d/δ2). The paper learnt its parameters on data; these are the published ones.
DELTA1 = 1.0
DELTA2 = 2.65  # pixels
MU = 1.7
CLOSE = 1.0  # pixels
# Poses are the same person above this similarity, or when this many joints match. Both are for 17 joints and grow
# with their number.
GAMMA = 22.48
MATCHES = 5
JOINTS = 17
# Joints match, and are merged, within this share of the longer side of the kept person's box, up to so many pixels.
ALPHA = 0.1
MATCH_LIMIT = 7.0
MERGE_LIMIT = 15.0
# People whose best joint is below this are dropped.
MIN_SCORE = 0.3
# Stands for scores of 0, so that every joint has some weight.
TINY_SCORE = 1e-5


def parametric_pose_nms(
    keypoints: np.ndarray, boxes: np.ndarray, image_ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Merge the duplicates of each person into the most confident pose, and drop people of whom nothing is sure.

    In each image the pose of the highest mean joint score stays and takes in everybody similar to it, then the next
    of the rest. A joint of the result is the mean of the nearby joints of the merged poses, weighted by their scores.
    All images advance in lockstep, as in `mspose.evaluation.oks.oks_nms`.

    Args:
        keypoints: (N, J, 3) x, y in image pixels and score.
        boxes: (N, 4) x, y, width, height of the boxes that the poses were found in, in image pixels.
        image_ids: (N,) in any order.

    Returns:
        indices (K,) of the people that stay, image by image in order of first appearance and by falling mean joint
        score within, and their merged keypoints (K, J, 3) in the type of `keypoints`.
    """
    keypoints = np.asarray(keypoints)
    if not len(keypoints):
        return np.zeros(0, np.intp), keypoints
    poses = _Poses(keypoints, boxes)
    images = number_images(image_ids)
    order = np.lexsort((-poses.scores.mean(axis=1), images))
    owners = np.arange(len(order))
    rest = order
    while len(rest):
        _, followers, led_by = split_leaders(rest, images)
        same = poses.same(led_by, followers)
        owners[followers[same]] = led_by[same]
        rest = followers[~same]
    merged = poses.merge(owners)
    sure = np.minimum(poses.scores.max(axis=1), merged[..., 2].max(axis=1)) >= MIN_SCORE
    indices = order[(owners == np.arange(len(order)))[order] & sure[order]]
    return indices, merged[indices].astype(keypoints.dtype)


class _Poses:
    """N poses: joint coordinates (N, J) each, scores (N, J) and the box extent (N,) that distances are relative to."""

    def __init__(self, keypoints: np.ndarray, boxes: np.ndarray) -> None:
        self.x, self.y = (np.ascontiguousarray(keypoints[..., i], np.float64) for i in (0, 1))
        self.scores = np.maximum(keypoints[..., 2].astype(np.float64), TINY_SCORE)
        self.confidence = np.tanh(self.scores / DELTA1)
        self.reach = ALPHA * np.asarray(boxes, np.float64)[:, 2:].max(axis=1)

    def distances(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Pixels (P, J) between the joints of listed pairs, both indices (P,)."""
        squared = (self.x[first] - self.x[second]) ** 2
        squared += (self.y[first] - self.y[second]) ** 2
        return np.sqrt(squared, out=squared)

    def same(self, leaders: np.ndarray, followers: np.ndarray) -> np.ndarray:
        """Whether pairs (P,) are the same person: bool (P,)."""
        joints = self.scores.shape[1]
        match_reach = np.minimum(self.reach, MATCH_LIMIT)
        result = np.empty(len(leaders), bool)
        for start in range(0, len(leaders), PAIR_BLOCK):
            block = slice(start, start + PAIR_BLOCK)
            a, b = leaders[block], followers[block]
            distances = self.distances(a, b)
            matches = (distances <= match_reach[a, None]).sum(axis=1)
            similarity = (self.confidence[a] * self.confidence[b] * (distances <= CLOSE)).sum(axis=1)
            similarity += MU * np.exp(distances / -DELTA2).sum(axis=1)
            result[block] = (similarity > GAMMA * joints / JOINTS) | (matches * JOINTS >= MATCHES * joints)
        return result

    def merge(self, owners: np.ndarray) -> np.ndarray:
        """Merge everybody into their owner (N,): (N, J, 3), of which the rows of owners hold anything.

        The score of a merged joint is the mean of the merged scores weighted by themselves.
        """
        order = np.argsort(owners, kind="stable")
        led_by = owners[order]
        starts = np.flatnonzero(np.diff(led_by, prepend=-1))
        near = self.distances(led_by, order) <= np.minimum(self.reach[led_by], MERGE_LIMIT)[:, None]
        weights = self.scores[order] * near
        values = np.stack([self.x[order], self.y[order], self.scores[order]], axis=2)
        sums = np.add.reduceat(values * weights[..., None], starts)
        merged = np.zeros(values.shape)
        merged[led_by[starts]] = sums / np.add.reduceat(weights, starts)[..., None]
        return merged
