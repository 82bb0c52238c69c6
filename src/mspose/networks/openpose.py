"""OpenPose (arXiv 1611.08050)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mspose.checkpoints.to_torch import openpose_to_torch
from mspose.codecs.grouping import Grouping
from mspose.codecs.paf import PafCodec, PafKeys
from mspose.config.schema import FIXED, NOT_NEGATIVE, POSITIVE, Config, ModelConfig, key, section_as
from mspose.methods.bottomup import BottomUp
from mspose.networks.base import Network
from mspose.skeleton import Skeleton, paf_layout

if TYPE_CHECKING:
    from mindspore import nn


@dataclass
class OpenPoseKeys(ModelConfig):
    """OpenPose: VGG19, heat maps and part affinity fields in stages."""

    base_width: int = key(64, "channels of the first VGG19 block", POSITIVE, FIXED)
    stages: int = key(6, "stages", POSITIVE, FIXED)
    stage_width: int = key(128, "channels of the stages and of the features they read", POSITIVE, FIXED)
    norm: str = key(
        "none",
        "batch norm: none as published, in the VGG19 backbone, or everywhere",
        ("none", "backbone", "all"),
        FIXED,
    )
    init_std: float = key(
        0.01, "spread of the first weights behind the backbone; 0: by their fan-in (He)", NOT_NEGATIVE
    )


def _codec(config: Config, skeleton: Skeleton) -> PafCodec:
    keys = section_as(config.codec, PafKeys)
    grouping = Grouping(
        keys.peak_threshold, keys.limb_threshold, keys.limb_support, keys.min_joints, keys.min_score, keys.upsample
    )
    return PafCodec(paf_layout(skeleton), sigma=keys.joint_sigma, paf_width=keys.paf_width, grouping=grouping)


def _loss() -> nn.Cell:
    from mspose.models.losses import OpenPoseLoss

    return OpenPoseLoss()


def _build(keys: OpenPoseKeys, skeleton: Skeleton) -> nn.Cell:
    from mspose.models.openpose import OpenPose

    layout = paf_layout(skeleton)
    return OpenPose(
        layout.num_pafs,
        layout.num_heatmaps,
        keys.stages,
        keys.stage_width,
        keys.base_width,
        keys.norm,
        keys.init_std,
    )


def _line(epoch: int, step: int, loss: float) -> str:
    return f"epoch[{epoch - 1}], iter[{step - 1}], mean loss is {loss:.9f}"


NETWORK = Network(
    "openpose",
    OpenPoseKeys,
    BottomUp,
    PafKeys,
    _codec,
    _build,
    _loss,
    stride=lambda keys: 8,
    size_multiple=8,
    takes_any_size=True,
    loss_line=_line,
    to_torch=lambda values, keys: openpose_to_torch(values),
    renamed={"data.rotation_factor": "data.max_rotation", "codec.sigma": "codec.joint_sigma"},
)
