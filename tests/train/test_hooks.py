"""What is done beside the steps of training: stages are announced, evaluations are prepared."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mspose.config.builder import default_config
from mspose.networks import method_of
from mspose.train.hooks import Evaluate, Moment, Stage
from tests.messages import tells_of

STAGES = [{"epoch": 2, "flip": 0.1}, {"epoch": 4, "scale_factor": 0.2}]
PER_EPOCH, EPOCHS = 3, 6


def said(begin: int = 0, epochs: int = EPOCHS) -> dict[int, str]:
    """Lines of a run that begins at a step: steps done before the line → line."""
    method = method_of(default_config(overrides={"data.stages": STAGES, "train.epochs": epochs}))
    lines: dict[int, str] = {}
    total = epochs * PER_EPOCH
    position = SimpleNamespace(step=begin, steps_per_epoch=PER_EPOCH)
    progress = SimpleNamespace(line=lambda text: lines.setdefault(position.step, text))
    hook = Stage(SimpleNamespace(position=position, rates=range(total), progress=progress), method.training_stage)
    hook.before_first_step()
    for step in range(begin + 1, total + 1):
        position.step = step
        hook.after_step(Moment(step, PER_EPOCH, total, None, 0.0))
    return lines


def test_when_each_stage_begins():
    lines = said()
    assert list(lines) == [2 * PER_EPOCH, 4 * PER_EPOCH]
    assert tells_of(lines[2 * PER_EPOCH], "epoch 3", "data.flip=0.1")
    assert tells_of(lines[4 * PER_EPOCH], "epoch 5", "data.flip=0.1", "data.scale_factor=0.2")


@pytest.mark.parametrize(
    ("begin", "steps"), [(5, [6, 12]), (6, [6, 12]), (7, [7, 12]), (11, [11, 12]), (12, [12]), (14, [14]), (18, [])]
)
def test_a_run_that_continues_says_where_it_stands(begin, steps):
    assert list(said(begin)) == steps


def test_a_stage_that_never_begins_is_not_announced():
    assert list(said(epochs=4)) == [2 * PER_EPOCH]
    assert list(said(epochs=2)) == []


@pytest.mark.parametrize("saved", [False, True])
def test_the_first_evaluation_finds_a_checkpoint_to_continue_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: bool
) -> None:
    """Its best.ckpt alone would be a run that train.resume=auto can neither continue nor start again."""
    if saved:
        (tmp_path / "last.ckpt").touch()
    done: list[str] = []
    run: Any = SimpleNamespace(
        folder=tmp_path,
        position=None,
        train=SimpleNamespace(eval_epochs=1),
        snapshots=SimpleNamespace(save=lambda position: done.append("save")),
    )
    monkeypatch.setattr(Evaluate, "_evaluate", lambda hook, epoch: done.append("evaluate"))
    nothing: Any = None
    Evaluate(run, nothing, nothing).after_step(Moment(step=5, per_epoch=5, total=50, loss=nothing, begin=0.0))
    assert done == (["evaluate"] if saved else ["save", "evaluate"])
