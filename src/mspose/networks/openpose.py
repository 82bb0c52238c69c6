"""OpenPose (arXiv 1611.08050)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mspose.codecs.grouping import Grouping
from mspose.codecs.paf import PafCodec
from mspose.config.schema import Config, ModelConfig
from mspose.methods.bottomup import BottomUp
from mspose.networks.base import Network
from mspose.skeleton import Skeleton, paf_layout

if TYPE_CHECKING:
    from mindspore import nn


def _codec(config: Config, skeleton: Skeleton) -> PafCodec:
    codec = config.codec
    grouping = Grouping(
        codec.peak_threshold,
        codec.limb_threshold,
        codec.limb_support,
        codec.min_joints,
        codec.min_score,
        codec.upsample,
    )
    return PafCodec(paf_layout(skeleton), sigma=codec.sigma, paf_width=codec.paf_width, grouping=grouping)


def _loss() -> nn.Cell:
    from mspose.models.losses import OpenPoseLoss

    return OpenPoseLoss()


def _build(keys: ModelConfig, skeleton: Skeleton) -> nn.Cell:
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


NETWORK = Network("openpose", BottomUp, _codec, _build, _loss, takes_any_size=True, loss_line=_line)
