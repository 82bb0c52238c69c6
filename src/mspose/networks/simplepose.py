"""SimplePose (SimpleBaselines, arXiv 1804.06208)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mspose.codecs.heatmap import HeatmapCodec
from mspose.config.schema import Config, ModelConfig
from mspose.methods.topdown import TopDown
from mspose.networks.base import Network
from mspose.skeleton import Skeleton

if TYPE_CHECKING:
    from mindspore import nn


def heatmap_codec(config: Config, skeleton: Skeleton) -> HeatmapCodec:
    """Heat maps as the section `codec` says."""
    stride = config.data.input_size[0] // config.codec.heatmap_size[0]
    return HeatmapCodec(skeleton, stride, config.codec.sigma, config.codec.refine, config.eval.shift_heatmap)


def joints_mse() -> nn.Cell:
    """Squared error of heat maps."""
    from mspose.models.losses import JointsMSELoss

    return JointsMSELoss()


def _build(keys: ModelConfig, skeleton: Skeleton) -> nn.Cell:
    from mspose.models.simplepose import SimplePose

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


NETWORK = Network("simplepose", TopDown, heatmap_codec, _build, joints_mse)
