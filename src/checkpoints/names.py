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
