"""Networks behind one interface: a backend maps a batch of inputs to the network's maps, as NumPy arrays."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import nn


class MindSporeBackend:
    """A MindSpore network in evaluation mode; while it runs a batch, other Python threads go on."""

    def __init__(self, network: nn.Cell) -> None:
        self._network = network

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """(B, 3, H, W) float32 → maps (B, C, h, w) float32."""
        training = self._network.training
        self._network.set_train(False)
        try:
            maps = self._network(ms.Tensor.from_numpy(inputs))
        finally:
            self._network.set_train(training)
        return maps.astype(ms.float32).asnumpy()
