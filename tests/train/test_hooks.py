"""What is done beside the steps of training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mspose.train.hooks import Evaluate, Moment


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
