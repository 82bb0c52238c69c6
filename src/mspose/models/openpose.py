"""OpenPose (arXiv 1611.08050): VGG19, then stages that refine part affinity fields and heat maps side by side."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import mindspore as ms
from mindspore import nn, ops
from mindspore.common.initializer import HeNormal, Initializer, Normal

from mspose.models.layers import BatchNorm2d, Conv2d
from mspose.models.vgg import VGG19


def _convolutions(
    in_channels: int,
    layers: Sequence[tuple[str, int, int]],
    weight_init: Initializer,
    use_batch_norm: bool,
    is_output: bool = True,
) -> nn.SequentialCell:
    """Convolutions (name, channels, kernel) with a ReLU, and perhaps a batch norm, after each; none after an output."""
    cells = OrderedDict()
    for i, (name, channels, kernel) in enumerate(layers):
        cells[name] = Conv2d(in_channels, channels, kernel, has_bias=True, weight_init=weight_init)
        if not (is_output and i + 1 == len(layers)):
            if use_batch_norm:
                cells[f"{name}_bn"] = BatchNorm2d(channels)
            cells[f"{name}_relu"] = nn.ReLU()
        in_channels = channels
    return nn.SequentialCell(cells)


class Stage(nn.Cell):
    """One stage: the same layers twice, for the part affinity fields and for the heat maps.

    Args:
        in_channels: channels of the input.
        layers: (name, channels, kernel) of all convolutions of a branch but the last, 1×1 one.
        num_pafs, num_heatmaps: channels of the outputs.
        weight_init: of all kernels.
        use_batch_norm: normalise after every convolution but the last.
    """

    def __init__(
        self,
        in_channels: int,
        layers: Sequence[tuple[str, int, int]],
        num_pafs: int,
        num_heatmaps: int,
        weight_init: Initializer,
        use_batch_norm: bool,
    ) -> None:
        super().__init__()
        last = f"conv{len(layers) + 1}"
        # No ReLU at the end: fields have a sign, and a heat map that overshoots below zero must get a gradient.
        self.paf = _convolutions(in_channels, [*layers, (last, num_pafs, 1)], weight_init, use_batch_norm)
        self.heatmap = _convolutions(in_channels, [*layers, (last, num_heatmaps, 1)], weight_init, use_batch_norm)

    def construct(self, x: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
        """(N, C, h, w) → fields (N, P, h, w), heat maps (N, K, h, w)."""
        return self.paf(x), self.heatmap(x)


class OpenPose(nn.Cell):
    """Maps pictures to part affinity fields and heat maps, in several stages that each see the previous one's maps.

    The first stage has 3×3 kernels, the others 7×7. Parameters are named `backbone.…`, `cpm.conv4_3`, `cpm.conv4_4`
    and `stages.N.paf|heatmap.convM`.

    Args:
        num_pafs: P, two channels a limb; 38 for COCO.
        num_heatmaps: K, one channel a joint and the background; 19 for COCO.
        stages: number of stages, 1 or more; 6 in the paper.
        width: channels within the stages; 128 in the paper.
        base_width: channels of the first VGG block; 64 in the paper.
        norm: batch normalisation nowhere ("none", the paper), in the "backbone", or in "all" parts, which lets small
            networks learn from random weights.
        init_std: standard deviation of the Gaussian that the kernels after the backbone start from (biases from zero);
            0.01 in the authors' Caffe model and in the MindSpore one. That presumes a trained backbone and the paper's
            width: in narrow networks the gradient fades before it reaches the first layers. 0 starts them He-normal.
    """

    def __init__(
        self,
        num_pafs: int = 38,
        num_heatmaps: int = 19,
        stages: int = 6,
        width: int = 128,
        base_width: int = 64,
        norm: str = "none",
        init_std: float = 0.01,
    ) -> None:
        super().__init__()
        init = Normal(init_std) if init_std else HeNormal(mode="fan_in", nonlinearity="relu")
        self.backbone = VGG19(base_width, norm != "none")
        everywhere = norm == "all"
        self.cpm = _convolutions(
            self.backbone.out_channels,
            [("conv4_3", 2 * width, 3), ("conv4_4", width, 3)],
            init,
            everywhere,
            is_output=False,
        )
        first = [*((f"conv{i}", width, 3) for i in (1, 2, 3)), ("conv4", 4 * width, 1)]
        other = [*((f"conv{i}", width, 7) for i in (1, 2, 3, 4, 5)), ("conv6", width, 1)]
        refined = width + num_pafs + num_heatmaps
        self.stages = nn.CellList(
            [Stage(width, first, num_pafs, num_heatmaps, init, everywhere)]
            + [Stage(refined, other, num_pafs, num_heatmaps, init, everywhere) for _ in range(stages - 1)]
        )

    def construct(self, x: ms.Tensor) -> tuple:
        """(N, 3, H, W), sizes multiples of 8 → fields (N, P, H/8, W/8) and heat maps (N, K, H/8, W/8).

        In training the pair of every stage, as a tuple from first to last; in evaluation the last stage's pair.
        """
        features = self.cpm(self.backbone(x))
        maps = features
        outputs: tuple[tuple[ms.Tensor, ms.Tensor], ...] = ()
        for stage in self.stages:
            if outputs:
                maps = ops.cat((*outputs[-1], features), 1)
            outputs = (*outputs, stage(maps))
        if self.training:
            return outputs
        return outputs[-1]
