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


def test_flat_cosine_as_rtmpose_publishes_it():
    """lr to epoch 210, then half a cosine towards a twentieth of it in epoch 420."""
    result = rates(10, epochs=420, lr=4e-3, schedule="cosine", flat_epochs=210, end_factor=0.05)
    fall = np.arange(2100)
    expected = 2e-4 + 0.5 * (4e-3 - 2e-4) * (1 + np.cos(np.pi * fall / 2100))
    np.testing.assert_array_equal(result[:2101], np.float32(4e-3))
    np.testing.assert_allclose(result[2100:], expected, rtol=1e-6)
    assert 2e-4 < result[-1] < 2.0001e-4


def test_cosine_from_the_start_to_its_end():
    result = rates(1, epochs=4, lr=1.0, schedule="cosine", end_factor=0.5)
    np.testing.assert_allclose(result, [1, 0.75 + 0.25 * np.sqrt(0.5), 0.75, 0.75 - 0.25 * np.sqrt(0.5)], rtol=1e-6)


@pytest.mark.parametrize("flat", [3, 9])
def test_run_that_ends_before_the_fall(flat):
    result = rates(2, epochs=3, lr=0.5, schedule="cosine", flat_epochs=flat, end_factor=0.1)
    np.testing.assert_array_equal(result, np.float32(0.5))


@pytest.mark.parametrize("first", [1e-5, 1e-3, 1.0])
def test_warm_up_from_a_factor(first):
    """The first step has it, the last of the warm-up is at the full rate, in between it is a line."""
    plain = rates(5, epochs=400, lr=4e-3)
    warm = rates(5, epochs=400, lr=4e-3, warmup_steps=1000, warmup_factor=first)
    expected = first + (1 - first) * np.arange(1000) / 999
    np.testing.assert_allclose(warm[:1000], plain[:1000] * expected, rtol=1e-6)
    np.testing.assert_array_equal(warm[999:], plain[999:])


def test_warm_up_of_one_step_from_a_factor():
    np.testing.assert_allclose(rates(1, epochs=2, lr=1.0, milestones=[], warmup_steps=1, warmup_factor=0.1), [0.1, 1])


@pytest.mark.parametrize("schedule", ["multistep", "cosine"])
def test_warm_up_rises_to_the_schedule_and_then_leaves_it_alone(schedule):
    plain = rates(5, epochs=4, schedule=schedule)
    warm = rates(5, epochs=4, schedule=schedule, warmup_steps=8)
    np.testing.assert_allclose(warm[:8] / plain[:8], np.arange(1, 9) / 8, rtol=1e-6)
    np.testing.assert_array_equal(warm[8:], plain[8:])


def test_warm_up_longer_than_the_run():
    np.testing.assert_allclose(rates(1, epochs=2, lr=1.0, milestones=[], warmup_steps=4), [0.25, 0.5])
