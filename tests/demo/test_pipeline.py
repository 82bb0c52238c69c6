"""Overlapping steps: order, bounds, errors and early ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import pytest

from mspose.demo import pipeline
from mspose.demo.pipeline import overlapped


def same(item: int) -> int:
    return item


def run(
    items: Iterable[int],
    before: Callable = same,
    network: Callable = same,
    after: Callable = same,
    size: Callable = lambda item: 0,
    full: Callable = lambda group: len(group) == 3,
    threads: int = 1,
) -> list[int]:
    return list(overlapped(items, before, full, each(network), after, size, 2, threads))


def each(network: Callable) -> Callable:
    return lambda group: [network(item) for item in group]


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("pose-")]


@pytest.mark.parametrize("threads", [1, 3])
def test_every_step_in_order(threads: int) -> None:
    written: list[int] = []

    def slow_when_even(item: int) -> int:
        time.sleep(0.003 * (item % 2 == 0))
        return item

    result = run(
        range(30), lambda i: 10 * slow_when_even(i), lambda i: i + 1, lambda i: written.append(i) or i, threads=threads
    )
    assert result == written == [10 * i + 1 for i in range(30)]


def test_several_are_prepared_at_once() -> None:
    both = threading.Barrier(2, timeout=10)

    def meet(item: int) -> int:
        both.wait()
        return item

    assert run(range(4), meet, threads=2) == [0, 1, 2, 3]


def test_groups_are_as_full_as_wanted_and_the_last_one_is_what_is_left() -> None:
    groups: list[list[int]] = []

    def together(group: list[int]) -> list[int]:
        groups.append(list(group))
        return group

    list(overlapped(range(6), same, lambda group: sum(group) >= 5, together, same, lambda item: 0, 2))
    assert groups == [[0, 1, 2, 3], [4, 5]]


def test_no_items() -> None:
    assert run([]) == []


@pytest.mark.parametrize("step", ["before", "network", "after"])
def test_an_error_in_any_step_reaches_the_caller(step: str) -> None:
    def fail(item: int) -> int:
        if item == 5:
            raise ValueError("broken")
        return item

    with pytest.raises(ValueError, match="broken"):
        run(range(1000), **{step: fail})
    assert threads() == []


def test_an_error_while_reading_reaches_the_caller() -> None:
    def items() -> Iterable[int]:
        yield 1
        raise OSError("unplugged")

    with pytest.raises(OSError, match="unplugged"):
        run(items())
    assert threads() == []


def test_little_is_read_ahead() -> None:
    read: list[int] = []

    def items() -> Iterable[int]:
        for item in range(100):
            read.append(item)
            yield item

    jobs = overlapped(items(), same, lambda group: True, each(same), same, lambda item: 0, 2)
    next(jobs)
    time.sleep(0.05)
    assert len(read) <= 8
    jobs.close()
    assert threads() == []


def test_large_items_are_worked_on_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "BUDGET", 10)
    held, most = 0, 0
    lock = threading.Lock()

    def hold(item: int, change: int) -> int:
        nonlocal held, most
        with lock:
            held += change
            most = max(most, held)
        return item

    assert run(range(20), lambda i: hold(i, 1), after=lambda i: hold(i, -1), size=lambda item: 8) == list(range(20))
    assert most == 1


def test_stopping_while_reading_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "BUDGET", 10)

    def fail(item: int) -> int:
        time.sleep(0.02)  # until the next item waits
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run(range(20), network=fail, size=lambda item: 8)
    assert threads() == []


def test_a_group_does_not_wait_for_an_item_that_waits_for_its_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "BUDGET", 10)
    assert run(range(20), size=lambda item: 4, full=lambda group: False) == list(range(20))
    assert run(range(20), size=lambda item: 1 + 8 * (item % 3 == 2), full=lambda group: False) == list(range(20))
