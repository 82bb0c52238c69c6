"""SimplePose (SimpleBaselines, arXiv 1804.06208)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mspose.checkpoints.to_torch import simplepose_to_torch
from mspose.codecs.heatmap import HeatmapKeys
from mspose.config.schema import FIXED, Check, key
from mspose.methods.topdown import TopDown
from mspose.networks.base import Network, ResNetKeys
from mspose.networks.heatmaps import heatmap_codec, joints_mse
from mspose.skeleton import Skeleton

if TYPE_CHECKING:
    from mindspore import nn


@dataclass
class SimplePoseKeys(ResNetKeys):
    """SimplePose: ResNet, deconvolutions, heat maps."""

    deconv_filters: list[int] = key(
        [256, 256, 256],
        "channels of each deconvolution layer",
        Check(lambda v: 1 <= len(v) <= 4 and min(v) > 0, "be one to four positive numbers"),
        FIXED,
    )
    deconv_kernels: list[int] = key(
        [4, 4, 4],
        "kernel of each deconvolution layer: 2, 3 or 4",
        Check(lambda v: all(k in (2, 3, 4) for k in v), "be kernels of 2, 3 or 4"),
        FIXED,
    )
    deconv_bias: bool = key(False, "deconvolutions have a bias", role=FIXED)
    final_kernel: int = key(1, "kernel of the last convolution", (1, 3), FIXED)

    def problems(self) -> Iterator[tuple[str, str]]:
        """A kernel for each deconvolution."""
        if len(self.deconv_filters) != len(self.deconv_kernels):
            yield "deconv_kernels", "be as many as model.deconv_filters"


def _stride(keys: SimplePoseKeys) -> int:
    return 2 ** (5 - len(keys.deconv_filters))


def _build(keys: SimplePoseKeys, skeleton: Skeleton) -> nn.Cell:
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


NETWORK = Network(
    "simplepose",
    SimplePoseKeys,
    TopDown,
    HeatmapKeys,
    heatmap_codec,
    _build,
    joints_mse,
    stride=_stride,
    to_torch=lambda values, keys: simplepose_to_torch(values),
)
