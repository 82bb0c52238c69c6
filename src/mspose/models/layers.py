"""Layers that all networks are built from: MindSpore's own, padded and initialised as these networks need them.

Batch norm can take its statistics from the batches of all ranks (`synchronize_batch_norm`). MindSpore's
`nn.SyncBatchNorm` does not run on CPU; this does wherever all-reduce does.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import nn, ops
from mindspore.common.initializer import HeNormal, Initializer, TruncatedNormal


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` that keeps the size (divided by the stride): padding is half the kernel."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        has_bias: bool = False,
        weight_init: Initializer | None = None,
        group: int = 1,
    ) -> None:
        weight_init = weight_init or HeNormal(mode="fan_out", nonlinearity="relu")
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            stride,
            pad_mode="pad",
            padding=kernel // 2,
            group=group,
            has_bias=has_bias,
            weight_init=weight_init,
            bias_init="zeros",
        )


# Padding before and behind, in both directions, with which a stride-2 deconvolution of that kernel doubles the size.
DECONV_PADDING = {4: (1, 1), 3: (1, 0), 2: (0, 0)}


class Deconv2d(nn.Conv2dTranspose):
    """`nn.Conv2dTranspose` with stride 2 and kernel 2, 3 or 4 that doubles height and width.

    For kernel 3 this is PyTorch's `padding=1, output_padding=1`; MindSpore's own `output_padding` would append zeros.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, has_bias: bool, weight_init: Initializer
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            2,
            pad_mode="pad",
            padding=DECONV_PADDING[kernel] * 2,
            has_bias=has_bias,
            weight_init=weight_init,
            bias_init="zeros",
        )


class Dense(nn.Dense):
    """`nn.Dense` with a bias, initialised as transformers are, and computed in float16 by mixed precision."""

    takes_half = True

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, weight_init=TruncatedNormal(0.02), bias_init="zeros")


def enlarge(x: ms.Tensor, factor: int) -> ms.Tensor:
    """(N, C, H, W) → (N, C, H·factor, W·factor), each value repeated, by operators that ONNX has."""
    batch, channels, height, width = x.shape
    tiled = ops.tile(x.reshape(batch, channels, height, 1, width, 1), (1, 1, 1, factor, 1, factor))
    return tiled.reshape(batch, channels, height * factor, width * factor)


class BatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` with PyTorch's epsilon and averaging.

    Args:
        channels: C.
        behind: the convolution whose output, and nothing else, this normalises: inference lets it do this work too. In
            an `nn.SequentialCell` the order says so.
    """

    def __init__(self, channels: int, behind: nn.Cell | None = None) -> None:
        kept = 0.9  # share of the running averages that stays in a step
        super().__init__(channels, eps=1e-5, momentum=kept)
        self.behind = () if behind is None else (behind,)  # a tuple: no child of this cell
        self.kept = kept
        self.world = 1
        self.all_reduce: ops.AllReduce | None = None

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W) → the same shape."""
        if self.world == 1 or self.all_reduce is None or not self.training:
            return super().construct(x)
        # Equations of arXiv 1502.03167, algorithm 1, over the samples of all ranks; every rank has as many.
        values = x.astype(ms.float32)
        sums = ops.stack((values.mean((0, 2, 3)), ops.square(values).mean((0, 2, 3))))
        mean, square = self.all_reduce(sums) / self.world
        variance = ops.maximum(square - ops.square(mean), 0.0)
        count = x.shape[0] * x.shape[2] * x.shape[3] * self.world
        ops.assign(self.moving_mean, self.kept * self.moving_mean + (1 - self.kept) * ops.stop_gradient(mean))
        ops.assign(
            self.moving_variance,
            self.kept * self.moving_variance
            + (1 - self.kept) * (count / max(count - 1, 1)) * ops.stop_gradient(variance),
        )
        scale = self.gamma * ops.rsqrt(variance + self.eps)
        y = values * scale.reshape(1, -1, 1, 1) + (self.beta - mean * scale).reshape(1, -1, 1, 1)
        return y.astype(x.dtype)


def synchronize_batch_norm(network: nn.Cell, world: int) -> None:
    """Let batch norm see the batches of all `world` ranks while training."""
    for _, cell in network.cells_and_names():
        if isinstance(cell, BatchNorm2d):
            cell.world, cell.all_reduce = world, ops.AllReduce()
