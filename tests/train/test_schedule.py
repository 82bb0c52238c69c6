"""Learning rates of every step."""

from __future__ import annotations

import numpy as np
import pytest

from mspose.config.schema import TrainConfig
from mspose.train.schedule import learning_rates


def rates(steps_per_epoch: int, **changes: object) -> np.ndarray:
    return learning_rates(TrainConfig(**changes), steps_per_epoch)


def test_one_float32_a_step():
    result = rates(7, epochs=3)
    assert (result.shape, result.dtype) == ((21,), np.float32)


def test_multistep_drops_after_each_milestone():
    result = rates(10, epochs=140, lr=1e-3, milestones=[90, 120], gamma=0.1)
    np.testing.assert_allclose(result[[0, 899, 900, 1199, 1200, 1399]], [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5], rtol=1e-6)
    assert len(np.unique(result)) == 3


@pytest.mark.parametrize("milestones", [[3, 1], [1, 3]])
def test_order_of_milestones_does_not_matter(milestones):
    np.testing.assert_allclose(rates(1, epochs=4, lr=1.0, milestones=milestones, gamma=0.5), [1, 0.5, 0.5, 0.25])


@pytest.mark.parametrize("milestones", [[], [9]])
def test_no_milestone_within_the_run(milestones):
    np.testing.assert_allclose(rates(2, epochs=3, lr=0.5, milestones=milestones), [0.5] * 6)


def test_two_drops_at_once():
    np.testing.assert_allclose(rates(1, epochs=2, lr=1.0, milestones=[1, 1], gamma=0.1), [1, 0.01], rtol=1e-6)


def test_restart_begins_anew_and_counts_later_milestones_alone():
    """AlphaPose's schedule: drops after 90 and 120, lr again after 140, drops after 160 and 190."""
    result = rates(10, epochs=200, lr=1e-3, milestones=[90, 120, 160, 190], restart_epoch=140)
    ends = [0, 899, 900, 1199, 1200, 1399, 1400, 1599, 1600, 1899, 1900, 1999]
    np.testing.assert_allclose(result[ends], np.repeat([1e-3, 1e-4, 1e-5] * 2, 2), rtol=1e-6)
    assert np.count_nonzero(np.diff(result)) == 5


def test_restart_takes_back_a_drop_at_the_same_moment():
    np.testing.assert_allclose(
        rates(1, epochs=4, lr=1.0, milestones=[1, 2], gamma=0.5, restart_epoch=2), [1, 0.5, 1, 1]
    )


def test_restart_with_milestones_in_steps():
    np.testing.assert_allclose(
        rates(2, epochs=3, lr=1.0, milestone_steps=[1, 5], gamma=0.5, restart_epoch=2), [1, 0.5, 0.5, 0.5, 1, 0.5]
    )


def test_cosine_falls_along_half_a_wave():
    result = rates(10, epochs=10, lr=2.0, schedule="cosine")
    np.testing.assert_allclose(result[[0, 25, 50, 75]], [2, 1 + np.sqrt(0.5), 1, 1 - np.sqrt(0.5)], rtol=1e-6)
    assert (np.diff(result) < 0).all()
    assert 0 < result[-1] < 1e-3


def test_cosine_takes_no_milestones():
    plain, stepped = (rates(1, epochs=9, schedule="cosine", milestones=m) for m in ([], [3]))
    np.testing.assert_array_equal(plain, stepped)


@pytest.mark.parametrize("schedule", ["multistep", "cosine"])
def test_warm_up_rises_to_the_schedule_and_then_leaves_it_alone(schedule):
    plain = rates(5, epochs=4, schedule=schedule)
    warm = rates(5, epochs=4, schedule=schedule, warmup_steps=8)
    np.testing.assert_allclose(warm[:8] / plain[:8], np.arange(1, 9) / 8, rtol=1e-6)
    np.testing.assert_array_equal(warm[8:], plain[8:])


def test_warm_up_longer_than_the_run():
    np.testing.assert_allclose(rates(1, epochs=2, lr=1.0, milestones=[], warmup_steps=4), [0.25, 0.5])
