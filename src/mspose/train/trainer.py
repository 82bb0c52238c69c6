"""Training: epochs of steps, logs, checkpoints, evaluation, exact resume."""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np

from mspose.config.builder import save_config
from mspose.config.schema import Config
from mspose.data.loader import BadImages, Plan, train_batches
from mspose.errors import PoseError, UsageError
from mspose.files import check_writable
from mspose.methods.evaluator import Evaluator
from mspose.networks import build_model, find_network, method_of
from mspose.runtime.device import Runtime, start
from mspose.runtime.progress import Progress, format_seconds
from mspose.runtime.ranks import broadcast, launched
from mspose.train.performance import measure
from mspose.train.records import Records
from mspose.train.schedule import learning_rates

log = logging.getLogger("pose")


def train(config: Config) -> None:
    """What train.py does: train the configured network."""
    Trainer(config).run()


class Stopped(PoseError):
    """The run was asked to stop and has saved where it was."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class Trainer:
    """Trains the configured network on the configured data; `run` does it all.

    Everything that can be wrong with files and keys is found here, before MindSpore is imported.

    Raises:
        PoseError, UsageError: unusable data, unwritable output folder, batch larger than the data.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        if config.runtime.ckpt:
            raise UsageError(
                "training does not read runtime.ckpt (--ckpt): train.init_from=FILE starts from its "
                "weights, train.resume=FILE continues its run"
            )
        self.folder = check_writable(config.runtime.output)
        self.resume_from = self._resume_path()
        for key, path in (("model.pretrained", config.model.pretrained), ("train.init_from", config.train.init_from)):
            if path and not self.resume_from and not Path(path).is_file():
                raise PoseError(f"{key}: file not found: {path}")
        self.measures = config.train.performance_steps > 0
        if self.measures and config.train.resume:
            raise UsageError("train.performance_steps measures a run from its start: leave out train.resume")
        continues = self.resume_from and self.resume_from.resolve().parent == self.folder.resolve()
        if (self.folder / "last.ckpt").exists() and not continues and not self.measures:
            raise UsageError(
                f"{self.folder} holds a run already: train.resume=auto continues it, output=DIR starts another one"
            )
        self.network_entry = find_network(config.model.name)
        self.method = method_of(config)
        self.dataset = self.method.training_set()
        self.ranks = launched()
        # Refuses a batch that is larger than the data.
        Plan(len(self.dataset), config.train.batch_size, world=self.ranks.world)
        self.evaluator = self._build_evaluator() if config.train.eval_epochs and not self.measures else None

    def _build_evaluator(self) -> Evaluator:
        try:
            # Annotated boxes: quick, and no detections are needed to follow a run.
            return Evaluator(self.method, annotated_boxes=True)
        except PoseError as error:
            error.args = (f"{error} (train.eval_epochs=0 trains without evaluation)",)
            raise

    def run(self) -> None:
        """Train to the last epoch, or measure the speed of `train.performance_steps` steps.

        Raises:
            Stopped: Ctrl-C or SIGTERM; a checkpoint has been written.
            PoseError: too many unreadable pictures, a loss that is no number, a checkpoint that does not fit.
        """
        runtime = start(self.config.runtime)
        self._build(runtime)
        if self.measures:
            self._measure(runtime)
        else:
            self._run(runtime)

    def _run(self, runtime: Runtime) -> None:
        config, position = self.config, self.position
        records = Records(self.folder, position.step, position.scale, self.ranks.is_first)
        if (self.folder / "best.ckpt").is_file():  # an evaluation may have come after the checkpoint
            position.best_ap = max(position.best_ap, records.best_ap())
        if position.step >= self.total_steps:
            log.warning(
                f"note: {position.step} of {self.total_steps} steps are done already; a larger train.epochs trains on"
            )
        if self.ranks.is_first:
            save_config(config, self.folder / "config.yaml")
        log.info(
            f"{config.model.name} on {self.ranks.world} x {runtime.device}, {self.plan.steps_per_epoch} steps an "
            f"epoch, {config.train.epochs} epochs, amp {config.runtime.amp}, output in {self.folder}"
        )
        bad_images = BadImages(self.dataset.image_count)
        batches = self._batches(position.step, bad_images)
        with _stop_signals() as stop, self._progress() as progress:
            try:
                if position.step:  # a run that continues in another folder has a checkpoint there from the start
                    self.snapshots.save(position)
                self._catch_up(records)
                self._train(batches, records, progress, stop)
            finally:
                batches.close()
                records.close()
        if len(bad_images):
            log.warning(f"warning: {len(bad_images)} images could not be read and were skipped")
        best = f"best AP {self.position.best_ap:.4f} in {self.folder / 'best.ckpt'}; " if self.evaluator else ""
        log.info(f"done: {best}last weights in {self.folder / 'last.ckpt'}")

    def _build(self, runtime: Runtime) -> None:
        """Network, training step and position; these import MindSpore."""
        from mspose.backends.checkpoint import MindSporeBackend
        from mspose.checkpoints.initial import load_backbone, load_weights
        from mspose.models.layers import synchronize_batch_norm
        from mspose.train.snapshots import Position, Snapshots
        from mspose.train.step import TrainStep

        config, train, ranks = self.config, self.config.train, runtime.ranks
        self.plan = Plan(
            len(self.dataset), train.batch_size, config.runtime.seed, train.shuffle, ranks.rank, ranks.world
        )
        self.total_steps = train.performance_steps or train.epochs * self.plan.steps_per_epoch
        # Only a measurement may be shorter or longer than the schedule.
        self.rates = np.resize(learning_rates(train, self.plan.steps_per_epoch), self.total_steps)
        if train.scale_lr:
            self.rates *= ranks.world
        self.network = build_model(config)
        if config.model.pretrained and not self.resume_from:
            log.info(load_backbone(self.network, config.model.pretrained))
        if train.init_from and not self.resume_from:
            log.info(load_weights(self.network, config))
        adapted = runtime.adapt(self.network)
        if train.sync_batch_norm and ranks.world > 1:
            synchronize_batch_norm(self.network, ranks.world)
        self.step = TrainStep(adapted, self.network_entry.loss(), self.rates, config, ranks.world)
        self.forward = MindSporeBackend(adapted, self.method.any_size)
        self.snapshots = Snapshots(self.folder, self.step, config, ranks.is_first)
        self.position = Position(0, self.plan.steps_per_epoch)
        if self.resume_from:
            self.position = self.snapshots.resume(self.resume_from, self.plan.steps_per_epoch)
            log.info(f"resumed from {self.resume_from} after step {self.position.step} of {self.total_steps}")
        broadcast(self.step.values, ranks)

    def _batches(self, start_step: int, bad_images: BadImages) -> Generator[tuple[np.ndarray, ...], None, None]:
        data = self.config.data
        return train_batches(
            self.dataset.train_sample,
            self.dataset.train_shapes,
            self.plan,
            start_step,
            self.total_steps,
            data.workers,
            data.prefetch,
            bad_images,
        )

    def _measure(self, runtime: Runtime) -> None:
        batches = self._batches(0, BadImages(self.dataset.image_count))
        try:
            measure(batches, self.step, self.total_steps, self.config, runtime, self.folder)
        finally:
            batches.close()

    def _resume_path(self) -> Path | None:
        resume = self.config.train.resume
        if not resume:
            return None
        path = self.folder / "last.ckpt" if resume == "auto" else Path(resume)
        if path.is_file():
            return path
        if resume != "auto":
            raise PoseError(f"train.resume: checkpoint not found: {path}")
        log.info(f"train.resume=auto: {path} is not there, starting from the beginning")
        return None

    def _progress(self) -> Progress:
        return Progress(self.total_steps, "training", "steps", self.position.step, lines=False)

    def _train(
        self, batches: Iterator[tuple[np.ndarray, ...]], records: Records, progress: Progress, stop: list[int]
    ) -> None:
        import mindspore as ms

        train, position, per_epoch = self.config.train, self.position, self.plan.steps_per_epoch
        losses: list[ms.Tensor] = []
        mark = epoch_mark = time.perf_counter()
        epoch_steps = 0
        for batch in batches:
            losses.append(self.step(*map(ms.Tensor.from_numpy, batch)))
            position.step += 1
            epoch_steps += 1
            epoch, in_epoch = (position.step - 1) // per_epoch + 1, (position.step - 1) % per_epoch + 1
            ended = in_epoch == per_epoch
            progress.advance(1)
            asked = stop[0] if stop else 0
            stopping = asked if self.ranks.world == 1 else 0
            if position.step % train.log_steps == 0 or position.step == self.total_steps:
                # Only here does Python wait for the device; in between it runs ahead. And only here do several ranks
                # agree to stop: one that left alone would keep the others waiting.
                loss = float(np.mean([float(value.asnumpy()) for value in losses]))
                told = np.concatenate(self.ranks.gather(np.array([[loss, asked]])))
                loss, stopping = float(told[:, 0].mean()), int(told[:, 1].max())
                milliseconds = (time.perf_counter() - mark) / len(losses) * 1e3
                left = format_seconds((self.total_steps - position.step) * milliseconds / 1e3)
                rate = float(self.rates[position.step - 1])
                line = self.network_entry.loss_line(epoch, in_epoch, loss)
                progress.line(f"{line}, {milliseconds:.1f} ms/step, lr {rate:.3g}, {left} left")
                if not math.isfinite(loss):
                    raise PoseError(
                        f"the loss is {loss} at epoch {epoch} step {in_epoch}: lower train.lr, raise "
                        "train.warmup_steps, or look at the annotations"
                    )
                records.add(position.step, {"epoch": epoch, "loss": loss, "lr": rate, "ms_per_step": milliseconds})
                losses, mark = [], time.perf_counter()
            if ended and per_epoch >= train.log_steps:
                total = (time.perf_counter() - epoch_mark) * 1e3
                progress.line(f"epoch time: {total:.3f} ms, per step time: {total / epoch_steps:.3f} ms")
            paused = time.perf_counter()
            if not stopping:
                self._after_step(epoch, ended, records, progress)
            pause = time.perf_counter() - paused  # saving and evaluating are not part of a step's time
            mark, epoch_mark = mark + pause, epoch_mark + pause
            if ended:
                epoch_mark, epoch_steps = time.perf_counter(), 0
            if stopping:
                self._stop(stopping, epoch, in_epoch)

    def _after_step(self, epoch: int, ended: bool, records: Records, progress: Progress) -> None:
        train, position = self.config.train, self.position
        final = position.step == self.total_steps
        if ended and self.evaluator and (epoch % train.eval_epochs == 0 or final):
            try:
                self._evaluate(epoch, records, progress.line)
            except Exception:
                self.snapshots.save(position)  # a failed evaluation costs no training
                raise
        if self._save_due(ended, epoch):
            self.snapshots.save(position)
        if ended:
            records.draw()

    def _save_due(self, ended: bool, epoch: int) -> bool:
        train, step = self.config.train, self.position.step
        by_epoch = ended and epoch % train.save_epochs == 0
        by_step = train.save_steps > 0 and step % train.save_steps == 0
        return by_epoch or by_step or step == self.total_steps

    def _catch_up(self, records: Records) -> None:
        """Evaluate the resumed weights where the interrupted run would have done so and did not get to it."""
        epoch, rest = divmod(self.position.step, self.plan.steps_per_epoch)
        due = self.position.step == self.total_steps or (
            self.evaluator and epoch and not rest and epoch % self.config.train.eval_epochs == 0
        )
        if due and self.evaluator and self.position.scale == 1 and not records.evaluated(self.position.step):
            self._evaluate(epoch, records, log.info)

    def _evaluate(self, epoch: int, records: Records, say: Callable[[str], None]) -> None:
        assert self.evaluator
        with self._averaged_weights():
            broadcast(self.step.values, self.ranks)  # batch-norm statistics differ
            outcome = self.evaluator.run(self.forward, self.ranks)
            if outcome is None:
                return
            figures = outcome.figures
            say(
                f"epoch: {epoch}, AP: {figures['AP']:.4f}, AP .5: {figures['Ap .5']:.4f}, AR: {figures['AR']:.4f} "
                f"({outcome.instances} {outcome.unit}, {outcome.seconds['wall']:.1f} s)"
            )
            if figures["AP"] > self.position.best_ap:
                self.position.best_ap = figures["AP"]
                self.snapshots.save_best({p.name: p for p in self.network.get_parameters()})
            # Last: a run that is killed before this line evaluates again when it is resumed.
            records.add(self.position.step, {"epoch": epoch, "AP": figures["AP"], "AR": figures["AR"]})

    @contextmanager
    def _averaged_weights(self) -> Iterator[None]:
        """Let the network hold its averaged weights (`train.ema`) for a while."""
        import mindspore as ms

        pairs = list(zip(self.step.values, self.step.averaged))
        kept = [value.asnumpy().copy() for value, _ in pairs]
        for value, mean in pairs:
            value.set_data(ms.Tensor(mean.asnumpy()))
        try:
            yield
        finally:
            for (value, _), old in zip(pairs, kept):
                value.set_data(ms.Tensor(old))

    def _stop(self, number: int, epoch: int, in_epoch: int) -> None:
        self.snapshots.save(self.position)
        raise Stopped(
            number,
            f"stopped by {signal.Signals(number).name} after epoch {epoch} step {in_epoch}; saved in "
            f"{self.folder / 'last.ckpt'}, train.resume=auto continues",
        )


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
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
