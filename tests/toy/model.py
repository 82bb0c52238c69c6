"""The toy in MindSpore."""

from __future__ import annotations

import mindspore as ms
from mindspore import nn, ops

from mspose.models.layers import BatchNorm2d, Conv2d


class Toy(nn.Cell):
    """Maps pictures to two vectors a keypoint."""

    def __init__(self, width: int, num_keypoints: int) -> None:
        super().__init__()
        cells, channels = [], 3
        for stride in (2, 2, 1):
            cells += [Conv2d(channels, width, 3, stride), BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.backbone = nn.SequentialCell(*cells)
        self.final_layer = Conv2d(width, num_keypoints, 1, has_bias=True)

    def construct(self, x: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
        """(N, 3, H, W) → (N, J, W/4), (N, J, H/4)."""
        maps = self.final_layer(self.backbone(x))
        return maps.mean(axis=2), maps.mean(axis=3)


class VectorLoss(nn.Cell):
    """Squared error of both vectors, keypoints weighted."""

    def construct(self, outputs: tuple, along_x: ms.Tensor, along_y: ms.Tensor, weight: ms.Tensor) -> ms.Tensor:
        """Scalar."""
        weight = weight.expand_dims(-1)
        x, y = outputs
        return (ops.square((x - along_x) * weight)).mean() + (ops.square((y - along_y) * weight)).mean()
