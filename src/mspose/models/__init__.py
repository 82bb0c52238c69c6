"""Networks: a network maps pictures to maps, a codec knows what the maps mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mindspore import nn

    from mspose.config.schema import ModelConfig
    from mspose.skeleton import Skeleton


def build_model(config: ModelConfig, skeleton: Skeleton) -> nn.Cell:
    """Build the network that `model.name` names, with the outputs that a skeleton needs and random weights."""
    return MODELS[config.name](config, skeleton)


def _simplepose(config: ModelConfig, skeleton: Skeleton) -> nn.Cell:
    from mspose.models.simplepose import SimplePose

    return SimplePose(
        config.depth,
        skeleton.num_keypoints,
        config.deconv_filters,
        config.deconv_kernels,
        config.deconv_bias,
        config.final_kernel,
        config.base_width,
        config.maxpool,
    )


def _fastpose(config: ModelConfig, skeleton: Skeleton) -> nn.Cell:
    from mspose.models.fastpose import FastPose

    return FastPose(
        config.depth,
        skeleton.num_keypoints,
        config.upsampling,
        config.upsampling_width,
        config.se,
        config.shuffle,
        config.base_width,
        config.maxpool,
    )


def _openpose(config: ModelConfig, skeleton: Skeleton) -> nn.Cell:
    from mspose.models.openpose import OpenPose
    from mspose.skeleton import paf_layout

    layout = paf_layout(skeleton)
    return OpenPose(
        layout.num_pafs,
        layout.num_heatmaps,
        config.stages,
        config.stage_width,
        config.base_width,
        config.norm,
        config.init_std,
    )


MODELS = {"simplepose": _simplepose, "fastpose": _fastpose, "openpose": _openpose}
