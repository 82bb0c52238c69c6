"""The checkpoints of a run: which are kept."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from mindspore import nn

from mspose.config.builder import default_config
from mspose.train.snapshots import Position, Snapshots
from mspose.train.step import TrainStep


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
