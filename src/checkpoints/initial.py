"""Weights that a training run starts from: an ImageNet backbone, or another run's checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from mindspore import nn

from src.checkpoints.io import assign, load, network_weights
from src.checkpoints.names import resnet_from_zoo, vgg_from_zoo
from src.errors import PoseError
from src.models.vgg import VGG19

# The layer that depends on the skeleton: a checkpoint for other keypoints can start everything but this.
HEAD = "final_layer."


def load_backbone(network: nn.Cell, path: str | Path) -> str:
    """Load an ImageNet ResNet or VGG19 of the MindSpore model zoo (`resnet50.ckpt`) into `network.backbone`.

    Returns:
        One line on what matched.

    Raises:
        PoseError: the file is not a checkpoint, or not of this backbone; the network is unchanged.
    """
    translate = vgg_from_zoo if isinstance(network.backbone, VGG19) else resnet_from_zoo
    values = {f"backbone.{name}": value for name, value in translate(load(path)).items()}
    if any("layers.bn" in name for name in values) and not any("layers.bn" in p.name for p in network.get_parameters()):
        raise PoseError(f"{path} is a VGG19 with batch norm: set model.norm=backbone")
    rest = _current(network, lambda name: not name.startswith("backbone."))
    report = assign(network, {**values, **rest}, path)
    unused = ", ".join(name.removeprefix("backbone.") for name in report.unused) or "nothing"
    return f"backbone from {path}: {len(report.matched) - len(rest)} parameters matched; not used: {unused}"


def load_weights(network: nn.Cell, path: str | Path) -> str:
    """Load the weights of a checkpoint; SimplePose's last layer may be for another skeleton and then stays as it is.

    Returns:
        One line on what matched.

    Raises:
        PoseError: the file is not a checkpoint, or of another network; the network is unchanged.
    """
    values = network_weights(load(path))
    head = _current(network, lambda name: name.startswith(HEAD))
    changed = {name: value for name, value in head.items() if name in values and values[name].shape != value.shape}
    report = assign(network, {**values, **changed}, path)
    note = f"; new for this skeleton: {', '.join(changed)}" if changed else ""
    return f"weights from {path}: {report}{note}"


def _current(network: nn.Cell, wanted: Callable[[str], bool]) -> dict[str, np.ndarray]:
    return {p.name: p.asnumpy() for p in network.get_parameters() if wanted(p.name)}
