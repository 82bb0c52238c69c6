"""Working on several pictures at once, each in another step, in order and within bounds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import repeat
from typing import TypeVar

from mspose.runtime.read_ahead import read_ahead

T = TypeVar("T")
R = TypeVar("R")
Prepared = TypeVar("Prepared")
Maps = TypeVar("Maps")
Drawn = TypeVar("Drawn")
# Bytes of pictures that are held at a time; one larger than this is worked on alone.
BUDGET = 512 * 2**20


def overlapped(
    items: Iterable[T],
    before: Callable[[T], Prepared],
    run: Callable[[Prepared], Maps],
    after: Callable[[Maps], Drawn],
    write: Callable[[Drawn], R],
    size: Callable[[T], int],
    ahead: int,
    stop: Callable[[], None] = lambda: None,
) -> Generator[R, None, None]:
    """Yield what `write(after(run(before(item))))` gives for each item, in order.

    Reading and `before` have a thread of their own, and so have `after` and `write`; `run` is called in the thread that
    iterates. An error in any of them ends the iteration with it; whoever stops iterating early must close the iterator.

    Args:
        items: read one by one.
        size: bytes of an item, known once it is read; what is held at a time stays within `BUDGET`.
        ahead: items that may wait before `run`, and behind it.
        stop: called once it ends, however it does; where `before` waits for what `after` does, it goes on then.
    """
    room = _Room(BUDGET)
    source = iter(items)

    def prepare(_: None) -> tuple[Prepared, int] | None:
        item = next(source, None)
        if item is None:
            return None
        taken = size(item)
        room.take(taken)
        return before(item), taken

    prepared = read_ahead(prepare, repeat(None), 1, ahead)

    def maps() -> Iterator[tuple[Maps, int]]:
        for job in prepared:
            if job is None:
                return
            yield run(job[0]), job[1]

    def finish(job: tuple[Maps, int]) -> R:
        try:
            return write(after(job[0]))
        finally:
            room.give(job[1])

    finished = read_ahead(finish, maps(), 1, ahead)
    try:
        yield from finished
    finally:
        stop()
        room.close()
        finished.close()
        prepared.close()


class _Room:
    """How many bytes may still be held; taking waits until there is room."""

    def __init__(self, total: int) -> None:
        self._total, self._held, self._closed = total, 0, False
        self._changed = threading.Condition()

    def take(self, count: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._held or self._held + count <= self._total)
            self._held += count

    def give(self, count: int) -> None:
        with self._changed:
            self._held -= count
            self._changed.notify_all()

    def close(self) -> None:
        """Let whoever waits go on: nothing more will be given back."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
