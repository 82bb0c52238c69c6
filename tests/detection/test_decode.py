"""Network outputs become boxes: compared with the equations, written out for single cells."""

from __future__ import annotations

import numpy as np
import pytest

from mspose.detection.decode import grid, yolov3_people, yolov8_people, yolox_people


def test_yolov3_follows_its_equations() -> None:
    head = np.full((1, 2 * 7, 2, 3), -20.0, np.float32)  # two anchors, two classes, nothing anywhere
    head[0, 7:12, 1, 2] = [0.4, -0.2, 0.5, -0.5, 1.0]  # second anchor, row 1, column 2
    head[0, 12, 1, 2] = 2.0
    boxes, scores = yolov3_people([head], [[(10, 20), (30, 60)]], (96, 64))
    assert boxes.shape == (12, 4)
    best = int(scores.argmax())
    assert best == 6 + 1 * 3 + 2

    def sigmoid(value: float) -> float:
        return 1 / (1 + np.exp(-value))

    width, height = 30 * np.exp(0.5), 60 * np.exp(-0.5)
    x, y = (sigmoid(0.4) + 2) * 32, (sigmoid(-0.2) + 1) * 32
    np.testing.assert_allclose(boxes[best], [x - width / 2, y - height / 2, width, height])
    assert scores[best] == pytest.approx(sigmoid(1.0) * sigmoid(2.0))
    assert np.delete(scores, best).max() < 1e-6


def test_yolov3_person_is_the_first_class() -> None:
    head = np.zeros((1, 7, 1, 1), np.float32)
    head[0, 5:] = [[[-30]], [[30]]]
    assert yolov3_people([head], [[(1, 1)]], (32, 32))[1][0] < 1e-6


def test_yolov3_overflow_is_infinite_not_a_warning() -> None:
    head = np.full((1, 6, 1, 1), 1e4, np.float32)
    boxes, scores = yolov3_people([head], [[(1, 1)]], (32, 32))
    assert np.isinf(boxes[0, 2])
    assert scores[0] == 1


def test_grid_lists_rows_then_strides() -> None:
    cells, strides = grid((64, 32))
    assert len(cells) == 8 * 4 + 4 * 2 + 2 * 1
    np.testing.assert_array_equal(cells[[0, 1, 8, 32, 40, 41]], [[0, 0], [1, 0], [0, 1], [0, 0], [0, 0], [1, 0]])
    np.testing.assert_array_equal(strides[[0, 31, 32, 39, 40], 0], [8, 8, 16, 16, 32])


def test_yolox_with_and_without_decoding_agree() -> None:
    random = np.random.default_rng(0)
    size = (96, 64)
    cells, strides = grid(size)
    raw = random.random((1, len(cells), 7)).astype(np.float32)
    raw[..., :4] = random.normal(0, 1, (1, len(cells), 4))
    decoded = raw.copy()
    decoded[0, :, :2] = (raw[0, :, :2] + cells) * strides
    decoded[0, :, 2:4] = np.exp(raw[0, :, 2:4]) * strides
    boxes, scores = yolox_people(raw, size)
    expected = decoded[0, :, :4].copy()
    expected[:, :2] -= expected[:, 2:] / 2
    np.testing.assert_allclose(boxes, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(yolox_people(decoded, size)[0], boxes, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(scores, raw[0, :, 4] * raw[0, :, 5], rtol=1e-6)


def test_yolov8_has_no_objectness() -> None:
    output = np.array([[10, 20, 4, 8, 0.7, 0.9], [50, 60, 20, 10, 0.2, 0.1]], np.float32).T[None]
    boxes, scores = yolov8_people(output)
    np.testing.assert_allclose(boxes, [[8, 16, 4, 8], [40, 55, 20, 10]])
    np.testing.assert_allclose(scores, [0.7, 0.2], rtol=1e-6)
