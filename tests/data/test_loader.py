"""Batches: who gets which samples, in which order, and what happens to pictures that cannot be read."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from mspose.data.loader import BadImages, Plan, train_batches
from mspose.errors import PoseError, UsageError
from mspose.images import ImageError
from mspose.runtime.read_ahead import worker_threads
from tests.messages import names, naming

SHAPES = ((2, 3), (1,))


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """Messages of the project's logger, which does not hand them on to the root logger."""
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("pose")
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


def sample(index: int, epoch: int, out: tuple[np.ndarray, ...]) -> None:
    """A sample that says which it is, ready in no particular order."""
    time.sleep((index * 7919 % 5) / 5000)
    out[0][...] = index + np.arange(6).reshape(2, 3) / 10
    out[1][...] = epoch


def failing(bad: set[int]):
    def read(index: int, epoch: int, out: tuple[np.ndarray, ...]) -> None:
        if index in bad:
            raise ImageError(f"image is truncated: {index}.jpg")
        sample(index, epoch, out)

    return read


def train(plan: Plan, start: int, stop: int, workers: int = 2, read=sample, bad: BadImages | None = None):
    bad = BadImages(plan.count) if bad is None else bad
    return [
        (images.copy(), epochs.copy())
        for images, epochs in train_batches(read, SHAPES, plan, start, stop, workers, 2, bad)
    ]


def indices(batches: list) -> list[list[int]]:
    return [images[:, 0, 0].astype(int).tolist() for images, *_ in batches]


class TestPlan:
    def test_ranks_share_no_sample_and_batches_are_full(self):
        plans = [Plan(103, 8, seed=5, rank=rank, world=4) for rank in range(4)]
        parts = [plan.epoch_indices(2) for plan in plans]
        assert {part.shape for part in parts} == {(3, 8)}
        everything = np.concatenate(parts, axis=None)
        assert len(np.unique(everything)) == len(everything) == 96
        assert set(everything.tolist()) <= set(range(103))

    def test_same_order_on_every_run(self):
        np.testing.assert_array_equal(Plan(50, 4, seed=1).epoch_indices(3), Plan(50, 4, seed=1).epoch_indices(3))

    @pytest.mark.parametrize(("seed", "epoch"), [(1, 1), (2, 0)])
    def test_another_order_for_another_epoch_or_seed(self, seed, epoch):
        assert not np.array_equal(Plan(50, 4, seed=1).epoch_indices(0), Plan(50, 4, seed=seed).epoch_indices(epoch))

    def test_what_is_left_over_differs_between_epochs(self):
        plan = Plan(10, 4, seed=1)
        used = [set(plan.epoch_indices(epoch).ravel().tolist()) for epoch in range(20)]
        assert set.union(*used) == set(range(10))

    def test_unshuffled(self):
        assert Plan(10, 4, shuffle=False).epoch_indices(7).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]

    def test_every_world_size_trains_on_the_same_samples_a_step(self):
        alone = Plan(64, 16, seed=3).epoch_indices(0)
        together = np.concatenate([Plan(64, 4, seed=3, rank=r, world=4).epoch_indices(0) for r in range(4)], axis=1)
        np.testing.assert_array_equal(together, alone)

    def test_batch_as_large_as_the_data(self):
        assert Plan(8, 8).steps_per_epoch == 1

    @pytest.mark.parametrize(("count", "batch", "world"), [(7, 8, 1), (31, 8, 4), (0, 1, 1)])
    def test_batch_larger_than_the_data(self, count, batch, world):
        things = f"train.batch_size {batch}", f"{world} devices", f"{count} samples"
        with pytest.raises(UsageError, match=naming(*things)):
            Plan(count, batch, world=world)


