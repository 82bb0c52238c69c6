"""Pose-guided proposals: the published distribution, inside the picture."""

from __future__ import annotations

import numpy as np
import pytest

from mspose.data.proposals import CROP_ABOVE, propose

BOX = np.array([300.0, 400.0, 80.0, 200.0])


def peek(rng: np.random.Generator) -> float:
    """The next draw, left for whoever draws it."""
    state = rng.bit_generator.state
    value = rng.random()
    rng.bit_generator.state = state
    return value


def draw(box: np.ndarray, width: int, height: int, count: int = 8000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Proposals (N, 4) and which of them (N,) are parts of the box in its own shape."""
    rng = np.random.default_rng(seed)
    boxes, is_part = [], []
    for _ in range(count):
        is_part.append(peek(rng) > CROP_ABOVE)
        boxes.append(propose(rng, box, width, height))
    return np.array(boxes), np.array(is_part)


@pytest.fixture(scope="module")
def proposals() -> tuple[np.ndarray, np.ndarray]:
    """In a picture that is large enough to clip nothing."""
    return draw(BOX, 1000, 1000)


def test_moved_sides_have_the_published_mean_and_spread(proposals) -> None:
    boxes = proposals[0][~proposals[1]]
    sides = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    offsets = (sides - [300, 400, 380, 600]) / [80, 200, 80, 200]
    np.testing.assert_allclose(offsets.mean(axis=0), [-0.0142, 0.0043, 0.0154, -0.0013], atol=0.005)
    np.testing.assert_allclose(offsets.std(axis=0), [0.1158, 0.0680, 0.1337, 0.0711], rtol=0.04)
    assert np.abs(np.corrcoef(offsets.T) - np.eye(4)).max() < 0.05


def test_parts_keep_the_shape_and_lie_anywhere_within(proposals) -> None:
    boxes = proposals[0][proposals[1]]
    assert len(boxes) / len(proposals[0]) == pytest.approx(0.15, abs=0.015)
    share = boxes[:, 2] / 80
    np.testing.assert_allclose(boxes[:, 3] / 200, share)
    assert (share.min(), share.max()) == (pytest.approx(0.85, abs=0.002), pytest.approx(1, abs=0.002))
    places = (boxes[:, :2] - [300, 400]) / (BOX[2:] * (1 - share[:, None]))
    assert ((places > -1e-6) & (places < 1 + 1e-6)).all()
    np.testing.assert_allclose(places.mean(axis=0), 0.5, atol=0.03)
    assert abs(np.corrcoef(places.T)[0, 1]) < 0.1


@pytest.mark.parametrize("box", [[0, 0, 99, 79], [0, 0, 0, 0], [98, 78, 1, 1], [40, 0, 3, 79], [-50, -50, 300, 300]])
def test_moved_sides_stay_in_the_picture(box: list) -> None:
    boxes, is_part = draw(np.array(box, float), 100, 80, 2000)
    boxes = boxes[~is_part]
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] >= 2 - 1e-9).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= [99 + 1e-9, 79 + 1e-9]).all()


def test_the_given_box_stays() -> None:
    box = BOX.copy()
    propose(np.random.default_rng(0), box, 500, 700)
    np.testing.assert_array_equal(box, BOX)
