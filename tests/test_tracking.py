"""Following people: numbers stay with people, whatever order they come in."""

from __future__ import annotations

import numpy as np
import pytest

from mspose.skeleton import COCO17
from mspose.tracking import Tracker

AREA = 60.0 * 120.0


def person(x: float, y: float = 100.0) -> np.ndarray:
    offsets = np.random.default_rng(0).uniform(0, 1, (17, 2)) * [60, 120]
    return offsets + np.array([x, y])


def follow(tracker: Tracker, *people: np.ndarray, scores: float = 0.9) -> list[int]:
    keypoints = np.stack(people) if people else np.zeros((0, 17, 2))
    return tracker(keypoints, np.full(keypoints.shape[:2], scores), np.full(len(keypoints), AREA)).tolist()


def test_numbers_follow_moving_people_in_any_order() -> None:
    tracker = Tracker(COCO17.sigmas)
    assert follow(tracker, person(0), person(300)) == [0, 1]
    for step in range(1, 20):
        assert follow(tracker, person(300 - 6 * step), person(6 * step)) == [1, 0]


def test_newcomer_gets_a_new_number() -> None:
    tracker = Tracker(COCO17.sigmas)
    follow(tracker, person(0))
    assert follow(tracker, person(400), person(2)) == [1, 0]


def test_somebody_hidden_for_a_while_keeps_the_number() -> None:
    tracker = Tracker(COCO17.sigmas, patience=3)
    follow(tracker, person(0))
    for _ in range(3):
        assert follow(tracker) == []
    assert follow(tracker, person(3)) == [0]


def test_somebody_gone_for_long_is_forgotten() -> None:
    tracker = Tracker(COCO17.sigmas, patience=3)
    follow(tracker, person(0))
    for _ in range(4):
        follow(tracker)
    assert follow(tracker, person(0)) == [1]


def test_the_best_sum_counts_not_the_first_match() -> None:
    """Both stand nearest to the first track; only one may have it, and the pairs together decide."""
    tracker = Tracker(COCO17.sigmas, threshold=0.05)
    follow(tracker, person(0), person(40))
    assert follow(tracker, person(12), person(2)) == [1, 0]


def test_unsure_keypoints_are_not_compared() -> None:
    tracker = Tracker(COCO17.sigmas)
    follow(tracker, person(0), scores=0.1)
    assert follow(tracker, person(0)) == [1]


@pytest.mark.parametrize("hidden", [0, 4])
def test_people_who_cross_keep_their_numbers(hidden: int) -> None:
    """Also where the second is hidden behind the first for some pictures."""
    tracker = Tracker(COCO17.sigmas)
    for step in range(41):
        both = [person(8 * step), person(320 - 8 * step)]
        seen = follow(tracker, *both[: 1 if abs(step - 20) < hidden else 2])
        assert seen == [0, 1][: len(seen)], step


def test_somebody_who_stays_after_moving_is_not_lost() -> None:
    tracker = Tracker(COCO17.sigmas)
    places = [*range(0, 120, 8), *[120] * 10]
    assert [follow(tracker, person(x)) for x in places] == [[0]] * len(places)


def test_a_pair_that_is_too_unlike_does_not_sway_the_others() -> None:
    tracker = Tracker(COCO17.sigmas)
    follow(tracker, person(0), person(26))
    assert follow(tracker, person(12), person(-19)) == [0, 2]
