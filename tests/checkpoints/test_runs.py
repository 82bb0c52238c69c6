"""The folder of a training run: which checkpoint a run continues from."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from mspose.checkpoints.ckpt_file import write_ckpt
from mspose.checkpoints.runs import COUNTERS, newest_whole, numbered, position_fault, traces


def checkpoint(path: Path, value: float = 0.0, without: str = "") -> Path:
    names = [name for name in ("weight", *COUNTERS) if name != without]
    write_ckpt({name: np.array([value if name == "weight" else 1], np.float32) for name in names}, path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints whose names and times sort in other orders than training went."""
    for age, name in enumerate(("simplepose-10_2", "simplepose-9_30", "simplepose-10_1", "simplepose-2_30")):
        path = checkpoint(tmp_path / f"{name}.ckpt")
        os.utime(path, (1e9 + age, 1e9 + age))
    os.link(tmp_path / "simplepose-10_2.ckpt", tmp_path / "last.ckpt")
    checkpoint(tmp_path / "best.ckpt", without="state.step")
    (tmp_path / ".last.0123.ckpt").touch()
    (tmp_path / "x-1_2.ckpt.bak").touch()
    return tmp_path


def test_checkpoints_are_ordered_by_their_place_in_training(folder: Path) -> None:
    assert [path.stem for path in numbered(folder)] == [f"simplepose-{n}" for n in ("2_30", "9_30", "10_1", "10_2")]
    assert numbered(folder, "fastpose") == []


def test_last_is_taken_where_it_is_whole(folder: Path) -> None:
    assert newest_whole(folder).path == folder / "last.ckpt"


def test_newest_numbered_one_stands_in_for_last(folder: Path) -> None:
    (folder / "last.ckpt").unlink()
    assert newest_whole(folder).path == folder / "simplepose-10_2.ckpt"


@pytest.mark.parametrize("damage", ["cut", "empty", "not finite", "weights only", *COUNTERS])
def test_damaged_ones_are_passed_over_and_named(folder: Path, damage: str) -> None:
    last = folder / "last.ckpt"
    if damage in ("cut", "empty"):  # in place, so that the other name of the file is damaged too
        os.truncate(last, last.stat().st_size // 2 if damage == "cut" else 0)
        names = ["last.ckpt", "simplepose-10_2.ckpt"]
    else:
        last.unlink()
        value = np.nan if damage == "not finite" else 0.0
        checkpoint(last, value, without="state.step" if damage == "weights only" else damage)
        (folder / "simplepose-10_2.ckpt").unlink()
        names = ["last.ckpt"]
    choice = newest_whole(folder)
    assert choice.path == folder / "simplepose-10_1.ckpt"
    assert [path.name for path in choice.refused] == names
    assert "last.ckpt" in choice.refused[last]


@pytest.mark.parametrize("value", [np.nan, np.inf, -2, 2.5, 2**40, [1, 1], [], True], ids=repr)
@pytest.mark.parametrize("name", COUNTERS)
def test_no_run_continues_from_an_impossible_place(name: str, value: object) -> None:
    values = {"weight": np.zeros(1, np.float32), **{counter: np.array(1) for counter in COUNTERS}}
    assert position_fault(values) == ""
    assert name in position_fault({**values, name: np.array(value)})
    assert (name == "state.steps_per_epoch") == (name in position_fault({**values, name: np.array(0)}))


def test_files_that_were_tried_are_left_out(folder: Path) -> None:
    assert newest_whole(folder, [folder / "last.ckpt"]).path == folder / "simplepose-10_1.ckpt"


def test_no_whole_checkpoint(folder: Path) -> None:
    for path in (*numbered(folder), folder / "last.ckpt"):
        path.unlink(missing_ok=True)
    assert newest_whole(folder).path is None


def test_whatever_is_left_of_a_run_shows_it(folder: Path, tmp_path: Path) -> None:
    assert {path.name for path in traces(folder)} == {
        "last.ckpt",
        "best.ckpt",
        *(f"simplepose-{n}.ckpt" for n in ("2_30", "9_30", "10_1", "10_2")),
    }
    other = tmp_path / "other"
    assert traces(other) == []
    other.mkdir()
    (other / "metrics.jsonl").write_text("{}\n")
    assert traces(other) == [other / "metrics.jsonl"]
