"""What networks with one heat map a keypoint share. No network itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mspose.codecs.heatmap import HeatmapCodec, HeatmapKeys
from mspose.config.schema import Config, section_as
from mspose.config.topdown import HeatmapEval, TopDownData
from mspose.skeleton import Skeleton

if TYPE_CHECKING:
    from mindspore import nn


# Sections that are not those of all top-down networks.
HEATMAP_SECTIONS = {"eval": HeatmapEval}


def heatmap_codec(config: Config, skeleton: Skeleton) -> HeatmapCodec:
    """Heat maps as the section `codec` says."""
    keys, width = section_as(config.codec, HeatmapKeys), config.data.input_size[0]
    stride = width // keys.heatmap_size[0] if keys.heatmap_size else 1
    return HeatmapCodec(
        skeleton,
        stride,
        keys.sigma,
        keys.refine,
        section_as(config.eval, HeatmapEval).shift_heatmap,
        section_as(config.data, TopDownData).unbiased,
        keys.targets,
        keys.blur,
    )


def joints_mse() -> nn.Cell:
    """Squared error of heat maps."""
    from mspose.models.losses import JointsMSELoss

    return JointsMSELoss()
