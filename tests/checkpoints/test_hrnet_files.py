"""HRNet files that are mixed, cut, of another width or of another kind: one line that names the file and what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mindspore import nn
from mindspore.nn.utils import no_init_parameters

from mspose.checkpoints.convert import main as convert
from mspose.checkpoints.initial import load_checkpoint, load_weights
from mspose.checkpoints.torch_file import write_torch
from mspose.config.builder import default_config
from mspose.config.schema import Config
from mspose.errors import PoseError
from mspose.networks import build_model
from mspose.networks.heatmaps import offset_maps
from mspose.networks.hrnet import hrnet_to_torch
from mspose.resolve import resolve
from mspose.skeleton import COCO17
from tests.graph import ms  # noqa: F401 (sets MindSpore up)
from tests.messages import naming, tells_of

WIDTHS = {"model.width": 2, "model.stem_width": 2}
Values = dict[str, np.ndarray]


def build(**keys: int) -> nn.Cell:
    config = default_config("hrnet", {**WIDTHS, **{f"model.{key}": value for key, value in keys.items()}})
    with no_init_parameters():
        return build_model(config)


def file_of(network: nn.Cell) -> Values:
    """The authors' names, in their order."""
    return hrnet_to_torch({p.name: np.zeros(p.shape, np.float32) for p in network.get_parameters()})


@pytest.fixture(scope="module")
def network() -> nn.Cell:
    """HRNet with two channels in its finest branch."""
    return build()


@pytest.fixture(scope="module")
def plain(network: nn.Cell) -> Values:
    """Its file under the authors' names."""
    return file_of(network)


def mmpose(values: Values, head: str = "head.") -> Values:
    return {f"{head if name.startswith('final_layer.') else 'backbone.'}{name}": v for name, v in values.items()}


def renamed(values: Values, old: str, new: str) -> Values:
    return {name.replace(old, new): value for name, value in values.items()}


def first(values: Values, count: int) -> Values:
    return {name: values[name] for name in list(values)[:count]}


def configured(folder: Path, **keys: str) -> Config:
    recipe = folder / "recipe.yaml"
    recipe.write_text("format: 2\nmodel: {name: hrnet, width: 2, stem_width: 2}\n")
    return resolve(recipe, {**keys, "runtime.output": str(folder / "out")})


# What is done to a file, and what the line about it names.
HEADS = ("head.final_layer.weight", "keypoint_head.final_layer.weight", "1.x", "0.x")
WRONG: dict[str, tuple[Callable[[Values], Values], tuple[object, ...]]] = {
    "heads of both versions": (lambda v: {**mmpose(v), **mmpose(v, "keypoint_head.")}, HEADS),
    "bias of the other version": (
        lambda v: renamed(mmpose(v), "head.final_layer.bias", "keypoint_head.final_layer.bias"),
        ("final_layer.bias", "keypoint_head.final_layer.bias"),
    ),
    "backbone half renamed": (
        lambda v: {name if i < len(v) // 2 else f"backbone.{name}": value for i, (name, value) in enumerate(v.items())},
        ("HRNet (PyTorch)", "final_layer.weight"),
    ),
    "backbone's end plain": (
        lambda v: renamed(mmpose(v), "backbone.stage4.2.", "stage4.2."),
        ("backbone.stage4.2.branches.0.0.conv1.weight", "stage4.2.branches.0.0.conv1.weight"),
    ),
    "cut in the backbone": (lambda v: first(mmpose(v), 1000), ("HRNet of MMPose 1.x", "head.final_layer.weight")),
    "cut behind module.": (
        lambda v: {f"module.{name}": value for name, value in first(v, 1000).items()},
        ("HRNet (PyTorch)", "module.final_layer.weight"),
    ),
    "cut in the head": (lambda v: first(mmpose(v), len(v) - 1), ("1", "final_layer.bias")),
    "a module is not there": (
        lambda v: {name: value for name, value in v.items() if "stage4.2." not in name},
        ("backbone.stage4.2.branches.0.0.conv1.weight",),
    ),
    "offsets": (lambda v: with_outputs(mmpose(v), 51), ("51", "17", "UDP", "out of scope")),
    "other keypoints": (lambda v: with_outputs(mmpose(v), 16), ("final_layer.weight", "(16, 2, 1, 1)", "(17, 2")),
}


def with_outputs(values: Values, count: int) -> Values:
    """The same with so many maps."""
    changed = {name: np.zeros((count, *v.shape[1:]), np.float32) for name, v in values.items() if "final_layer" in name}
    return {**values, **changed}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_file_is_one_line(fault: str, network: nn.Cell, plain: Values, tmp_path: Path) -> None:
    change, named = WRONG[fault]
    write_torch(change(plain), tmp_path / "weights.pth")
    config = configured(tmp_path)
    config.runtime.ckpt = str(tmp_path / "weights.pth")
    with pytest.raises(PoseError, match=naming(tmp_path / "weights.pth", *named)) as caught:
        load_checkpoint(network, config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", ["heads of both versions", "cut in the head", "offsets"])
def test_a_wrong_file_is_not_converted(
    fault: str, plain: Values, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write_torch(WRONG[fault][0](plain), tmp_path / "weights.pth")
    configured(tmp_path)
    source, target = tmp_path / "weights.pth", tmp_path / "out.ckpt"
    assert convert(["--config", str(tmp_path / "recipe.yaml"), "--src", str(source), "--dst", str(target)]) == 1
    error = capsys.readouterr().err
    assert tells_of(error, source)
    assert error.count("\n") == 1
    assert not target.exists()


def test_another_width_is_named_by_its_key(network: nn.Cell, tmp_path: Path) -> None:
    write_torch(file_of(build(width=3)), tmp_path / "wide.pth")
    config = configured(tmp_path)
    config.runtime.ckpt = str(tmp_path / "wide.pth")
    with pytest.raises(PoseError, match=naming(tmp_path / "wide.pth", "model.width=3")):
        load_checkpoint(network, config)


def test_offsets_start_a_training_with_a_new_head(network: nn.Cell, plain: Values, tmp_path: Path) -> None:
    write_torch(with_outputs(mmpose(plain), 51), tmp_path / "weights.pth")
    config = configured(tmp_path, **{"train.init_from": str(tmp_path / "weights.pth")})
    assert tells_of(load_weights(network, config), "final_layer.weight", "final_layer.bias")


def test_offsets_are_three_maps_a_keypoint_of_the_skeleton() -> None:
    assert offset_maps({"final_layer.weight": (51, 2, 1, 1)}, COCO17)
    assert not offset_maps({"final_layer.weight": (17, 2, 1, 1)}, COCO17)
    assert not offset_maps({"final_layer.weight": (48, 2, 1, 1)}, COCO17)
    assert not offset_maps({}, COCO17)
