"""FastPose (AlphaPose, arXiv 2211.03375)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mspose.checkpoints.names import batch_norm_from_torch, batch_norm_to_torch
from mspose.codecs.heatmap import HeatmapKeys
from mspose.config.keys import FIXED, Check, key, section_as
from mspose.config.schema import Config
from mspose.methods.topdown import TopDown
from mspose.networks.base import ALPHAPOSE, IMAGENET_BGR, Network, Origin, Shapes, Values, same
from mspose.networks.heatmaps import HEATMAP_SECTIONS, heatmap_codec, joints_mse
from mspose.networks.resnet import RESNET_WEIGHTS, ResNetKeys, resnet_from_zoo, se_resnet_keys
from mspose.skeleton import Skeleton

if TYPE_CHECKING:
    from mindspore import nn


@dataclass
class FastPoseKeys(ResNetKeys):
    """FastPose: (SE-)ResNet, sub-pixel upsampling, heat maps."""

    se: str = key(
        "none",
        "squeeze and excitation in the ResNet: none, or in the first block of each stage",
        ("none", "first_block"),
        FIXED,
    )
    shuffle: str = key(
        "channel",
        "channel order of the pixel shuffles: as PyTorch's PixelShuffle (channel) or as DepthToSpace (block)",
        ("channel", "block"),
        FIXED,
    )
    upsampling: str = key(
        "shuffle", "behind the ResNet: as published (shuffle), or its DUC variant", ("shuffle", "duc"), FIXED
    )
    upsampling_width: int = key(
        1024,
        "channels after the first doubling; half as many after each further one",
        Check(lambda v: v > 0 and v % 8 == 0, "be a multiple of 8"),
        FIXED,
    )


def _build(config: Config, skeleton: Skeleton) -> nn.Cell:
    from mspose.models.fastpose import FastPose

    keys = section_as(config.model, FastPoseKeys)
    return FastPose(
        keys.depth,
        skeleton.num_keypoints,
        keys.upsampling,
        keys.upsampling_width,
        keys.se,
        keys.shuffle,
        keys.base_width,
        keys.maxpool,
    )


def _line(epoch: int, step: int, loss: float) -> str:
    return f"epoch:{epoch} step:{step}, loss is {loss:.4g}"


# The DUC layers of AlphaPose's FastPose; those of its DUC variant are numbered already, as ours are.
_FASTPOSE_DUC = re.compile(r"(duc\d)\.(conv|bn)\.")


def fastpose_layers(values: Values) -> dict[str, np.ndarray]:
    """Layer names of AlphaPose's FastPose and its DUC variant → names of `mspose.models.fastpose`.

    The last part of each name, which for batch norms is PyTorch's or MindSpore's, stays.
    """
    number = {"conv": "1", "bn": "2"}
    result = {}
    for name, value in values.items():
        name = re.sub(r"^preact\.", "backbone.", name)
        name = re.sub(r"^conv_out\.", "final_layer.", name)
        result[_FASTPOSE_DUC.sub(lambda match: f"{match[1]}.{number[match[2]]}.", name)] = value
    return result


def fastpose_from_torch(values: Values) -> dict[str, np.ndarray]:
    """State dict of AlphaPose's FastPose or its DUC variant → names of `mspose.models.fastpose`."""
    return fastpose_layers(batch_norm_from_torch(values))


def fastpose_from_zoo(values: Values) -> dict[str, np.ndarray]:
    """Checkpoint of the MindSpore AlphaPose → names of `mspose.models.fastpose`; its shuffles are in block order."""
    return fastpose_layers(resnet_from_zoo(values))


def fastpose_to_torch(values: Values, shuffle: str) -> dict[str, np.ndarray]:
    """FastPose as AlphaPose's.

    Args:
        shuffle: order of the pixel shuffles that the weights are for; PyTorch's is "channel", and the channels of
            weights for "block" are put into that order, which leaves the function of the network as it is.
    """
    values = _block_to_channel(values) if shuffle == "block" else values
    is_duc = any(name.startswith("duc3.") for name in values)
    return batch_norm_to_torch({_fastpose_name(name, is_duc): value for name, value in values.items()})


