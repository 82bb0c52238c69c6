"""The record of a training run: metrics.jsonl, its curves as a picture, TensorBoard where it is installed."""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mspose.config.values import LARGEST_NUMBER
from mspose.errors import PoseError
from mspose.files import write_text
from mspose.train.curves import plot_curves

log = logging.getLogger("pose")

DRAW_INTERVAL = 30.0  # seconds


class Records:
    """Appends one JSON object a line to metrics.jsonl; each holds the `step` it belongs to, counted over the run.

    Args:
        folder: where metrics.jsonl, curves.png and the TensorBoard events go.
        start_step: records of later steps, left by an interrupted run, are dropped.
        scale: the steps of earlier records are multiplied by this (a run resumed with other batches).
        writes: whether files are written; false for all but one of the processes of a run.
    """

    def __init__(self, folder: Path, start_step: int, scale: float = 1.0, writes: bool = True) -> None:
        self._path, self._picture = folder / "metrics.jsonl", folder / "curves.png"
        lines = []
        if self._path.is_file() and (start_step or writes):
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        parsed = [_parse(line) for line in lines]
        odd = sum(record is None for record in parsed[:-1])  # the last one may have been cut
        if odd and writes:
            log.warning(f"warning: {odd} lines of {self._path} are no records of training: they are left out")
        records = [{**r, "step": round(r["step"] * scale)} for r in parsed if r]
        self._records = [r for r in records if r["step"] <= start_step]
        self._drawn = time.monotonic()
        self._board, self._writes, self._behind = None, writes, False
        if not writes:
            return
        if records and not start_step:
            self._set_aside()
        write_text(self._path, _lines(self._records))
        try:
            from tensorboardX import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start_step + 1)
        except ImportError:
            pass
        except OSError as error:
            log.warning(f"warning: no TensorBoard events: {folder / 'tensorboard'}: {error.strerror}")

    def _set_aside(self) -> None:
        """Keep the records of a run that starts again, having left no checkpoint, under another name."""
        free = (self._path.with_name(f"metrics_{n}.jsonl") for n in itertools.count(1))
        aside = next(path for path in free if not path.exists())
        self._path.rename(aside)
        log.info(f"note: the records of a run without a checkpoint are in {aside} now")

    def evaluated(self, step: int) -> bool:
        """Whether an evaluation after this step is recorded."""
        return any(r["step"] == step and "AP" in r for r in self._records)

    def best_ap(self) -> float:
        """The highest recorded AP; -1 without any."""
        return max((r["AP"] for r in self._records if "AP" in r), default=-1.0)

    def add(self, step: int, values: dict[str, float]) -> None:
        """Append a record. One that cannot be written waits for the next, and ends no run."""
        record = {"step": step, **values}
        self._records.append(record)
        if not self._writes:
            return
        self._write(record)
        if self._board is not None:
            try:
                for name, value in values.items():
                    self._board.add_scalar(name, value, step)
            except OSError as error:
                self._board = None
                log.warning(f"warning: no more TensorBoard events: {error.strerror}")

    def _write(self, record: dict) -> None:
        try:
            if self._behind:  # whole again: the last line may have been cut
                write_text(self._path, _lines(self._records))
            else:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(_lines([record]))
            self._behind = False
        except (OSError, PoseError) as error:
            if not self._behind:
                reason = f"cannot write {self._path}: {error.strerror}" if isinstance(error, OSError) else str(error)
                log.warning(f"warning: {reason}; training goes on, and the records are written once that is possible")
            self._behind = True

    def draw(self, now: bool = False) -> None:
        """Draw loss and AP over steps into curves.png, at most once in `DRAW_INTERVAL` unless it must be `now`."""
        if self._writes and self._records and (now or time.monotonic() - self._drawn > DRAW_INTERVAL):
            self._drawn = time.monotonic()
            try:
                plot_curves(self._records, self._picture)
            except PoseError as error:  # a picture that cannot be written ends no run
                log.warning(f"warning: {error}")

    def close(self) -> None:
        """Draw a last time and close TensorBoard's file."""
        if self._behind:
            self._write(self._records[-1])
        if self._behind:
            log.warning(f"warning: {self._path} lacks the last records")
        self.draw(now=True)
        if self._board is not None:
            self._board.close()


def _parse(line: str) -> dict | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # the line being written when the run was killed
        return None
    is_record = isinstance(record, dict) and isinstance(record.get("step"), int)
    return record if is_record and all(map(_is_number, record.values())) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST_NUMBER


def _lines(records: Sequence[Mapping[str, object]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)
