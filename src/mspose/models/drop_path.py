"""Drop path, or stochastic depth (arXiv 1603.09382): in training, branches of residual blocks are left out at random.

What is left out follows from the seed and the number of the step alone, so that a resumed run draws what the
uninterrupted one would have drawn. MindSpore's own random operators keep a state that no checkpoint holds.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import nn, ops

_PRIME = 2**31 - 1
# Rounds of x → (a x + c) ** 5 mod _PRIME, which permutes the numbers below: 5 does not divide _PRIME - 1.
_FACTOR, _SUMMAND = 1_103_515_245, 12_345


class DropPath(nn.Cell):
    """Draws which branches a step leaves out.

    Args:
        rates: (L,) probability with which each of L branches is left out.
    """

    def __init__(self, rates: np.ndarray) -> None:
        super().__init__()
        self.count = len(rates)
        self.rates = ms.Tensor(rates[:, None], ms.float32)
        self.kept = ms.Tensor(1 / (1 - rates[:, None]), ms.float32)
        self.key, self.rank = 0, 0
        self.step: tuple[ms.Parameter, ...] = ()  # a tuple: no parameter of this cell

    def construct(self, batch: int) -> ms.Tensor:
        """(L, batch) factors of the branches: 0, or 1 / (1 - rate)."""
        if not self.step:
            raise ValueError("drop path draws by the number of the step: mspose.models.drop_path.follow_steps")
        numbers = self._mixed(self.step[0].astype(ms.int64) + self.key)
        numbers = self._mixed(numbers + ops.arange(self.count))
        numbers = self._mixed(numbers.reshape(-1, 1) + ops.arange(self.rank * batch, (self.rank + 1) * batch))
        return (numbers.astype(ms.float32) / _PRIME >= self.rates).astype(ms.float32) * self.kept

    def _mixed(self, x: ms.Tensor) -> ms.Tensor:
        """Whole numbers → others below _PRIME that show nothing of the order of the first."""
        for _ in range(2):
            x = ((x % _PRIME) * _FACTOR + _SUMMAND) % _PRIME
            x = (x * x % _PRIME) * (x * x % _PRIME) % _PRIME * x % _PRIME
        return x


def follow_steps(network: nn.Cell, step: ms.Parameter, seed: int = 0, rank: int = 0) -> None:
    """Let drop path draw by the number of the step.

    Args:
        step: whole number, shape (1,), that grows from step to step, such as an optimizer's `global_step`.
        seed: other seeds, other draws.
        rank: which of the processes of a run this is; each draws its own.
    """
    for _, cell in network.cells_and_names():
        if isinstance(cell, DropPath):
            cell.step, cell.rank = (step,), rank
            cell.key = seed * 1_000_003 % _PRIME
