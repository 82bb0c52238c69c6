"""What networks with one heat map a keypoint share. No network itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mspose.codecs.heatmap import HeatmapCodec, HeatmapKeys
from mspose.config.keys import section_as
from mspose.config.schema import Config
from mspose.config.topdown import HeatmapEval, TopDownData
from mspose.networks.base import IMAGENET_RGB, OnnxForm, Shapes
from mspose.skeleton import Skeleton

if TYPE_CHECKING:
    from mindspore import nn


# Sections that are not those of all top-down networks.
HEATMAP_SECTIONS = {"eval": HeatmapEval}


def heatmap_codec(config: Config, skeleton: Skeleton) -> HeatmapCodec:
    """Heat maps as the section `codec` says."""
    keys, width = section_as(config.codec, HeatmapKeys), config.data.input_size[0]
    stride = width // keys.heatmap_size[0] if keys.heatmap_size else 1
    return HeatmapCodec(
        skeleton,
        stride,
        keys.sigma,
        keys.refine,
        section_as(config.eval, HeatmapEval).shift_heatmap,
        section_as(config.data, TopDownData).unbiased,
        keys.targets,
        keys.blur,
    )


def offset_maps(shapes: Shapes, skeleton: Skeleton) -> str:
    """What is to be said of weights whose last layer gives three maps a keypoint, UDP's disc and offsets (arXiv
    1911.07524, section 3.3), which no codec here reads."""
    final = shapes.get("final_layer.weight")
    count = skeleton.num_keypoints
    if not final or final[0] != 3 * count:
        return ""
    return (
        f"gives {final[0]} maps for {count} keypoints, three each (a disc and two offsets, as UDP's regression "
        "has them), which is out of scope here: take a file with one heat map a keypoint"
    )


def joints_mse() -> nn.Cell:
    """Squared error of heat maps."""
    from mspose.models.losses import JointsMSELoss

    return JointsMSELoss()


def _onnx_keys(
    size: tuple[int, int], shapes: Sequence[tuple[int | None, ...]], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """The codecs MSRAHeatmap, plain or DARK (`unbiased`), and UDPHeatmap of MMPose 1.x."""
    kind, sigma, blur = parameters.get("type"), parameters.get("sigma", 2), parameters.get("blur_kernel_size", 11)
    if kind not in ("MSRAHeatmap", "UDPHeatmap"):
        raise ValueError(f"heat maps of the codec {kind!r} are not known here, MSRAHeatmap and UDPHeatmap are")
    if parameters.get("heatmap_type", "gaussian") != "gaussian":
        raise ValueError("UDPHeatmap must have heatmap_type gaussian: maps of offsets are not known here")
    if type(sigma) not in (int, float) or type(blur) is not int:
        raise ValueError("sigma must be a number, blur_kernel_size a whole one")
    keys = {"codec.sigma": sigma, "eval.shift_heatmap": parameters.get("shift_heatmap") is True}
    if kind == "UDPHeatmap":
        return {**keys, "data.unbiased": True, "codec.refine": "dark_udp", "codec.blur": blur}
    if parameters.get("unbiased") is True:
        return {**keys, "codec.targets": "exact", "codec.refine": "dark", "codec.blur": blur}
    return {**keys, "codec.refine": "quarter"}


# All networks of heat maps give outputs of one name: which codec they are for, pipeline.json alone tells.
HEATMAP_ONNX = OnnxForm("heat maps of MMPose", ("output",), "TopdownHeatmapSimpleHeadDecode", _onnx_keys, IMAGENET_RGB)
