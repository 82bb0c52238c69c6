"""Whose weights a file holds, by the names in it, and what the names do not show: the input conventions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mspose.checkpoints import names
from mspose.checkpoints.beside import description_file, stamp_of
from mspose.checkpoints.ckpt_file import read_ckpt
from mspose.checkpoints.safetensors_file import read_safetensors
from mspose.checkpoints.torch_file import check_compressed, read_torch
from mspose.errors import PoseError, one_line

Values = Mapping[str, np.ndarray]

# How pictures are fed to the networks; see `data.*`.
_IMAGENET = {
    "data.color": "bgr",
    "data.scale": 255.0,
    "data.mean": [0.485, 0.456, 0.406],
    "data.std": [0.229, 0.224, 0.225],
    "eval.rescore": "visible_mean",
}
_ALPHAPOSE = {
    "data.color": "rgb",
    "data.scale": 255.0,
    "data.mean": [0.406, 0.457, 0.480],
    "data.std": [1.0, 1.0, 1.0],
    "eval.rescore": "alphapose",
    "model.maxpool": "torch",
}
_HALF = {"data.color": "bgr", "data.mean": [0.5, 0.5, 0.5], "data.std": [1.0, 1.0, 1.0]}


def _same(values: Values) -> dict[str, np.ndarray]:
    return dict(values)


@dataclass(frozen=True)
class Origin:
    """One kind of file.

    Attributes:
        title: what a person calls it.
        anchors: names that are in every such file, perhaps behind a prefix, and together in no other kind.
        translate: its names → ours.
        conventions: what its names do not show, as keys of the configuration.
        shown: keys that the names show, and that differ among files of this kind that the same recipe loads.
        part: what it holds: a "network", its "backbone" alone, or a "detector".
        is_own: whether this repository wrote it; the conventions of such a file are stored beside it.
    """

    title: str
    anchors: tuple[str, ...]
    translate: Callable[[Values], dict[str, np.ndarray]]
    conventions: Mapping[str, Any] = field(default_factory=dict)
    part: str = "network"
    is_own: bool = False
    shown: tuple[str, ...] = ()


# The more special ones first: a whole network holds the names of its backbone too.
ORIGINS = (
    Origin(
        "SimplePose of this repository",
        ("backbone.conv1.weight", "deconv_layers.0.weight", "backbone.bn1.gamma"),
        _same,
        is_own=True,
    ),
    Origin(
        "FastPose of this repository",
        ("backbone.conv1.weight", "duc1.1.weight", "backbone.bn1.gamma"),
        _same,
        is_own=True,
    ),
    Origin("OpenPose of this repository", ("backbone.layers.conv1_1.weight", "cpm.conv4_3.weight"), _same, is_own=True),
    Origin(
        "SimpleBaselines (PyTorch)",
        ("conv1.weight", "bn1.running_mean", "deconv_layers.0.weight"),
        names.simplepose_from_torch,
        {**_IMAGENET, "model.maxpool": "torch"},
    ),
    Origin(
        "SimplePose of AlphaPose (PyTorch)",
        ("preact.conv1.weight", "preact.bn1.running_mean", "deconv_layers.0.weight"),
        names.simplepose_from_alphapose,
        _ALPHAPOSE,
    ),
    Origin(
        "FastPose of AlphaPose (PyTorch)",
        ("preact.conv1.weight", "preact.bn1.running_mean", "conv_out.weight"),
        names.fastpose_from_torch,
        {**_ALPHAPOSE, "model.shuffle": "channel"},
        shown=("model.se",),
    ),
    Origin(
        "OpenPose body network (PyTorch port of the Caffe model)",
        ("model0.conv1_1.weight", "model0.conv4_3_CPM.weight"),
        names.openpose_from_torch,
        {**_HALF, "data.scale": 256.0},
    ),
    Origin(
        "OpenPose body network (names of the Caffe model)",
        ("conv1_1.weight", "conv4_3_CPM.weight", "conv5_1_CPM_L1.weight"),
        names.openpose_from_torch,
        {**_HALF, "data.scale": 256.0},
    ),
    Origin(
        "MindSpore SimplePoseNet",
        ("conv1.weight", "bn1.gamma", "deconv_layers.deconv_0.deconv.weight"),
        names.simplepose_from_zoo,
        {**_IMAGENET, "model.maxpool": "same"},
    ),
    Origin(
        "MindSpore simple_baselines",
        ("conv1.weight", "bn1.gamma", "deconv_layers.0.weight"),
        names.simple_baselines_from_zoo,
        {**_IMAGENET, "model.maxpool": "torch"},
    ),
    Origin(
        "MindSpore FastPose",
        ("preact.conv1.weight", "preact.bn1.gamma", "conv_out.weight"),
        names.fastpose_from_zoo,
        {**_IMAGENET, "model.maxpool": "torch", "model.shuffle": "block"},
        shown=("model.se",),
    ),
    Origin(
        "MindSpore OpenPose",
        ("base.vgg_base.layers.0.weight", "base.conv4_3_CPM.weight"),
        names.openpose_from_zoo,
        {**_HALF, "data.scale": 255.0},
    ),
    Origin(
        "MindSpore YOLOv3",
        ("feature_map.backbone.conv0.0.weight", "feature_map.backblock0.conv0.0.weight"),
        names.yolov3_from_zoo,
        part="detector",
    ),
    Origin(
        "ImageNet ResNet (PyTorch)",
        ("conv1.weight", "bn1.running_mean", "layer4.0.conv1.weight"),
        names.batch_norm_from_torch,
        {"model.maxpool": "torch"},
        "backbone",
    ),
    # Both its stem and that of MindSpore's hub pad right and bottom only.
    Origin(
        "ImageNet ResNet (MindSpore)",
        ("conv1.weight", "bn1.gamma", "layer4.0.conv1.weight"),
        names.resnet_from_zoo,
        {"model.maxpool": "same"},
        "backbone",
    ),
    Origin(
        "ImageNet VGG19 (PyTorch)",
        ("features.0.weight", "features.2.bias"),
        names.vgg_from_torchvision,
        part="backbone",
    ),
    Origin(
        "ImageNet VGG19 with batch norm (PyTorch)",
        ("features.0.weight", "features.1.running_mean"),
        names.vgg_from_torchvision,
        part="backbone",
    ),
    Origin("ImageNet VGG19 (MindSpore)", ("layers.0.weight", "layers.0.bias"), names.vgg_from_zoo, part="backbone"),
    Origin(
        "VGG19 backbone of this repository", ("layers.conv1_1.weight", "layers.conv4_2.weight"), _same, part="backbone"
    ),
)


@dataclass(frozen=True)
class Recognised:
    """A file's weights under our names.

    Attributes:
        origin: whose they are.
        values: arrays by our names; what our networks lack keeps its own name. A backbone's begin with `backbone.`.
        model: what the shapes show of the network, as keys of the configuration.
    """

    origin: Origin
    values: dict[str, np.ndarray]
    model: dict[str, Any]

    @property
    def conventions(self) -> dict[str, Any]:
        """What must be set for these weights to see what they were trained on; empty for our own files."""
        if self.origin.is_own:
            return {}
        shown = {key: self.model[key] for key in self.origin.shown if key in self.model}
        return {**self.origin.conventions, **shown}


OWN = Origin("a checkpoint of this repository", (), _same, is_own=True)


def recognise_file(path: str | Path) -> Recognised:
    """Read a file and find out whose weights it holds.

    A checkpoint whose description carries the stamp of this repository is ours, whatever the names in it.

    Raises:
        PoseError: unreadable, or the names belong to no known network.
    """
    values = read_weights(path)
    stamp = stamp_of(description_file(path)) if Path(path).suffix == ".ckpt" else {}
    if "network" not in stamp:
        return recognise(values, path)
    weights = names.network_weights(values)
    return Recognised(OWN, weights, {"model.name": stamp["network"]})


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Read a file of PyTorch, safetensors, MindSpore or NumPy (`.npz`); its content says which. Nothing in it is run.

    Raises:
        PoseError: missing, of another kind, damaged, or holding anything but data.
    """
    path = Path(path)
    if not path.is_file():
        raise PoseError(f"weights {'are a folder, not a file' if path.is_dir() else 'not found'}: {path}")
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise PoseError(f"weights cannot be read: {path}: {error.strerror}") from error
    values = _read(path, head)
    strange = next((name for name in values if not name.isprintable()), None)
    if strange is not None:
        raise PoseError(f"not a file of weights: {path} holds a parameter called {strange[:100]!r}")
    return values


