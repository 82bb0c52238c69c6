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


class SimCCLoss(nn.Cell):
    """Divergence of SimCC's vectors from softened targets (RTMPose, arXiv 2303.07399, section 3.2).

    Both are made distributions by a softmax of ten times their values. Σ p ln(p / q) is divided by the number of
    places, weighted and added up over both axes, keypoints and people, and divided by the number of keypoints: as
    published it grows with the batch.
    """

    SHARPNESS = 10.0

    def construct(self, outputs: tuple, along_x: ms.Tensor, along_y: ms.Tensor, weight: ms.Tensor) -> ms.Tensor:
        """Scalar from vectors and targets (N, J, W split) and (N, J, H split), and weight (N, J)."""
        x, y = outputs
        divergences = self._divergence(x, along_x) + self._divergence(y, along_y)
        return (divergences * weight).sum() / weight.shape[1]

    def _divergence(self, output: ms.Tensor, target: ms.Tensor) -> ms.Tensor:
        logarithm = ops.log_softmax(output.astype(ms.float32) * self.SHARPNESS, -1)
        wanted = ops.log_softmax(target * self.SHARPNESS, -1)
        return (ops.exp(wanted) * (wanted - logarithm)).mean(-1)


class OpenPoseLoss(nn.Cell):
    """Masked squared error of both branches of every stage (equation 5 of arXiv 1611.08050), as means.

    Of each stage and branch, mask · (maps - target)² is averaged over all of batch, channels and cells, masked ones
    included; the averages of fields and heat maps are added, over all stages. The paper sums over channels and cells:
    that would multiply the fields' part by 38·46·46 and the heat maps' by 19·46·46. The MindSpore OpenPose takes means,
    which its learning rates, loss scale and logged values presume: since the background map is 1 nearly everywhere, an
    untrained network's loss is about 6 stages / 19 maps = 0.32.
    """

    def construct(self, outputs: tuple, heatmaps: ms.Tensor, pafs: ms.Tensor, mask: ms.Tensor) -> ms.Tensor:
        """Scalar from what OpenPose returns in training and its targets.

        Args:
            outputs: a pair of fields (N, P, h, w) and heat maps (N, K, h, w) for each stage.
            heatmaps, pafs: targets of these shapes.
            mask: (N, 1, h, w), 1 where a cell counts and 0 where people are not annotated.
        """
        total = 0.0
        for stage_pafs, stage_heatmaps in outputs:
            total += (mask * ops.square(stage_pafs.astype(ms.float32) - pafs)).mean()
            total += (mask * ops.square(stage_heatmaps.astype(ms.float32) - heatmaps)).mean()
        return total
