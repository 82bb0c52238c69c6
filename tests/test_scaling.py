"""docs/scaling.md shows what scripts/scaling_model.py prints."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT


def test_the_page_shows_the_table_of_the_model() -> None:
    command = [sys.executable, ROOT / "scripts/scaling_model.py"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.count("\n") == 11
    assert result.stdout in (ROOT / "docs/scaling.md").read_text(encoding="utf-8")


def test_a_ring_exchanges_twice_the_gradients_whatever_its_length() -> None:
    command = [sys.executable, ROOT / "scripts/scaling_model.py", "8192"]
    line = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()[2]
    assert " 22 ms " in line  # 2 x 136 MB over 12.5 GB/s
