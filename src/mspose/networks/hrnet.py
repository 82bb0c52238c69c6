"""HRNet (arXiv 1902.09212)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mspose.checkpoints.names import batch_norm_from_torch, batch_norm_to_torch, from_mmpose, network_weights
from mspose.codecs.heatmap import HeatmapKeys
from mspose.config.keys import FIXED, POSITIVE, Check, key, section_as
from mspose.config.schema import Config, ModelConfig
from mspose.methods.topdown import TopDown
from mspose.networks.base import IMAGENET_RGB, MINDPOSE, Network, Origin, Shapes, Values, same
from mspose.networks.heatmaps import HEATMAP_ONNX, HEATMAP_SECTIONS, heatmap_codec, joints_mse, offset_maps
from mspose.skeleton import Skeleton

if TYPE_CHECKING:
    from mindspore import nn


@dataclass
class HRNetKeys(ModelConfig):
    """HRNet: four resolutions side by side, heat maps."""

    width: int = key(32, "channels of the finest branch (32, 48); the others are x2, x4, x8", POSITIVE, FIXED)
    stem_width: int = key(64, "channels of the stem; the first stage has x4", POSITIVE, FIXED)
    modules: list[int] = key(
        [1, 4, 3],
        "modules of the stages with two, three and four branches",
        Check(lambda v: len(v) == 3 and min(v) > 0, "be three positive numbers"),
        FIXED,
    )
    blocks: int = key(4, "blocks of the first stage, and of each branch of a module", POSITIVE, FIXED)


def _build(config: Config, skeleton: Skeleton) -> nn.Cell:
    from mspose.models.hrnet import HRNet

    keys = section_as(config.model, HRNetKeys)
    return HRNet(keys.width, skeleton.num_keypoints, keys.stem_width, keys.modules, keys.blocks)


def _keys(shapes: Shapes) -> dict[str, Any]:
    # Not how many modules and blocks there are: a file that has lost some would pass for a smaller network.
    return {
        "width": shapes["backbone.transition1.0.0.weight"][0],
        "stem_width": shapes["backbone.conv1.weight"][0],
    }


def _backbone_first(values: Values) -> dict[str, np.ndarray]:
    return {n if n.startswith("final_layer.") else f"backbone.{n}": value for n, value in values.items()}


def hrnet_from_torch(values: Values) -> dict[str, np.ndarray]:
    """State dict of the authors' PoseHighResolutionNet → names of `mspose.models.hrnet`."""
    return _backbone_first(batch_norm_from_torch(values))


def hrnet_from_mindpose(values: Values) -> dict[str, np.ndarray]:
    """Checkpoint of mindpose → names of `mspose.models.hrnet`."""
    return {
        name.replace(".down_sample.", ".downsample.").replace("head.head.", "final_layer."): value
        for name, value in network_weights(values).items()
    }


def hrnet_from_mindcv(values: Values) -> dict[str, np.ndarray]:
    """ImageNet HRNet of mindcv → names of the backbone; its classifier keeps its names and is reported as not used."""
    return {name.replace(".down_sample.", ".downsample."): value for name, value in network_weights(values).items()}


def hrnet_to_torch(values: Values) -> dict[str, np.ndarray]:
    """HRNet under its authors' names."""
    return batch_norm_to_torch({name.removeprefix("backbone."): value for name, value in values.items()})


WEIGHTS = (
    Origin(
        "HRNet of this repository",
        ("backbone.transition1.0.0.weight", "backbone.bn1.gamma", "final_layer.weight"),
        same,
        _keys,
        is_own=True,
    ),
    Origin(
        "HRNet (PyTorch)",
        ("transition1.0.0.weight", "bn1.running_mean", "final_layer.weight"),
        hrnet_from_torch,
        _keys,
        IMAGENET_RGB,
    ),
    Origin(
        "HRNet of MMPose 1.x (PyTorch)",
        ("backbone.transition1.0.0.weight", "backbone.bn1.running_mean", "head.final_layer.weight"),
        partial(from_mmpose, head="head."),
        _keys,
        IMAGENET_RGB,
    ),
    Origin(
        "HRNet of MMPose 0.x (PyTorch)",
        ("backbone.transition1.0.0.weight", "backbone.bn1.running_mean", "keypoint_head.final_layer.weight"),
        partial(from_mmpose, head="keypoint_head."),
        _keys,
        IMAGENET_RGB,
    ),
    Origin(
        "HRNet of mindpose (MindSpore)",
        ("backbone.transition1.0.0.weight", "backbone.bn1.gamma", "head.head.weight"),
        hrnet_from_mindpose,
        _keys,
        MINDPOSE,
    ),
    Origin(
        "ImageNet HRNet (PyTorch)",
        ("transition1.0.0.weight", "bn1.running_mean", "classifier.weight"),
        batch_norm_from_torch,
        _keys,
        part="backbone",
    ),
    Origin(
        "ImageNet HRNet of mindcv (MindSpore)",
        ("transition1.0.0.weight", "bn1.gamma", "classifier.weight"),
        hrnet_from_mindcv,
        _keys,
        part="backbone",
    ),
)

NETWORK = Network(
    "hrnet",
    HRNetKeys,
    TopDown,
    HeatmapKeys,
    heatmap_codec,
    _build,
    joints_mse,
    stride=lambda keys: 4,
    weights=WEIGHTS,
    onnx=(HEATMAP_ONNX,),
    to_torch=lambda values, keys: hrnet_to_torch(values),
    refused=offset_maps,
    sections=HEATMAP_SECTIONS,
    # It feeds all branches: see docs/int8.md.
    float_layers=("backbone.conv2.",),
)
