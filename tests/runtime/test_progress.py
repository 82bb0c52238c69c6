"""Progress: lines now and then where there is no terminal, a bar where there is one."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from mspose.runtime import progress as module
from mspose.runtime.progress import Progress, format_seconds


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module.sys, "stdout", io.StringIO())
    return clock


@pytest.fixture
def messages() -> Iterator[list[str]]:
    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())
    logger = logging.getLogger("pose")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (9.4, "0:09"),
        (59.7, "1:00"),
        (61, "1:01"),
        (3599.6, "1:00:00"),
        (3661, "1:01:01"),
        (360000, "100:00:00"),
    ],
)
def test_format_seconds(seconds, text):
    assert format_seconds(seconds) == text


def test_a_line_every_ten_seconds(clock, messages):
    with Progress(100, "evaluating", "people") as progress:
        for _ in range(5):
            clock.now += 4
            progress.advance(8)
    assert messages == ["evaluating: 24/100 people, 2.0/s, 0:38 left"]


def test_items_of_an_earlier_run_do_not_count_as_speed(clock, messages):
    with Progress(100, "training", "steps", initial=50) as progress:
        clock.now += 20
        progress.advance(20)
    assert messages == ["training: 70/100 steps, 1.0/s, 0:30 left"]


def test_callers_with_lines_of_their_own(clock, messages):
    with Progress(100, "training", "steps", lines=False) as progress:
        clock.now += 20
        progress.advance(20)
        progress.line("epoch: 1")
    assert messages == ["epoch: 1"]


def test_bar_in_a_terminal(clock, messages, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(module.sys, "stdout", terminal)
    with Progress(10, "training", "steps") as progress:
        progress.advance(10, note="loss 0.5")
        progress.line("epoch: 1")
    assert messages == []
    assert "training" in terminal.getvalue()
    assert "epoch: 1\n" in terminal.getvalue()
