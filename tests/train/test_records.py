"""The record of a run: what survives an interruption, and what is drawn."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import cv2
import pytest

from mspose.train.records import Records
from tests.messages import names


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    """A folder with the records of steps 10, 20 (evaluated) and 30."""
    records = Records(tmp_path, 0)
    records.add(10, {"epoch": 1, "loss": 0.5, "lr": 0.1})
    records.add(20, {"epoch": 2, "loss": 0.25, "lr": 0.1})
    records.add(20, {"epoch": 2, "AP": 0.75, "AR": 0.5})
    records.add(30, {"epoch": 3, "loss": 0.125, "lr": 0.1})
    return tmp_path


def test_each_record_is_on_disk_at_once(tmp_path):
    records = Records(tmp_path, 0)
    records.add(10, {"loss": 0.5})
    assert lines(tmp_path) == [{"step": 10, "loss": 0.5}]
    records.add(20, {"loss": 0.25})
    assert lines(tmp_path) == [{"step": 10, "loss": 0.5}, {"step": 20, "loss": 0.25}]


def test_a_new_run_starts_a_new_record(interrupted):
    Records(interrupted, 0)
    assert lines(interrupted) == []


def test_a_resumed_run_drops_what_it_will_repeat(interrupted):
    records = Records(interrupted, 20)
    assert [line["step"] for line in lines(interrupted)] == [10, 20, 20]
    records.add(30, {"loss": 0.1})
    assert [line["step"] for line in lines(interrupted)] == [10, 20, 20, 30]


def test_resuming_elsewhere_begins_an_empty_record(tmp_path):
    Records(tmp_path / "new", 20).add(30, {"loss": 0.1})
    assert lines(tmp_path / "new") == [{"step": 30, "loss": 0.1}]


@pytest.mark.parametrize("torn", ['{"step": 20, "lo', '{"step"', "5", "null", '"step"', '{"loss": 1}', ""])
def test_torn_last_line(interrupted, torn):
    with (interrupted / "metrics.jsonl").open("a") as file:
        file.write(torn)
    Records(interrupted, 30).add(40, {"loss": 0.1})
    assert [line["step"] for line in lines(interrupted)] == [10, 20, 20, 30, 40]


def test_evaluated(interrupted):
    records = Records(interrupted, 30)
    assert [records.evaluated(step) for step in (10, 20, 30)] == [False, True, False]
    records.add(30, {"epoch": 3, "AP": 0.8})
    assert records.evaluated(30)


def test_an_evaluation_that_will_be_repeated_does_not_count(interrupted):
    assert not Records(interrupted, 10).evaluated(20)


def test_curves_are_drawn_at_the_end(interrupted):
    records = Records(interrupted, 30)
    assert not (interrupted / "curves.png").exists()
    records.close()
    picture = cv2.imread(str(interrupted / "curves.png"))
    assert picture.std() > 5


def test_nothing_recorded_nothing_drawn(tmp_path):
    Records(tmp_path, 0).close()
    assert not (tmp_path / "curves.png").exists()


def test_records_that_cannot_be_written_end_no_run_and_follow_later(interrupted: Path, caplog) -> None:
    records, path = Records(interrupted, 30), interrupted / "metrics.jsonl"
    kept = path.rename(interrupted / "kept")
    path.mkdir()  # root may write to a read-only file
    logging.getLogger("pose").propagate = True
    records.add(40, {"loss": 0.1})
    records.add(50, {"loss": 0.05})
    assert [str(path) in record.getMessage() for record in caplog.records] == [True]  # it is said once
    path.rmdir()
    kept.rename(path)
    records.close()
    assert [r["step"] for r in lines(interrupted)] == [10, 20, 20, 30, 40, 50]


def test_records_of_a_run_that_starts_again_are_kept(interrupted: Path) -> None:
    before = lines(interrupted)
    Records(interrupted, 0)
    assert lines(interrupted) == []
    kept = [json.loads(line) for line in (interrupted / "metrics_1.jsonl").read_text().splitlines()]
    assert kept == before


ODD = [
    '{"step": "x"}',
    "[1]",
    '{"step": 40, "epoch": 4, "loss": "x"}',
    '{"step": 40, "epoch": null, "AP": 0.5}',
    '{"step": 40, "epoch": 4, "AP": {"a": 1}}',
    '{"step": 40, "loss": NaN}',
    f'{{"step": {10**400}}}',
    '{"step": true}',
]


@pytest.mark.parametrize("odd", [*ODD, "\udcff\udcfe"])
def test_lines_that_are_no_records_are_left_out_with_a_word(interrupted: Path, caplog, odd: str) -> None:
    with (interrupted / "metrics.jsonl").open("a", errors="surrogateescape") as file:
        file.write(f'{odd}\n{{"step": 4')
    logging.getLogger("pose").propagate = True
    records = Records(interrupted, 30, 0.5)
    assert names(caplog.text, interrupted / "metrics.jsonl", 1)
    assert (records.best_ap(), [r["step"] for r in lines(interrupted)]) == (0.75, [5, 10, 10, 15])
