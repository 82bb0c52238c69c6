"""Outputs of detection networks → candidate boxes of people, in pixels of the network input.

All networks here are trained on COCO's 80 classes, of which person is the first. The score of a candidate is the
probability that it is a person, whatever else it might be.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PERSON = 0
# Strides of YOLOX's and YOLOv8's three grids, in the order in which their cells are listed.
STRIDES = (8, 16, 32)


def yolov3_people(
    heads: Sequence[np.ndarray], anchors: Sequence[Sequence[tuple[int, int]]], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """YOLOv3: the centre is (sigmoid(t) + cell) × stride, the size exp(t) × anchor (arXiv 1804.02767, equation 1).

    Args:
        heads: (1, A (5 + C), h, w) each: x, y, width, height, objectness and classes of A anchors.
        anchors: (width, height) in input pixels of the A anchors of each head.
        size: (width, height) of the network input.

    Returns:
        boxes (N, 4) x, y, width, height and scores (N,), objectness × class: by head, anchor, row, column.
    """
    boxes, scores = [], []
    for head, head_anchors in zip(heads, anchors):
        height, width = head.shape[2:]
        values = head.reshape(len(head_anchors), -1, height, width)
        centers = (_sigmoid(values[:, :2]) + _cells(width, height)) * np.array(
            [size[0] / width, size[1] / height]
        ).reshape(2, 1, 1)
        with np.errstate(over="ignore"):  # an untrained network may overflow here; such boxes are left out later
            extents = np.exp(values[:, 2:4]) * np.array(head_anchors, np.float64)[:, :, None, None]
        both = np.concatenate([centers - extents / 2, extents], axis=1)
        boxes.append(both.transpose(0, 2, 3, 1).reshape(-1, 4))
        scores.append((_sigmoid(values[:, 4]) * _sigmoid(values[:, 5 + PERSON])).reshape(-1))
    return np.concatenate(boxes), np.concatenate(scores)


def yolox_people(output: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """YOLOX (arXiv 2107.08430), exported with or without decoding.

    Without, the centre is (t + cell) × stride and the size exp(t) × stride. Which it is shows in the centres: decoded
    ones lie near their cells, others near 0.

    Args:
        output: (1, N, 5 + C): centre x, y, width, height, objectness, classes; the last two after the sigmoid.
        size: (width, height) of the network input.

    Returns:
        boxes (N, 4) x, y, width, height and scores (N,).
    """
    values = output[0].astype(np.float64)
    cells, strides = grid(size)
    centers, extents = values[:, :2], values[:, 2:4]
    if np.abs(centers).mean() < np.abs(centers - cells * strides).mean():
        with np.errstate(over="ignore"):
            centers, extents = (centers + cells) * strides, np.exp(extents) * strides
    return np.concatenate([centers - extents / 2, extents], axis=1), values[:, 4] * values[:, 5 + PERSON]


def yolov8_people(output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """YOLOv8 and its successors of the same output: (1, 4 + C, N) centre x, y, width, height, class probabilities.

    Returns:
        boxes (N, 4) x, y, width, height and scores (N,).
    """
    values = output[0].astype(np.float64)
    centers, extents = values[:2].T, values[2:4].T
    return np.concatenate([centers - extents / 2, extents], axis=1), values[4 + PERSON]


def suppressed_people(dets: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes that a model has chosen among itself, as MMDetection's do.

    Args:
        dets: (1, N, 5) left, top, right, bottom, score.
        labels: (1, N) classes.

    Returns:
        boxes (M, 4) x, y, width, height and scores (M,) of the people among them.
    """
    values = dets[0][labels[0] == PERSON].astype(np.float64)
    return np.concatenate([values[:, :2], values[:, 2:4] - values[:, :2]], axis=1), values[:, 4]


def grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Cells of all strides, in the order of the networks' outputs.

    Returns:
        cells (N, 2) column and row, and strides (N, 1) in input pixels.
    """
    cells, strides = [], []
    for stride in STRIDES:
        level = _cells(size[0] // stride, size[1] // stride).reshape(2, -1).T
        cells.append(level)
        strides.append(np.full((len(level), 1), stride, np.float64))
    return np.concatenate(cells), np.concatenate(strides)


def _cells(width: int, height: int) -> np.ndarray:
    """(2, height, width) column and row of each cell."""
    return np.stack(np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)))


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * values.astype(np.float64)))
