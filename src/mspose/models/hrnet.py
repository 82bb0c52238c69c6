"""HRNet (arXiv 1902.09212): branches of falling resolution that exchange features, and heat maps at stride 4.

Parameter names are the authors' with MindSpore's batch-norm names; the backbone's stand behind `backbone.`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import mindspore as ms
from mindspore import nn
from mindspore.common.initializer import Normal, initializer

from mspose.models.layers import BatchNorm2d, Conv2d, enlarge
from mspose.models.resnet import BasicBlock, Bottleneck

# Of the weights of all convolutions, as the authors start them.
SPREAD = 0.001


def _conv_norm(in_channels: int, out_channels: int, kernel: int, stride: int = 1, relu: bool = True) -> nn.Cell:
    conv = Conv2d(in_channels, out_channels, kernel, stride)
    return nn.SequentialCell(conv, BatchNorm2d(out_channels), *([nn.ReLU()] if relu else []))


def _transition(before: list[int], after: list[int]) -> nn.CellList:
    """Branches of one stage → those of the next: those that keep their width, and one of half the resolution more."""
    kept = [nn.Identity() if old == new else _conv_norm(old, new, 3) for old, new in zip(before, after)]
    # The authors put each halving into a sequence of its own, which shows in the names.
    return nn.CellList([*kept, nn.SequentialCell(_conv_norm(before[-1], after[-1], 3, 2))])


def _fuse(widths: list[int], i: int, j: int) -> nn.Cell:
    """From branch j to the resolution and width of branch i; what enlarges has no parameters and is not in here."""
    if i == j:
        return nn.Identity()
    if j > i:
        return _conv_norm(widths[j], widths[i], 1, relu=False)
    steps = [_conv_norm(widths[j], widths[j], 3, 2) for _ in range(i - j - 1)]
    return nn.SequentialCell(*steps, _conv_norm(widths[j], widths[i], 3, 2, relu=False))


class Module(nn.Cell):
    """Blocks on each branch, and then to each branch the sum of what the others are in its resolution.

    Args:
        widths: channels of the branches, finest first; each has half the resolution of the one before.
        outputs: how many of the branches are wanted behind it.
        blocks: on each branch.
    """

    def __init__(self, widths: list[int], outputs: int, blocks: int) -> None:
        super().__init__()
        self.branches = nn.CellList(
            [nn.SequentialCell(*[BasicBlock(width, width, 1) for _ in range(blocks)]) for width in widths]
        )
        self.fuse_layers = nn.CellList(
            [nn.CellList([_fuse(widths, i, j) for j in range(len(widths))]) for i in range(outputs)]
        )
        self.relu = nn.ReLU()

    def construct(self, *inputs: ms.Tensor) -> tuple[ms.Tensor, ...]:
        """A map (N, C·2^b, H/2^b, W/2^b) for each branch b → the same, of the wanted branches."""
        maps = []
        for branch, x in zip(self.branches, inputs):
            maps.append(branch(x))
        fused = []
        for i, row in enumerate(self.fuse_layers):
            total = maps[i]
            for j, cell in enumerate(row):
                if j < i:
                    total = total + cell(maps[j])
                elif j > i:
                    total = total + enlarge(cell(maps[j]), 2 ** (j - i))
            fused.append(self.relu(total))
        return tuple(fused)


class HRNetBackbone(nn.Cell):
    """HRNet up to its finest branch, stride 4.

    Args:
        width: channels C of the finest branch (32, 48); the others have 2C, 4C and 8C.
        stem_width: channels of the stem; the first stage has four times as many.
        modules: of the stages with two, three and four branches.
        blocks: of the first stage, and of each branch of a module.
    """

    def __init__(self, width: int, stem_width: int = 64, modules: Sequence[int] = (1, 4, 3), blocks: int = 4) -> None:
        super().__init__()
        self.conv1 = Conv2d(3, stem_width, 3, 2)
        self.bn1 = BatchNorm2d(stem_width, behind=self.conv1)
        self.conv2 = Conv2d(stem_width, stem_width, 3, 2)
        self.bn2 = BatchNorm2d(stem_width, behind=self.conv2)
        self.relu = nn.ReLU()
        channels = (stem_width, *[stem_width * Bottleneck.expansion] * blocks)
        self.layer1 = nn.SequentialCell(*[Bottleneck(before, stem_width, 1) for before, _ in pairwise(channels)])
        stages = [[width * 2**branch for branch in range(count)] for count in (2, 3, 4)]
        before = [channels[-1]]
        for widths, count in zip(stages, modules):
            number = len(widths)
            setattr(self, f"transition{number - 1}", _transition(before, widths))
            outputs = [number] * count
            if widths is stages[-1]:
                outputs[-1] = 1  # behind the last module only the finest branch is read
            setattr(self, f"stage{number}", nn.CellList([Module(widths, kept, blocks) for kept in outputs]))
            before = widths

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, 3, H, W) → (N, C, H/4, W/4)."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer1(self.relu(self.bn2(self.conv2(x))))
        maps = self._stage((x,), self.transition1, self.stage2)
        maps = self._stage(maps, self.transition2, self.stage3)
        return self._stage(maps, self.transition3, self.stage4)[0]

    def _stage(
        self, maps: tuple[ms.Tensor, ...], transition: nn.CellList, modules: nn.CellList
    ) -> tuple[ms.Tensor, ...]:
        inputs = []
        for i, cell in enumerate(transition):
            inputs.append(cell(maps[min(i, len(maps) - 1)]))  # the new branch comes from the coarsest
        result = tuple(inputs)
        for module in modules:
            result = module(*result)
        return result


class HRNet(nn.Cell):
    """Maps pictures to one heat map a keypoint.

    Args:
        width, stem_width, modules, blocks: of the backbone.
        num_keypoints: J, channels of the output.
    """

    def __init__(
        self,
        width: int,
        num_keypoints: int,
        stem_width: int = 64,
        modules: Sequence[int] = (1, 4, 3),
        blocks: int = 4,
    ) -> None:
        super().__init__()
        self.backbone = HRNetBackbone(width, stem_width, modules, blocks)
        self.final_layer = Conv2d(width, num_keypoints, 1, has_bias=True)
        for _, cell in self.cells_and_names():
            if isinstance(cell, Conv2d):
                cell.weight.set_data(initializer(Normal(SPREAD), cell.weight.shape))

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, 3, H, W) → (N, J, H/4, W/4)."""
        return self.final_layer(self.backbone(x))
