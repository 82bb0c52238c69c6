"""Object keypoint similarity (OKS), and the removal of duplicate people by it, for a whole dataset at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Pairs of people compared at a time: their temporaries (a few float64 arrays of pairs x 2J) stay in the cache.
PAIR_BLOCK = 1024
# SimpleBaselines' soft variant keeps at most this many people an image, which is what COCO's metric looks at.
SOFT_NMS_MAX_PEOPLE = 20


def oks(
    first: np.ndarray,
    second: np.ndarray,
    areas: np.ndarray,
    sigmas: np.ndarray,
    visible: np.ndarray | None = None,
) -> np.ndarray:
    """Similarity of people: the mean over keypoints of exp(-d² / (2 area (2σ)²)), as COCO defines it.

    Leading axes broadcast: pass (N, 1, J, 2) and (M, J, 2) for the matrix (N, M).

    Args:
        first, second: (..., J, 2 or more) x, y in pixels.
        areas: (...) scale² of the people in square pixels.
        sigmas: (J,) keypoint constants σ (`Skeleton.sigmas`).
        visible: (..., J) keypoints that count; all by default. Nobody resembles a person without any.

    Returns:
        (...) float64 in [0, 1].
    """
    offsets = np.asarray(first, np.float64)[..., :2] - np.asarray(second, np.float64)[..., :2]
    similarity = _similarity((offsets**2).sum(axis=-1), np.asarray(areas), np.asarray(sigmas))
    if visible is None:
        return similarity.mean(axis=-1)
    visible = np.asarray(visible, bool)
    return (similarity * visible).sum(axis=-1) / np.maximum(visible.sum(axis=-1), 1)


def _similarity(squared: np.ndarray, areas: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    exponents = squared * (-1 / (2 * (2 * sigmas) ** 2))
    exponents /= (areas + np.spacing(1))[..., None]
    return np.exp(exponents, out=exponents)


def rescore_visible_mean(keypoint_scores: np.ndarray, box_scores: np.ndarray, threshold: float = 0.2) -> np.ndarray:
    """SimpleBaselines' score of a person: the box score times the mean of the keypoint scores above `threshold`.

    Args:
        keypoint_scores: (N, J).
        box_scores: (N,).

    Returns:
        (N,) float64; 0 for people without a keypoint above the threshold.
    """
    keypoint_scores = np.asarray(keypoint_scores)
    counted = keypoint_scores > threshold
    # A running sum adds in the order and the precision of the reference's loop, so that scores agree to the last bit.
    totals = np.cumsum(np.where(counted, keypoint_scores, 0), axis=1, dtype=keypoint_scores.dtype)[:, -1]
    counts = np.maximum(counted.sum(axis=1), 1).astype(keypoint_scores.dtype)
    return totals / counts * np.asarray(box_scores, np.float64)


def rescore_alphapose(keypoint_scores: np.ndarray, box_scores: np.ndarray, threshold: float = 0.2) -> np.ndarray:
    """AlphaPose's score of a person: box score plus mean plus 1.25 times the best of its keypoint scores.

    Takes and returns what `rescore_visible_mean` does; every keypoint counts, whatever the threshold.
    """
    keypoint_scores = np.asarray(keypoint_scores, np.float64)
    return np.asarray(box_scores, np.float64) + keypoint_scores.mean(axis=1) + 1.25 * keypoint_scores.max(axis=1)


# The values of `eval.rescore`.
RESCORE: dict[str, Callable[..., np.ndarray]] = {
    "visible_mean": rescore_visible_mean,
    "alphapose": rescore_alphapose,
}


def oks_nms(
    keypoints: np.ndarray,
    scores: np.ndarray,
    areas: np.ndarray,
    image_ids: np.ndarray,
    sigmas: np.ndarray,
    threshold: float = 0.9,
) -> tuple[np.ndarray, np.ndarray]:
    """Greedy suppression: in each image, drop whoever resembles a better-scored person that stays.

    All images advance in lockstep, by one kept person a step, so that the number of steps is that of the most crowded
    image and memory grows with the number of people, not of pairs.

    Args:
        keypoints: (N, J, 2 or more) x, y in image pixels.
        scores: (N,); the earlier of two equal ones goes first.
        areas: (N,) square pixels; a pair is compared at the mean of its two.
        image_ids: (N,) in any order.
        sigmas: (J,) keypoint constants.
        threshold: people whose OKS is above it are duplicates.

    Returns:
        indices (K,) of the kept people, image by image in order of first appearance and by falling score within, and
        their scores (K,).
    """
    scores = np.asarray(scores)
    images = number_images(image_ids)
    similarity = _PairOks(keypoints, areas, sigmas)
    order = np.lexsort((-scores, images))
    kept = np.zeros(len(order), bool)
    rest = order
    while len(rest):
        leaders, followers, led_by = split_leaders(rest, images)
        kept[leaders] = True
        rest = followers[similarity(led_by, followers) <= threshold]
    indices = order[kept[order]]
    return indices, scores[indices]


def soft_oks_nms(
    keypoints: np.ndarray,
    scores: np.ndarray,
    areas: np.ndarray,
    image_ids: np.ndarray,
    sigmas: np.ndarray,
    threshold: float = 0.9,
) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian Soft-NMS (Bodla et al., arXiv 1704.04503) on OKS: scores fall by exp(-OKS² / threshold), none is cut.

    Arguments and order of the result are those of `oks_nms`; the returned scores are the lowered ones, and the 20
    best of each image stay.
    """
    scores = np.array(scores, np.float64)
    images = number_images(image_ids)
    similarity = _PairOks(keypoints, areas, sigmas)
    kept = [np.zeros(0, np.intp)]
    rest = np.arange(len(scores))
    for _ in range(SOFT_NMS_MAX_PEOPLE):
        rest = rest[np.lexsort((-scores[rest], images[rest]))]
        leaders, rest, led_by = split_leaders(rest, images)
        kept.append(leaders)
        scores[rest] *= np.exp(-(similarity(led_by, rest) ** 2) / threshold)
    indices = np.concatenate(kept)
    indices = indices[np.argsort(images[indices], kind="stable")]
    return indices, scores[indices]


