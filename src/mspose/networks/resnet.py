"""The ResNet that networks share: its keys, and files of its ImageNet weights. No network itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from mspose.checkpoints.names import batch_norm_from_torch, network_weights
from mspose.config.keys import FIXED, POSITIVE, key
from mspose.config.schema import ModelConfig
from mspose.networks.base import Origin, Shapes, Values

DEPTHS = (18, 34, 50, 101, 152)


@dataclass
class ResNetKeys(ModelConfig):
    """The network."""

    depth: int = key(50, "layers of the ResNet backbone", DEPTHS, FIXED)
    base_width: int = key(64, "channels of the first ResNet stage; the others are x2, x4, x8", POSITIVE, FIXED)
    maxpool: str = key(
        "torch", "stem pooling pads both sides (torch) or right and bottom (same)", ("torch", "same"), FIXED
    )


# Shortcuts in the zoo's ResNets, and the batch norms of its shallow ones.
_ZOO_RESNET = ((re.compile(r"\.down_sample(_layer)?\."), ".downsample."), (re.compile(r"\.bn([12])d\."), r".bn\1."))


def resnet_from_zoo(values: Values) -> dict[str, np.ndarray]:
    """ImageNet ResNet of the MindSpore model zoo (`resnet50.ckpt`) → names of `mspose.models.resnet`.

    The classifier (`end_point.`) keeps its name and is reported as not used.
    """
    result = {}
    for name, value in network_weights(values).items():
        for pattern, own in _ZOO_RESNET:
            name = pattern.sub(own, name)
        result[name] = value
    return result


def resnet_keys(shapes: Shapes) -> dict[str, Any]:
    """What the backbone's shapes show."""
    blocks = {match.group() for match in map(re.compile(r"backbone\.layer\d\.\d+\.").match, shapes) if match}
    per_block = 3 if "backbone.layer1.0.conv3.weight" in shapes else 2
    return {"depth": 2 + per_block * len(blocks), "base_width": shapes["backbone.conv1.weight"][0]}


def se_resnet_keys(shapes: Shapes) -> dict[str, Any]:
    """The same, and whether there is squeeze and excitation."""
    return resnet_keys(shapes) | {"se": "first_block" if any(".se." in name for name in shapes) else "none"}


RESNET_WEIGHTS = (
    Origin(
        "ImageNet ResNet (PyTorch)",
        ("conv1.weight", "bn1.running_mean", "layer4.0.conv1.weight"),
        batch_norm_from_torch,
        se_resnet_keys,
        {"model.maxpool": "torch"},
        "backbone",
    ),
    # Both its stem and that of MindSpore's hub pad right and bottom only.
    Origin(
        "ImageNet ResNet (MindSpore)",
        ("conv1.weight", "bn1.gamma", "layer4.0.conv1.weight"),
        resnet_from_zoo,
        se_resnet_keys,
        {"model.maxpool": "same"},
        "backbone",
    ),
)
