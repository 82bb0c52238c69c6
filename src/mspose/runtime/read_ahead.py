"""Reading ahead: threads work on the next items while the caller has earlier ones. Everything that reads uses this."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def worker_threads(workers: int) -> int:
    """Number of reading threads: `data.workers`, or one for each usable CPU core up to 16."""
    return workers or min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def read_ahead(
    read: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int | None = None
) -> Generator[Result, None, None]:
    """read(item) for each of the items, in their order. What it raises is raised in its turn.

    Args:
        threads: how many calls run at a time.
        ahead: how many items may be under way or wait beyond the one that is handed over; by default twice the threads.
    """
    ahead = 2 * threads if ahead is None else ahead
    pool = ThreadPoolExecutor(threads, thread_name_prefix="pose-reader")
    try:
        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(pool.submit(read, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)  # whoever goes on may close what they read from or write to