def _fastpose_name(name: str, is_duc: bool) -> str:
    """AlphaPose counts the layers of its DUC variant, as we do, and names the two of each doubling otherwise."""
    name = re.sub(r"^backbone\.", "preact.", name)
    name = re.sub(r"^final_layer\.", "conv_out.", name)
    if is_duc:
        return name
    return re.sub(r"^(duc\d)\.([12])\.", lambda match: f"{match[1]}.{'conv' if match[2] == '1' else 'bn'}.", name)


def _block_to_channel(values: Values) -> dict[str, np.ndarray]:
    """Reorder what comes before each pixel shuffle: input 4·c + q of the channel order is (q·C/4 + c) of block order.

    The first shuffle reads what the blocks of the last ResNet stage add up, so all of their ends are reordered, and
    the beginnings of those that follow.
    """
    result = dict(values)
    last_conv, last_norm = ("conv3", "bn3") if "backbone.layer4.0.conv3.weight" in values else ("conv2", "bn2")
    outputs = re.compile(rf"backbone\.layer4\.\d+\.({last_conv}|{last_norm}|downsample\.[01]|se\.fc\.2)\.\w+")
    inputs = re.compile(r"backbone\.layer4\.([1-9]\d*\.conv1|\d+\.se\.fc\.0)\.weight")
    for name, value in values.items():
        if outputs.fullmatch(name):
            result[name] = value[_order(len(value))]
        elif inputs.fullmatch(name):
            result[name] = value[:, _order(value.shape[1])]
    # The last convolution of a doubling, and its batch norm, feed the next shuffle; behind the last doubling is none.
    stages = [stage for stage in ("duc1", "duc2", "duc3") if f"{stage}.1.weight" in values]
    for stage in stages[:2]:
        numbers = [int(name.split(".")[1]) for name in values if name.startswith(f"{stage}.")]
        for name in values:
            if re.fullmatch(rf"{stage}\.({max(numbers) - 1}|{max(numbers)})\.\w+", name):
                result[name] = values[name][_order(len(values[name]))]
    return result


def _order(channels: int) -> np.ndarray:
    return np.arange(channels).reshape(4, channels // 4).T.reshape(-1)


def _keys(shapes: Shapes) -> dict[str, Any]:
    numbers = [int(name.split(".")[1]) for name in shapes if re.fullmatch(r"duc1\.\d+\.weight", name)]
    return se_resnet_keys(shapes) | {
        "upsampling": "duc" if len(numbers) > 1 else "shuffle",
        "upsampling_width": shapes[f"duc1.{max(numbers)}.weight"][0],
    }


def _deformable(shapes: Shapes, skeleton: Skeleton) -> str:
    """What is to be said of AlphaPose's files with deformable convolutions: all else in them fits."""
    offsets = next((name for name in shapes if name.endswith(".conv2_offset.weight")), "")
    return f"has deformable convolutions ({offsets}), which are out of scope here" if offsets else ""


WEIGHTS = (
    Origin(
        "FastPose of this repository",
        ("backbone.conv1.weight", "duc1.1.weight", "backbone.bn1.gamma"),
        same,
        _keys,
        is_own=True,
    ),
    Origin(
        "FastPose of AlphaPose (PyTorch)",
        ("preact.conv1.weight", "preact.bn1.running_mean", "conv_out.weight"),
        fastpose_from_torch,
        _keys,
        {**ALPHAPOSE, "model.shuffle": "channel"},
        shown=("model.se",),
    ),
    Origin(
        "MindSpore FastPose",
        ("preact.conv1.weight", "preact.bn1.gamma", "conv_out.weight"),
        fastpose_from_zoo,
        _keys,
        {**IMAGENET_BGR, "model.maxpool": "torch", "model.shuffle": "block"},
        shown=("model.se",),
    ),
    *RESNET_WEIGHTS,
)

NETWORK = Network(
    "fastpose",
    FastPoseKeys,
    TopDown,
    HeatmapKeys,
    heatmap_codec,
    _build,
    joints_mse,
    stride=lambda keys: 4,
    loss_line=_line,
    weights=WEIGHTS,
    to_torch=lambda values, keys: fastpose_to_torch(values, keys.shuffle),
    torch_keys={"shuffle": "channel"},
    refused=_deformable,
    sections=HEATMAP_SECTIONS,
)
