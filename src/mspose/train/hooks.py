"""What happens beside the training steps: log lines, evaluation, checkpoints, curves, and the ends of a run."""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import numpy as np

from mspose.config.schema import TrainConfig
from mspose.errors import PoseError
from mspose.methods.base import Forward
from mspose.methods.evaluator import Evaluator
from mspose.runtime.progress import Progress, format_seconds
from mspose.runtime.ranks import Ranks, broadcast
from mspose.train.records import Records

if TYPE_CHECKING:
    import mindspore as ms

    from mspose.train.snapshots import Position, Snapshots
    from mspose.train.step import TrainStep

log = logging.getLogger("pose")


class Stopped(PoseError):
    """The run was asked to stop and has saved where it was."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


@dataclass(frozen=True)
class Run:
    """What the hooks of a run share.

    Attributes:
        folder: for all results.
        rates: learning rate of each step.
        received: signals to stop, as they come in.
    """

    train: TrainConfig
    folder: Path
    step: TrainStep
    rates: np.ndarray
    position: Position
    snapshots: Snapshots
    records: Records
    progress: Progress
    ranks: Ranks
    received: list[int]


@dataclass
class Moment:
    """A training step that has just been started on the device.

    Attributes:
        step: of the whole run, from 1.
        per_epoch, total: steps of an epoch, and of the run.
        loss: of this step; reading it waits for the device.
        begin: `time.perf_counter()` when the step began, with waiting for its batch.
        mean_loss: since the last log line, of all ranks; `Log` sets it, None between its lines.
    """

    step: int
    per_epoch: int
    total: int
    loss: ms.Tensor
    begin: float
    mean_loss: float | None = None

    @property
    def epoch(self) -> int:
        """From 1."""
        return (self.step - 1) // self.per_epoch + 1

    @property
    def in_epoch(self) -> int:
        """The step in its epoch, from 1."""
        return (self.step - 1) % self.per_epoch + 1

    @property
    def ends_epoch(self) -> bool:
        """Whether it is the last step of its epoch."""
        return self.in_epoch == self.per_epoch

    @property
    def ends_run(self) -> bool:
        """Whether it is the last step of all."""
        return self.step == self.total


class Hook:
    """Something that is done beside the steps; the trainer calls its hooks in order."""

    def before_first_step(self) -> None:
        """Do what an interrupted run has left undone."""

    def after_step(self, now: Moment) -> None:
        """Look at the step, and act if it is time to."""

    def at_end(self) -> None:
        """Finish, however the run has ended."""


class Log(Hook):
    """Prints and records the mean loss every `train.log_steps`.

    Only here does Python wait for the device; in between it runs ahead.
    """

    def __init__(self, run: Run, loss_line: Callable[[int, int, float], str]) -> None:
        self._run, self._loss_line = run, loss_line
        self._losses: list[ms.Tensor] = []
        self._seconds = 0.0

    def after_step(self, now: Moment) -> None:
        run = self._run
        self._losses.append(now.loss)
        due = now.step % run.train.log_steps == 0 or now.ends_run
        if due:
            own = np.mean([float(loss.asnumpy()) for loss in self._losses])
            now.mean_loss = float(np.mean(run.ranks.gather(np.array([own]))))
        self._seconds += time.perf_counter() - now.begin
        if now.mean_loss is None:
            return
        milliseconds = self._seconds / len(self._losses) * 1e3
        left = format_seconds((len(run.rates) - now.step) * milliseconds / 1e3)
        rate = float(run.rates[now.step - 1])
        line = self._loss_line(now.epoch, now.in_epoch, now.mean_loss)
        run.progress.line(f"{line}, {milliseconds:.1f} ms/step, lr {rate:.3g}, {left} left")
        if math.isfinite(now.mean_loss):
            values = {"epoch": now.epoch, "loss": now.mean_loss, "lr": rate, "ms_per_step": milliseconds}
            run.records.add(now.step, values)
        self._losses, self._seconds = [], 0.0


class StopAtBadLoss(Hook):
    """Ends a run whose loss is no number any more."""

    def after_step(self, now: Moment) -> None:
        if now.mean_loss is not None and not math.isfinite(now.mean_loss):
            raise PoseError(
                f"the loss is {now.mean_loss} at epoch {now.epoch} step {now.in_epoch}: lower train.lr, raise "
                "train.warmup_steps, or look at the annotations"
            )


class EpochTime(Hook):
    """Prints how long an epoch took, less evaluating and saving."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._seconds, self._steps = 0.0, 0

    def after_step(self, now: Moment) -> None:
        self._seconds += time.perf_counter() - now.begin
        self._steps += 1
        if not now.ends_epoch:
            return
        if now.in_epoch >= self._run.train.log_steps:
            total = self._seconds * 1e3
            self._run.progress.line(f"epoch time: {total:.3f} ms, per step time: {total / self._steps:.3f} ms")
        self._seconds, self._steps = 0.0, 0


