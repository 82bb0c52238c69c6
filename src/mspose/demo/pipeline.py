"""Working on several pictures at once, each in another step, in order and within bounds."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

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
) -> Generator[R, None, None]:
    """Yield what `write(after(run(before(item))))` gives for each item, in order.

    Reading, `before`, `after` and `write` each have a thread of their own; `run` is called in the thread that iterates.
    An error in any of them ends the iteration with it; whoever stops iterating early must close the iterator.

    Args:
        items: read one by one.
        size: bytes of an item, known once it is read; what is held at a time stays within `BUDGET`.
        ahead: items that may wait before `run`, and behind it.
    """
    room = _Room(BUDGET)
    source = iter(items)

    def read() -> tuple[T, int] | None:
        item = next(source, None)
        if item is None:
            return None
        taken = size(item)
        room.take(taken)
        return item, taken

    def prepare(reading: Future[tuple[T, int] | None]) -> tuple[Prepared, int] | None:
        job = reading.result()
        return None if job is None else (before(job[0]), job[1])

    def finish(writing: Future[Drawn], taken: int) -> R:
        try:
            return write(writing.result())
        finally:
            room.give(taken)

    names = ("read", "prepare", "draw", "write")
    threads = [ThreadPoolExecutor(1, thread_name_prefix=f"pose-{name}") for name in names]
    reader, preparer, drawer, writer = threads
    waiting: deque[Future[tuple[Prepared, int] | None]] = deque()
    finishing: deque[Future[R]] = deque()
    try:
        while True:
            while len(waiting) <= ahead:
                waiting.append(preparer.submit(prepare, reader.submit(read)))
            job = waiting.popleft().result()
            if job is None:
                break
            prepared, taken = job
            drawing = drawer.submit(after, run(prepared))
            finishing.append(writer.submit(finish, drawing, taken))
            del prepared, job
            if len(finishing) > ahead:
                yield finishing.popleft().result()
        while finishing:
            yield finishing.popleft().result()
    finally:
        room.close()
        for thread in reversed(threads):
            thread.shutdown(wait=True, cancel_futures=True)


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
