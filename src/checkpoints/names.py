"""Parameter names of other people's networks, translated into ours."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# Optimizer state and counters that checkpoints of the MindSpore model zoo hold beside the weights.
_NOT_WEIGHTS = ("moments.", "moment1.", "moment2.", "global_step", "learning_rate", "momentum", "epoch_num", "step_num")


def resnet_from_zoo(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """ImageNet ResNet of the MindSpore model zoo (`resnet50.ckpt`) → names of `src.models.resnet`.

    The classifier (`end_point.`) keeps its name and is reported as not used.
    """
    weights = {name: value for name, value in values.items() if not name.startswith(_NOT_WEIGHTS)}
    return {name.replace(".down_sample_layer.", ".downsample."): value for name, value in weights.items()}


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


def simplepose_from_torch(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """State dict of Microsoft's PoseResNet → names of `src.models.simplepose`."""
    heads = ("deconv_layers.", "final_layer.")
    weights = batch_norm_from_torch(values)
    return {name if name.startswith(heads) else f"backbone.{name}": value for name, value in weights.items()}
