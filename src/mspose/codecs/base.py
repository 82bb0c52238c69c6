"""What every codec offers: the one place that knows what a network's maps mean.

A codec is built for a skeleton and its settings. Whatever trains, evaluates, exports or draws asks it, and nothing
else, about maps. Coordinates are pixels of the network input; from there to the picture is the method's affair.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mspose.errors import PoseError
from mspose.skeleton import Skeleton

# What a network gives for N inputs: arrays (N, …) float32, in the order in which it is exported.
Maps = tuple[np.ndarray, ...]
# (width, height) of a network input in pixels.
Size = tuple[int, int]


@dataclass(frozen=True)
class MapSpec:
    """One output of a network: its name, its shape for one input (None: follows the input's), and what it means."""

    name: str
    shape: tuple[int | None, ...]
    meaning: str


@dataclass(frozen=True)
class Decoded:
    """P people found in N inputs.

    Attributes:
        keypoints: (P, J, 3) float32 x, y in pixels of the network input, and score; 0, 0, 0 where none was found.
        scores: (P,) float32, how sure each person is by the maps alone.
        source: (P,) int64, which of the N inputs each is from; with one person an input, 0 … N - 1.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    source: np.ndarray

    @staticmethod
    def joined(parts: Sequence[Decoded], joints: int) -> Decoded:
        """All people of some parts, of `joints` keypoints each; their sources must count through all of them."""
        nobody = Decoded(np.zeros((0, joints, 3), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
        parts = [nobody, *parts]
        return Decoded(
            np.concatenate([part.keypoints for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.source for part in parts]),
        )


class Codec(ABC):
    """Converts between keypoints and maps.

    Attributes:
        skeleton: what the keypoints are.
        stride: input pixels a cell of the maps, for drawing them; codecs without cells have 1.
    """

    skeleton: Skeleton
    stride: int

    @abstractmethod
    def outputs(self, size: Size | None) -> tuple[MapSpec, ...]:
        """The network's outputs for inputs of a size; None: of any."""

    @abstractmethod
    def targets(self, size: Size) -> tuple[tuple[int, ...], ...]:
        """Shapes of what `encode` returns, so that batches are allocated beforehand."""

    @abstractmethod
    def encode(self, keypoints: np.ndarray, size: Size, mask: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """Training targets of one input, float32, as the loss takes them.

        Args:
            keypoints: (P, J, 3) x, y in input pixels and visibility (0: not annotated) of the people in the input;
                where an input shows one person, P is 1.
            size: of the input.
            mask: (H, W) uint8 of the input, above 0 where people are not annotated; None: nowhere.
        """

    @abstractmethod
    def flip_back(self, maps: Maps) -> Maps:
        """Turn the maps of mirrored inputs into maps of the inputs as they were."""

    @abstractmethod
    def decode(self, maps: Maps, size: Size) -> Decoded:
        """The people in N inputs of a size.

        Raises:
            PoseError: the maps have other shapes than `outputs` says.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """The codec's part of a model card: `kind`, its numbers, and in `steps` how maps become keypoints in input
        pixels, so that who has the card needs none of this code."""

    @abstractmethod
    def describe_flip(self) -> str:
        """`flip_back` in words, for the card: what is done with the maps of a mirrored input."""

    def merge(self, maps: Sequence[Maps], size: Size) -> Maps:
        """The mean of the maps of the same inputs seen several times (mirrored, at several scales).

        Args:
            size: of the input whose maps the mean is.
        """
        if len(maps) == 1:
            return maps[0]
        result = tuple(np.array(first, np.float32) for first in maps[0])
        for other in maps[1:]:
            for total, values in zip(result, other):
                total += values
        for total in result:
            total *= np.float32(1 / len(maps))
        return result

    def heat(self, maps: Maps) -> tuple[np.ndarray, np.ndarray]:
        """What may be laid over pictures: strongest values (N, h, w), and matrices (N, 2, 3) from their cells to pixels
        of the input.

        Raises:
            PoseError: this codec has no such picture.
        """
        raise PoseError(f"{type(self).__name__} has no heat maps to draw (demo.heatmaps)")

    def draw(self, maps: Maps, image: np.ndarray, to_image: np.ndarray) -> np.ndarray:
        """The maps of the inputs that show a picture (H, W, 3) uint8 BGR, over it: two views `side_by_side`.

        Args:
            to_image: (N, 2, 3) from pixels of the inputs to the picture.
        """
        raise PoseError(f"{type(self).__name__} has no maps to draw (eval.draw)")

    @property
    def draws(self) -> bool:
        """Whether `draw` can be asked."""
        return type(self).draw is not Codec.draw

    def check(self, maps: Maps, size: Size) -> None:
        """Refuse maps that `outputs` does not describe.

        Raises:
            PoseError: the number of outputs or a shape differs; both are named.
        """
        expected = [spec.shape for spec in self.outputs(size)]
        found = [values.shape[1:] for values in maps]
        if found != expected:
            raise PoseError(
                f"the network gives maps of {_text(found)}, data.skeleton, data.input_size and codec need "
                f"{_text(expected)}; make them agree"
            )


def _text(shapes: Sequence[tuple[int | None, ...]]) -> str:
    return " and ".join("x".join("any" if side is None else str(side) for side in shape) for shape in shapes)
