"""Networks rewritten for inference: batch norm folded into convolutions, weights stored as float16."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from mspose.models.layers import Conv2d, Deconv2d, Dense


def fold_batch_norm(network: nn.Cell) -> nn.Cell:
    """A copy of a network, in evaluation mode, whose convolutions do the work of the batch norms behind them.

    With s = γ / √(σ² + ε), BN(w ∗ x + b) is (s w) ∗ x + s (b - μ) + β. A batch norm without a convolution before it
    stays. The copy gives the same outputs but for rounding, and cannot be trained further.
    """
    folded = copy.deepcopy(network)
    for parent, conv, norm_name, norm in list(_pairs(folded)):
        _fold(conv, norm)
        if isinstance(parent, nn.SequentialCell):
            parent[int(norm_name)] = nn.Identity()
        else:
            setattr(parent, norm_name, nn.Identity())
    return folded.set_train(False)


def unfolded(network: nn.Cell) -> str:
    """Name of a batch norm that a folded network still holds; "" without any."""
    return next((name for name, cell in network.cells_and_names() if isinstance(cell, nn.BatchNorm2d)), "")


def _pairs(network: nn.Cell) -> Iterator[tuple[nn.Cell, nn.Cell, str, nn.Cell]]:
    """Parent, convolution, name of the batch norm in the parent, and the batch norm, for each that can be folded.

    What runs after what is said by the order of sequences, and elsewhere by the batch norm (`BatchNorm2d.behind`).
    """
    for _, parent in network.cells_and_names():
        is_sequence = isinstance(parent, nn.SequentialCell)
        previous = None
        for place, (name, cell) in enumerate(parent.name_cells().items()):
            if isinstance(cell, nn.BatchNorm2d):
                conv = next(iter(getattr(cell, "behind", ())), previous if is_sequence else None)
                if isinstance(conv, (Conv2d, Deconv2d)):
                    yield parent, conv, str(place) if is_sequence else name, cell
            previous = cell


def _fold(conv: nn.Cell, norm: nn.Cell) -> None:
    # float64: the quotient of a small γ and a small σ must not lose more than the storage does.
    gamma, beta, mean, variance = (
        p.asnumpy().astype(np.float64) for p in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    )
    scale = gamma / np.sqrt(variance + norm.eps)
    # A deconvolution's weights are (input, output, …), a convolution's (output, input, …).
    axis = (1, -1, 1, 1) if isinstance(conv, Deconv2d) else (-1, 1, 1, 1)
    weight = conv.weight.asnumpy() * scale.reshape(axis)
    bias = conv.bias.asnumpy() if conv.has_bias else 0.0
    conv.weight.set_data(ms.Tensor(weight.astype(np.float32)))
    values = ms.Tensor((scale * (bias - mean) + beta).astype(np.float32))
    if conv.has_bias:
        conv.bias.set_data(values)
    else:
        conv.has_bias = True
        del conv.bias  # MindSpore keeps None there, which no parameter can replace
        conv.bias = ms.Parameter(values, name=conv.weight.name.replace("weight", "bias"))


class _Widened(nn.Cell):
    """A primitive whose weights are stored as float16 and used as float32."""

    def __init__(self, primitive: ops.Primitive) -> None:
        super().__init__()
        self.primitive = primitive

    def construct(self, x: ms.Tensor, weight: ms.Tensor, *rest: int) -> ms.Tensor:
        """As the primitive."""
        return self.primitive(x, ops.cast(weight, ms.float32), *rest)


# Cells whose weights are halved, and what they call the primitive that takes them.
_PRIMITIVES = ((nn.Conv2d, "conv2d"), (nn.Conv2dTranspose, "conv2d_transpose"), (Dense, "matmul"))


def halve_weights(network: nn.Cell) -> nn.Cell:
    """Store the weights of convolutions and of transformers' layers as float16, in place; a network computes in float32
    all the same."""
    for _, cell in list(network.cells_and_names()):
        for kind, attribute in _PRIMITIVES:
            if isinstance(cell, kind):
                primitive = getattr(cell, attribute)
                delattr(cell, attribute)
                setattr(cell, attribute, _Widened(primitive))
                cell.weight.set_dtype(ms.float16)
    return network


class FromPixels(nn.Cell):
    """A network behind its own normalisation.

    Args:
        network: takes (N, 3, H, W) float32.
        color, scale, mean, std: how pixels become its input (see `mspose.config.schema.DataConfig`).
    """

    def __init__(self, network: nn.Cell, color: str, scale: float, mean: list[float], std: list[float]) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        # Channel order, scale, mean and deviation are one 1×1 convolution, which every runtime has.
        order = np.eye(3)[::-1] if color == "rgb" else np.eye(3)
        self.normalize = Conv2d(3, 3, 1, has_bias=True)
        self.normalize.weight.set_data(
            ms.Tensor((order / (np.array(std) * scale)[:, None])[..., None, None], ms.float32)
        )
        self.normalize.bias.set_data(ms.Tensor(-np.array(mean) / np.array(std), ms.float32))

    def construct(self, pixels: ms.Tensor) -> ms.Tensor | tuple[ms.Tensor, ...]:
        """(N, H, W, 3) uint8, BGR → the network's maps."""
        x = ops.transpose(ops.cast(pixels, ms.float32), (0, 3, 1, 2))
        return self.network(self.normalize(x))
