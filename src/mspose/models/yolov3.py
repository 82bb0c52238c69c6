"""YOLOv3 (arXiv 1804.02767): Darknet-53 and three heads that see a picture at strides 32, 16 and 8.

There are two networks of that name, with the same parameters and different results. The authors' (`yolov3.weights`)
has leaky ReLUs everywhere and pads both sides. That of the MindSpore model zoo (`yolo.ckpt`) has plain ReLUs in the
backbone, and its convolutions with stride 2 pad right and bottom only. Parameters are named as in the zoo, without its
`feature_map.` in front, and created in the order in which Darknet stores them.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import nn, ops

from mspose.models.layers import Conv2d

# Residual blocks of the five stages of Darknet-53.
BLOCKS = (1, 2, 8, 8, 4)
# Width and height of the anchors in input pixels, three for each head, coarsest head first.
ANCHORS = (((116, 90), (156, 198), (373, 326)), ((30, 61), (62, 45), (59, 119)), ((10, 13), (16, 30), (33, 23)))
LEAK = 0.1
# What Darknet and the zoo add to the variance in batch normalisation.
DARKNET_EPSILON, ZOO_EPSILON = 1e-6, 1e-5


class SameBlock(nn.SequentialCell):
    """Convolution 3×3 with stride 2, batch norm, activation; pads even sizes right and bottom only (`pad_mode="same"`).

    The windows of such a convolution begin one pixel later than those of `Conv2d`. A row and a column of zeros in front
    make the two agree, but for the first outputs, which are dropped.
    """

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W), H and W even → (N, C', H/2, W/2)."""
        convolution, norm, activation = self.cell_list
        return activation(norm(convolution(ops.pad(x, (1, 0, 1, 0)))[:, :, 1:, 1:]))


def _block(
    in_channels: int, out_channels: int, kernel: int, zoo: bool, stride: int = 1, leaky: bool = True
) -> nn.SequentialCell:
    """Convolution, batch norm, activation."""
    sequence = SameBlock if zoo and stride == 2 else nn.SequentialCell
    norm = nn.BatchNorm2d(out_channels, eps=ZOO_EPSILON if zoo else DARKNET_EPSILON)
    return sequence(Conv2d(in_channels, out_channels, kernel, stride), norm, nn.LeakyReLU(LEAK) if leaky else nn.ReLU())


class Residual(nn.Cell):
    """A 1×1 convolution to half the channels and a 3×3 one back, added to the input."""

    def __init__(self, channels: int, zoo: bool) -> None:
        super().__init__()
        self.conv1 = _block(channels, channels // 2, 1, zoo, leaky=not zoo)
        self.conv2 = _block(channels // 2, channels, 3, zoo, leaky=not zoo)

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W) → the same shape."""
        return x + self.conv2(self.conv1(x))


class Darknet53(nn.Cell):
    """The backbone; `base_width` is the number of channels of the first convolution, 32 in the paper."""

    def __init__(self, base_width: int, zoo: bool) -> None:
        super().__init__()
        self.conv0 = _block(3, base_width, 3, zoo, leaky=not zoo)
        for i, blocks in enumerate(BLOCKS):
            channels = base_width * 2 ** (i + 1)
            setattr(self, f"conv{i + 1}", _block(channels // 2, channels, 3, zoo, stride=2, leaky=not zoo))
            setattr(self, f"layer{i + 1}", nn.SequentialCell([Residual(channels, zoo) for _ in range(blocks)]))

    def construct(self, x: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor, ms.Tensor]:
        """(N, 3, H, W) → features of 8, 16 and 32 times the base width at strides 8, 16 and 32."""
        x = self.layer2(self.conv2(self.layer1(self.conv1(self.conv0(x)))))
        fine = self.layer3(self.conv3(x))
        middle = self.layer4(self.conv4(fine))
        return fine, middle, self.layer5(self.conv5(middle))


class Head(nn.Cell):
    """Six convolutions and the last, linear one; `width` channels between them, twice as many in every second."""

    def __init__(self, in_channels: int, width: int, outputs: int, zoo: bool) -> None:
        super().__init__()
        self.conv0 = _block(in_channels, width, 1, zoo)
        self.conv1 = _block(width, 2 * width, 3, zoo)
        self.conv2 = _block(2 * width, width, 1, zoo)
        self.conv3 = _block(width, 2 * width, 3, zoo)
        self.conv4 = _block(2 * width, width, 1, zoo)
        self.conv5 = _block(width, 2 * width, 3, zoo)
        self.conv6 = Conv2d(2 * width, outputs, 1, has_bias=True)

    def construct(self, x: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
        """(N, C, h, w) → what the next, finer head goes on from (N, width, h, w), and the output."""
        x = self.conv4(self.conv3(self.conv2(self.conv1(self.conv0(x)))))
        return x, self.conv6(self.conv5(x))


class YOLOv3(nn.Cell):
    """Maps pictures to the raw outputs of three heads; `mspose.detection.decode` makes boxes of them.

    Args:
        zoo: the network of the MindSpore model zoo instead of the authors'.
        classes: number of classes C; 80 for COCO.
        base_width: channels of the first convolution, 32 in the paper; all others follow.
    """

    def __init__(self, zoo: bool = False, classes: int = 80, base_width: int = 32) -> None:
        super().__init__()
        outputs = len(ANCHORS[0]) * (5 + classes)
        coarse, middle, fine = 16 * base_width, 8 * base_width, 4 * base_width
        self.backbone = Darknet53(base_width, zoo)
        self.backblock0 = Head(2 * coarse, coarse, outputs, zoo)
        self.conv1 = _block(coarse, middle, 1, zoo)
        self.backblock1 = Head(middle + 2 * middle, middle, outputs, zoo)
        self.conv2 = _block(middle, fine, 1, zoo)
        self.backblock2 = Head(fine + 2 * fine, fine, outputs, zoo)

    def construct(self, x: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor, ms.Tensor]:
        """(N, 3, H, W), sizes multiples of 32 → (N, 3 (5 + C), H/s, W/s) for s = 32, 16, 8.

        The channels are x, y, width, height, objectness and C classes of the first anchor, then of the others; all
        before the sigmoid and exponential.
        """
        fine, middle, coarse = self.backbone(x)
        x, large = self.backblock0(coarse)
        x, medium = self.backblock1(ops.cat((_doubled(self.conv1(x)), middle), 1))
        _, small = self.backblock2(ops.cat((_doubled(self.conv2(x)), fine), 1))
        return large, medium, small


def _doubled(x: ms.Tensor) -> ms.Tensor:
    """Every value of (N, C, H, W) twice in both directions: (N, C, 2 H, 2 W)."""
    batch, channels, height, width = x.shape
    x = ops.stack((x, x), -1).reshape(batch, channels, height, 2 * width)
    return ops.stack((x, x), 3).reshape(batch, channels, 2 * height, 2 * width)
