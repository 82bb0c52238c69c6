"""The folder of a training run: its checkpoints in order of training, and the one from which the run continues.

last.ckpt is a hard link to the newest numbered checkpoint. A copy would cost the time and room of a second write at
every save, and protect from little: checkpoints are moved into place and never written to, so what damages one is the
disk, which holds the copy too. The next older checkpoint is the fallback instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from mspose.checkpoints.ckpt_file import read_ckpt
from mspose.errors import PoseError
from mspose.runtime.numbered import place

# What a checkpoint holds besides parameters; written last, so that one that has them has everything.
COUNTERS = ("state.step", "state.steps_per_epoch", "state.best_ap")
_MOST_STEPS = 2**31 - 1  # the optimizer counts them in 32 bits


@dataclass(frozen=True)
class Choice:
    """Which checkpoint `train.resume=auto` reads.

    Attributes:
        path: None: there is none.
        refused: newer ones that are not whole, and why.
    """

    path: Path | None
    refused: dict[Path, str] = field(default_factory=dict)


def newest_whole(folder: Path, without: Sequence[Path] = ()) -> Choice:
    """The newest checkpoint in a folder from which a run can continue: last.ckpt, else the newest numbered one.

    Args:
        without: files that have been tried already.
    """
    refused: dict[Path, str] = {}
    reasons: dict[tuple[int, int], str] = {}
    for path in (folder / "last.ckpt", *reversed(numbered(folder))):
        if not path.is_file() or any(path.samefile(other) for other in without):
            continue
        status = path.stat()
        file = status.st_dev, status.st_ino  # two names of one file are read once
        if file not in reasons:
            reasons[file] = _fault(path, status.st_mtime_ns, status.st_size)
        if not reasons[file]:
            return Choice(path, refused)
        refused[path] = reasons[file]
    return Choice(None, refused)


def numbered(folder: Path, network: str = "") -> list[Path]:
    """The checkpoints NETWORK-EPOCH_STEP.ckpt of a folder in order of training, of any network if none is named."""
    found = [path for path in _visible(folder) if path.suffix == ".ckpt" and place(path.name)]
    return sorted(
        (path for path in found if path.stem.rpartition("-")[0] == network or not network),
        key=lambda path: place(path.name) or (0, 0),
    )


def traces(folder: Path) -> list[Path]:
    """What shows that a folder holds a training run: checkpoints, and records if there are any."""
    checkpoints = sorted(path for path in _visible(folder) if path.suffix == ".ckpt")
    records = folder / "metrics.jsonl"
    return [*checkpoints, *([records] if records.is_file() and records.stat().st_size else [])]


def _visible(folder: Path) -> Iterator[Path]:
    """Entries of a folder that is there, less what is being written."""
    try:
        entries = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return iter(())
    except OSError as error:
        raise PoseError(f"cannot look into {folder}: {error.strerror}") from error
    return (path for path in entries if not path.name.startswith("."))


@lru_cache(maxsize=64)
def _fault(path: Path, modified: int, size: int) -> str:
    """Why a run cannot continue from a file; empty if it can."""
    try:
        values = read_ckpt(path)
    except PoseError as error:
        return str(error)
    reason = position_fault(values)
    return f"{path}{reason}" if reason else ""


def position_fault(values: Mapping[str, np.ndarray]) -> str:
    """Why no run can continue from the values of a checkpoint, to be put behind its name; empty if one can."""
    missing = [name for name in COUNTERS if name not in values]
    if missing:
        return f" lacks {missing[0]}"
    step, steps_per_epoch, best_ap = (values[name] for name in COUNTERS)
    if not (_is_one(step, 0, _MOST_STEPS, 1) and _is_one(steps_per_epoch, 1, _MOST_STEPS, 1)):
        return ": state.step and state.steps_per_epoch are no position in training"
    if not _is_one(best_ap, -1, 1):
        return ": state.best_ap is no AP"
    bad = [name for name, value in values.items() if value.dtype.kind == "f" and not np.isfinite(value).all()]
    return f": {bad[0]} is not finite" if bad else ""


def _is_one(value: np.ndarray, least: float, most: float, unit: float = 0.0) -> bool:
    """Whether an array is a single number in a range, and a multiple of the unit if there is one; NaN is in none."""
    if value.size != 1 or value.dtype.kind not in "iuf":
        return False
    return least <= value.item() <= most and not (unit and value.item() % unit)
