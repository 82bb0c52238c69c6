"""Networks: a network maps pictures to maps, a codec knows what the maps mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mindspore import nn

    from src.schema import ModelConfig


def build_model(config: ModelConfig, num_keypoints: int) -> nn.Cell:
    """Build the network that `model.name` names, with random weights."""
    return MODELS[config.name](config, num_keypoints)


def _simplepose(config: ModelConfig, num_keypoints: int) -> nn.Cell:
    from src.models.simplepose import SimplePose

    return SimplePose(config.depth, num_keypoints, config.deconv_filters, config.deconv_kernels, config.deconv_bias,
                      config.final_kernel, config.base_width, config.maxpool)


MODELS = {"simplepose": _simplepose}
