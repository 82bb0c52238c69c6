"""The way back: weights under our names → state dicts of the PyTorch originals, with `num_batches_tracked` (zero)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from mspose.errors import PoseError

Values = Mapping[str, np.ndarray]


def simplepose_to_torch(values: Values) -> dict[str, np.ndarray]:
    """SimplePose as Microsoft's PoseResNet."""
    return batch_norm_to_torch({name.removeprefix("backbone."): value for name, value in values.items()})


def fastpose_to_torch(values: Values, shuffle: str) -> dict[str, np.ndarray]:
    """FastPose as AlphaPose's.

    Args:
        shuffle: order of the pixel shuffles that the weights are for; PyTorch's is "channel", and the channels of
            weights for "block" are put into that order, which leaves the function of the network as it is.
    """
    values = _block_to_channel(values) if shuffle == "block" else values
    is_duc = any(name.startswith("duc3.") for name in values)
    return batch_norm_to_torch({_fastpose_name(name, is_duc): value for name, value in values.items()})


def openpose_to_torch(values: Values) -> dict[str, np.ndarray]:
    """OpenPose as `body_pose_model`.

    Raises:
        PoseError: the network has layers that its original lacks.
    """
    renamed = {_openpose_name(name): value for name, value in values.items()}
    # The original's order: all stages of the fields, then all of the heat maps.
    return dict(sorted(renamed.items(), key=lambda item: item[0].partition(".")[0].partition("_")[2]))


def batch_norm_to_torch(values: Values) -> dict[str, np.ndarray]:
    """MindSpore's batch-norm names → PyTorch's, in PyTorch's order."""
    last_names = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    result: dict[str, np.ndarray] = {}
    for name, value in values.items():
        prefix, _, last = name.rpartition(".")
        if last not in last_names:
            result[name] = value
        elif f"{prefix}.weight" not in result:
            result |= {f"{prefix}.{torch}": values[f"{prefix}.{own}"] for own, torch in last_names.items()}
            result[f"{prefix}.num_batches_tracked"] = np.zeros((), np.int64)
    return result


def _fastpose_name(name: str, is_duc: bool) -> str:
    """AlphaPose counts the layers of its DUC variant, as we do, and names the two of each doubling otherwise."""
    name = re.sub(r"^backbone\.", "preact.", name)
    name = re.sub(r"^final_layer\.", "conv_out.", name)
    if is_duc:
        return name
    return re.sub(r"^(duc\d)\.([12])\.", lambda match: f"{match[1]}.{'conv' if match[2] == '1' else 'bn'}.", name)


def _block_to_channel(values: Values) -> dict[str, np.ndarray]:
    """Reorder what comes before each pixel shuffle: input 4·c + q of the channel order is (q·C/4 + c) of block order.

    The first shuffle reads what the blocks of the last ResNet stage add up, so all of their ends are reordered, and
    the beginnings of those that follow.
    """
    result = dict(values)
    last_conv, last_norm = ("conv3", "bn3") if "backbone.layer4.0.conv3.weight" in values else ("conv2", "bn2")
    outputs = re.compile(rf"backbone\.layer4\.\d+\.({last_conv}|{last_norm}|downsample\.[01]|se\.fc\.2)\.\w+")
    inputs = re.compile(r"backbone\.layer4\.([1-9]\d*\.conv1|\d+\.se\.fc\.0)\.weight")
    for name, value in values.items():
        if outputs.fullmatch(name):
            result[name] = value[_order(len(value))]
        elif inputs.fullmatch(name):
            result[name] = value[:, _order(value.shape[1])]
    # The last convolution of a doubling, and its batch norm, feed the next shuffle; behind the last doubling is none.
    stages = [stage for stage in ("duc1", "duc2", "duc3") if f"{stage}.1.weight" in values]
    for stage in stages[:2]:
        numbers = [int(name.split(".")[1]) for name in values if name.startswith(f"{stage}.")]
        for name in values:
            if re.fullmatch(rf"{stage}\.({max(numbers) - 1}|{max(numbers)})\.\w+", name):
                result[name] = values[name][_order(len(values[name]))]
    return result


def _order(channels: int) -> np.ndarray:
    return np.arange(channels).reshape(4, channels // 4).T.reshape(-1)


def _openpose_name(name: str) -> str:
    name = re.sub(r"^backbone\.layers\.(conv\d_\d)\.", r"model0.\1.", name)
    name = re.sub(r"^cpm\.(conv4_[34])\.", r"model0.\1_CPM.", name)
    match = re.fullmatch(r"stages\.(\d+)\.(paf|heatmap)\.conv(\d)\.(\w+)", name)
    if match:
        stage, branch, layer = int(match[1]) + 1, 1 if match[2] == "paf" else 2, match[3]
        own = f"conv5_{layer}_CPM" if stage == 1 else f"Mconv{layer}_stage{stage}"
        name = f"model{stage}_{branch}.{own}_L{branch}.{match[4]}"
    if not name.startswith("model"):
        raise PoseError(f"OpenPose in PyTorch has no layer for {name}: only networks with model.norm=none go there")
    return name