def _read(path: Path, head: bytes) -> dict[str, np.ndarray]:
    """The arrays of a file that begins with `head`."""
    # The first eight bytes of safetensors are a length, which may begin like any other kind.
    if head[5:9] == b"\0\0\0{":
        return read_safetensors(path)
    if head[:4] == b"PK\3\4":
        first_name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        return _read_npz(path) if first_name.endswith(b".npy") else read_torch(path)
    if head[:1] == b"\x80" or head[257:262] == b"ustar":
        return read_torch(path)
    if head[:1] == b"\n":
        return read_ckpt(path)
    what = "is empty" if not head else "is none of PyTorch, safetensors, MindSpore .ckpt or .npz"
    raise PoseError(f"not a file of weights: {path} {what}")


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            if len(set(file.files)) != len(file.files):
                raise ValueError("it holds a name twice")
            check_compressed(file.zip)
            return {name: file[name] for name in file.files}
    except Exception as error:  # NumPy and zipfile raise various types for a broken file
        raise PoseError(f"not a readable .npz file (cut short?): {path}: {one_line(error)}") from error


def recognise(values: Values, path: str | Path) -> Recognised:
    """Find out whose weights these are and give them our names; optimizer state is left out.

    A prefix that all names share, such as `module.` of PyTorch's parallel training, is no hindrance.

    Raises:
        PoseError: the names belong to no known network, or two of them are the same without the prefix.
    """
    weights = names.network_weights(values)
    for origin in ORIGINS:
        prefix = _prefix(origin.anchors, weights)
        if prefix is None:
            continue
        plain = {name.removeprefix(prefix): value for name, value in weights.items()}
        translated = origin.translate(plain)
        if len(translated) < len(weights):
            raise PoseError(f"two parameters have the same name (but for {prefix!r}): {path}")
        if origin.part == "backbone":
            translated = {f"backbone.{name}": value for name, value in translated.items()}
        return Recognised(origin, translated, _model(translated, origin.part))
    some = ", ".join(list(values)[:3]) or "nothing"
    raise PoseError(f"the weights are of no network known here: {path} holds {len(values)} parameters, such as {some}")


