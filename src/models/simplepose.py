"""SimplePose (SimpleBaselines, arXiv 1804.06208): ResNet, deconvolutions, heat maps."""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
from mindspore import nn
from mindspore.common.initializer import Normal

from src.models.resnet import ResNet, batch_norm

# Padding (and output padding, which MindSpore does not need) that make a stride-2 deconvolution double the size.
DECONV_PADDING = {4: 1, 3: 1, 2: 0}


class SimplePose(nn.Cell):
    """Maps pictures to one heat map a keypoint.

    Args:
        depth, base_width, maxpool: of the ResNet.
        num_keypoints: J, channels of the output.
        deconv_filters, deconv_kernels: channels and kernel of each deconvolution.
        deconv_bias: whether they have a bias.
        final_kernel: kernel of the last convolution, 1 or 3.
    """

    def __init__(self, depth: int, num_keypoints: int, deconv_filters: Sequence[int] = (256, 256, 256),
                 deconv_kernels: Sequence[int] = (4, 4, 4), deconv_bias: bool = False, final_kernel: int = 1,
                 base_width: int = 64, maxpool: str = "torch") -> None:
        super().__init__()
        self.backbone = ResNet(depth, base_width, maxpool)
        # The reference starts everything after the backbone from a narrow normal distribution.
        narrow = Normal(0.001)
        channels, layers = self.backbone.out_channels, []
        for filters, kernel in zip(deconv_filters, deconv_kernels):
            layers += [
                nn.Conv2dTranspose(channels, filters, kernel, 2, pad_mode="pad", padding=DECONV_PADDING[kernel],
                                   output_padding=1 if kernel == 3 else 0, has_bias=deconv_bias, weight_init=narrow),
                batch_norm(filters),
                nn.ReLU(),
            ]
            channels = filters
        self.deconv_layers = nn.SequentialCell(*layers)
        self.final_layer = nn.Conv2d(channels, num_keypoints, final_kernel, pad_mode="pad", padding=final_kernel // 2,
                                     has_bias=True, weight_init=narrow, bias_init="zeros")

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, 3, H, W) → (N, J, H/4, W/4) with three deconvolutions."""
        return self.final_layer(self.deconv_layers(self.backbone(x)))
