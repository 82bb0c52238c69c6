"""OpenPose (arXiv 1611.08050)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mspose.checkpoints.names import network_weights
from mspose.codecs.grouping import Grouping, min_joints
from mspose.codecs.paf import PafCodec, PafKeys
from mspose.config.keys import FIXED, NOT_NEGATIVE, POSITIVE, key, section_as
from mspose.config.schema import Config, ModelConfig
from mspose.errors import PoseError
from mspose.methods.bottomup import BottomUp
from mspose.networks.base import Network, Origin, Shapes, Values, same
from mspose.networks.vgg import VGG_WEIGHTS, vgg_keys, vgg_layers
from mspose.skeleton import Skeleton, paf_layout

if TYPE_CHECKING:
    from mindspore import nn


@dataclass
class OpenPoseKeys(ModelConfig):
    """OpenPose: VGG19, heat maps and part affinity fields in stages."""

    base_width: int = key(64, "channels of the first VGG19 block", POSITIVE, FIXED)
    stages: int = key(6, "stages", POSITIVE, FIXED)
    stage_width: int = key(128, "channels of the stages and of the features they read", POSITIVE, FIXED)
    norm: str = key(
        "none",
        "batch norm: none as published, in the VGG19 backbone, or everywhere",
        ("none", "backbone", "all"),
        FIXED,
    )
    init_std: float = key(
        0.01, "spread of the first weights behind the backbone; 0: by their fan-in (He)", NOT_NEGATIVE
    )


def _codec(config: Config, skeleton: Skeleton) -> PafCodec:
    keys = section_as(config.codec, PafKeys)
    layout = paf_layout(skeleton)
    grouping = Grouping(
        keys.peak_threshold,
        keys.limb_threshold,
        keys.limb_support,
        keys.min_joints or min_joints(len(layout.joints)),
        keys.min_score,
        keys.upsample,
    )
    return PafCodec(layout, sigma=keys.joint_sigma, paf_width=keys.paf_width, grouping=grouping)


def _loss() -> nn.Cell:
    from mspose.models.losses import OpenPoseLoss

    return OpenPoseLoss()


def _build(config: Config, skeleton: Skeleton) -> nn.Cell:
    from mspose.models.openpose import OpenPose

    keys = section_as(config.model, OpenPoseKeys)
    layout = paf_layout(skeleton)
    return OpenPose(
        layout.num_pafs,
        layout.num_heatmaps,
        keys.stages,
        keys.stage_width,
        keys.base_width,
        keys.norm,
        keys.init_std,
    )


def _line(epoch: int, step: int, loss: float) -> str:
    return f"epoch[{epoch - 1}], iter[{step - 1}], mean loss is {loss:.9f}"


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


def openpose_from_torch(values: Values) -> dict[str, np.ndarray]:
    """State dict of the PyTorch ports of OpenPose's body network (`model1_1.conv5_1_CPM_L1.weight`, or as in the Caffe
    model without the first part) → names of `mspose.models.openpose`. Names of other networks stay as they are."""
    result = {}
    for name, value in values.items():
        name = _OPENPOSE_VGG.sub(r"backbone.layers.conv\1.\2", name)
        name = _OPENPOSE_CPM.sub(r"cpm.\1.\2", name)
        result[_OPENPOSE_STAGE.sub(_openpose_stage, name)] = value
    return result


def openpose_from_zoo(values: Values) -> dict[str, np.ndarray]:
    """Checkpoint of the MindSpore OpenPose (its whole network) → names of `mspose.models.openpose`."""
    result = {}
    for name, value in vgg_layers(network_weights(values), "base.vgg_base.layers.").items():
        name = re.sub(r"^layers\.", "backbone.layers.", name)
        name = _OPENPOSE_ZOO_CPM.sub(r"cpm.\1.", name)
        result[_OPENPOSE_ZOO_STAGE.sub(_openpose_stage, name)] = value
    return result


def openpose_to_torch(values: Values) -> dict[str, np.ndarray]:
    """OpenPose as `body_pose_model`.

    Raises:
        PoseError: the network has layers that its original lacks.
    """
    renamed = {_openpose_name(name): value for name, value in values.items()}
    # The original's order: all stages of the fields, then all of the heat maps.
    return dict(sorted(renamed.items(), key=lambda item: item[0].partition(".")[0].partition("_")[2]))


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


def _keys(shapes: Shapes) -> dict[str, Any]:
    stages = {name.split(".")[1] for name in shapes if name.startswith("stages.")}
    return vgg_keys(shapes) | {"stages": len(stages), "stage_width": shapes["cpm.conv4_4.weight"][0]}


_HALF = {"data.color": "bgr", "data.mean": [0.5, 0.5, 0.5], "data.std": [1.0, 1.0, 1.0]}
WEIGHTS = (
    Origin(
        "OpenPose of this repository",
        ("backbone.layers.conv1_1.weight", "cpm.conv4_3.weight"),
        same,
        _keys,
        is_own=True,
    ),
    Origin(
        "OpenPose body network (PyTorch port of the Caffe model)",
        ("model0.conv1_1.weight", "model0.conv4_3_CPM.weight"),
        openpose_from_torch,
        _keys,
        {**_HALF, "data.scale": 256.0},
    ),
    Origin(
        "OpenPose body network (names of the Caffe model)",
        ("conv1_1.weight", "conv4_3_CPM.weight", "conv5_1_CPM_L1.weight"),
        openpose_from_torch,
        _keys,
        {**_HALF, "data.scale": 256.0},
    ),
    Origin(
        "MindSpore OpenPose",
        ("base.vgg_base.layers.0.weight", "base.conv4_3_CPM.weight"),
        openpose_from_zoo,
        _keys,
        {**_HALF, "data.scale": 255.0},
    ),
    *VGG_WEIGHTS,
)

NETWORK = Network(
    "openpose",
    OpenPoseKeys,
    BottomUp,
    PafKeys,
    _codec,
    _build,
    _loss,
    stride=lambda keys: 8,
    size_multiple=8,
    takes_any_size=True,
    loss_line=_line,
    weights=WEIGHTS,
    to_torch=lambda values, keys: openpose_to_torch(values),
    renamed={"data.rotation_factor": "data.max_rotation", "codec.sigma": "codec.joint_sigma"},
)
