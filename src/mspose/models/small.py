"""The small network of `mspose.diagnose.small` in MindSpore."""

from __future__ import annotations

import mindspore as ms
from mindspore import nn, ops


class Small(nn.Cell):
    """Two convolutions, then a transposed and a last one beside attention of channels among each other.

    Args:
        weights: parameters by name, float32.
        channels, cells: of the maps that attention sees.
    """

    def __init__(self, weights: dict, channels: int, cells: int) -> None:
        super().__init__()
        keys = {"pad_mode": "pad", "padding": 1, "has_bias": True}
        self.first = nn.Conv2d(3, 8, 3, 2, **keys)
        self.second = nn.Conv2d(8, channels, 3, 1, **keys)
        self.deconv = nn.Conv2dTranspose(channels, 8, 4, 2, **keys)
        self.last = nn.Conv2d(8, 17, 1, has_bias=True)
        self.shape = (1, channels, cells)
        self.share = 1 / cells
        for parameter in self.get_parameters():
            parameter.set_data(ms.Tensor(weights[parameter.name]))

    def construct(self, x: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
        """(1, 3, H, W) → maps (1, 17, H, W), attention (1, channels, cells)."""
        x = ops.relu(self.second(ops.relu(self.first(x))))
        maps = self.last(ops.relu(self.deconv(x)))
        flat = x.reshape(self.shape)
        shares = ops.softmax(ops.matmul(flat, flat.transpose(0, 2, 1)) * self.share, axis=2)
        return maps, ops.matmul(shares, flat)
