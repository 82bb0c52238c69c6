"""RTMPose (arXiv 2303.07399)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from mspose.checkpoints.names import batch_norm_from_torch, batch_norm_to_torch
from mspose.codecs.simcc import SimCCCodec, SimCCKeys
from mspose.config.keys import FIXED, POSITIVE, Check, key, section_as
from mspose.config.schema import Config, ModelConfig
from mspose.methods.topdown import TopDown
from mspose.networks.base import IMAGENET_RGB, Network, OnnxForm, Origin, Shapes, Values, same
from mspose.skeleton import Skeleton

if TYPE_CHECKING:
    from mindspore import nn

STRIDE = 32


@dataclass
class RTMPoseKeys(ModelConfig):
    """RTMPose: CSPNeXt, attention among keypoints, two vectors a keypoint."""

    width: int = key(
        768,
        "channels of the last stage (t: 384, s: 512, m: 768, l: 1024), a multiple of 32",
        Check(lambda v: v > 0 and v % 32 == 0, "be a multiple of 32 from 32 on"),
        FIXED,
    )
    blocks: int = key(
        4,
        "blocks of each of the two middle stages (t: 1, s: 2, m: 4, l: 6); outer ones have half as many, rounded up",
        POSITIVE,
        FIXED,
    )


def _codec(config: Config, skeleton: Skeleton) -> SimCCCodec:
    keys = section_as(config.codec, SimCCKeys)
    return SimCCCodec(skeleton, keys.split, (keys.sigma[0], keys.sigma[1]) if keys.sigma else None)


def _build(config: Config, skeleton: Skeleton) -> nn.Cell:
    from mspose.models.rtmpose import RTMPose

    keys, split = section_as(config.model, RTMPoseKeys), section_as(config.codec, SimCCKeys).split
    width, height = config.data.input_size
    return RTMPose(keys.width, keys.blocks, skeleton.num_keypoints, (width, height), split)


def _loss() -> nn.Cell:
    from mspose.models.losses import SimCCLoss

    return SimCCLoss()


def _backbone_keys(shapes: Shapes) -> dict[str, Any]:
    blocks = [name for name in shapes if name.startswith("backbone.stage2.1.blocks.")]
    return {
        "width": shapes["backbone.stage4.1.conv2.conv.weight"][0],
        "blocks": len({name.split(".")[4] for name in blocks}),
    }


def _keys(shapes: Shapes) -> dict[str, Any]:
    """What the shapes show of the network, and the input that they are for."""
    x, y, places = shapes["head.cls_x.weight"][0], shapes["head.cls_y.weight"][0], shapes["head.mlp.1.weight"][1]
    # x = split W, y = split H, and the features have (W / 32) (H / 32) places.
    split = max(1, isqrt(x * y // (places * STRIDE**2)))
    return {**_backbone_keys(shapes), "codec.split": split, "data.input_size": [x // split, y // split]}


def rtmpose_from_mmpose(values: Values) -> dict[str, np.ndarray]:
    """State dict of MMPose → names of `mspose.models.rtmpose`."""
    return batch_norm_from_torch(values)


def cspnext_from_torch(values: Values) -> dict[str, np.ndarray]:
    """State dict of CSPNeXt, alone or with another head → names of the backbone; the head keeps its own."""
    return batch_norm_from_torch({name.removeprefix("backbone."): value for name, value in values.items()})


_STEM, _NORM = "stem.0.conv.weight", "stem.0.bn.running_mean"
WEIGHTS = (
    Origin(
        "RTMPose of this repository",
        (f"backbone.{_STEM}", "backbone.stem.0.bn.gamma", "head.cls_x.weight"),
        same,
        _keys,
        is_own=True,
    ),
    Origin(
        "RTMPose of MMPose (PyTorch)",
        (f"backbone.{_STEM}", f"backbone.{_NORM}", "head.cls_x.weight"),
        rtmpose_from_mmpose,
        _keys,
        IMAGENET_RGB,
    ),
    # Trained for heat maps, to start RTMPose from.
    Origin(
        "CSPNeXt of MMPose with heat maps (PyTorch)",
        (f"backbone.{_STEM}", f"backbone.{_NORM}", "head.final_layer.weight"),
        cspnext_from_torch,
        _backbone_keys,
        part="backbone",
    ),
    Origin(
        "ImageNet CSPNeXt (PyTorch)",
        (_STEM, _NORM, "stage4.1.conv2.conv.weight"),
        cspnext_from_torch,
        _backbone_keys,
        part="backbone",
    ),
)


def _onnx_keys(
    size: tuple[int, int], shapes: Sequence[tuple[int | None, ...]], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """The codec SimCCLabel of MMPose, as RTMPose has it: raw vectors, whose first maximum counts."""
    changed = [name for name in ("normalize", "use_dark", "export_postprocess") if parameters.get(name)]
    if changed:
        raise ValueError(f"{changed[0]} of SimCCLabel is not known here")
    lengths = [shape[-1] for shape in shapes if len(shape) == 2]
    split = parameters.get("simcc_split_ratio", (lengths[0] or 0) / size[0] if lengths else 0)
    if type(split) not in (int, float) or split < 1 or split % 1 or lengths != [side * split for side in size]:
        raise ValueError(f"the vectors {list(shapes)} of an input of {list(size)} are not {split} places a pixel")
    sigma = {"codec.sigma": parameters["sigma"]} if "sigma" in parameters else {}
    return {"codec.split": int(split), **sigma}


ONNX = OnnxForm(
    "RTMPose of MMPose", ("simcc_x", "simcc_y"), "SimCCLabelDecode", _onnx_keys, IMAGENET_RGB, is_proof=True
)

NETWORK = Network(
    "rtmpose",
    RTMPoseKeys,
    TopDown,
    SimCCKeys,
    _codec,
    _build,
    _loss,
    stride=lambda keys: 1,
    size_multiple=STRIDE,
    fixed_size=True,
    weights=WEIGHTS,
    onnx=(ONNX,),
    # Scales that are no norms are decayed in the published training, vectors as they are.
    decays=lambda name, ndim: ndim > 1 or name.endswith((".g", ".res_scale.scale")),
    head="head.final_layer.",
    to_torch=lambda values, keys: batch_norm_to_torch(values),
    # Its vectors have sharp maxima that roundings move; it takes a small share of the time.
    float_layers=("head.",),
)
