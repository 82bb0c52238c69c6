"""The first ten convolutions of VGG19 (arXiv 1409.1556) as a backbone with stride 8.

Parameter names are the paper's layers: conv1_1 … conv4_2, and bn1_1 … where there is batch normalisation.
"""

from __future__ import annotations

from collections import OrderedDict

import mindspore as ms
from mindspore import nn

from mspose.models.layers import BatchNorm2d, Conv2d

# Convolutions of each block; between two blocks, pooling halves the size. VGG19 itself goes on to conv5_4.
BLOCKS = (2, 2, 4, 2)


class VGG19(nn.Cell):
    """VGG19 up to the ReLU after conv4_2.

    Args:
        base_width: channels of the first block, 64 in the paper; the others have 2, 4 and 8 times as many.
        use_batch_norm: normalise after each convolution.

    Attributes:
        out_channels: channels of the returned features.
    """

    def __init__(self, base_width: int = 64, use_batch_norm: bool = False) -> None:
        super().__init__()
        channels, layers = 3, OrderedDict()
        for i, count in enumerate(BLOCKS):
            if i > 0:
                layers[f"pool{i}"] = nn.MaxPool2d(2, 2)
            width = base_width * 2**i
            for j in range(count):
                layer = f"{i + 1}_{j + 1}"
                layers[f"conv{layer}"] = Conv2d(channels, width, 3, has_bias=True)
                if use_batch_norm:
                    layers[f"bn{layer}"] = BatchNorm2d(width)
                layers[f"relu{layer}"] = nn.ReLU()
                channels = width
        self.layers = nn.SequentialCell(layers)
        self.out_channels = channels

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, 3, H, W) → (N, out_channels, H/8, W/8)."""
        return self.layers(x)
