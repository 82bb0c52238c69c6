"""What an entry in this folder tells of its network; docs/architecture.md shows how to add one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mspose.codecs.base import Codec
from mspose.config.schema import SECTIONS, CodecConfig, Config, ModelConfig, Section
from mspose.methods.base import Method
from mspose.skeleton import Skeleton

if TYPE_CHECKING:
    from mindspore import nn


Values = Mapping[str, np.ndarray]
Shapes = Mapping[str, tuple[int, ...]]


def same(values: Values) -> dict[str, np.ndarray]:
    """Names that are ours already."""
    return dict(values)


def as_they_are(values: Values, config: Config) -> dict[str, np.ndarray]:
    """Weights that fit the configured network, or none that could."""
    return dict(values)


def no_keys(shapes: Shapes) -> dict[str, Any]:
    """Nothing that shapes would show."""
    return {}


@dataclass(frozen=True)
class Origin:
    """One kind of file of weights, and whose it is.

    Attributes:
        title: what a person calls it.
        anchors: names that are in every such file, perhaps behind a prefix, and together in no other kind.
        translate: its names → ours.
        keys: shapes under our names → what they show of the network, as keys of the section `model`.
        conventions: what its names do not show, as keys of the configuration.
        shown: keys that the names show, and that differ among files of this kind that the same recipe loads.
        part: what it holds: a "network", its "backbone" alone, or a "detector".
        is_own: whether this repository wrote it; the conventions of such a file are stored beside it.
        merges: whether several of its arrays become one of ours.
    """

    title: str
    anchors: tuple[str, ...]
    translate: Callable[[Values], dict[str, np.ndarray]]
    keys: Callable[[Shapes], dict[str, Any]] = no_keys
    conventions: Mapping[str, Any] = field(default_factory=dict)
    part: str = "network"
    is_own: bool = False
    shown: tuple[str, ...] = ()
    merges: bool = False


# How pictures are fed to networks that several kinds of files share; see `data.*`.
IMAGENET_BGR = {
    "data.color": "bgr",
    "data.scale": 255.0,
    "data.mean": [0.485, 0.456, 0.406],
    "data.std": [0.229, 0.224, 0.225],
    "eval.rescore": "visible_mean",
}
IMAGENET_RGB = {**IMAGENET_BGR, "data.color": "rgb"}
# The last deviation is a slip of mindpose's pen, which its weights were trained with.
MINDPOSE = {**IMAGENET_RGB, "data.std": [0.229, 0.224, 0.255]}
ALPHAPOSE = {
    "data.color": "rgb",
    "data.scale": 255.0,
    "data.mean": [0.406, 0.457, 0.480],
    "data.std": [1.0, 1.0, 1.0],
    "eval.rescore": "alphapose",
    "model.maxpool": "torch",
}


def plain_line(epoch: int, step: int, loss: float) -> str:
    """How a loss is logged, from epoch and step in it, both from 1 on."""
    return f"epoch: {epoch} step: {step}, loss is {loss:.4g}"


@dataclass(frozen=True)
class Network:
    """One network.

    Attributes:
        name: what `model.name` calls it.
        keys: dataclass of the section `model`.
        method: how poses are found with it.
        codec_keys: dataclass of the section `codec`.
        codec: builds what knows the meaning of its maps, for a configuration and a skeleton.
        build: builds it in MindSpore with random weights, for a configuration and a skeleton; imports MindSpore when
            called.
        loss: builds its loss, which is given what the network returns in training and the codec's targets; likewise.
        stride: input pixels a cell of its maps, for a section `model`.
        size_multiple: sides of the input are multiples of this.
        takes_any_size: the input may have any size, also in an exported file.
        loss_line: how a loss is logged, as the original system did, for whoever reads its logs by program.
        weights: the files that hold it, its backbone's among them.
        fit: what a file holds under our names → weights of the configured network, where that depends on more than the
            names, such as the size of the input.
        head: beginning of the names of the parameters that depend on the skeleton: a checkpoint for other keypoints can
            start everything but these.
        to_torch: weights under our names → state dict of the PyTorch original, for a section `model`; None: there is no
            original, or no way back.
        torch_keys: keys of `model` that hold for the weights that `to_torch` gives.
        to_hf: weights under our names, and a configuration → state dict and `config.json` of Hugging Face's classes;
            None: they have no such network.
        sections: dataclasses of further sections, where they are not those of the method.
        renamed: keys of files without `format: 2` that have another name here.
    """

    name: str
    keys: type[ModelConfig]
    method: type[Method]
    codec_keys: type[CodecConfig]
    codec: Callable[[Config, Skeleton], Codec]
    build: Callable[[Config, Skeleton], nn.Cell]
    loss: Callable[[], nn.Cell]
    stride: Callable[[Any], int]
    size_multiple: int = 32
    takes_any_size: bool = False
    loss_line: Callable[[int, int, float], str] = plain_line
    weights: tuple[Origin, ...] = ()
    fit: Callable[[Values, Config], dict[str, np.ndarray]] = as_they_are
    head: str = "final_layer."
    to_torch: Callable[[Values, Any], dict[str, np.ndarray]] | None = None
    torch_keys: Mapping[str, Any] = field(default_factory=dict)
    to_hf: Callable[[Values, Config], tuple[dict[str, np.ndarray], dict[str, Any]]] | None = None
    sections: Mapping[str, type[Section]] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def schema(self) -> dict[str, type[Section]]:
        """The dataclass of every section."""
        own = {"model": self.keys, "codec": self.codec_keys}
        return {**SECTIONS, **self.method.sections, **own, **self.sections}
