"""ResNet (arXiv 1512.03385) as a backbone that returns the last stage's features, stride 32.

Parameter names are torchvision's with MindSpore's batch-norm names (gamma, beta, moving_mean, moving_variance).
"""

from __future__ import annotations

import mindspore as ms
from mindspore import nn, ops

from mspose.models.layers import BatchNorm2d, Conv2d

# Blocks of each stage, and whether they are bottlenecks.
STAGES = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}


class MaxPool(nn.Cell):
    """3×3 max pooling with stride 2, of maps with even sides after a ReLU.

    `torch` pads one pixel on every side, of which even sizes use the first row and column; zeros serve as padding,
    since a ReLU comes before it. `same` pads as TensorFlow and the MindSpore zoo do: right and bottom only.

    Attributes:
        exported: pad with one standard operator, as exported graphs should. On CPUs it takes seven times longer than
            to concatenate zeros; and ONNX refuses MaxPool2d(pad_mode="pad").
    """

    def __init__(self, padding: str) -> None:
        super().__init__()
        self.is_torch = padding == "torch"
        self.exported = False
        self.pad = nn.Pad(((0, 0), (0, 0), (1, 1), (1, 1)))
        self.pool = nn.MaxPool2d(3, 2, pad_mode="valid" if self.is_torch else "same")

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W) → (N, C, H/2, W/2)."""
        if self.is_torch and self.exported:
            x = self.pad(x)
        elif self.is_torch:
            batch, channels, height, width = x.shape
            x = ops.cat((ops.zeros((batch, channels, 1, width), x.dtype), x), 2)
            x = ops.cat((ops.zeros((batch, channels, height + 1, 1), x.dtype), x), 3)
        return self.pool(x)


class SqueezeExcitation(nn.Cell):
    """Scales each channel by a number in (0, 1) that follows from all channels' means (arXiv 1709.01507).

    As in AlphaPose, the hidden layer is as wide as the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.SequentialCell(nn.Dense(channels, channels), nn.ReLU(), nn.Dense(channels, channels), nn.Sigmoid())

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W) → the same shape."""
        _, channels, height, width = x.shape
        # One row a channel: on CPUs, means and products over two axes of four take several times longer.
        rows = x.reshape(-1, height * width)
        scale = self.fc(rows.mean(1).reshape(-1, channels))
        return (rows * scale.reshape(-1, 1)).reshape(-1, channels, height, width)


class BasicBlock(nn.Cell):
    """Two 3×3 convolutions with a shortcut; with `use_se`, squeeze and excitation before the sum."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int, use_se: bool = False) -> None:
        super().__init__()
        self.conv1 = Conv2d(in_channels, channels, 3, stride)
        self.bn1 = BatchNorm2d(channels, behind=self.conv1)
        self.conv2 = Conv2d(channels, channels, 3)
        self.bn2 = BatchNorm2d(channels, behind=self.conv2)
        self.relu = nn.ReLU()
        self.se = SqueezeExcitation(channels) if use_se else nn.Identity()
        self.downsample = _shortcut(in_channels, channels, stride)

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W) → (N, C', H/stride, W/stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.se(self.bn2(self.conv2(y)))
        return self.relu(y + self.downsample(x))


class Bottleneck(nn.Cell):
    """1×1, 3×3, 1×1 convolutions with a shortcut; the stride is in the 3×3 one (ResNet v1.5, as torchvision).

    With `use_se`, squeeze and excitation before the sum.
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int, use_se: bool = False) -> None:
        super().__init__()
        self.conv1 = Conv2d(in_channels, channels, 1)
        self.bn1 = BatchNorm2d(channels, behind=self.conv1)
        self.conv2 = Conv2d(channels, channels, 3, stride)
        self.bn2 = BatchNorm2d(channels, behind=self.conv2)
        self.conv3 = Conv2d(channels, channels * self.expansion, 1)
        self.bn3 = BatchNorm2d(channels * self.expansion, behind=self.conv3)
        self.relu = nn.ReLU()
        self.se = SqueezeExcitation(channels * self.expansion) if use_se else nn.Identity()
        self.downsample = _shortcut(in_channels, channels * self.expansion, stride)

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W) → (N, 4·C', H/stride, W/stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.se(self.bn3(self.conv3(y)))
        return self.relu(y + self.downsample(x))


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Cell:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.SequentialCell(Conv2d(in_channels, out_channels, 1, stride), BatchNorm2d(out_channels))


class ResNet(nn.Cell):
    """ResNet without its classifier.

    Args:
        depth: 18, 34, 50, 101 or 152.
        base_width: channels of the first stage before expansion; 64 in the paper.
        maxpool: padding of the stem's pooling, "torch" or "same".
        se: squeeze and excitation nowhere ("none") or in the "first_block" of each stage.

    Attributes:
        out_channels: channels of the returned features.
    """

    def __init__(self, depth: int, base_width: int = 64, maxpool: str = "torch", se: str = "none") -> None:
        super().__init__()
        blocks, bottleneck = STAGES[depth]
        block = Bottleneck if bottleneck else BasicBlock
        self.conv1 = Conv2d(3, base_width, 7, 2)
        self.bn1 = BatchNorm2d(base_width, behind=self.conv1)
        self.relu = nn.ReLU()
        self.maxpool = MaxPool(maxpool)
        channels = base_width
        stages = []
        for i, count in enumerate(blocks):
            width = base_width * 2**i
            cells = []
            for j in range(count):
                use_se = se == "first_block" and j == 0
                cells.append(block(channels, width, 2 if i > 0 and j == 0 else 1, use_se))
                channels = width * block.expansion
            stages.append(nn.SequentialCell(*cells))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.out_channels = channels

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, 3, H, W) → (N, out_channels, H/32, W/32)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))
