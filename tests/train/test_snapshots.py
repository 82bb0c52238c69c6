"""The checkpoints of a run: which are kept."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from mindspore import nn

from mspose.checkpoints.ckpt_file import read_ckpt
from mspose.checkpoints.io import save
from mspose.config.builder import default_config
from mspose.errors import PoseError
from mspose.runtime.device import Runtime
from mspose.train.schedule import learning_rates
from mspose.train.snapshots import Position, Snapshots
from mspose.train.step import TrainStep
from tests.graph import ms
from tests.messages import naming
from tests.toy.model import Toy, VectorLoss


def make(folder: Path) -> Snapshots:
    config = default_config("simplepose", {"train.keep": 2})
    return Snapshots(folder, TrainStep(nn.Dense(1, 1), nn.MSELoss(), np.ones(99, np.float32), config), config)


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return make(tmp_path)


def names(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("simplepose-*.ckpt")}


def test_a_clock_that_jumped_removes_no_new_checkpoint(snapshots: Snapshots, tmp_path: Path) -> None:
    for step in (9, 10, 11):
        snapshots.save(Position(step, 10))
        for path in tmp_path.glob("simplepose-*.ckpt"):  # the later, the older
            os.utime(path, (1e9 - step, 1e9 - step))
    assert names(tmp_path) == {"simplepose-1_10", "simplepose-2_1"}


def test_the_one_just_written_stays_where_the_run_was_continued_from_further_back(
    snapshots: Snapshots, tmp_path: Path
) -> None:
    for step in (18, 19, 3, 4, 5):
        snapshots.save(Position(step, 10))
    assert names(tmp_path) == {"simplepose-1_4", "simplepose-1_5", "simplepose-2_8", "simplepose-2_9"}


@pytest.mark.parametrize("last_of_all", [True, False])
def test_what_a_killed_run_did_not_remove_is_removed_by_the_next(
    snapshots: Snapshots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last_of_all: bool
) -> None:
    for step in (8, 9):
        snapshots.save(Position(step, 10))

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Snapshots, "_prune", kill)
        with pytest.raises(KeyboardInterrupt):
            snapshots.save(Position(10, 10))
    assert len(names(tmp_path)) == 3
    other = make(tmp_path)
    position = other.resume(tmp_path / "last.ckpt", 10)
    other.save(position)  # as every run that continues
    assert names(tmp_path) == {"simplepose-1_9", "simplepose-1_10"}
    if not last_of_all:
        other.save(Position(11, 10))
        assert names(tmp_path) == {"simplepose-1_10", "simplepose-2_1"}
    assert {path.stem for path in tmp_path.glob("simplepose-*.yaml")} == names(tmp_path)


@pytest.mark.parametrize("removed", [0, 1, 2])
def test_a_run_killed_amid_removing_leaves_no_description_alone(
    snapshots: Snapshots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: int
) -> None:
    for step in (8, 9):
        snapshots.save(Position(step, 10))
    done, unlink = [], Path.unlink

    def kill(path: Path, missing_ok: bool = False) -> None:
        if path.stem == "simplepose-1_8":
            if len(done) == removed:
                raise KeyboardInterrupt
            done.append(path)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", kill)
    if removed < 2:
        with pytest.raises(KeyboardInterrupt):
            snapshots.save(Position(10, 10))
    else:
        snapshots.save(Position(10, 10))
    assert {path.stem for path in tmp_path.glob("simplepose-*.yaml")} <= names(tmp_path)


# Two steps an epoch: the warm-up of three reaches into the second, the fall begins with the third.
ADAMW = {"optimizer": "adamw", "weight_decay": 0.05, "warmup_steps": 3, "warmup_factor": 1e-5, "lr": 4e-3}
RTMPOSE = {"schedule": "cosine", "flat_epochs": 2, "end_factor": 0.05, "ema": 0.9998, "ema_warmup_steps": 5, **ADAMW}
VITPOSE = {"milestones": [1, 2], "layer_decay": 0.75, "clip_norm": 1.0, "clip_scope": "global", **ADAMW}


def toy_step(folder: Path, train: dict[str, object], **runtime: object) -> tuple[TrainStep, Snapshots]:
    keys = {f"train.{key}": value for key, value in {"epochs": 3, **train}.items()}
    config = default_config("tests.toy.network", keys | {f"runtime.{key}": value for key, value in runtime.items()})
    ms.set_seed(1)
    network = Runtime("CPU", amp=config.runtime.amp).adapt(Toy(4, 2))
    step = TrainStep(network, VectorLoss(), learning_rates(config.train, 2), config)
    folder.mkdir(exist_ok=True)
    return step, Snapshots(folder, step, config)


def toy_batch(number: int) -> list[ms.Tensor]:
    rng = np.random.default_rng(number)
    shapes = (2, 3, 32, 32), (2, 2, 8), (2, 2, 8), (2, 2)
    return [ms.Tensor(rng.random(shape, np.float32)) for shape in shapes]


@pytest.mark.parametrize("train", [RTMPOSE, VITPOSE], ids=["rtmpose", "vitpose"])
@pytest.mark.parametrize("amp", ["O0", "O2"])
def test_a_run_that_continues_is_the_run_that_never_stopped(tmp_path: Path, train: dict, amp: str) -> None:
    step, snapshots = toy_step(tmp_path / "whole", train, amp=amp)
    losses = [float(step(*toy_batch(number))) for number in range(3)]
    snapshots.save(Position(3, 2))
    losses += [float(step(*toy_batch(number))) for number in range(3, 6)]
    other, others = toy_step(tmp_path / "continued", train, amp=amp)
    assert others.resume(tmp_path / "whole/last.ckpt", 2).step == 3
    assert [float(other(*toy_batch(number))) for number in range(3, 6)] == losses[3:]
    for mine, its in zip(other.get_parameters(), step.get_parameters()):
        np.testing.assert_array_equal(mine.asnumpy(), its.asnumpy(), err_msg=mine.name)


@pytest.mark.parametrize(
    "damage",
    [{"state.step": -1}, {"state.step": np.inf}, {"state.steps_per_epoch": 0}, {"state.best_ap": [0, 0]}, {"w": 0}],
    ids=str,
)
def test_a_run_is_not_continued_from_a_damaged_checkpoint(
    snapshots: Snapshots, tmp_path: Path, damage: dict[str, object]
) -> None:
    snapshots.save(Position(1, 2))
    values = read_ckpt(tmp_path / "last.ckpt")
    weights = next(name for name in snapshots.state if values[name].dtype == np.float32)
    damage = {weights if name == "w" else name: value for name, value in damage.items()}
    damaged = {
        name: np.full_like(values[name], np.nan) if name == weights else np.array(v) for name, v in damage.items()
    }
    save({name: ms.Tensor(value.copy()) for name, value in {**values, **damaged}.items()}, tmp_path / "other.ckpt")
    before = {name: parameter.asnumpy().copy() for name, parameter in snapshots.state.items()}
    with pytest.raises(PoseError, match=naming(tmp_path / "other.ckpt", *damage)):
        snapshots.resume(tmp_path / "other.ckpt", 2)
    for name, parameter in snapshots.state.items():
        np.testing.assert_array_equal(parameter.asnumpy(), before[name])


def test_a_run_with_another_optimizer_is_not_continued(tmp_path: Path) -> None:
    _, snapshots = toy_step(tmp_path / "adamw", ADAMW)
    snapshots.save(Position(1, 2))
    _, others = toy_step(tmp_path / "adam", {})
    with pytest.raises(PoseError, match=naming(tmp_path / "adamw/last.ckpt", "beta1_power", "train.init_from")):
        others.resume(tmp_path / "adamw/last.ckpt", 2)
