"""SimplePose (SimpleBaselines, arXiv 1804.06208)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mspose.checkpoints.names import batch_norm_from_torch, batch_norm_to_torch, from_mmpose, network_weights
from mspose.codecs.heatmap import HeatmapKeys
from mspose.config.keys import FIXED, Check, key, section_as
from mspose.config.schema import Config
from mspose.methods.topdown import TopDown
from mspose.networks.base import ALPHAPOSE, IMAGENET_BGR, IMAGENET_RGB, MINDPOSE, Network, Origin, Shapes, Values, same
from mspose.networks.heatmaps import HEATMAP_ONNX, HEATMAP_SECTIONS, heatmap_codec, joints_mse, offset_maps
from mspose.networks.resnet import RESNET_WEIGHTS, ResNetKeys, resnet_from_zoo, resnet_keys
from mspose.skeleton import Skeleton

if TYPE_CHECKING:
    from mindspore import nn


@dataclass
class SimplePoseKeys(ResNetKeys):
    """SimplePose: ResNet, deconvolutions, heat maps."""

    deconv_filters: list[int] = key(
        [256, 256, 256],
        "channels of each deconvolution layer",
        Check(lambda v: 1 <= len(v) <= 4 and min(v) > 0, "be one to four positive numbers"),
        FIXED,
    )
    deconv_kernels: list[int] = key(
        [4, 4, 4],
        "kernel of each deconvolution layer: 2, 3 or 4",
        Check(lambda v: all(k in (2, 3, 4) for k in v), "be kernels of 2, 3 or 4"),
        FIXED,
    )
    deconv_bias: bool = key(False, "deconvolutions have a bias", role=FIXED)
    final_kernel: int = key(1, "kernel of the last convolution", (1, 3), FIXED)

    def problems(self) -> Iterator[tuple[str, str]]:
        """A kernel for each deconvolution."""
        if len(self.deconv_filters) != len(self.deconv_kernels):
            yield "deconv_kernels", "be as many as model.deconv_filters"


def _stride(keys: SimplePoseKeys) -> int:
    return 2 ** (5 - len(keys.deconv_filters))


def _build(config: Config, skeleton: Skeleton) -> nn.Cell:
    from mspose.models.simplepose import SimplePose

    keys = section_as(config.model, SimplePoseKeys)
    return SimplePose(
        keys.depth,
        skeleton.num_keypoints,
        keys.deconv_filters,
        keys.deconv_kernels,
        keys.deconv_bias,
        keys.final_kernel,
        keys.base_width,
        keys.maxpool,
    )


def simplepose_from_torch(values: Values) -> dict[str, np.ndarray]:
    """State dict of Microsoft's PoseResNet → names of `mspose.models.simplepose`."""
    return _backbone_first(batch_norm_from_torch(values))


def simplepose_from_alphapose(values: Values) -> dict[str, np.ndarray]:
    """State dict of AlphaPose's SimplePose, whose ResNet is called `preact` → names of `mspose.models.simplepose`."""
    return {re.sub(r"^preact\.", "backbone.", name): value for name, value in batch_norm_from_torch(values).items()}


def simple_baselines_from_zoo(values: Values) -> dict[str, np.ndarray]:
    """Checkpoint of the MindSpore simple_baselines → names of `mspose.models.simplepose`."""
    return _backbone_first(resnet_from_zoo(values))


def simplepose_from_zoo(values: Values) -> dict[str, np.ndarray]:
    """Checkpoint of the MindSpore SimplePoseNet (`deconv_layers.deconv_1.bn.gamma`) → names of
    `mspose.models.simplepose`, where convolution, batch norm and ReLU are counted (`deconv_layers.4.gamma`)."""

    def number(match: re.Match[str]) -> str:
        return f"deconv_layers.{3 * int(match[1]) + (match[2] == 'bn')}."

    weights = simple_baselines_from_zoo(values)
    return {
        re.sub(r"^deconv_layers\.deconv_(\d+)\.(deconv|bn)\.", number, name): value for name, value in weights.items()
    }


