"""Checkpoints: the configured network in MindSpore, with the weights of a file.

Importing this module does not import MindSpore: `runtime.device.start` sets what MindSpore reads once, before.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from mspose.backends.exported import COMPILED
from mspose.codecs.base import Maps
from mspose.config.schema import Config
from mspose.runtime.device import start

if TYPE_CHECKING:
    from mindspore import nn

# MindSpore runs one graph at a time: a network and a MindSpore detector may be called from different threads.
RUNNING = threading.Lock()


class MindSporeBackend:
    """A MindSpore network in evaluation mode; while it runs a batch, other Python threads go on.

    Args:
        any_size: compile once for inputs of all sizes, rather than once for each size.
    """

    batches = COMPILED

    def __init__(self, network: nn.Cell, any_size: bool = False) -> None:
        import mindspore as ms

        self._network = network
        if any_size:
            network.set_inputs(ms.Tensor(shape=[None, 3, None, None], dtype=ms.float32))

    def __call__(self, inputs: np.ndarray) -> Maps:
        """(B, 3, H, W) float32 → maps, each (B, …) float32."""
        import mindspore as ms

        with RUNNING:
            training = self._network.training
            self._network.set_train(False)
            try:
                maps = self._network(ms.Tensor.from_numpy(inputs))
            finally:
                self._network.set_train(training)
            maps = maps if isinstance(maps, tuple) else (maps,)
            return tuple(m.astype(ms.float32).asnumpy() for m in maps)


def open_checkpoint(config: Config, any_size: bool = False) -> MindSporeBackend:
    """The network of a configuration with the weights of `runtime.ckpt`.

    Args:
        any_size: inputs differ in size.

    Raises:
        PoseError, UsageError: the file is unreadable or of another network, or the device is not there.
    """
    runtime = start(config.runtime)
    # These import MindSpore.
    from mspose.checkpoints.initial import load_checkpoint
    from mspose.models.fold import fold_batch_norm
    from mspose.networks import build_model

    network = build_model(config)
    load_checkpoint(network, config)
    return MindSporeBackend(runtime.adapt(fold_batch_norm(network)), any_size)
