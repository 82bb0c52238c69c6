"""Parameter names of other people's networks, translated into ours."""

from __future__ import annotations

import re
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


# VGG19's first ten convolutions, in order.
_VGG_LAYERS = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "3_4", "4_1", "4_2")


def vgg_from_zoo(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """ImageNet VGG19 of the MindSpore model zoo, with or without batch norm → names of `src.models.vgg`.

    Training checkpoints, such as the published `vgg19-0-97_5004.ckpt`, put `network.backbone.` before all names. What
    comes after the tenth convolution keeps its name and is reported as not used.
    """
    weights = {name: value for name, value in values.items() if not name.startswith(_NOT_WEIGHTS)}
    return _vgg_layers({name.removeprefix("network.backbone."): value for name, value in weights.items()}, "layers.")


def vgg_from_torchvision(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """State dict of torchvision's `vgg19` or `vgg19_bn` → names of `src.models.vgg`; the rest keeps its names."""
    return _vgg_layers(batch_norm_from_torch(values), "features.")


def _vgg_layers(values: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
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
        known = match and renamed.get(int(match[1]))
        result[f"{known}{match[2]}" if known else name] = value
    return result


# Layers of the PyTorch ports of OpenPose's Caffe model, below `model0.` or `modelSTAGE_BRANCH.`.
_OPENPOSE_VGG = re.compile(r"model0\.conv(\d_\d)\.(weight|bias)")
_OPENPOSE_CPM = re.compile(r"model0\.(conv4_[34])_CPM\.(weight|bias)")
_OPENPOSE_STAGE = re.compile(r"model(\d+)_([12])\.M?conv(?:5_)?(\d)_(?:CPM|stage\1)_L\2\.(weight|bias)")


def openpose_from_torch(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """State dict of the PyTorch ports of OpenPose's body network (`model1_1.conv5_1_CPM_L1.weight`) → names of
    `src.models.openpose`. Names of other networks stay as they are."""

    def stage(match: re.Match[str]) -> str:
        number, branch, layer, last = match.groups()
        return f"stages.{int(number) - 1}.{'paf' if branch == '1' else 'heatmap'}.conv{layer}.{last}"

    result = {}
    for name, value in values.items():
        name = _OPENPOSE_VGG.sub(r"backbone.layers.conv\1.\2", name)
        name = _OPENPOSE_CPM.sub(r"cpm.\1.\2", name)
        result[_OPENPOSE_STAGE.sub(stage, name)] = value
    return result