def simplepose_from_mindpose(values: Values) -> dict[str, np.ndarray]:
    """Checkpoint of mindpose → names of `mspose.models.simplepose`."""
    renamed = (("head.deconv_layer.", "deconv_layers."), ("head.", ""), (".down_sample.", ".downsample."))
    result = {}
    for name, value in network_weights(values).items():
        for theirs, ours in renamed:
            name = name.replace(theirs, ours)
        result[name] = value
    return result


def _backbone_first(values: Values) -> dict[str, np.ndarray]:
    """`backbone.` before every name that does not belong to the layers after it."""
    heads = ("deconv_layers.", "final_layer.")
    return {name if name.startswith(heads) else f"backbone.{name}": value for name, value in values.items()}


def simplepose_to_torch(values: Values) -> dict[str, np.ndarray]:
    """SimplePose as Microsoft's PoseResNet."""
    return batch_norm_to_torch({name.removeprefix("backbone."): value for name, value in values.items()})


def _keys(shapes: Shapes) -> dict[str, Any]:
    kernels = [shapes[name] for name in (f"deconv_layers.{3 * i}.weight" for i in range(9)) if name in shapes]
    keys = resnet_keys(shapes) | {
        "deconv_filters": [shape[1] for shape in kernels],
        "deconv_kernels": [shape[-1] for shape in kernels],
        "deconv_bias": "deconv_layers.0.bias" in shapes,
    }
    final = shapes.get("final_layer.weight")
    return keys | {"final_kernel": final[-1]} if final else keys


WEIGHTS = (
    Origin(
        "SimplePose of this repository",
        ("backbone.conv1.weight", "deconv_layers.0.weight", "backbone.bn1.gamma"),
        same,
        _keys,
        is_own=True,
    ),
    Origin(
        "SimpleBaselines (PyTorch)",
        ("conv1.weight", "bn1.running_mean", "deconv_layers.0.weight"),
        simplepose_from_torch,
        _keys,
        {**IMAGENET_BGR, "model.maxpool": "torch"},
    ),
    Origin(
        "SimplePose of AlphaPose (PyTorch)",
        ("preact.conv1.weight", "preact.bn1.running_mean", "deconv_layers.0.weight"),
        simplepose_from_alphapose,
        _keys,
        ALPHAPOSE,
    ),
    Origin(
        "MindSpore SimplePoseNet",
        ("conv1.weight", "bn1.gamma", "deconv_layers.deconv_0.deconv.weight"),
        simplepose_from_zoo,
        _keys,
        {**IMAGENET_BGR, "model.maxpool": "same"},
    ),
    Origin(
        "MindSpore simple_baselines",
        ("conv1.weight", "bn1.gamma", "deconv_layers.0.weight"),
        simple_baselines_from_zoo,
        _keys,
        {**IMAGENET_BGR, "model.maxpool": "torch"},
    ),
    Origin(
        "SimpleBaselines of MMPose 1.x (PyTorch)",
        ("backbone.conv1.weight", "backbone.bn1.running_mean", "head.deconv_layers.0.weight"),
        partial(from_mmpose, head="head."),
        _keys,
        {**IMAGENET_RGB, "model.maxpool": "torch"},
    ),
    Origin(
        "SimpleBaselines of MMPose 0.x (PyTorch)",
        ("backbone.conv1.weight", "backbone.bn1.running_mean", "keypoint_head.deconv_layers.0.weight"),
        partial(from_mmpose, head="keypoint_head."),
        _keys,
        {**IMAGENET_RGB, "model.maxpool": "torch"},
    ),
    Origin(
        "SimpleBaselines of mindpose (MindSpore)",
        ("backbone.conv1.weight", "backbone.bn1.gamma", "head.deconv_layer.0.weight"),
        simplepose_from_mindpose,
        _keys,
        {**MINDPOSE, "model.maxpool": "same"},
    ),
    *RESNET_WEIGHTS,
)

NETWORK = Network(
    "simplepose",
    SimplePoseKeys,
    TopDown,
    HeatmapKeys,
    heatmap_codec,
    _build,
    joints_mse,
    stride=_stride,
    weights=WEIGHTS,
    onnx=(HEATMAP_ONNX,),
    to_torch=lambda values, keys: simplepose_to_torch(values),
    refused=offset_maps,
    sections=HEATMAP_SECTIONS,
)
