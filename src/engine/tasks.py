"""Which data, loss and evaluation belong to a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from src.engine import topdown
from src.engine.evaluator import Evaluator
from src.schema import Config

if TYPE_CHECKING:
    from mindspore import nn


class TrainingSet(Protocol):
    """What training needs of a data set."""

    train_shapes: tuple[tuple[int, ...], ...]
    image_count: int

    def __len__(self) -> int: ...

    def train_sample(self, index: int, epoch: int, out: tuple[np.ndarray, ...]) -> None:
        """Fill the arrays of one sample: the network's input first, then what its loss takes."""


@dataclass(frozen=True)
class Task:
    """How networks of a kind are trained and evaluated.

    Attributes:
        training_set: builds the training set of a configuration.
        evaluator: builds the evaluator of a configuration; the flag asks for annotated boxes, where boxes matter.
        loss: builds the loss; called after MindSpore was set up.
    """

    training_set: Callable[[Config], TrainingSet]
    evaluator: Callable[[Config, bool], Evaluator]
    loss: Callable[[], nn.Cell]


def _joints_mse() -> nn.Cell:
    from src.models.losses import JointsMSELoss

    return JointsMSELoss()


# By `model.name`.
TASKS = {"simplepose": Task(topdown.training_set, topdown.TopDownEvaluator, _joints_mse)}
