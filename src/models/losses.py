"""Losses as cells that take the network's maps and the targets of its codec."""

from __future__ import annotations

import mindspore as ms
from mindspore import nn, ops


class JointsMSELoss(nn.Cell):
    """Half the mean squared error between heat maps, each joint's map weighted (SimpleBaselines' JointsMSELoss)."""

    def construct(self, heatmaps: ms.Tensor, target: ms.Tensor, weight: ms.Tensor) -> ms.Tensor:
        """Scalar from heatmaps and target (N, J, H, W) and weight (N, J)."""
        weight = weight.expand_dims(-1).expand_dims(-1)
        return 0.5 * ops.square((heatmaps.astype(ms.float32) - target) * weight).mean()
