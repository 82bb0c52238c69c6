"""Checkpoints of a training run: what is in them, which are kept, and how a run continues from one."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
import numpy as np

from mspose.checkpoints.beside import description_file, save_description
from mspose.checkpoints.ckpt_file import read_ckpt
from mspose.checkpoints.io import save
from mspose.checkpoints.runs import COUNTERS, numbered, position_fault
from mspose.config.schema import Config
from mspose.errors import PoseError
from mspose.files import atomic_path
from mspose.runtime.numbered import place
from mspose.train.step import TrainStep

log = logging.getLogger("pose")


@dataclass
class Position:
    """How far a run is.

    Attributes:
        step: steps done, over all epochs.
        best_ap: of the evaluations so far; -1: none.
        scale: steps an epoch now, divided by those before the run was resumed.
    """

    step: int
    steps_per_epoch: int
    best_ap: float = -1.0
    scale: float = 1.0


def _place(position: Position) -> tuple[int, int]:
    """Epoch and step in it, both from 1, as they are in the name of a checkpoint."""
    epoch, step = divmod(position.step - 1, position.steps_per_epoch)
    return epoch + 1, step + 1


class Snapshots:
    """Writes NAME-EPOCH_STEP.ckpt, last.ckpt and best.ckpt into a folder, each with its input conventions as YAML.

    Numbered checkpoints and last.ckpt hold everything a run needs to continue; best.ckpt holds weights only.

    Args:
        writes: whether files are written; false for all but one of the processes of a run.

    Attributes:
        state: everything a run needs to continue, but its position.
    """

    def __init__(self, folder: Path, step: TrainStep, config: Config, writes: bool = True) -> None:
        self._folder, self._train_step, self._config, self._writes = folder, step, config, writes
        # The learning rates follow from the configuration, so that a resumed run may change its schedule.
        self.state = {
            p.name: p for p in (*step.get_parameters(), *step.scaler_state) if not p.name.startswith("learning_rate")
        }
        self._saved_step = -1

    def save(self, position: Position) -> None:
        """Write the numbered checkpoint and last.ckpt, once a step; remove the oldest beyond `train.keep`."""
        if position.step != self._saved_step:
            self._write(position)
        if self._writes:
            self._prune(position)  # also what a run that was killed just before had left

    def _write(self, position: Position) -> None:
        bad = [name for name, p in self.state.items() if p.dtype == ms.float32 and not np.isfinite(p.asnumpy()).all()]
        if bad:  # such weights must not replace good ones
            raise PoseError(
                f"{bad[0]} is no longer finite after step {position.step}, nothing was saved: lower "
                "train.lr, raise train.warmup_steps, or look at the annotations"
            )
        if not self._writes:
            return
        epoch, step = _place(position)
        path = self._folder / f"{self._config.model.name}-{epoch}_{step}.ckpt"
        counters = {"state.step": position.step, "state.steps_per_epoch": position.steps_per_epoch}
        values = {name: ms.Tensor(np.array(value, np.int64)) for name, value in counters.items()}
        values["state.best_ap"] = ms.Tensor(np.array(position.best_ap, np.float64))
        save({**self.state, **values}, path)
        save_description(self._config, description_file(path))
        self._link(path, self._folder / "last.ckpt")
        save_description(self._config, self._folder / "last.yaml")
        self._saved_step = position.step

    def save_best(self, weights: dict[str, ms.Tensor]) -> None:
        """Write best.ckpt with the weights that were evaluated."""
        if not self._writes:
            return
        save(weights, self._folder / "best.ckpt")
        save_description(self._config, self._folder / "best.yaml")

    def resume(self, path: Path, steps_per_epoch: int) -> Position:
        """Put the state of a checkpoint into the training step and return where it stands.

        A run that continues with other batches (another batch size or number of devices) starts at the beginning of
        the epoch that was interrupted.

        Raises:
            PoseError: not a training checkpoint of this network.
        """
        values = read_ckpt(path)
        missing = [name for name in (*self.state, *COUNTERS) if name not in values]
        if missing:
            reason = "it holds weights only" if "state.step" in missing else f"it lacks {missing[0]}"
            raise PoseError(f"cannot resume from {path}: {reason}; train.init_from starts from its weights")
        other = [name for name, p in self.state.items() if tuple(p.shape) != tuple(values[name].shape)]
        if other:
            raise PoseError(f"cannot resume from {path}: {other[0]} has another shape than in the configured network")
        fault = position_fault(values)
        if fault:
            raise PoseError(f"cannot resume from {path}{fault}")
        for name, parameter in self.state.items():
            # A copy: MindSpore 2.7 takes no views into files, which are read-only.
            parameter.set_data(ms.Tensor(np.array(values[name]), parameter.dtype))
        step, before = int(values["state.step"].item()), int(values["state.steps_per_epoch"].item())
        if before != steps_per_epoch:
            epoch = step // before
            step = epoch * steps_per_epoch
            log.warning(f"note: {before} steps an epoch before, {steps_per_epoch} now: continuing at epoch {epoch + 1}")
            self.state["global_step"].set_data(ms.Tensor([step], self.state["global_step"].dtype))
        elif (self._folder / "last.ckpt").is_file() and path.samefile(self._folder / "last.ckpt"):
            self._saved_step = step
        best_ap = float(values["state.best_ap"].item()) if (self._folder / "best.ckpt").is_file() else -1.0
        return Position(step, steps_per_epoch, best_ap, scale=steps_per_epoch / before)

    def _prune(self, position: Position) -> None:
        """Remove the oldest, by their place in training: clocks jump, and copies are as old as their copying.

        What lies beyond this position is of a run that was continued from further back. It stays.
        """
        own = numbered(self._folder, self._config.model.name)
        reached = [path for path in own if (place(path.name) or (0, 0)) <= _place(position)]
        for path in reached[: -self._config.train.keep]:
            try:
                path.with_suffix(".yaml").unlink(missing_ok=True)  # first: alone, nothing would remove it
                path.unlink(missing_ok=True)
            except OSError as error:
                log.warning(f"note: {path}, an old checkpoint, cannot be removed: {error.strerror}")

    @staticmethod
    def _link(source: Path, target: Path) -> None:
        """Make `target` the same file as `source`, or a copy where the disk has no hard links."""
        with atomic_path(target) as temporary:
            temporary.unlink()
            try:
                os.link(source, temporary)
            except OSError:
                temporary.write_bytes(source.read_bytes())
