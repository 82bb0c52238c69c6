"""What an entry in this folder tells of its network; docs/architecture.md shows how to add one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mspose.codecs.base import Codec
from mspose.config.keys import Section
from mspose.config.schema import SECTIONS, CodecConfig, Config, ModelConfig
from mspose.methods.base import Method
from mspose.skeleton import Skeleton

if TYPE_CHECKING:
    from mindspore import nn


Values = Mapping[str, np.ndarray]
Shapes = Mapping[str, tuple[int, ...]]


def same(values: Values) -> dict[str, np.ndarray]:
    """Names that are ours already."""
    return dict(values)


def nothing(shapes: Shapes, skeleton: Skeleton) -> str:
    """Nothing against a file's shapes but that they must be the network's."""
    return ""


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
        keys: shapes under our names → what they show of the network, as keys of the section `model`, and of others with
            their section (`data.input_size`).
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


# Keys of the configuration that an ONNX file shows by the (width, height) of its input, the shapes of its outputs for
# one input, and the parameters of its decoder in MMDeploy's pipeline.json (empty without that). ValueError: it does not
# fit, with what is wrong as its text.
OnnxKeys = Callable[[tuple[int, int], Sequence[tuple[int | None, ...]], Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class OnnxForm:
    """One kind of ONNX file that others publish, ready to run.

    Attributes:
        title: what a person calls it.
        outputs: names of its outputs, in the codec's order.
        decoder: what MMDeploy's pipeline.json calls the way from its outputs to keypoints (`component`).
        keys: what it shows, as keys of the configuration.
        conventions: keys that hold for every such file; and how pictures are fed, where no pipeline.json says it.
        is_proof: whether its names alone tell whose it is, so that no pipeline.json is needed.
    """

    title: str
    outputs: tuple[str, ...]
    decoder: str
    keys: OnnxKeys
    conventions: Mapping[str, Any] = field(default_factory=dict)
    is_proof: bool = False


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


def no_vector(name: str, ndim: int) -> bool:
    """Whether a parameter is no vector, as norms and biases are."""
    return ndim > 1


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
        fixed_size: weights are for one size of the input, which their shapes depend on.
        loss_line: how a loss is logged, as the original system did, for whoever reads its logs by program.
        weights: the files that hold it, its backbone's among them.
        fit: what a file holds under our names → weights of the configured network, where that depends on more than the
            names, such as the size of the input.
        decays: whether weight decay reaches a parameter, by its name and number of dimensions.
        layer: number of the layer that a parameter belongs to, by its name, from 0 at the picture on; None: it lies
            behind all numbered ones. What `train.layer_decay` needs; without, the network cannot be trained with it.
        onnx: the ONNX files of others that compute it.
        head: beginning of the names of the parameters that depend on the skeleton: a checkpoint for other keypoints can
            start everything but these.
        to_torch: weights under our names → state dict of the PyTorch original, for a section `model`; None: there is no
            original, or no way back.
        torch_keys: keys of `model` that hold for the weights that `to_torch` gives.
        to_hf: weights under our names, and a configuration → state dict and `config.json` of Hugging Face's classes;
            None: they have no such network.
        refused: shapes of a file under our names, for a skeleton → why such files are not read, where there is more to
            say than that shapes differ; else "".
        sections: dataclasses of further sections, where they are not those of the method.
        float_layers: beginnings of the names of parameters whose layers stay in float32 in int8 files, besides the
            first and the last ones.
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
    fixed_size: bool = False
    loss_line: Callable[[int, int, float], str] = plain_line
    weights: tuple[Origin, ...] = ()
    fit: Callable[[Values, Config], dict[str, np.ndarray]] = as_they_are
    decays: Callable[[str, int], bool] = no_vector
    layer: Callable[[str], int | None] | None = None
    onnx: tuple[OnnxForm, ...] = ()
    head: str = "final_layer."
    to_torch: Callable[[Values, Any], dict[str, np.ndarray]] | None = None
    torch_keys: Mapping[str, Any] = field(default_factory=dict)
    to_hf: Callable[[Values, Config], tuple[dict[str, np.ndarray], dict[str, Any]]] | None = None
    refused: Callable[[Shapes, Skeleton], str] = nothing
    sections: Mapping[str, type[Section]] = field(default_factory=dict)
    float_layers: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def schema(self) -> dict[str, type[Section]]:
        """The dataclass of every section."""
        own = {"model": self.keys, "codec": self.codec_keys}
        return {**SECTIONS, **self.method.sections, **own, **self.sections}
