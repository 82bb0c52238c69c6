"""The VGG19 that networks share: files of its ImageNet weights. No network itself."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from mspose.checkpoints.names import batch_norm_from_torch, network_weights
from mspose.networks.base import Origin, Shapes, Values, same

# VGG19's first ten convolutions, in order.
_VGG_LAYERS = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "3_4", "4_1", "4_2")


def vgg_from_zoo(values: Values) -> dict[str, np.ndarray]:
    """ImageNet VGG19 of the MindSpore model zoo, with or without batch norm → names of `mspose.models.vgg`.

    Training checkpoints, such as the published `vgg19-0-97_5004.ckpt`, put `network.backbone.` before all names. What
    comes after the tenth convolution keeps its name and is reported as not used.
    """
    weights = network_weights(values)
    return vgg_layers({name.removeprefix("network.backbone."): value for name, value in weights.items()}, "layers.")


def vgg_from_torchvision(values: Values) -> dict[str, np.ndarray]:
    """State dict of torchvision's `vgg19` or `vgg19_bn` → names of `mspose.models.vgg`; the rest keeps its names."""
    return vgg_layers(batch_norm_from_torch(values), "features.")


def vgg_layers(values: Values, prefix: str) -> dict[str, np.ndarray]:
    """Names by position (`PREFIX0.weight`, activations and pooling counted) → names by layer (`layers.conv1_1`)."""
    kernel = re.compile(rf"{re.escape(prefix)}(\d+)\.weight")
    positions = sorted(int(match[1]) for match in map(kernel.fullmatch, values) if match)
    renamed = {}
    for position, layer in zip(positions, _VGG_LAYERS):
        renamed[position] = f"layers.conv{layer}"
        renamed[position + 1] = f"layers.bn{layer}"  # if anything with parameters comes next, it is a batch norm
    pattern = re.compile(rf"{re.escape(prefix)}(\d+)(\..+)")
    result = {}
    for name, value in values.items():
        match = pattern.fullmatch(name)
        known = renamed.get(int(match[1])) if match else None
        result[f"{known}{match[2]}" if match and known else name] = value
    return result


def vgg_keys(shapes: Shapes) -> dict[str, Any]:
    """What shapes show of the width, and of the layers with batch norm."""
    norms = [name for name in shapes if name.endswith(".gamma")]
    everywhere = any(not name.startswith("backbone.") for name in norms)
    return {
        "base_width": shapes["backbone.layers.conv1_1.weight"][0],
        "norm": "all" if everywhere else "backbone" if norms else "none",
    }


VGG_WEIGHTS = (
    Origin(
        "ImageNet VGG19 (PyTorch)",
        ("features.0.weight", "features.2.bias"),
        vgg_from_torchvision,
        vgg_keys,
        part="backbone",
    ),
    Origin(
        "ImageNet VGG19 with batch norm (PyTorch)",
        ("features.0.weight", "features.1.running_mean"),
        vgg_from_torchvision,
        vgg_keys,
        part="backbone",
    ),
    Origin("ImageNet VGG19 (MindSpore)", ("layers.0.weight", "layers.0.bias"), vgg_from_zoo, vgg_keys, part="backbone"),
    Origin(
        "VGG19 backbone of this repository",
        ("layers.conv1_1.weight", "layers.conv4_2.weight"),
        same,
        vgg_keys,
        part="backbone",
    ),
)
