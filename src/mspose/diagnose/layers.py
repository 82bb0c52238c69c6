"""The outputs of every layer of a network in MindSpore, in the order in which they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mspose.backends.checkpoint import RUNNING
from mspose.config.schema import Config
from mspose.diagnose.differences import Step
from mspose.runtime.device import start, without_graph

if TYPE_CHECKING:
    from mindspore import nn


def run_layers(config: Config, inputs: np.ndarray) -> tuple[tuple[np.ndarray, ...], list[Step], dict[str, np.ndarray]]:
    """Run inputs (1, 3, H, W) float32 through a checkpoint, operator by operator and without folding batch norms.

    Returns:
        The network's maps; a step for each layer, and one for each group of layers once all of it has run; and the
        parameters by name.

    Raises:
        PoseError, UsageError: the checkpoint is unreadable or of another network, or the device is not there.
    """
    runtime = start(config.runtime)
    import mindspore as ms

    from mspose.checkpoints.initial import load_checkpoint
    from mspose.networks import build_model

    network = build_model(config)
    load_checkpoint(network, config)
    network = runtime.adapt(network).set_train(False)
    steps: list[Step] = []
    for name, cell in network.cells_and_names():
        if name:
            cell.register_forward_hook(_recorder(steps, name))
    with RUNNING, without_graph():
        maps = network(ms.Tensor.from_numpy(inputs))
    maps = maps if isinstance(maps, tuple) else (maps,)
    outputs = tuple(values.astype(ms.float32).asnumpy() for values in maps)
    return outputs, steps, {p.name: p.asnumpy() for p in network.get_parameters()}


def _recorder(steps: list[Step], name: str) -> Any:
    def record(cell: nn.Cell, inputs: Any, outputs: Any) -> None:
        import mindspore as ms

        for place, output in enumerate(outputs if isinstance(outputs, (tuple, list)) else [outputs]):
            if isinstance(output, ms.Tensor):
                suffix = f"[{place}]" if isinstance(outputs, (tuple, list)) else ""
                # A copy: what follows may write into the same memory.
                values = np.array(output.astype(ms.float32).asnumpy())
                steps.append(Step(name + suffix, type(cell).__name__, values))

    return record
