"""Where a run continues: what one rank finds, all of them do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from mspose.config.builder import load_config
from mspose.errors import PoseError
from mspose.runtime.device import Runtime
from mspose.runtime.ranks import Ranks
from mspose.train.trainer import Trainer
from tests.conftest import ROOT
from tests.graph import ms  # noqa: F401 (sets MindSpore up)
from tests.messages import naming

SMALL = {
    "model.base_width": 8,
    "model.deconv_filters": [8, 8, 8],
    "data.input_size": [64, 96],
    "train.batch_size": 8,
    "train.eval_epochs": 0,
    "train.keep": 2,
}


@dataclass(frozen=True)
class Told(Ranks):
    """A rank that is told what rank 0 has found and, with a step, how far it is then."""

    found: str = ""
    step: int | None = None

    def gather_json(self, value: object) -> list:
        if isinstance(value, str):
            return [self.found, value]
        return [value if self.step is None else [self.found, self.step], value]


@pytest.fixture
def build(sample_dir: Path, tmp_path: Path):
    """Makes a trainer on `tmp_path` that stands before its first step; rank 0 has found such a checkpoint."""

    def make(found: str | None = None, step: int | None = None) -> Trainer:
        keys = {**SMALL, "data.root": str(sample_dir), "runtime.output": str(tmp_path), "train.resume": "auto"}
        trainer = Trainer(load_config(ROOT / "configs/quickstart/simplepose.yaml", keys))
        if found is not None:
            trainer.ranks = Told(found=found, step=step)
        trainer._build(Runtime("CPU", trainer.ranks))
        return trainer

    return make


@pytest.fixture
def checkpoints(build, tmp_path: Path) -> dict[int, Path]:
    """Two checkpoints of a run in its folder, by the steps done."""
    trainer = build()
    for step in (1, 2):
        trainer.position.step = step
        trainer.snapshots.save(trainer.position)
    return {step: tmp_path / f"simplepose-1_{step}.ckpt" for step in (1, 2)}


def test_a_rank_that_sees_a_newer_checkpoint_continues_where_rank_0_does(build, checkpoints: dict[int, Path]) -> None:
    assert build().position.step == 2  # by itself it would
    assert build(str(checkpoints[1])).position.step == 1


def test_a_rank_that_sees_checkpoints_begins_where_rank_0_has_found_none(build, checkpoints: dict[int, Path]) -> None:
    assert build("").position.step == 0


def test_a_rank_without_the_checkpoint_of_rank_0_says_so(build, checkpoints: dict[int, Path], tmp_path: Path) -> None:
    absent = tmp_path / "elsewhere" / "last.ckpt"
    with pytest.raises(PoseError, match=naming(absent, "output=DIR")):
        build(str(absent))


def test_ranks_that_have_read_different_checkpoints_do_not_go_on(build, checkpoints: dict[int, Path]) -> None:
    """Each falls back on an older checkpoint by itself where it cannot read the one that rank 0 has named."""
    newer, older = str(checkpoints[2]), str(checkpoints[1])
    checkpoints[2].write_bytes(b"what this machine reads of it")
    with pytest.raises(PoseError, match=naming(newer, older, "step 2", "step 1", "train.resume=FILE")):
        build(newer, 2)
    assert build(newer).position.step == 1
