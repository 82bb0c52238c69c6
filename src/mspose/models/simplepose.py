"""SimplePose (SimpleBaselines, arXiv 1804.06208): ResNet, deconvolutions, heat maps."""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
from mindspore import nn
from mindspore.common.initializer import Normal

from mspose.models.layers import BatchNorm2d, Conv2d, Deconv2d
from mspose.models.resnet import ResNet


class SimplePose(nn.Cell):
    """Maps pictures to one heat map a keypoint.

    Args:
        depth, base_width, maxpool: of the ResNet.
        num_keypoints: J, channels of the output.
        deconv_filters, deconv_kernels: channels and kernel of each deconvolution.
        deconv_bias: whether they have a bias.
        final_kernel: kernel of the last convolution, 1 or 3.
    """

    def __init__(
        self,
        depth: int,
        num_keypoints: int,
        deconv_filters: Sequence[int] = (256, 256, 256),
        deconv_kernels: Sequence[int] = (4, 4, 4),
        deconv_bias: bool = False,
        final_kernel: int = 1,
        base_width: int = 64,
        maxpool: str = "torch",
    ) -> None:
        super().__init__()
        self.backbone = ResNet(depth, base_width, maxpool)
        # The reference starts everything after the backbone from a narrow normal distribution.
        narrow = Normal(0.001)
        channels, layers = self.backbone.out_channels, []
        for filters, kernel in zip(deconv_filters, deconv_kernels):
            layers += [Deconv2d(channels, filters, kernel, deconv_bias, narrow), BatchNorm2d(filters), nn.ReLU()]
            channels = filters
        self.deconv_layers = nn.SequentialCell(*layers)
        self.final_layer = Conv2d(channels, num_keypoints, final_kernel, has_bias=True, weight_init=narrow)

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, 3, H, W) → (N, J, H/4, W/4) with three deconvolutions."""
        return self.final_layer(self.deconv_layers(self.backbone(x)))