class StopOnSignal(Hook):
    """Saves and ends the run once a signal has come in.

    Several ranks agree where they meet anyway, at log lines: one that left alone would keep the others waiting.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def after_step(self, now: Moment) -> None:
        run = self._run
        number = min(run.received, default=0)
        if run.ranks.world > 1:
            number = int(np.max(run.ranks.gather(np.array([number])))) if now.mean_loss is not None else 0
        if not number:
            return
        run.snapshots.save(run.position)
        raise Stopped(
            number,
            f"stopped after epoch {now.epoch} step {now.in_epoch}; saved in "
            f"{run.folder / 'last.ckpt'}, train.resume=auto continues",
        )


class Evaluate(Hook):
    """Evaluates the averaged weights every `train.eval_epochs`; the best ones become best.ckpt."""

    def __init__(self, run: Run, evaluator: Evaluator, forward: Forward) -> None:
        self._run, self._evaluator, self._forward = run, evaluator, forward

    def before_first_step(self) -> None:
        run, position = self._run, self._run.position
        epoch, rest = divmod(position.step, position.steps_per_epoch)
        due = position.step == len(run.rates) or (epoch and not rest and epoch % run.train.eval_epochs == 0)
        if due and position.scale == 1 and not run.records.evaluated(position.step):
            self._evaluate(epoch)

    def after_step(self, now: Moment) -> None:
        if now.ends_epoch and (now.epoch % self._run.train.eval_epochs == 0 or now.ends_run):
            if not (self._run.folder / "last.ckpt").is_file():
                # A run that is killed before the first checkpoint, and has a best.ckpt, could not be continued.
                self._run.snapshots.save(self._run.position)
            try:
                self._evaluate(now.epoch)
            except Exception:
                self._run.snapshots.save(self._run.position)  # a failed evaluation costs no training
                raise

    def _evaluate(self, epoch: int) -> None:
        run, position = self._run, self._run.position
        with run.step.averaged_weights():
            broadcast(run.step.values, run.ranks)  # batch-norm statistics differ
            outcome = self._evaluator.run(self._forward, run.ranks)
            if outcome is None:
                return
            figures = outcome.figures
            run.progress.line(
                f"epoch: {epoch}, AP: {figures['AP']:.4f}, AP .5: {figures['Ap .5']:.4f}, AR: {figures['AR']:.4f} "
                f"({outcome.instances} {outcome.unit}, {outcome.seconds['wall']:.1f} s)"
            )
            if figures["AP"] > position.best_ap:
                position.best_ap = figures["AP"]
                run.snapshots.save_best({p.name: p for p in run.step.values})
            # Last: a run that is killed before this line evaluates again when it is resumed.
            run.records.add(position.step, {"epoch": epoch, "AP": figures["AP"], "AR": figures["AR"]})


class Checkpoint(Hook):
    """Saves every `train.save_epochs`, every `train.save_steps`, and at the end of the run."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def after_step(self, now: Moment) -> None:
        train = self._run.train
        by_epoch = now.ends_epoch and now.epoch % train.save_epochs == 0
        by_step = train.save_steps > 0 and now.step % train.save_steps == 0
        if by_epoch or by_step or now.ends_run:
            self._run.snapshots.save(self._run.position)


class Stage(Hook):
    """Says what a stage of the recipe changes when it begins, and when a run continues in it.

    Args:
        changes: in words, after so many epochs.
    """

    def __init__(self, run: Run, changes: Callable[[int], str]) -> None:
        self._run, self._changes, self._told = run, changes, ""

    def before_first_step(self) -> None:
        position = self._run.position
        if position.step < len(self._run.rates):
            self._tell(position.step // position.steps_per_epoch)

    def after_step(self, now: Moment) -> None:
        if now.ends_epoch and not now.ends_run:
            self._tell(now.epoch)

    def _tell(self, epochs: int) -> None:
        changes = self._changes(epochs)
        if changes != self._told:
            self._run.progress.line(f"from epoch {epochs + 1} on: {changes}")
        self._told = changes


class Curves(Hook):
    """Draws curves.png at the ends of epochs and of the run."""

    def __init__(self, run: Run) -> None:
        self._records = run.records

    def after_step(self, now: Moment) -> None:
        if now.ends_epoch:
            self._records.draw()

    def at_end(self) -> None:
        self._records.close()


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list instead of dying at once; a second one ends the process as usual."""
    received: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, handlers[signal.Signals(number)])
        log.info("stopping after this step or evaluation; once more stops at once, without saving")

    try:
        for number in handlers:
            signal.signal(number, handle)
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
