"""The exact GELU x Φ(x) (arXiv 1606.08415), of erf and not of tanh, on every device and in exported files."""

from __future__ import annotations

import math

import mindspore as ms
from mindspore import nn, ops

# On a CPU MindSpore's erf takes 40 times as long as a multiplication, and its tanh is 1e-4 off. There
# Φ(-t) = max(p(t), 0) ** 32 for t >= 0, with p of degree 5: products and sums only. p is the polynomial that makes the
# largest error of t Φ(-t) smallest, 1e-7; float32's rounding makes it 5e-7. p falls for large t, so that nothing has to
# be limited. Highest power first.
COEFFICIENTS = (
    -1.3039738405495882e-05,
    0.00024959948495961726,
    -0.0008970634662546217,
    -0.009417766705155373,
    -0.02440224401652813,
    0.9785722494125366,
)
SQUARINGS = 5
# The ONNX exporter of MindSpore has no Erf. It writes this operator, which no network here uses, and
# `mspose.export.onnx_graph` puts Erf in its place.
ONNX_STAND_IN = {"Softsign": "Erf"}


class GELU(nn.Cell):
    """x Φ(x), in float32 whatever the precision of x.

    Attributes:
        exported: "" where the network runs in this process, or the format of the file that it is written to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.exported = ""
        self.by_polynomial = ms.get_context("device_target") == "CPU"
        self.relu = nn.ReLU()
        self.erf = ops.Erf()
        self.stand_in = ops.Softsign()

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """Any shape → the same shape."""
        values = x.astype(ms.float32)
        if self.exported or not self.by_polynomial:
            result = 0.5 * values * (1 + self._erf(values * math.sqrt(0.5)))
        else:
            t = ops.abs(values)
            result = self.relu(values) - t * self._tail(t)
        return result.astype(x.dtype)

    def bprop(self, x: ms.Tensor, out: ms.Tensor, gradient: ms.Tensor) -> tuple[ms.Tensor]:
        """The gradient is Φ(x) + x φ(x); of the forward pass only x is kept."""
        values = x.astype(ms.float32)
        density = ops.exp(-0.5 * ops.square(values)) * (1 / math.sqrt(2 * math.pi))
        if self.by_polynomial:
            t = ops.abs(values)
            tail = self._tail(t)
            below = ops.select(values > 0, 1 - tail, tail)
        else:
            below = 0.5 * (1 + self.erf(values * math.sqrt(0.5)))
        return ((gradient * (below + values * density)).astype(x.dtype),)

    def _tail(self, t: ms.Tensor) -> ms.Tensor:
        """Φ(-t) of t >= 0."""
        power = COEFFICIENTS[0] * t + COEFFICIENTS[1]
        for coefficient in COEFFICIENTS[2:]:
            power = power * t + coefficient
        power = self.relu(power)
        for _ in range(SQUARINGS):
            power = power * power
        return power

    def _erf(self, x: ms.Tensor) -> ms.Tensor:
        return self.stand_in(x) if self.exported == "ONNX" else self.erf(x)
