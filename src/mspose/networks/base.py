"""What an entry in this folder tells of its network; docs/architecture.md shows how to add one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mspose.codecs.base import Codec
from mspose.config.schema import FIXED, POSITIVE, SECTIONS, CodecConfig, Config, ModelConfig, Section, key
from mspose.methods.base import Method
from mspose.skeleton import Skeleton

if TYPE_CHECKING:
    from mindspore import nn


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
        build: builds it in MindSpore with random weights from `keys` and a skeleton; imports MindSpore when called.
        loss: builds its loss, which is given what the network returns in training and the codec's targets; likewise.
        stride: input pixels a cell of its maps, for a section `model`.
        size_multiple: sides of the input are multiples of this.
        takes_any_size: the input may have any size, also in an exported file.
        loss_line: how a loss is logged, as the original system did, for whoever reads its logs by program.
        head: beginning of the names of the parameters that depend on the skeleton: a checkpoint for other keypoints can
            start everything but these.
        to_torch: weights under our names → state dict of the PyTorch original, for a section `model`; None: there is no
            original, or no way back.
        torch_keys: keys of `model` that hold for the weights that `to_torch` gives.
        sections: dataclasses of further sections, where they are not those of the method.
        renamed: keys of files without `format: 2` that have another name here.
    """

    name: str
    keys: type[ModelConfig]
    method: type[Method]
    codec_keys: type[CodecConfig]
    codec: Callable[[Config, Skeleton], Codec]
    build: Callable[[Any, Skeleton], nn.Cell]
    loss: Callable[[], nn.Cell]
    stride: Callable[[Any], int]
    size_multiple: int = 32
    takes_any_size: bool = False
    loss_line: Callable[[int, int, float], str] = plain_line
    head: str = "final_layer."
    to_torch: Callable[[Mapping[str, np.ndarray], Any], dict[str, np.ndarray]] | None = None
    torch_keys: Mapping[str, Any] = field(default_factory=dict)
    sections: Mapping[str, type[Section]] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def schema(self) -> dict[str, type[Section]]:
        """The dataclass of every section."""
        own = {"model": self.keys, "codec": self.codec_keys}
        return {**SECTIONS, **self.method.sections, **own, **self.sections}


DEPTHS = (18, 34, 50, 101, 152)


@dataclass
class ResNetKeys(ModelConfig):
    """The network."""

    depth: int = key(50, "layers of the ResNet backbone", DEPTHS, FIXED)
    base_width: int = key(64, "channels of the first ResNet stage; the others are x2, x4, x8", POSITIVE, FIXED)
    maxpool: str = key(
        "torch", "stem pooling pads both sides (torch) or right and bottom (same)", ("torch", "same"), FIXED
    )
