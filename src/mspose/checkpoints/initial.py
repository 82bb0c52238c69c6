"""Putting weights into networks: a whole checkpoint, an ImageNet backbone, or another run's weights to start from."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mindspore import nn

from mspose.checkpoints.ckpt_file import read_ckpt
from mspose.checkpoints.foreign import check_network, float_weights, resolve_checkpoint
from mspose.checkpoints.io import assign
from mspose.checkpoints.names import network_weights
from mspose.checkpoints.origins import recognise_file
from mspose.config.schema import Config
from mspose.errors import PoseError
from mspose.networks import find_network

log = logging.getLogger("pose")


def load_checkpoint(network: nn.Cell, config: Config) -> None:
    """Load `runtime.ckpt`, ours or of any origin that `mspose.checkpoints.origins` knows; say what of it the network
    has no place for.

    Raises:
        PoseError: the file is unreadable, or of another network.
    """
    path = config.runtime.ckpt
    kept = resolve_checkpoint(path, config)
    values = float_weights(network_weights(read_ckpt(kept) if kept else recognise_file(path).values), path)
    report = assign(network, find_network(config.model.name).fit(values, config), path)
    if report.unused:
        log.warning(f"note: {path}: {report}")


def load_backbone(network: nn.Cell, path: str | Path, config: Config) -> str:
    """Load the backbone of a file into `network.backbone`: an ImageNet ResNet or VGG19 of torchvision or the MindSpore
    model zoo (`resnet50.ckpt`), or that of a whole pose network.

    Args:
        network: that of the configuration.

    Returns:
        One line on what matched.

    Raises:
        PoseError: the file is unreadable, or not of this backbone; the network is unchanged.
    """
    recognised = recognise_file(path)
    fitting = find_network(config.model.name).fit(float_weights(recognised.values, path), config)
    values = {name: value for name, value in fitting.items() if name.startswith("backbone.")}
    if any("layers.bn" in name for name in values) and not any("layers.bn" in p.name for p in network.get_parameters()):
        raise PoseError(f"{path} is a VGG19 with batch norm: set model.norm=backbone")
    # A plain ImageNet ResNet starts one with squeeze and excitation, whose own layers keep their random weights.
    rest = _current(network, lambda name: name not in values and (not name.startswith("backbone.") or ".se." in name))
    report = assign(network, {**values, **rest}, path)
    unused = ", ".join(name.removeprefix("backbone.") for name in report.unused[:4]) or "nothing"
    unused += f", … ({len(report.unused)})" if len(report.unused) > 4 else ""
    padding = recognised.origin.conventions.get("model.maxpool")
    note = f"; it was trained with model.maxpool={padding}" if padding else ""
    return (
        f"backbone from {path} ({recognised.origin.title}): {len(report.matched) - len(rest)} parameters matched; "
        f"not used: {unused}{note}"
    )


def load_weights(network: nn.Cell, config: Config) -> str:
    """Load `train.init_from`, a file of any known origin; the last layer may be for another skeleton and then stays as
    it is.

    Returns:
        One line on what matched.

    Raises:
        PoseError: the file is unreadable, or of another network; the network is unchanged.
    """
    path = config.train.init_from
    recognised = recognise_file(path)
    check_network(recognised, config, path)
    entry = find_network(config.model.name)
    values = entry.fit(float_weights(recognised.values, path), config)
    head = _current(network, lambda name: name.startswith(entry.head))
    changed = {name: value for name, value in head.items() if name in values and values[name].shape != value.shape}
    report = assign(network, {**values, **changed}, path)
    note = f"; new for this skeleton: {', '.join(changed)}" if changed else ""
    return f"weights from {path} ({recognised.origin.title}): {report}{note}"


def _current(network: nn.Cell, wanted: Callable[[str], bool]) -> dict[str, np.ndarray]:
    return {p.name: p.asnumpy() for p in network.get_parameters() if wanted(p.name)}
