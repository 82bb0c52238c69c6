"""Candidates become boxes: best first, without duplicates, within the picture."""

from __future__ import annotations

import numpy as np

from mspose.detection.boxes import clipped, select_boxes

SIZE = (100, 50)


def test_best_first_and_above_the_threshold() -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 0, 10, 10], [40, 0, 10, 10], [60, 0, 10, 10]])
    found = select_boxes(boxes, np.array([0.4, 0.9, 0.3, 0.5]), SIZE, 0.3, 0.5)
    np.testing.assert_allclose(found.scores, [0.9, 0.5, 0.4])
    np.testing.assert_array_equal(found.boxes[:, 0], [20, 60, 0])
    assert found.boxes.dtype == found.scores.dtype == np.float32


def test_duplicates_go_above_the_overlap() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 4]])  # IoU 0.6 and 0.4 with the first
    scores = np.array([0.9, 0.8, 0.7])
    assert len(select_boxes(boxes, scores, SIZE, 0.0, 0.7)) == 3
    np.testing.assert_allclose(select_boxes(boxes[:2], scores[:2], SIZE, 0.0, 0.5).scores, [0.9])
    np.testing.assert_allclose(select_boxes(boxes[[0, 2]], scores[[0, 2]], SIZE, 0.0, 0.5).scores, [0.9, 0.7])
    assert len(select_boxes(np.repeat(boxes[:1], 3, axis=0), scores, SIZE, 0.0, 1.0)) == 3


def test_overlap_is_measured_before_clipping() -> None:
    boxes = np.array([[-100, 0, 110, 10], [0, 0, 10, 10]])  # alike within the picture only
    assert len(select_boxes(boxes, np.array([0.9, 0.8]), SIZE, 0.0, 0.5)) == 2


def test_clipped_to_the_picture() -> None:
    boxes = np.array([[-5, -5, 20, 20], [90, 40, 30, 30], [100, 0, 5, 5], [-9, 0, 9, 5], [5, 5, 0, 5]])
    found = clipped(boxes, np.arange(5), SIZE)
    np.testing.assert_array_equal(found.boxes, [[0, 0, 15, 15], [90, 40, 10, 10]])
    np.testing.assert_array_equal(found.scores, [0, 1])


def test_boxes_that_are_no_numbers_are_left_out() -> None:
    boxes = np.array([[0, 0, np.inf, 5], [0, np.nan, 5, 5], [1, 1, 5, 5], [20, 1, 5, 5]])
    found = select_boxes(boxes, np.array([0.9, 0.8, np.nan, 0.6]), SIZE, 0.0, 0.5)
    np.testing.assert_allclose(found.boxes, [[20, 1, 5, 5]])


def test_nothing_found_is_empty() -> None:
    found = select_boxes(np.zeros((0, 4)), np.zeros(0), SIZE, 0.3, 0.5)
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == (0,)
