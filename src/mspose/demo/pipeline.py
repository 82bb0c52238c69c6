"""Working on several pictures at once, each in another step, in order and within bounds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum, auto
from itertools import repeat
from typing import Generic, TypeVar

from mspose.runtime.read_ahead import read_ahead

T = TypeVar("T")
Prepared = TypeVar("Prepared")
Maps = TypeVar("Maps")
R = TypeVar("R")
# Bytes of pictures that are held at a time; one larger than this is worked on alone.
BUDGET = 512 * 2**20


class _Mark(Enum):
    """What stands between items."""

    FULL = auto()  # those before it are not to wait for those behind it
    END = auto()


def overlapped(
    items: Iterable[T],
    before: Callable[[T], Prepared],
    full: Callable[[Sequence[Prepared]], bool],
    run: Callable[[Sequence[Prepared]], Sequence[Maps]],
    after: Callable[[Maps], R],
    size: Callable[[T], int],
    ahead: int,
    threads: int = 1,
    stop: Callable[[], None] = lambda: None,
) -> Generator[R, None, None]:
    """Yield `after(maps)` for each item, in order, `maps` being what `run` gives for it.

    Reading has a thread of its own, `before` has as many as `threads` says, `after` has one; `run` is called in the
    thread that iterates. Which items it gets together depends on the items alone, not on which thread was faster. An
    error in any of them ends the iteration with it; whoever stops iterating early must close the iterator.

    Args:
        items: read one by one.
        full: whether these are to be run now, rather than together with the next one. Where `before` waits for what
            `after` does to the item before, it must be true.
        size: bytes of an item, known once it is read; what is held at a time stays within `BUDGET`.
        ahead: items that may wait before `run`, and behind it.
        stop: called once it ends, however it does; where `before` waits for what `after` does, it goes on then.
    """
    room = _Room(BUDGET)
    reader = _Reader(items, size, room)
    reading = ThreadPoolExecutor(1, thread_name_prefix="pose-reader")

    def prepare(read: Future[tuple[T, int] | _Mark]) -> tuple[Prepared, int] | _Mark:
        found = read.result()
        return found if isinstance(found, _Mark) else (before(found[0]), found[1])

    prepared = read_ahead(prepare, (reading.submit(reader.read) for _ in repeat(None)), threads, ahead)

    def maps() -> Iterator[tuple[Maps, int]]:
        group: list[tuple[Prepared, int]] = []
        for job in prepared:
            if not isinstance(job, _Mark):
                group.append(job)
            if group and (isinstance(job, _Mark) or full([one for one, _ in group])):
                yield from zip(run([one for one, _ in group]), [taken for _, taken in group])
                group = []
            if job is _Mark.END:
                return

    def finish(job: tuple[Maps, int]) -> R:
        try:
            return after(job[0])
        finally:
            room.give(job[1])

    finished = read_ahead(finish, maps(), 1, ahead)
    try:
        yield from finished
    finally:
        stop()
        room.close()
        finished.close()
        reading.shutdown(cancel_futures=True)
        prepared.close()


class _Reader(Generic[T]):
    """Reads items, each once there is room for it.

    Items between two marks take at most half of the room, or are alone: whoever keeps them back until the next one is
    there does not keep that one from being read.
    """

    def __init__(self, items: Iterable[T], size: Callable[[T], int], room: _Room) -> None:
        self._source, self._size, self._room = iter(items), size, room
        self._next: T | _Mark | None = None  # read, and waiting behind a mark
        self._since = 0  # bytes of the items behind the last mark

    def read(self) -> tuple[T, int] | _Mark:
        """The next item and its bytes, or a mark."""
        item = next(self._source, _Mark.END) if self._next is None else self._next
        self._next = None
        if isinstance(item, _Mark):
            return item
        taken = self._size(item)
        if self._since and self._since + taken > BUDGET // 2:
            self._next, self._since = item, 0
            return _Mark.FULL
        self._since += taken
        self._room.take(taken)
        return item, taken


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
