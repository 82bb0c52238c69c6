"""Batches for training: threads read, crop and make targets.

OpenCV releases the interpreter lock while it decodes and warps, so threads scale here, where worker processes would
pay for copying every batch between them. Samples are written straight into the arrays of their batch; the samples of
the next batch are under way while one is being waited for, so no core idles at the boundary.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import cv2
import numpy as np

from mspose.data.coco import Images
from mspose.errors import PoseError, UsageError
from mspose.images import ImageError
from mspose.runtime.progress import Progress
from mspose.runtime.read_ahead import read_ahead, worker_threads

log = logging.getLogger("pose")

# sample(index, epoch, out): fills one row of each array of a batch
Sample = Callable[[int, int, tuple[np.ndarray, ...]], None]
# Training and evaluation go on while at most this share of the pictures, or one of them, cannot be read.
MAX_BAD_SHARE = 0.01


@dataclass(frozen=True)
class Plan:
    """Which samples each training step of this rank takes.

    Attributes:
        count: samples in the data set.
        batch_size: samples a step on each rank.
        world, rank: number of ranks and this one.
        seed: of the order, which is the same on every rank.
    """

    count: int
    batch_size: int
    seed: int = 0
    shuffle: bool = True
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.steps_per_epoch < 1:
            raise UsageError(
                f"train.batch_size {self.batch_size} x {self.world} devices is more than the {self.count} "
                "samples of the training set; choose a smaller one"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in an epoch; what is left over is not used in that epoch."""
        return self.count // (self.batch_size * self.world)

    def epoch_indices(self, epoch: int) -> np.ndarray:
        """Sample numbers (steps, batch_size) of this rank in one epoch; ranks share no sample."""
        order = np.arange(self.count)
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.count)
        order = order[: self.steps_per_epoch * self.batch_size * self.world]
        return order.reshape(self.steps_per_epoch, self.world, self.batch_size)[:, self.rank]


class BadImages:
    """Counts pictures that cannot be read; too many of them end the run.

    Args:
        total: number of pictures.
        where: what they belong to.
    """

    def __init__(self, total: int, where: str = "training set") -> None:
        self._allowed, self._where = allowed_bad(total), where
        self._messages: set[str] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, error: ImageError) -> None:
        """Count a picture once and warn.

        Raises:
            PoseError: more than `MAX_BAD_SHARE` of the pictures are bad.
        """
        with self._lock:
            if str(error) in self._messages:
                return
            self._messages.add(str(error))
            count = len(self._messages)
        log.warning(f"warning: skipped, {count} so far: {error}")
        if count > self._allowed:
            raise PoseError(
                f"{count} images cannot be read, more than {MAX_BAD_SHARE:.0%} of the {self._where}; "
                f"the last one: {error}"
            )


def unreadable(images: Images, rows: Sequence[int], workers: int = 0) -> dict[int, str]:
    """Those of these pictures that cannot be read or have another size than annotated: row → why.

    Args:
        workers: `data.workers`.
    """

    def attempt(row: int) -> str:
        try:
            images.read(row)
        except ImageError as error:
            return str(error)
        return ""

    found: dict[int, str] = {}
    with Progress(len(rows), "reading", "pictures") as progress:
        # The reasons first, so that zip takes them to their end: left to be collected, they would swallow a Ctrl-C.
        for why, row in zip(read_ahead(attempt, rows, worker_threads(workers)), rows):
            if why:
                found[row] = why
            progress.advance(1)
    return found


def check_unreadable(reasons: Sequence[str], total: int, where: str) -> None:
    """Warn of pictures that cannot be read, before work begins that will leave them out.

    Args:
        reasons: a line for each of them.
        total: number of pictures that they are among.
        where: what they belong to.

    Raises:
        PoseError: they are more than work goes on with; some are named.
    """
    if not reasons:
        return
    named = f"{'; '.join(reasons[:3])}{'; …' if len(reasons) > 3 else ''}"
    if len(reasons) > allowed_bad(total):
        raise PoseError(
            f"{len(reasons)} of {total} images of the {where} cannot be read, more than {MAX_BAD_SHARE:.0%}: {named}"
        )
    log.warning(
        f"warning: {len(reasons)} of {total} images of the {where} cannot be read and will be left out: {named}"
    )


def allowed_bad(total: int) -> float:
    """How many of so many pictures may be unreadable."""
    return max(1.0, total * MAX_BAD_SHARE)


def train_batches(
    sample: Sample,
    shapes: Sequence[tuple[int, ...]],
    plan: Plan,
    start_step: int,
    stop_step: int,
    workers: int,
    prefetch: int,
    bad_images: BadImages,
) -> Generator[tuple[np.ndarray, ...], None, None]:
    """Yield the batches of steps start_step … stop_step - 1, counted over all epochs: float32 arrays (B, *shape).

    A sample whose picture cannot be read is replaced by the next one of the data set and reported to `bad_images`.
    """

    def readable(index: int, epoch: int, out: tuple[np.ndarray, ...]) -> None:
        for attempt in range(plan.count):
            try:
                return sample((index + attempt) % plan.count, epoch, out)
            except ImageError as error:
                bad_images.add(error)
        raise PoseError("none of the training images can be read")

    def jobs() -> Iterator[tuple[int, np.ndarray]]:
        indices, current = np.empty(0), -1
        for step in range(start_step, stop_step):
            epoch, row = divmod(step, plan.steps_per_epoch)
            if epoch != current:
                indices, current = plan.epoch_indices(epoch), epoch
            yield epoch, indices[row]

    cv2.setNumThreads(0)  # one picture a thread; OpenCV's own threads would only compete with these

    def samples() -> Iterator[tuple[int, int, tuple[np.ndarray, ...]]]:
        for epoch, indices in jobs():
            arrays = tuple(np.empty((plan.batch_size, *shape), np.float32) for shape in shapes)
            begun.append(arrays)
            for row, index in enumerate(indices):
                yield int(index), epoch, tuple(array[row] for array in arrays)

    begun: deque[tuple[np.ndarray, ...]] = deque()  # batches whose samples are under way, oldest first
    ahead = max(2, prefetch) * plan.batch_size
    with closing(read_ahead(lambda job: readable(*job), samples(), worker_threads(workers), ahead)) as done:
        for count, _ in enumerate(done, 1):
            if count % plan.batch_size == 0:
                yield begun.popleft()
