"""Starting from a zoo backbone or another run's weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mspose.checkpoints.initial import load_backbone, load_weights
from mspose.checkpoints.io import save
from mspose.checkpoints.names import batch_norm_to_torch
from mspose.config.builder import default_config
from mspose.config.schema import Config
from mspose.errors import PoseError
from mspose.models.openpose import OpenPose
from mspose.models.rtmpose import RTMPose
from mspose.models.simplepose import SimplePose
from tests.graph import ms
from tests.messages import naming

# Its network is SimplePose.
CONFIG = default_config()


def narrow(depth: int = 18, joints: int = 17) -> SimplePose:
    return SimplePose(depth, joints, [16, 16, 16], base_width=16)


def values_of(network: SimplePose) -> dict[str, np.ndarray]:
    return {p.name: p.asnumpy().copy() for p in network.get_parameters()}


def test_published_backbone_fills_resnet50(parity_dir: Path, tmp_path: Path) -> None:
    keys = json.loads((parity_dir / "mindspore_zoo_resnet50.keys.json").read_text())
    rng = np.random.default_rng(0)
    values = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in keys.items()}
    # Training checkpoints of the zoo hold optimizer state too.
    extra = {"moments.conv1.weight": values["conv1.weight"], "global_step": np.array([5], np.float32)}
    path = tmp_path / "resnet50.ckpt"
    save({name: ms.Tensor(value) for name, value in {**values, **extra}.items()}, path)
    network = SimplePose(50, 17)
    before = values_of(network)
    line = load_backbone(network, path, CONFIG)
    backbone = [name for name in before if name.startswith("backbone.")]
    assert f"{len(backbone)} parameters matched; not used: end_point.weight, end_point.bias" in line
    after = values_of(network)
    np.testing.assert_array_equal(
        after["backbone.layer1.0.downsample.0.weight"], values["layer1.0.down_sample_layer.0.weight"]
    )
    for name in before:
        same = np.array_equal(before[name], after[name])
        assert same != (name in backbone), name


def test_backbone_of_another_depth_is_refused(tmp_path: Path) -> None:
    deep = {p.name.removeprefix("backbone."): p for p in narrow(34).get_parameters()}
    save(deep, tmp_path / "r34.ckpt")
    with pytest.raises(PoseError, match=naming(tmp_path / "r34.ckpt", "backbone.layer1.0.conv1.weight")):
        load_backbone(narrow(50), tmp_path / "r34.ckpt", CONFIG)


def start_from(path: Path, **overrides: object) -> Config:
    model = {"depth": 18, "base_width": 16, "deconv_filters": [16, 16, 16], **overrides}
    return default_config(overrides={"train.init_from": str(path), **{f"model.{k}": v for k, v in model.items()}})


def test_other_skeleton_starts_from_everything_but_the_last_layer(tmp_path: Path) -> None:
    source = narrow(joints=17)
    save({p.name: p for p in source.get_parameters()}, tmp_path / "a.ckpt")
    target = narrow(joints=14)
    last = target.final_layer.weight.asnumpy().copy()
    line = load_weights(target, start_from(tmp_path / "a.ckpt"))
    assert "new for this skeleton: final_layer.weight, final_layer.bias" in line
    np.testing.assert_array_equal(target.final_layer.weight.asnumpy(), last)
    np.testing.assert_array_equal(target.backbone.conv1.weight.asnumpy(), source.backbone.conv1.weight.asnumpy())


def test_start_from_another_network_names_it(tmp_path: Path) -> None:
    save({p.name: p for p in narrow().get_parameters()}, tmp_path / "a.ckpt")
    config = default_config("openpose", {"train.init_from": str(tmp_path / "a.ckpt")})
    with pytest.raises(PoseError, match=naming(tmp_path / "a.ckpt", "SimplePose", "model.name=simplepose")):
        load_weights(OpenPose(stages=1, width=8), config)


def test_rtmpose_starts_from_a_backbone_with_another_head(tmp_path: Path) -> None:
    source, target = (RTMPose(32, 2, 17, (64, 96)) for _ in range(2))
    values = batch_norm_to_torch({name: v for name, v in values_of(source).items() if name.startswith("backbone.")})
    head = {"head.deconv_layers.0.weight": np.zeros((32, 8, 4, 4)), "head.final_layer.weight": np.zeros((17, 8, 1, 1))}
    np.savez(tmp_path / "cspnext.npz", **values, **head)
    before = target.head.final_layer.weight.asnumpy().copy()
    config = default_config("rtmpose", {"data.input_size": [64, 96]})
    line = load_backbone(target, tmp_path / "cspnext.npz", config)
    count = sum(not name.endswith("num_batches_tracked") for name in values)
    assert f"{count} parameters matched; not used: head.deconv_layers.0.weight, head.final_layer.weight" in line
    for name, value in values_of(source).items():
        assert not name.startswith("backbone.") or np.array_equal(value, values_of(target)[name]), name
    np.testing.assert_array_equal(target.head.final_layer.weight.asnumpy(), before)


def test_rtmpose_for_other_keypoints_keeps_all_but_one_layer(tmp_path: Path) -> None:
    save({p.name: p for p in RTMPose(32, 2, 5, (64, 96)).get_parameters()}, tmp_path / "a.ckpt")
    keys = {"model.width": 32, "model.blocks": 2, "data.input_size": [64, 96]}
    config = default_config("rtmpose", {"train.init_from": str(tmp_path / "a.ckpt"), **keys})
    line = load_weights(RTMPose(32, 2, 17, (64, 96)), config)
    assert "new for this skeleton: head.final_layer.weight, head.final_layer.bias" in line


def test_published_vgg_fills_openpose(parity_dir: Path, tmp_path: Path) -> None:
    keys = json.loads((parity_dir / "mindspore_zoo_vgg19.keys.json").read_text())
    keys = {name: shape for name, shape in keys.items() if len(shape) in (1, 4)}
    values = {f"network.backbone.{n}": np.full(shape, i, np.float32) for i, (n, shape) in enumerate(keys.items())}
    path = tmp_path / "vgg19.ckpt"
    save({name: ms.Tensor(value) for name, value in values.items()}, path)
    network = OpenPose(stages=1, width=8)
    assert "20 parameters matched" in load_backbone(network, path, CONFIG)
    last = network.backbone.layers.conv4_2.weight.asnumpy()
    assert last.min() == last.max() > 0
