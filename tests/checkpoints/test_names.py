"""Other people's parameter names fit our networks, each on its own layer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mspose.checkpoints.names import batch_norm_from_torch, yolov3_from_zoo
from mspose.models.openpose import OpenPose
from mspose.models.vgg import VGG19
from mspose.models.yolov3 import YOLOv3
from mspose.networks.openpose import openpose_from_torch, openpose_from_zoo
from mspose.networks.vgg import vgg_from_torchvision, vgg_from_zoo
from tests.graph import ms  # noqa: F401 (sets MindSpore up)

# torchvision's configuration E: channels of the convolutions, M for pooling.
CONFIGURATION_E = [64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"]
BATCH_NORM = {
    "zoo": ("gamma", "beta", "moving_mean", "moving_variance"),
    "torchvision": ("weight", "bias", "running_mean", "running_var"),
}


def vgg19(prefix: str, norm: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """A whole VGG19 with parameters named by position; the n-th parameter (from 1) is filled with n."""
    shapes, position, channels = {}, 0, 3
    for width in CONFIGURATION_E:
        if width == "M":
            position += 1
            continue
        shapes |= {f"{prefix}{position}.weight": (width, channels, 3, 3), f"{prefix}{position}.bias": (width,)}
        shapes |= {f"{prefix}{position + 1}.{name}": (width,) for name in norm}
        position += 3 if norm else 2
        channels = width
    shapes |= {"classifier.6.weight": (10, 8), "classifier.6.bias": (10,)}
    return {name: np.full(shape, n, np.float32) for n, (name, shape) in enumerate(shapes.items(), 1)}


def test_a_name_that_no_batch_norm_has_stays() -> None:
    values = {name: np.zeros(1) for name in ("bn.running_mean", "bn.punning_var", "bn.weight")}
    assert list(batch_norm_from_torch(values)) == ["bn.moving_mean", "bn.punning_var", "bn.gamma"]


def check_vgg(values: dict[str, np.ndarray], batch_norm: bool) -> None:
    """All parameters have a value of their shape, and in the order of the network."""
    parameters = [
        p for _, cell in VGG19(use_batch_norm=batch_norm).layers.name_cells().items() for p in cell.get_parameters()
    ]
    assert len(parameters) == (60 if batch_norm else 20)
    assert [values[p.name].shape for p in parameters] == [tuple(p.shape) for p in parameters]
    order = {"weight": 0, "bias": 1, "gamma": 0, "beta": 1, "moving_mean": 2, "moving_variance": 3}
    parameters.sort(
        key=lambda p: (
            p.name.rpartition(".")[0].replace("bn", "conv"),
            "bn" in p.name,
            order[p.name.rpartition(".")[2]],
        )
    )
    assert [values[p.name].flat[0] for p in parameters] == list(range(1, len(parameters) + 1))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_torchvision_vgg19_fits_the_backbone(batch_norm: bool) -> None:
    values = vgg_from_torchvision(vgg19("features.", BATCH_NORM["torchvision"] if batch_norm else ()))
    check_vgg(values, batch_norm)
    assert "classifier.6.weight" in values


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("prefix", ["", "network.backbone."])
def test_zoo_vgg19_fits_the_backbone(prefix: str, batch_norm: bool) -> None:
    own = vgg19("layers.", BATCH_NORM["zoo"] if batch_norm else ())
    state = {f"moments.{prefix}{name}": -value for name, value in own.items()}
    values = vgg_from_zoo({**state, **{prefix + name: value for name, value in own.items()}, "global_step": np.ones(1)})
    check_vgg(values, batch_norm)
    assert not any("moments" in name or "step" in name for name in values)


def test_published_vgg19_fits_the_backbone(parity_dir: Path) -> None:
    keys = json.loads((parity_dir / "mindspore_zoo_vgg19.keys.json").read_text())
    values = {
        f"network.backbone.{name}": np.broadcast_to(np.float32(n), shape)
        for n, (name, shape) in enumerate(keys.items(), 1)
        if not name.startswith("classifier.")
    }
    check_vgg(vgg_from_zoo(values), batch_norm=False)


def test_published_openpose_fits_the_network(parity_dir: Path) -> None:
    keys = json.loads((parity_dir / "openpose_body_coco.keys.json").read_text())
    values = openpose_from_torch({name: np.broadcast_to(np.float32(0), shape) for name, shape in keys.items()})
    assert len(values) == len(keys)
    assert {name: value.shape for name, value in values.items()} == {
        p.name: tuple(p.shape) for p in OpenPose().get_parameters()
    }


@pytest.mark.parametrize(
    ("torch", "own"),
    [
        ("model0.conv3_4.weight", "backbone.layers.conv3_4.weight"),
        ("model0.conv4_2.bias", "backbone.layers.conv4_2.bias"),
        ("model0.conv4_3_CPM.weight", "cpm.conv4_3.weight"),
        ("model1_1.conv5_4_CPM_L1.weight", "stages.0.paf.conv4.weight"),
        ("model1_2.conv5_5_CPM_L2.bias", "stages.0.heatmap.conv5.bias"),
        ("model2_1.Mconv1_stage2_L1.weight", "stages.1.paf.conv1.weight"),
        ("model6_2.Mconv7_stage6_L2.bias", "stages.5.heatmap.conv7.bias"),
        ("model6_2.other.weight", "model6_2.other.weight"),
    ],
)
def test_openpose_layers_get_our_names(torch: str, own: str) -> None:
    assert list(openpose_from_torch({torch: np.zeros(1)})) == [own]


@pytest.mark.parametrize("prefix", ["", "yolo_network."])
def test_published_yolov3_fits_the_network(parity_dir: Path, prefix: str) -> None:
    keys = json.loads((parity_dir / "mindspore_zoo_yolov3.keys.json").read_text())
    values = yolov3_from_zoo(
        {prefix + name: np.broadcast_to(np.float32(0), shape) for name, shape in keys.items()}
        | {"moments.feature_map.conv1.0.weight": np.zeros(1), "learning_rate": np.zeros(1)}
    )
    assert {name: value.shape for name, value in values.items()} == {
        p.name: tuple(p.shape) for p in YOLOv3(zoo=True).get_parameters()
    }


@pytest.mark.parametrize(
    ("zoo", "own"),
    [
        ("base.vgg_base.layers.0.weight", "backbone.layers.conv1_1.weight"),
        ("base.conv4_4_CPM.bias", "cpm.conv4_4.bias"),
        ("stage_1.conv4_CPM_L1.weight", "stages.0.paf.conv4.weight"),
        ("stage_1.conv5_CPM_L2.bias", "stages.0.heatmap.conv5.bias"),
        ("stage_2.conv1_L1.weight", "stages.1.paf.conv1.weight"),
        ("stage_6.conv7_L2.bias", "stages.5.heatmap.conv7.bias"),
    ],
)
def test_zoo_openpose_layers_get_our_names(zoo: str, own: str) -> None:
    assert list(openpose_from_zoo({zoo: np.zeros(1)})) == [own]
