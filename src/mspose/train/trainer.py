"""Training: epochs of steps, logs, checkpoints, evaluation, exact resume."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mspose.checkpoints.runs import newest_whole, traces
from mspose.config.schema import Config
from mspose.config.text import save_config
from mspose.data.loader import BadImages, Plan, train_batches
from mspose.errors import PoseError, UsageError
from mspose.files import check_writable, file_fault
from mspose.methods.evaluator import Evaluator
from mspose.networks import build_model, find_network, method_of
from mspose.outputs import check_run_folder, check_targets
from mspose.runtime.device import Runtime, start
from mspose.runtime.progress import Progress
from mspose.runtime.ranks import broadcast, launched
from mspose.runtime.results import locked
from mspose.train.hooks import (
    Checkpoint,
    Curves,
    EpochTime,
    Evaluate,
    Hook,
    Log,
    Moment,
    Run,
    Stage,
    StopAtBadLoss,
    StopOnSignal,
    stop_signals,
)
from mspose.train.performance import measure, report_files
from mspose.train.records import Records
from mspose.train.schedule import learning_rates

if TYPE_CHECKING:
    from mspose.train.snapshots import Position

log = logging.getLogger("pose")


def train(config: Config) -> None:
    """What train.py does: train the configured network."""
    with locked(check_writable(config.runtime.output), "train"):
        Trainer(config).run()


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
        self.ranks = launched()
        # Rank 0 alone: another host need not have the checkpoint.
        self.resume_from = self._resume_path() if self.ranks.is_first else None
        continues = bool(self.resume_from or (config.train.resume and not self.ranks.is_first))
        for key, path in (("model.pretrained", config.model.pretrained), ("train.init_from", config.train.init_from)):
            fault = file_fault(path) if path and not continues else ""
            if fault:
                raise PoseError(f"{key}: {path} {fault}")
        self.measures = config.train.performance_steps > 0
        if self.measures and config.train.resume:
            raise UsageError("train.performance_steps measures a run from its start: leave out train.resume")
        is_here = self.resume_from and self.resume_from.resolve().parent == self.folder.resolve()
        held = traces(self.folder) if self.ranks.is_first else []
        if held and config.train.resume != "auto" and not is_here and not self.measures:
            raise UsageError(
                f"{self.folder} holds a run already ({held[0].name}): train.resume=auto continues it, output=DIR "
                "starts another one"
            )
        if self.measures:
            check_targets(config, *report_files(self.folder))
        else:
            check_run_folder(config, self.folder)
        self.network_entry = find_network(config.model.name)
        self.method = method_of(config)
        self.dataset = self.method.training_set()
        # Refuses a batch that is larger than the data.
        Plan(len(self.dataset), config.train.batch_size, world=self.ranks.world)
        self.evaluator = self._build_evaluator() if config.train.eval_epochs and not self.measures else None

    def _build_evaluator(self) -> Evaluator:
        try:
            # Annotated boxes: quick, and no detections are needed to follow a run.
            evaluator = Evaluator(self.method, annotated_boxes=True)
            if not evaluator.annotations.is_annotated:
                raise PoseError(f"nobody is annotated in the evaluation set: {evaluator.annotations.path}")
            return evaluator
        except PoseError as error:
            raise _without_evaluation(error) from error

    def _check_pictures(self, evaluator: Evaluator) -> None:
        try:
            evaluator.check_pictures(self.ranks)
        except PoseError as error:
            raise _without_evaluation(error) from error

    def run(self) -> None:
        """Train to the last epoch, or measure the speed of `train.performance_steps` steps.

        Raises:
            Stopped: Ctrl-C or SIGTERM; a checkpoint has been written.
            PoseError: too many unreadable pictures, a loss that is no number, a checkpoint that does not fit.
        """
        runtime = start(self.config.runtime)
        if self.evaluator:  # not after hours, at the first evaluation
            self._check_pictures(self.evaluator)
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
        with stop_signals() as received, self._progress() as progress:
            hooks = self._hooks(records, progress, received)
            try:
                if position.step:  # a run that continues in another folder has a checkpoint there from the start
                    self.snapshots.save(position)
                for hook in hooks:
                    hook.before_first_step()
                self._loop(bad_images, progress, hooks)
            finally:
                for hook in hooks:
                    hook.at_end()
        if len(bad_images):
            log.warning(f"warning: {len(bad_images)} images could not be read and were skipped")
        best = f"best AP {position.best_ap:.4f} in {self.folder / 'best.ckpt'}; " if self.evaluator else ""
        log.info(f"done: {best}last weights in {self.folder / 'last.ckpt'}")

    def _hooks(self, records: Records, progress: Progress, received: list[int]) -> list[Hook]:
        """What is done beside the steps, in this order."""
        run = Run(
            self.config.train,
            self.folder,
            self.step,
            self.rates,
            self.position,
            self.snapshots,
            records,
            progress,
            self.ranks,
            received,
        )
        hooks: list[Hook] = [Log(run, self.network_entry.loss_line), StopAtBadLoss(), EpochTime(run), StopOnSignal(run)]
        if self.evaluator:
            hooks.append(Evaluate(run, self.evaluator, self.forward))  # a checkpoint knows the best AP so far
        return [*hooks, Checkpoint(run), Curves(run), Stage(run, self.method.training_stage)]

    def _loop(self, bad_images: BadImages, progress: Progress, hooks: Sequence[Hook]) -> None:
        """The steps from the current position to the last one."""
        import mindspore as ms

        per_epoch = self.plan.steps_per_epoch
        with closing(self._batches(self.position.step, bad_images)) as batches:
            begin = time.perf_counter()
            for batch in batches:
                loss = self.step(*map(ms.Tensor.from_numpy, batch))
                self.position.step += 1
                progress.advance(1)
                now = Moment(self.position.step, per_epoch, self.total_steps, loss, begin)
                for hook in hooks:
                    hook.after_step(now)
                begin = time.perf_counter()

    def _build(self, runtime: Runtime) -> None:
        """Network, training step and position; these import MindSpore."""
        from mspose.backends.checkpoint import MindSporeBackend
        from mspose.checkpoints.initial import load_backbone, load_weights
        from mspose.models.drop_path import follow_steps
        from mspose.models.layers import synchronize_batch_norm
        from mspose.train.snapshots import Position, Snapshots
        from mspose.train.step import TrainStep

        config, train, ranks = self.config, self.config.train, runtime.ranks
        self._agree()
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
            log.info(load_backbone(self.network, config.model.pretrained, config))
        if train.init_from and not self.resume_from:
            log.info(load_weights(self.network, config))
        adapted = runtime.adapt(self.network)
        if train.sync_batch_norm and ranks.world > 1:
            synchronize_batch_norm(self.network, ranks.world)
        self.step = TrainStep(adapted, self.network_entry.loss(), self.rates, config, ranks.world)
        follow_steps(self.network, self.step.optimizer.global_step, config.runtime.seed, ranks.rank)
        self.forward = MindSporeBackend(adapted, self.method.any_size)
        self.snapshots = Snapshots(self.folder, self.step, config, ranks.is_first)
        self.position = Position(0, self.plan.steps_per_epoch)
        if self.resume_from:
            self.position, source = self._resume_together(self.resume_from)
            log.info(f"resumed from {source} after step {self.position.step} of {self.total_steps}")
        broadcast(self.snapshots.state.values() if self.resume_from else self.step.values, ranks)

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
        with closing(self._batches(0, BadImages(self.dataset.image_count))) as batches:
            measure(batches, self.step, self.total_steps, self.config, runtime, self.folder)

    def _resume_path(self) -> Path | None:
        resume = self.config.train.resume
        if resume == "auto":
            return self._newest()
        fault = file_fault(resume) if resume else ""
        if fault:
            raise PoseError(f"train.resume: checkpoint {fault}: {resume}")
        return Path(resume) if resume else None

    def _newest(self) -> Path | None:
        """Where `train.resume=auto` continues; None: at the beginning."""
        found, held = newest_whole(self.folder), [p for p in traces(self.folder) if p.suffix == ".ckpt"]
        last = self.folder / "last.ckpt"
        reasons = "; ".join(found.refused.values()) or f"{last} is not there"
        if found.path is None and held:
            raise PoseError(
                f"train.resume=auto: {self.folder} holds {held[0].name}, and nothing to continue from: {reasons}; "
                "output=DIR starts another run, train.init_from=FILE with the weights of a checkpoint"
            )
        if found.path is None:
            log.info(f"train.resume=auto: {last} is not there, starting from the beginning")
        elif found.path != last:
            log.warning(f"note: {reasons}; train.resume=auto takes {found.path}")
        return found.path

    def _agree(self) -> None:
        """Let all ranks continue where rank 0 does, which has looked before any of them wrote."""
        first = self.ranks.gather_json(str(self.resume_from or ""))[0]
        self.resume_from = Path(first) if first else None

    def _resume_together(self, path: Path) -> tuple[Position, Path]:
        """Let rank 0 read a checkpoint, and tell the others its position; its state is broadcast later."""
        from mspose.train.snapshots import Position

        position, source = self._resume(path) if self.ranks.is_first else (self.position, path)
        told, name = self.ranks.gather_json([asdict(position), str(source)])[0]
        return (position, source) if self.ranks.is_first else (Position(**told), Path(name))

    def _resume(self, path: Path) -> tuple[Position, Path]:
        """Take over the state of a checkpoint; with `auto` of an older one where it does not hold all of it.

        Returns:
            Where the run stands, and which checkpoint it was.
        """
        tried, first = [path], None
        while True:
            try:
                return self.snapshots.resume(tried[-1], self.plan.steps_per_epoch), tried[-1]
            except PoseError as error:
                first = first or error
                older = newest_whole(self.folder, tried).path if self.config.train.resume == "auto" else None
                if older is None:
                    raise first from None
                log.warning(f"note: {error}; train.resume=auto takes {older}")
                tried.append(older)

    def _progress(self) -> Progress:
        return Progress(self.total_steps, "training", "steps", self.position.step, lines=False)


def _without_evaluation(error: PoseError) -> PoseError:
    """The error of an evaluation set, and that training can do without one."""
    return type(error)(f"{error} (train.eval_epochs=0 trains without evaluation)")
