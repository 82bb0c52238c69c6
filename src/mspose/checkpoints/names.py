"""Parameter names of other people's networks, translated into ours."""

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


# Shortcuts in the zoo's ResNets, and the batch norms of its shallow ones.
_ZOO_RESNET = ((re.compile(r"\.down_sample(_layer)?\."), ".downsample."), (re.compile(r"\.bn([12])d\."), r".bn\1."))


def resnet_from_zoo(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """ImageNet ResNet of the MindSpore model zoo (`resnet50.ckpt`) → names of `mspose.models.resnet`.

    The classifier (`end_point.`) keeps its name and is reported as not used.
    """
    result = {}
    for name, value in network_weights(values).items():
        for pattern, own in _ZOO_RESNET:
            name = pattern.sub(own, name)
        result[name] = value
    return result


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
    """State dict of Microsoft's PoseResNet → names of `mspose.models.simplepose`."""
    return _backbone_first(batch_norm_from_torch(values))


def simplepose_from_alphapose(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """State dict of AlphaPose's SimplePose, whose ResNet is called `preact` → names of `mspose.models.simplepose`."""
    return {re.sub(r"^preact\.", "backbone.", name): value for name, value in batch_norm_from_torch(values).items()}


def simple_baselines_from_zoo(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Checkpoint of the MindSpore simple_baselines → names of `mspose.models.simplepose`."""
    return _backbone_first(resnet_from_zoo(values))


def simplepose_from_zoo(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Checkpoint of the MindSpore SimplePoseNet (`deconv_layers.deconv_1.bn.gamma`) → names of
    `mspose.models.simplepose`, where convolution, batch norm and ReLU are counted (`deconv_layers.4.gamma`)."""

    def number(match: re.Match[str]) -> str:
        return f"deconv_layers.{3 * int(match[1]) + (match[2] == 'bn')}."

    weights = simple_baselines_from_zoo(values)
    return {
        re.sub(r"^deconv_layers\.deconv_(\d+)\.(deconv|bn)\.", number, name): value for name, value in weights.items()
    }


def _backbone_first(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`backbone.` before every name that does not belong to the layers after it."""
    heads = ("deconv_layers.", "final_layer.")
    return {name if name.startswith(heads) else f"backbone.{name}": value for name, value in values.items()}


# The DUC layers of AlphaPose's FastPose; those of its DUC variant are numbered already, as ours are.
_FASTPOSE_DUC = re.compile(r"(duc\d)\.(conv|bn)\.")


def fastpose_layers(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Layer names of AlphaPose's FastPose and its DUC variant → names of `mspose.models.fastpose`.

    The last part of each name, which for batch norms is PyTorch's or MindSpore's, stays.
    """
    number = {"conv": "1", "bn": "2"}
    result = {}
    for name, value in values.items():
        name = re.sub(r"^preact\.", "backbone.", name)
        name = re.sub(r"^conv_out\.", "final_layer.", name)
        result[_FASTPOSE_DUC.sub(lambda match: f"{match[1]}.{number[match[2]]}.", name)] = value
    return result


def fastpose_from_torch(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """State dict of AlphaPose's FastPose or its DUC variant → names of `mspose.models.fastpose`."""
    return fastpose_layers(batch_norm_from_torch(values))


def fastpose_from_zoo(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Checkpoint of the MindSpore AlphaPose → names of `mspose.models.fastpose`; its shuffles are in block order."""
    return fastpose_layers(resnet_from_zoo(values))


# VGG19's first ten convolutions, in order.
_VGG_LAYERS = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "3_4", "4_1", "4_2")


def vgg_from_zoo(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """ImageNet VGG19 of the MindSpore model zoo, with or without batch norm → names of `mspose.models.vgg`.

    Training checkpoints, such as the published `vgg19-0-97_5004.ckpt`, put `network.backbone.` before all names. What
    comes after the tenth convolution keeps its name and is reported as not used.
    """
    weights = network_weights(values)
    return _vgg_layers({name.removeprefix("network.backbone."): value for name, value in weights.items()}, "layers.")


def vgg_from_torchvision(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """State dict of torchvision's `vgg19` or `vgg19_bn` → names of `mspose.models.vgg`; the rest keeps its names."""
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
        known = renamed.get(int(match[1])) if match else None
        result[f"{known}{match[2]}" if match and known else name] = value
    return result


# Layers of the PyTorch ports of OpenPose's Caffe model, below `model0.` or `modelSTAGE_BRANCH.`.
_OPENPOSE_VGG = re.compile(r"^(?:model0\.)?conv([1-4]_\d)\.(weight|bias)")
_OPENPOSE_CPM = re.compile(r"^(?:model0\.)?(conv4_[34])_CPM\.(weight|bias)")
_OPENPOSE_STAGE = re.compile(
    r"^(?:model\d+_[12]\.)?M?conv(?:5_)?(?P<layer>\d)_(?:CPM|stage(?P<stage>\d+))_L(?P<branch>[12])\.(?P<last>weight|bias)"
)
# The same in the MindSpore OpenPose: `stage_1.conv1_CPM_L1.weight`, `stage_2.conv1_L1.weight`.
_OPENPOSE_ZOO_CPM = re.compile(r"^base\.(conv4_[34])_CPM\.")
_OPENPOSE_ZOO_STAGE = re.compile(r"^stage_(?P<stage>\d+)\.conv(?P<layer>\d)(?:_CPM)?_L(?P<branch>[12])\.(?P<last>\w+)")


def _openpose_stage(match: re.Match[str]) -> str:
    """The stages are counted from 1 in the originals; the first has no number in the Caffe model."""
    branch = "paf" if match["branch"] == "1" else "heatmap"
    return f"stages.{int(match['stage'] or 1) - 1}.{branch}.conv{match['layer']}.{match['last']}"


def openpose_from_torch(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """State dict of the PyTorch ports of OpenPose's body network (`model1_1.conv5_1_CPM_L1.weight`, or as in the Caffe
    model without the first part) → names of `mspose.models.openpose`. Names of other networks stay as they are."""
    result = {}
    for name, value in values.items():
        name = _OPENPOSE_VGG.sub(r"backbone.layers.conv\1.\2", name)
        name = _OPENPOSE_CPM.sub(r"cpm.\1.\2", name)
        result[_OPENPOSE_STAGE.sub(_openpose_stage, name)] = value
    return result


def openpose_from_zoo(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Checkpoint of the MindSpore OpenPose (its whole network) → names of `mspose.models.openpose`."""
    result = {}
    for name, value in _vgg_layers(network_weights(values), "base.vgg_base.layers.").items():
        name = re.sub(r"^layers\.", "backbone.layers.", name)
        name = _OPENPOSE_ZOO_CPM.sub(r"cpm.\1.", name)
        result[_OPENPOSE_ZOO_STAGE.sub(_openpose_stage, name)] = value
    return result


def yolov3_from_zoo(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """YOLOv3 of the MindSpore model zoo (`yolo.ckpt`) → names of `mspose.models.yolov3`.

    Its training checkpoints put `yolo_network.` before all names.
    """
    weights = network_weights(values)
    return {name.removeprefix("yolo_network.").removeprefix("feature_map."): value for name, value in weights.items()}
