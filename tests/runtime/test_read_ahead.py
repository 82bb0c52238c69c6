"""Reading ahead: order, errors in their turn, and work while the caller is busy."""

from __future__ import annotations

import threading

import pytest

from mspose.runtime.read_ahead import read_ahead


def test_reading_goes_on_while_the_caller_works() -> None:
    second_read = threading.Event()

    def read(item: int) -> int:
        if item == 1:
            second_read.set()
        if item == 2:
            raise ValueError("bad")
        return item

    items = read_ahead(read, range(4), 1)
    assert next(items) == 0
    assert second_read.wait(10)
    assert next(items) == 1
    with pytest.raises(ValueError, match="bad"):
        next(items)


def test_results_come_in_order_whoever_is_first() -> None:
    gate = threading.Event()

    def read(item: int) -> int:
        if item == 0:
            assert gate.wait(10)
        else:
            gate.set()
        return item

    assert list(read_ahead(read, range(20), 4)) == list(range(20))


def test_no_more_is_read_than_asked_for() -> None:
    read: list[int] = []
    items = read_ahead(lambda item: read.append(item) or item, iter(range(1000)), 1, ahead=3)
    assert next(items) == 0
    items.close()
    assert len(read) <= 5


def test_nothing_to_read() -> None:
    assert list(read_ahead(lambda item: item, [], 2)) == []
