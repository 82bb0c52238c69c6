"""Losses against their definitions in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from mspose.models.losses import OpenPoseLoss
from tests.graph import ms

STAGES, SHAPES = 3, ((2, 4, 5, 6), (2, 3, 5, 6))


def maps(seed: int) -> list[np.ndarray]:
    """Fields and heat maps of noise."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in SHAPES]


def loss(outputs: list[list[np.ndarray]], targets: list[np.ndarray], mask: np.ndarray) -> float:
    pairs = tuple(tuple(map(ms.Tensor, pair)) for pair in outputs)
    return float(OpenPoseLoss()(pairs, *map(ms.Tensor, targets[::-1]), ms.Tensor(mask[:, None])))


def test_openpose_loss_adds_the_means_of_stages_and_branches() -> None:
    outputs, targets = [maps(seed) for seed in range(STAGES)], maps(9)
    mask = (np.random.default_rng(5).random((2, 5, 6)) < 0.7).astype(np.float32)
    expected = sum((mask[:, None] * (a - t) ** 2).mean() for pair in outputs for a, t in zip(pair, targets))
    assert loss(outputs, targets, mask) == pytest.approx(expected, rel=1e-5)


def test_openpose_loss_ignores_masked_cells() -> None:
    targets, outputs, mask = maps(9), [maps(9)], np.ones((2, 5, 6), np.float32)
    for values in outputs[0]:
        values[1, :, 2, 3] += 100
    mask[1, 2, 3] = 0
    assert loss(outputs, targets, mask) == 0


def test_openpose_loss_of_empty_maps_is_that_of_the_background() -> None:
    """The seed's first logged losses are near 6 / 19: nothing but a background channel, in six stages."""
    shapes = (1, 38, 46, 46), (1, 19, 46, 46)
    pafs, heatmaps = (np.zeros(shape, np.float32) for shape in shapes)
    target = heatmaps.copy()
    target[:, -1] = 1
    value = loss([[pafs, heatmaps]] * 6, [pafs, target], np.ones((1, 46, 46), np.float32))
    assert value == pytest.approx(6 / 19, rel=1e-5)