class TestTraining:
    PLAN = Plan(23, 4, seed=9)

    def test_batches_are_those_of_the_plan(self):
        batches = train(self.PLAN, 0, 10)
        expected = np.concatenate([self.PLAN.epoch_indices(0), self.PLAN.epoch_indices(1)])
        assert indices(batches) == expected.tolist()
        images, epochs = batches[0]
        assert (images.shape, images.dtype, epochs.shape) == ((4, 2, 3), np.float32, (4, 1))
        np.testing.assert_allclose(images[1], expected[0, 1] + np.arange(6).reshape(2, 3) / 10, rtol=1e-6)
        assert [epochs[0, 0] for _, epochs in batches] == [0] * 5 + [1] * 5

    @pytest.mark.parametrize("workers", [1, 3])
    def test_any_number_of_workers_gives_the_same(self, workers):
        for one, other in zip(train(self.PLAN, 0, 8, workers=2), train(self.PLAN, 0, 8, workers=workers)):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])

    @pytest.mark.parametrize("start", [3, 5, 7])
    def test_starting_in_the_middle_gives_the_rest(self, start):
        whole, rest = train(self.PLAN, 0, 12), train(self.PLAN, start, 12)
        assert len(rest) == 12 - start
        for one, other in zip(whole[start:], rest):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])

    def test_ranks_see_what_a_single_device_would(self):
        parts = [train(Plan(24, 2, seed=9, rank=rank, world=2), 0, 3) for rank in range(2)]
        together = [a + b for a, b in zip(*map(indices, parts))]
        assert together == Plan(24, 4, seed=9).epoch_indices(0)[:3].tolist()

    def test_batches_stay_as_they_were_handed_over(self):
        kept = list(train_batches(sample, SHAPES, self.PLAN, 0, 40, 2, 1, BadImages(23)))
        for one, other in zip(kept, train(self.PLAN, 0, 40)):
            np.testing.assert_array_equal(one[0], other[0])

    def test_nothing_to_do(self):
        assert train(self.PLAN, 10, 10) == []

    def test_other_errors_arrive_as_they_are(self):
        def broken(index: int, epoch: int, out: tuple[np.ndarray, ...]) -> None:
            raise ZeroDivisionError("in a worker")

        with pytest.raises(ZeroDivisionError, match=r"^in a worker$"):
            train(self.PLAN, 0, 2, read=broken)

    @pytest.mark.parametrize("consumed", [0, 1, 3])
    def test_a_generator_that_is_closed_early_lets_go(self, consumed):
        finished = []

        def use() -> None:
            batches = train_batches(sample, SHAPES, self.PLAN, 0, 100_000, 2, 2, BadImages(23))
            for _ in range(consumed):
                next(batches)
            batches.close()
            finished.append(consumed)

        thread = threading.Thread(target=use, daemon=True)
        thread.start()
        thread.join(30)
        assert finished == [consumed]


class TestBadImages:
    def test_replaced_by_the_next_one_warned_about_once_and_counted(self, warnings):
        plan, bad = Plan(8, 4, shuffle=False), BadImages(8)
        batches = train(plan, 0, 4, read=failing({2}), bad=bad)
        assert indices(batches) == [[0, 1, 3, 3], [4, 5, 6, 7]] * 2
        assert len(bad) == 1
        (warning,) = warnings
        assert names(warning, "warning", "1", "image is truncated: 2.jpg")

    def test_the_last_one_is_replaced_by_the_first(self, warnings):
        assert indices(train(Plan(4, 4, shuffle=False), 0, 1, read=failing({3}))) == [[0, 1, 2, 0]]

    def test_replacement_is_the_same_on_any_number_of_workers(self, warnings):
        plan = Plan(300, 10, seed=2)
        runs = [indices(train(plan, 0, 30, workers, failing({5, 6, 99}))) for workers in (1, 3)]
        assert runs[0] == runs[1]

    def test_one_in_a_hundred_is_allowed(self, warnings):
        bad = BadImages(300)
        train(Plan(300, 100), 0, 3, read=failing({1, 2, 3}), bad=bad)
        assert (len(bad), len(warnings)) == (3, 3)

    def test_more_end_the_run_with_the_projects_own_error(self, warnings):
        with pytest.raises(PoseError) as caught:
            train(Plan(300, 100), 0, 3, workers=1, read=failing({1, 2, 3, 4}), bad=BadImages(300))
        assert type(caught.value) is PoseError
        assert names(str(caught.value), "4 images", "1%", "image is truncated")
        assert "\n" not in str(caught.value)

    def test_people_in_one_picture_count_it_once(self, warnings):
        bad = BadImages(100)
        for _ in range(5):
            bad.add(ImageError("image is truncated: 1.jpg"))
        assert len(bad) == len(warnings) == 1

    def test_none_can_be_read(self, warnings):
        with pytest.raises(PoseError, match=naming("none", "training images")):
            train(Plan(1, 1), 0, 1, read=failing({0}))


def test_worker_threads():
    assert worker_threads(5) == 5
    assert 1 <= worker_threads(0) <= 16
