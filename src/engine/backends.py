"""Networks behind one interface: a backend maps a batch of inputs to the network's maps, as NumPy arrays."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import nn


class MindSporeBackend:
    """A MindSpore network in evaluation mode; while it runs a batch, other Python threads go on.

    Args:
        any_size: compile once for inputs of all sizes, rather than once for each size.
    """

    def __init__(self, network: nn.Cell, any_size: bool = False) -> None:
        self._network = network
        if any_size:
            network.set_inputs(ms.Tensor(shape=[None, 3, None, None], dtype=ms.float32))

    def __call__(self, inputs: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        """(B, 3, H, W) float32 → maps (B, C, h, w) float32; a tuple where the network has several outputs."""
        training = self._network.training
        self._network.set_train(False)
        try:
            maps = self._network(ms.Tensor.from_numpy(inputs))
        finally:
            self._network.set_train(training)
        if isinstance(maps, tuple):
            return tuple(m.astype(ms.float32).asnumpy() for m in maps)
        return maps.astype(ms.float32).asnumpy()