def keep_all(
    keypoints: np.ndarray,
    scores: np.ndarray,
    areas: np.ndarray,
    image_ids: np.ndarray,
    sigmas: np.ndarray,
    threshold: float = 0.9,
) -> tuple[np.ndarray, np.ndarray]:
    """No suppression, with the arguments and the order of `oks_nms`."""
    indices = np.lexsort((-np.asarray(scores), number_images(image_ids)))
    return indices, np.asarray(scores)[indices]


# The values of `eval.nms`. Parametric pose NMS merges poses before they are scored
# (`mspose.evaluation.pose_nms.parametric_pose_nms`); what it returns holds no duplicates and is only put in order.
NMS: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "oks": oks_nms,
    "soft_oks": soft_oks_nms,
    "parametric": keep_all,
    "none": keep_all,
}


class _PairOks:
    """OKS of listed pairs out of N people."""

    def __init__(self, keypoints: np.ndarray, areas: np.ndarray, sigmas: np.ndarray) -> None:
        xy = np.asarray(keypoints)[..., :2]
        # All x, then all y: a pair's two gathers are contiguous rows.
        self.rows = np.concatenate([xy[..., 0], xy[..., 1]], axis=1).astype(np.float64)
        self.areas = np.asarray(areas, np.float64)
        self.sigmas = np.asarray(sigmas, np.float64)

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """OKS (P,) of the people `first` (P,) with the people `second` (P,), both indices."""
        joints = len(self.sigmas)
        result = np.empty(len(first))
        for start in range(0, len(first), PAIR_BLOCK):
            block = slice(start, start + PAIR_BLOCK)
            a, b = first[block], second[block]
            squared = self.rows[a]
            squared -= self.rows[b]
            squared *= squared
            similarity = _similarity(
                squared[:, :joints] + squared[:, joints:], (self.areas[a] + self.areas[b]) / 2, self.sigmas
            )
            result[block] = similarity.mean(axis=1)
        return result


def number_images(image_ids: np.ndarray) -> np.ndarray:
    """Number images 0, 1, … by first appearance: (N,) ids to (N,) numbers."""
    _, firsts, numbers = np.unique(np.asarray(image_ids), return_index=True, return_inverse=True)
    return np.argsort(np.argsort(firsts))[numbers]


def split_leaders(rest: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split people sorted by image into the first of each image, the others, and for each other its image's first."""
    image = images[rest]
    first = np.ones(len(rest), bool)
    first[1:] = image[1:] != image[:-1]
    leaders = rest[first]
    return leaders, rest[~first], leaders[np.cumsum(first)[~first] - 1]
