"""Where a run begins: what one rank finds, all of them continue from, and what no run wrote stays."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from mspose.config.builder import load_config
from mspose.errors import PoseError
from mspose.runtime.device import Runtime
from mspose.runtime.ranks import Ranks
from mspose.train.trainer import Trainer
from tests.conftest import ROOT
from tests.graph import ms  # noqa: F401 (sets MindSpore up)
from tests.messages import names, naming
from tests.test_commands import copy_of, cut_picture

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
    """A rank but the first, that is told what rank 0 has found, and how many steps it has done then."""

    found: str = ""
    step: int = 0

    @property
    def is_first(self) -> bool:
        return False

    def gather_json(self, value: object) -> list:
        if isinstance(value, str):
            return [self.found, value]
        position, _ = value
        return [[position | {"step": self.step}, self.found], value]


def trainer(data: Path, folder: Path, found: str | None = None, step: int = 0, **keys: object) -> Trainer:
    """A trainer that stands before its first step; rank 0 has found such a checkpoint, and is so far with it."""
    keys = {**SMALL, "data.root": str(data), "runtime.output": str(folder), "train.resume": "auto", **keys}
    made = Trainer(load_config(ROOT / "configs/quickstart/simplepose.yaml", keys))
    if found is not None:
        made.ranks = Told(found=found, step=step)
    made._build(Runtime("CPU", made.ranks))
    return made


@pytest.fixture
def build(sample_dir: Path, tmp_path: Path) -> Callable[..., Trainer]:
    """Makes trainers on `tmp_path`."""
    return partial(trainer, sample_dir, tmp_path)


@pytest.fixture(scope="module")
def run(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with two checkpoints, after one step and after two."""
    folder = tmp_path_factory.mktemp("run")
    made = trainer(sample_dir, folder)
    for step in (1, 2):
        made.position.step = step
        made.snapshots.save(made.position)
    return folder


@pytest.fixture
def checkpoints(run: Path, tmp_path: Path) -> dict[int, Path]:
    """The checkpoints of `run` in `tmp_path`, by the steps done."""
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    return {step: tmp_path / f"simplepose-1_{step}.ckpt" for step in (1, 2)}


def test_evaluation_pictures_are_read_before_the_first_step(sample_dir: Path, tmp_path: Path, caplog) -> None:
    """Training would end at them hours later; few are told of."""
    data = copy_of(sample_dir, tmp_path / "data")
    keys = {**SMALL, "data.root": str(data), "runtime.output": str(tmp_path / "out"), "train.eval_epochs": 1}
    cut = [cut_picture(data, 0, "val2017")]
    Trainer(load_config(ROOT / "configs/quickstart/simplepose.yaml", keys)).evaluator.check_pictures()
    assert names(caplog.text, cut[0], "1 of")
    cut.append(cut_picture(data, 1, "val2017"))
    made = Trainer(load_config(ROOT / "configs/quickstart/simplepose.yaml", keys))
    with pytest.raises(PoseError, match=naming(*cut, "2 of", "train.eval_epochs=0")):
        made.run()
    assert not hasattr(made, "network")


FOREIGN = {
    "config.yaml": "model: {name: simplepose}\n",
    "last.yaml": "base: mine.yaml\n",
    "best.yaml": "notes: the best so far\n",
    "simplepose-1_2.yaml": "format: 2\nmodel: {depth: 18}\n",
    "curves.png": "a picture",
    "metrics.jsonl": '{"epoch": 1, "loss": 3}\n',
    "simplepose-140_1170.ckpt": "somebody's weights",
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("more", [{}, {"train.resume": ""}, {"train.resume": "", "train.performance_steps": 2}])
def test_what_no_run_wrote_is_not_replaced(build, tmp_path: Path, name: str, more: dict) -> None:
    path = tmp_path / name
    path.write_text(FOREIGN[name])
    if "train.performance_steps" in more:
        path = path.rename(tmp_path / f"performance{'.yaml' if path.suffix == '.yaml' else '.json'}")
    with pytest.raises(PoseError, match=naming(tmp_path, path.name, "output=DIR")):
        build(**more)
    assert path.read_text() == FOREIGN[name]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", [name for name in FOREIGN if name != "curves.png"])  # which runs draw
def test_a_run_is_not_continued_where_it_would_replace_what_no_run_wrote(
    build, checkpoints: dict[int, Path], tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_text(FOREIGN[name])
    with pytest.raises(PoseError, match=naming(path, "output=DIR")):
        build()
    assert path.read_text() == FOREIGN[name]


def test_a_run_of_an_earlier_version_is_continued(build, checkpoints: dict[int, Path], tmp_path: Path) -> None:
    """Its descriptions have no stamp, and may be missing."""
    for path in tmp_path.glob("*.yaml"):
        path.write_text("data: {color: bgr, scale: 255.0}\n")
    (tmp_path / "simplepose-1_1.yaml").unlink()
    assert build().position.step == 2


def test_a_rank_that_sees_a_newer_checkpoint_continues_where_rank_0_does(build, checkpoints: dict[int, Path]) -> None:
    assert build().position.step == 2  # by itself it would
    assert build(str(checkpoints[1]), 1).position.step == 1


def test_a_rank_that_sees_checkpoints_begins_where_rank_0_has_found_none(build, checkpoints: dict[int, Path]) -> None:
    assert build("").position.step == 0


def test_a_rank_without_the_checkpoint_of_rank_0_goes_on_where_it_does(
    build, checkpoints: dict[int, Path], tmp_path: Path
) -> None:
    """The state is sent: hosts need no common file system."""
    assert build(str(tmp_path / "elsewhere" / "last.ckpt"), 7).position.step == 7
