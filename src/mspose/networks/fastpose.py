"""FastPose (AlphaPose, arXiv 2211.03375)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mspose.checkpoints.to_torch import fastpose_to_torch
from mspose.codecs.heatmap import HeatmapKeys
from mspose.config.schema import FIXED, Check, key
from mspose.methods.topdown import TopDown
from mspose.networks.base import Network, ResNetKeys
from mspose.networks.heatmaps import heatmap_codec, joints_mse
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


def _build(keys: FastPoseKeys, skeleton: Skeleton) -> nn.Cell:
    from mspose.models.fastpose import FastPose

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
    to_torch=lambda values, keys: fastpose_to_torch(values, keys.shuffle),
    torch_keys={"shuffle": "channel"},
)
