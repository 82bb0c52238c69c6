"""Names of parameters: what is a weight among them, and PyTorch's names of batch norms to and fro.

What belongs to one network stands in its entry (`mspose.networks`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

# Optimizer state and counters that training checkpoints of MindSpore hold beside the weights.
_STATE = re.compile(
    r"(^|\.)(moments|moment1|moment2|accum|ema)\.|^(state|scaler)\.|^(global_step|learning_rate|"
    r"momentum|epoch_num|step_num|beta[12]_power|scale_sense|loss_scale|current_iterator_step|"
    r"last_overflow_iterator_step)\b"
)


def network_weights(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The network's own weights among the values of a training checkpoint; averaged (EMA) ones where there are any.

    Optimizer state and counters, of which PyTorch's `num_batches_tracked` is one, are left out.
    """
    own = {
        name: value
        for name, value in values.items()
        if not _STATE.search(name) and not name.endswith("num_batches_tracked")
    }
    averaged = {name.removeprefix("ema."): value for name, value in values.items() if name.startswith("ema.")}
    return {**own, **averaged}


def batch_norm_from_torch(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """PyTorch's batch-norm names → MindSpore's; a `weight` belongs to a batch norm if it has a `running_mean` beside.

    `num_batches_tracked`, which MindSpore does not keep, is dropped.
    """
    norms = {name.removesuffix("running_mean") for name in values if name.endswith("running_mean")}
    renamed = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    result = {}
    for name, value in values.items():
        prefix, _, last = name.rpartition(".")
        if last == "num_batches_tracked":
            continue
        is_norm = f"{prefix}." in norms
        result[f"{prefix}.{renamed[last]}" if is_norm else name] = value
    return result


def batch_norm_to_torch(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """MindSpore's batch-norm names → PyTorch's, in PyTorch's order; a `gamma` belongs to a batch norm if it has a
    `moving_mean` beside."""
    last_names = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    result: dict[str, np.ndarray] = {}
    for name, value in values.items():
        prefix, _, last = name.rpartition(".")
        if last not in last_names or f"{prefix}.moving_mean" not in values:
            result[name] = value
        elif f"{prefix}.weight" not in result:
            result |= {f"{prefix}.{torch}": values[f"{prefix}.{own}"] for own, torch in last_names.items()}
            result[f"{prefix}.num_batches_tracked"] = np.zeros((), np.int64)
    return result


def yolov3_from_zoo(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """YOLOv3 of the MindSpore model zoo (`yolo.ckpt`) → names of `mspose.models.yolov3`.

    Its training checkpoints put `yolo_network.` before all names.
    """
    weights = network_weights(values)
    return {name.removeprefix("yolo_network.").removeprefix("feature_map."): value for name, value in weights.items()}
