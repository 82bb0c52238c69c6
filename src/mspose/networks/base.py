"""What an entry in this folder tells of its network; docs/architecture.md shows how to add one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mspose.codecs.base import Codec
from mspose.config.schema import Config
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
        method: how poses are found with it.
        codec: builds what knows the meaning of its maps, for a configuration and a skeleton.
        build: builds it in MindSpore with random weights; imports MindSpore when it is called.
        loss: builds its loss, which is given what the network returns in training and the codec's targets; likewise.
        takes_any_size: the input may have any size, also in an exported file.
        loss_line: how a loss is logged, as the original system did, for whoever reads its logs by program.
        head: beginning of the names of the parameters that depend on the skeleton: a checkpoint for other keypoints can
            start everything but these.
    """

    name: str
    method: type[Method]
    codec: Callable[[Config, Skeleton], Codec]
    build: Callable[[Any, Skeleton], nn.Cell]
    loss: Callable[[], nn.Cell]
    takes_any_size: bool = False
    loss_line: Callable[[int, int, float], str] = plain_line
    head: str = "final_layer."
