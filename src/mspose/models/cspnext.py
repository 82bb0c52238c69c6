"""CSPNeXt (arXiv 2212.07784) as a backbone that returns the last stage's features, stride 32.

Parameter names are MMDetection's with MindSpore's batch-norm names.
"""

from __future__ import annotations

from collections import OrderedDict
from math import sqrt

import mindspore as ms
from mindspore import nn, ops
from mindspore.common.initializer import HeUniform

from mspose.models.layers import BatchNorm2d, Conv2d


class ConvNorm(nn.Cell):
    """Convolution, batch norm and SiLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, group: int = 1) -> None:
        super().__init__()
        # PyTorch's own start, uniform within 1 / √fan-in, which the published networks have.
        start = HeUniform(negative_slope=sqrt(5), nonlinearity="leaky_relu")
        self.conv = Conv2d(in_channels, out_channels, kernel, stride, weight_init=start, group=group)
        self.bn = BatchNorm2d(out_channels, behind=self.conv)
        self.activate = nn.SiLU()

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W) → (N, C', H/stride, W/stride)."""
        return self.activate(self.bn(self.conv(x)))


class Block(nn.Cell):
    """A 3×3 convolution, a 5×5 one of each channel by itself, a 1×1 one.

    Args:
        identity: add the input.
    """

    def __init__(self, channels: int, identity: bool) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels, channels, 3)
        self.conv2 = nn.SequentialCell(
            OrderedDict(
                depthwise_conv=ConvNorm(channels, channels, 5, group=channels),
                pointwise_conv=ConvNorm(channels, channels, 1),
            )
        )
        self.identity = identity

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W) → the same shape."""
        y = self.conv2(self.conv1(x))
        return x + y if self.identity else y


class ChannelAttention(nn.Cell):
    """Scales each channel by a number in 0 … 1 that follows from all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = Conv2d(channels, channels, 1, has_bias=True)
        self.relu6 = nn.ReLU6()

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W) → the same shape."""
        _, channels, height, width = x.shape
        # One row a channel: on CPUs, means and products over two axes of four take several times longer.
        rows = x.reshape(-1, height * width)
        # PyTorch's hard sigmoid in operators that ONNX has from its first versions on.
        scale = self.relu6(self.fc(rows.mean(1).reshape(-1, channels, 1, 1)) + 3.0) / 6.0
        return (rows * scale.reshape(-1, 1)).reshape(-1, channels, height, width)


class CSPLayer(nn.Cell):
    """Blocks on one half of the channels, which meets the other half behind them (arXiv 1911.11929)."""

    def __init__(self, channels: int, blocks: int, identity: bool) -> None:
        super().__init__()
        half = channels // 2
        self.main_conv = ConvNorm(channels, half, 1)
        self.short_conv = ConvNorm(channels, half, 1)
        self.final_conv = ConvNorm(channels, channels, 1)
        self.blocks = nn.SequentialCell(*[Block(half, identity) for _ in range(blocks)])
        self.attention = ChannelAttention(channels)

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W) → the same shape."""
        return self.final_conv(self.attention(ops.cat((self.blocks(self.main_conv(x)), self.short_conv(x)), 1)))


class PyramidPooling(nn.Cell):
    """Maxima around each place, of 5, 9 and 13 cells, beside the place itself (SPP, arXiv 1406.4729)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = ConvNorm(channels, half, 1)
        self.conv2 = ConvNorm(4 * half, channels, 1)
        self.pool = nn.MaxPool2d(5, 1, pad_mode="same")

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W) → the same shape."""
        x = self.conv1(x)
        # Maxima of 5 cells over maxima of 5 are those of 9, and once more of 13.
        five = self.pool(x)
        nine = self.pool(five)
        return self.conv2(ops.cat((x, five, nine, self.pool(nine)), 1))


class CSPNeXt(nn.Cell):
    """A stem and four stages, each of half the resolution and twice the channels of the one before.

    Args:
        width: channels of the last stage, a multiple of 32.
        blocks: of each of the two middle stages; the outer ones have half as many, rounded up.
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        first = width // 16
        self.stem = nn.SequentialCell(
            ConvNorm(3, first // 2, 3, 2), ConvNorm(first // 2, first // 2, 3), ConvNorm(first // 2, first, 3)
        )
        outer, channels = (blocks + 1) // 2, first
        for number, count in enumerate((outer, blocks, blocks, outer), 1):
            is_last = number == 4
            cells: list[nn.Cell] = [ConvNorm(channels, 2 * channels, 3, 2)]
            channels *= 2
            if is_last:
                cells.append(PyramidPooling(channels))
            cells.append(CSPLayer(channels, count, identity=not is_last))
            setattr(self, f"stage{number}", nn.SequentialCell(*cells))

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, 3, H, W) → (N, width, H/32, W/32)."""
        return self.stage4(self.stage3(self.stage2(self.stage1(self.stem(x)))))
