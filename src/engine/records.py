"""The record of a training run: metrics.jsonl, its curves as a picture, TensorBoard where it is installed."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from src.files import write_text
from src.visual import plot_curves

log = logging.getLogger("pose")


class Records:
    """Appends one JSON object a line to metrics.jsonl; each holds the `step` it belongs to, counted over the run.

    Args:
        folder: where metrics.jsonl, curves.png and the TensorBoard events go.
        start_step: records of later steps, left by an interrupted run, are dropped.
    """

    def __init__(self, folder: Path, start_step: int) -> None:
        self._path, self._picture = folder / "metrics.jsonl", folder / "curves.png"
        lines = self._path.read_text(encoding="utf-8").splitlines() if start_step and self._path.is_file() else []
        self._records = [r for r in map(_parse, lines) if r and r["step"] <= start_step]
        write_text(self._path, "".join(json.dumps(r) + "\n" for r in self._records))
        self._board = None
        try:
            from tensorboardX import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start_step)
        except ImportError:
            pass

    def evaluated(self, step: int) -> bool:
        """Whether an evaluation after this step is recorded."""
        return any(r["step"] == step and "AP" in r for r in self._records)

    def add(self, step: int, values: dict[str, float]) -> None:
        """Append a record."""
        record = {"step": step, **values}
        self._records.append(record)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def draw(self) -> None:
        """Draw loss and AP over steps into curves.png."""
        if self._records:
            plot_curves(self._records, self._picture)

    def close(self) -> None:
        """Draw a last time and close TensorBoard's file."""
        self.draw()
        if self._board is not None:
            self._board.close()


def _parse(line: str) -> dict | None:
    try:
        record = json.loads(line)
    except json.JSONDecodeError:  # the line being written when the run was killed
        return None
    return record if isinstance(record, dict) and "step" in record else None
