"""FastPose (AlphaPose, arXiv 2211.03375): (SE-)ResNet, sub-pixel upsampling, heat maps."""

from __future__ import annotations

import mindspore as ms
from mindspore import nn
from mindspore.common.initializer import Normal

from mspose.models.layers import BatchNorm2d, Conv2d
from mspose.models.resnet import ResNet

# Convolutions after each of the three doublings of the size: FastPose, and its DUC variant ("421").
UPSAMPLING = {"shuffle": (1, 1, 0), "duc": (4, 2, 1)}


class PixelShuffle(nn.Cell):
    """Doubles height and width by spreading each four channels over 2×2 pixels (arXiv 1609.05158).

    Output channel c takes its pixel (i, j) from input channel 4·c + 2·i + j in the order "channel" (`nn.PixelShuffle`
    of PyTorch and MindSpore), and from (2·i + j)·C/4 + c in the order "block" (`DepthToSpace`, the MindSpore FastPose).
    """

    def __init__(self, order: str) -> None:
        super().__init__()
        self.is_block = order == "block"

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W) → (N, C/4, 2·H, 2·W)."""
        # Written out, since DepthToSpace takes ten times longer on CPUs, and reshapes export everywhere.
        _, channels, height, width = x.shape
        if self.is_block:
            x = x.reshape(-1, 2, 2, channels // 4, height, width).transpose(0, 3, 4, 1, 5, 2)
        else:
            x = x.reshape(-1, channels // 4, 2, 2, height, width).transpose(0, 1, 4, 2, 5, 3)
        return x.reshape(-1, channels // 4, 2 * height, 2 * width)


def _doubling(in_channels: int, out_channels: int, convolutions: int, order: str) -> nn.SequentialCell:
    """A pixel shuffle, then 3×3 convolutions with batch norm and ReLU, of which the last changes the channels."""
    cells, channels = [PixelShuffle(order)], in_channels // 4
    for i in range(convolutions):
        wanted = out_channels if i + 1 == convolutions else channels
        cells += [Conv2d(channels, wanted, 3), BatchNorm2d(wanted), nn.ReLU()]
    return nn.SequentialCell(*cells)


class FastPose(nn.Cell):
    """Maps pictures to one heat map a keypoint.

    Args:
        depth, base_width, maxpool, se: of the ResNet.
        num_keypoints: J, channels of the output.
        upsampling: "shuffle" for FastPose, which ends in a pixel shuffle, or "duc" for its larger DUC variant.
        width: channels of the convolutions after the first doubling; after each further one there are half as many.
            A multiple of 8; 1024 in AlphaPose.
        shuffle: order of channels in the pixel shuffles, "channel" or "block"; weights are for one of them.
    """

    def __init__(
        self,
        depth: int,
        num_keypoints: int,
        upsampling: str = "shuffle",
        width: int = 1024,
        se: str = "none",
        shuffle: str = "channel",
        base_width: int = 64,
        maxpool: str = "torch",
    ) -> None:
        super().__init__()
        self.backbone = ResNet(depth, base_width, maxpool, se)
        counts = UPSAMPLING[upsampling]
        self.duc1 = _doubling(self.backbone.out_channels, width, counts[0], shuffle)
        self.duc2 = _doubling(width, width // 2, counts[1], shuffle)
        self.duc3 = _doubling(width // 2, width // 4, counts[2], shuffle)
        channels = width // 4 if counts[2] else width // 8
        self.final_layer = Conv2d(channels, num_keypoints, 3, has_bias=True, weight_init=Normal(0.001))

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, 3, H, W) → (N, J, H/4, W/4)."""
        return self.final_layer(self.duc3(self.duc2(self.duc1(self.backbone(x)))))
