"""Which data, loss and evaluation belong to a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mspose.config.schema import Config
from mspose.methods import bottomup, topdown
from mspose.methods.evaluator import Evaluator
from mspose.methods.stages import BottomUpStages, Stages, TopDownStages

if TYPE_CHECKING:
    from mindspore import nn


class TrainingSet(Protocol):
    """What training needs of a data set."""

    train_shapes: tuple[tuple[int, ...], ...]
    image_count: int

    def __len__(self) -> int: ...

    def train_sample(self, index: int, epoch: int, out: tuple[np.ndarray, ...]) -> None:
        """Fill the arrays of one sample: the network's input first, then what its loss takes."""


def _simplepose_line(epoch: int, step: int, loss: float) -> str:
    return f"epoch: {epoch} step: {step}, loss is {loss:.4g}"


def _fastpose_line(epoch: int, step: int, loss: float) -> str:
    return f"epoch:{epoch} step:{step}, loss is {loss:.4g}"


def _openpose_line(epoch: int, step: int, loss: float) -> str:
    return f"epoch[{epoch - 1}], iter[{step - 1}], mean loss is {loss:.9f}"


@dataclass(frozen=True)
class Task:
    """How networks of a kind are trained and evaluated.

    Attributes:
        training_set: builds the training set of a configuration.
        stages: builds what finds people in single pictures.
        evaluator: builds the evaluator of a configuration; the flag asks for annotated boxes, where boxes matter.
        loss: builds the loss; called after MindSpore was set up.
        loss_line: how a loss is logged, from epoch and step in it (both from 1 on): as the original systems did, for
            whoever reads their logs by program.
    """

    training_set: Callable[[Config], TrainingSet]
    stages: Callable[[Config], Stages]
    evaluator: Callable[[Config, bool], Evaluator]
    loss: Callable[[], nn.Cell]
    loss_line: Callable[[int, int, float], str] = _simplepose_line


def _joints_mse() -> nn.Cell:
    from mspose.models.losses import JointsMSELoss

    return JointsMSELoss()


def _openpose() -> nn.Cell:
    from mspose.models.losses import OpenPoseLoss

    return OpenPoseLoss()


# By `model.name`.
TASKS = {
    "simplepose": Task(topdown.training_set, TopDownStages, topdown.TopDownEvaluator, _joints_mse),
    "fastpose": Task(
        topdown.training_set, TopDownStages, topdown.TopDownEvaluator, _joints_mse, loss_line=_fastpose_line
    ),
    "openpose": Task(
        bottomup.training_set, BottomUpStages, bottomup.BottomUpEvaluator, _openpose, loss_line=_openpose_line
    ),
}
