"""What networks with one heat map a keypoint share. No network itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mspose.codecs.heatmap import HeatmapCodec, HeatmapKeys
from mspose.config.schema import Config, section_as
from mspose.config.topdown import TopDownData, TopDownEval
from mspose.networks.base import Shapes
from mspose.skeleton import Skeleton

if TYPE_CHECKING:
    from mindspore import nn


def heatmap_codec(config: Config, skeleton: Skeleton) -> HeatmapCodec:
    """Heat maps as the section `codec` says."""
    keys, width = section_as(config.codec, HeatmapKeys), config.data.input_size[0]
    stride = width // keys.heatmap_size[0] if keys.heatmap_size else 1
    return HeatmapCodec(
        skeleton,
        stride,
        keys.sigma,
        keys.refine,
        section_as(config.eval, TopDownEval).shift_heatmap,
        section_as(config.data, TopDownData).unbiased,
        keys.targets,
        keys.blur,
    )


def offset_maps(shapes: Shapes, skeleton: Skeleton) -> str:
    """What is to be said of weights whose last layer gives three maps a keypoint, UDP's disc and offsets (arXiv
    1911.07524, section 3.3), which no codec here reads."""
    final = shapes.get("final_layer.weight")
    count = skeleton.num_keypoints
    if not final or final[0] != 3 * count:
        return ""
    return (
        f"gives {final[0]} maps for {count} keypoints, three each (a disc and two offsets, as UDP's regression "
        "has them), which is out of scope here: take a file with one heat map a keypoint"
    )


def joints_mse() -> nn.Cell:
    """Squared error of heat maps."""
    from mspose.models.losses import JointsMSELoss

    return JointsMSELoss()
