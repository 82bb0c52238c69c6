"""Checkpoints: round trip, atomic writing, and errors that name what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mindspore import nn

from mspose.checkpoints import io
from mspose.checkpoints.ckpt_file import read_ckpt
from mspose.checkpoints.names import network_weights
from mspose.errors import PoseError
from mspose.networks.resnet import resnet_from_zoo
from tests.graph import ms
from tests.messages import naming


def network(outputs: int = 3) -> nn.Cell:
    return nn.SequentialCell(nn.Conv2d(2, outputs, 3, has_bias=True), nn.BatchNorm2d(outputs))


def values_of(cell: nn.Cell) -> dict[str, np.ndarray]:
    return {p.name: p.asnumpy().copy() for p in cell.get_parameters()}


def test_saved_values_come_back_bit_for_bit(tmp_path: Path) -> None:
    cell = network()
    io.save({p.name: p for p in cell.get_parameters()}, tmp_path / "a.ckpt")
    loaded = read_ckpt(tmp_path / "a.ckpt")
    for name, value in values_of(cell).items():
        np.testing.assert_array_equal(loaded[name], value)
    assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]


def test_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise RuntimeError("No space left on device\nmore")

    monkeypatch.setattr(ms, "save_checkpoint", fail)
    with pytest.raises(PoseError, match=naming("a.ckpt", "No space left on device")):
        io.save({}, path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]


def test_wrong_shape_is_refused_and_nothing_changes() -> None:
    target, before = network(), values_of(network(4))
    old = values_of(target)
    with pytest.raises(PoseError, match=naming("x.ckpt", 6, "0.weight", "shape")):
        io.assign(target, before, "x.ckpt")
    for name, value in values_of(target).items():
        np.testing.assert_array_equal(value, old[name])


def test_missing_parameter_is_refused() -> None:
    target, values = network(), values_of(network())
    del values["0.bias"]
    with pytest.raises(PoseError, match=naming("x.ckpt", 1, 6, "0.bias", "missing")):
        io.assign(target, values, "x.ckpt")


def test_optimizer_state_is_no_weight_and_averages_win() -> None:
    one, two = np.ones(1), np.full(1, 2.0)
    values = {"a.weight": one, "b.moving_mean": one, "ema.a.weight": two, "moment1.a.weight": one, "global_step": one}
    weights = network_weights(values)
    assert weights == {"a.weight": two, "b.moving_mean": one}


def test_zoo_backbone_names_become_ours() -> None:
    one = np.ones(1)
    names = ("layer1.0.down_sample_layer.0.weight", "moments.conv1.weight", "conv1.weight")
    named = resnet_from_zoo(dict.fromkeys(names, one))
    assert sorted(named) == ["conv1.weight", "layer1.0.downsample.0.weight"]
