"""Training curves are drawn of whatever records there are."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from mspose.train.curves import plot_curves

RECORDS = [
    {"epoch": 1, "step": 100, "loss": 0.02, "lr": 0.001, "ms_per_step": 209.0},
    {"epoch": 1, "AP": 0.41},
    {"epoch": 2, "step": 200, "loss": float("nan"), "lr": 0.001},
    {"epoch": 2, "step": 300, "loss": 0.001},
    {"epoch": 2, "AP": 0.5},
    {"epoch": 2, "step": 200, "loss": 0.01, "lr": 0.0001},
]


@pytest.mark.parametrize("records", [RECORDS, RECORDS[:1], RECORDS[1:2], []], ids=["all", "no AP", "no loss", "none"])
def test_curves_are_drawn(records: list[dict[str, float]], tmp_path: Path) -> None:
    path = plot_curves(records, tmp_path / "curves.png")
    assert min(cv2.imread(str(path)).shape[:2]) > 300
    assert list(tmp_path.iterdir()) == [path]


def test_long_curve_is_smoothed_and_drawn(tmp_path: Path) -> None:
    records = [{"step": i, "loss": 1 / (i + 1), "lr": 0.1} for i in range(300)]
    assert cv2.imread(str(plot_curves(records, tmp_path / "curves.png"))) is not None


def test_later_record_of_a_step_counts(tmp_path: Path) -> None:
    a = plot_curves(RECORDS, tmp_path / "a.png")
    b = plot_curves([record for i, record in enumerate(RECORDS) if i != 2], tmp_path / "b.png")
    assert (cv2.imread(str(a)) == cv2.imread(str(b))).all()
