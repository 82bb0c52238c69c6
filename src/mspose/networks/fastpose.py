"""FastPose (AlphaPose, arXiv 2211.03375)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mspose.config.schema import ModelConfig
from mspose.methods.topdown import TopDown
from mspose.networks.base import Network
from mspose.networks.simplepose import heatmap_codec, joints_mse
from mspose.skeleton import Skeleton

if TYPE_CHECKING:
    from mindspore import nn


def _build(keys: ModelConfig, skeleton: Skeleton) -> nn.Cell:
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


NETWORK = Network("fastpose", TopDown, heatmap_codec, _build, joints_mse, loss_line=_line)