def _prefix(anchors: tuple[str, ...], values: Values) -> str | None:
    """What stands before all anchors; the shortest of several; None if they are not there."""
    first = anchors[0]
    prefixes = [name.removesuffix(first) for name in values if name.endswith(first)]
    prefixes = [p for p in prefixes if (not p or p.endswith(".")) and all(p + anchor in values for anchor in anchors)]
    return min(prefixes, key=len, default=None)


def _model(values: Values, part: str) -> dict[str, Any]:
    """What names and shapes show of a network with our names."""
    shapes = {name: value.shape for name, value in values.items()}
    model: dict[str, Any] = {}
    if part == "detector":
        return model
    if "backbone.conv1.weight" in shapes:
        blocks = {match.group() for match in map(re.compile(r"backbone\.layer\d\.\d+\.").match, shapes) if match}
        per_block = 3 if "backbone.layer1.0.conv3.weight" in shapes else 2
        model |= {
            "model.depth": 2 + per_block * len(blocks),
            "model.base_width": shapes["backbone.conv1.weight"][0],
            "model.se": "first_block" if any(".se." in name for name in shapes) else "none",
        }
    elif "backbone.layers.conv1_1.weight" in shapes:
        norms = [name for name in shapes if name.endswith(".gamma")]
        everywhere = any(not name.startswith("backbone.") for name in norms)
        model |= {
            "model.base_width": shapes["backbone.layers.conv1_1.weight"][0],
            "model.norm": "all" if everywhere else "backbone" if norms else "none",
        }
    if "deconv_layers.0.weight" in shapes:
        model.pop("model.se", None)
        kernels = [shapes[name] for name in (f"deconv_layers.{3 * i}.weight" for i in range(9)) if name in shapes]
        model |= {
            "model.name": "simplepose",
            "model.deconv_filters": [shape[1] for shape in kernels],
            "model.deconv_kernels": [shape[-1] for shape in kernels],
            "model.deconv_bias": "deconv_layers.0.bias" in shapes,
        }
        if "final_layer.weight" in shapes:
            model["model.final_kernel"] = shapes["final_layer.weight"][-1]
    elif "duc1.1.weight" in shapes:
        numbers = [int(name.split(".")[1]) for name in shapes if re.fullmatch(r"duc1\.\d+\.weight", name)]
        model |= {
            "model.name": "fastpose",
            "model.upsampling": "duc" if len(numbers) > 1 else "shuffle",
            "model.upsampling_width": shapes[f"duc1.{max(numbers)}.weight"][0],
        }
    elif "cpm.conv4_4.weight" in shapes:
        stages = {name.split(".")[1] for name in shapes if name.startswith("stages.")}
        model |= {
            "model.name": "openpose",
            "model.stages": len(stages),
            "model.stage_width": shapes["cpm.conv4_4.weight"][0],
        }
    return model
