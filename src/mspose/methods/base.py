"""What every method offers, and the one way from a picture to people that all of them share:

    view = method.view(image, boxes)          what the network is to see
    maps = method.run(forward, view)          the network, on the input and its mirror image
    people = method.people(view, maps)        keypoints in pixels of the picture
    method.choose(people, instances)          scores; duplicates left out

Evaluation, demo, Python API and the files of an edge device go this way.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from mspose.codecs.base import Codec, Decoded, Maps, Size
from mspose.config.keys import Section
from mspose.config.schema import Config
from mspose.data.check import check_skeleton
from mspose.data.coco import Annotations, Images, People, load_split
from mspose.detection.boxes import Boxes
from mspose.geometry import compose, to_images
from mspose.skeleton import Skeleton

log = logging.getLogger("pose")

# Runs the network: inputs (B, 3, H, W) float32 → maps.
Forward = Callable[[np.ndarray], Maps]
# Inputs at a time, where the network takes any number: what lies between its layers grows with it.
MOST_INPUTS = 16
# Larger values are an accident, and their products overflow.
LARGEST = 1e9


class TrainingSet(Protocol):
    """What training needs of a data set."""

    @property
    def train_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the arrays that `train_sample` fills."""

    @property
    def image_count(self) -> int:
        """Pictures that it reads."""

    def __len__(self) -> int: ...

    def train_sample(self, index: int, epoch: int, out: tuple[np.ndarray, ...]) -> None:
        """Fill the arrays of one sample: the network's input first, then what its loss takes."""


@dataclass(frozen=True)
class View:
    """N inputs of the network, and where in the picture they come from.

    Attributes:
        inputs: (N, 3, H, W) float32, one for each of the scales at which they are seen.
        to_image: (N, 2, 3) float64 matrices from pixels of the input (at scale 1) to pixels of the picture.
        size: (width, height) of the input at scale 1.
    """

    inputs: list[np.ndarray]
    to_image: np.ndarray
    size: Size

    @staticmethod
    def joined(views: Sequence[View]) -> View:
        """Views of one size as one."""
        inputs = [np.concatenate(parts) for parts in zip(*(view.inputs for view in views))]
        return View(inputs, np.concatenate([view.to_image for view in views]), views[0].size)


@dataclass(frozen=True)
class Instances:
    """What the N inputs of a set show; arrays have one row an input.

    Attributes:
        image_ids: (N,) int64.
        boxes, scores: (N, 4) x, y, width, height in pixels of the picture and (N,): the people that are looked for.
            Empty columns (N, 0) and zeros where inputs are whole pictures.
        sizes: (N, 2) of the crops in pixels of the picture; (N, 0) likewise.
    """

    image_ids: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.image_ids)


class EvaluationSet(Protocol):
    """What evaluation needs of a data set: N inputs.

    Attributes:
        instances: what they show.
        rows: (N,) rows of their pictures.
    """

    instances: Instances
    rows: np.ndarray

    def view(self, index: int) -> View:
        """What the network is to see of one of them.

        Raises:
            ImageError: the picture cannot be read.
        """


class Method(ABC):
    """One way of finding poses, for a configuration.

    Attributes:
        unit: what the network is run on, "people" or "images".
        needs_boxes: whether people must be found before.
        sections: dataclasses of its sections of the configuration, where they are not the shared ones.
        skeleton: what the keypoints are.
        faults: inputs so far for which the network gave values that are no numbers, or as good as infinite.
    """

    unit: ClassVar[str]
    needs_boxes: ClassVar[bool]
    sections: ClassVar[dict[str, type[Section]]]

    def __init__(self, config: Config, codec: Codec) -> None:
        self.config, self.codec, self.faults = config, codec, 0
        self.skeleton: Skeleton = codec.skeleton
        if config.eval.flip_test:  # what cannot be turned back is an error now, not after an epoch
            self.codec.flip_back(self._no_maps())

    def _no_maps(self) -> Maps:
        shapes = (spec.shape for spec in self.codec.outputs(self.size))
        return tuple(np.zeros((0, *(side or 0 for side in shape)), np.float32) for shape in shapes)

    @property
    def size(self) -> Size:
        """(width, height) of the configured network input."""
        return self.config.data.input_size[0], self.config.data.input_size[1]

    @property
    @abstractmethod
    def any_size(self) -> bool:
        """Whether inputs differ in size."""

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """How many inputs of a set the network sees at once."""

    @staticmethod
    @abstractmethod
    def fix_size(config: Config) -> None:
        """Make a configuration one for a model that takes `data.input_size` only."""

    def load(self, split: str, *, segmentations: bool = False, truth: bool = False) -> Annotations:
        """`load_split` of "train" or "val"; what is odd about the skeleton is logged.

        Raises:
            PoseError, UsageError: the file cannot be used.
        """
        config = self.config
        annotations = load_split(config.data, split, self.skeleton, segmentations=segmentations, truth=truth)
        flips = config.data.flip > 0 if split == "train" else config.eval.flip_test
        for line in check_skeleton(self.skeleton, flips) if config.data.check else ():
            log.warning(f"warning: {line}")
        return annotations

    @abstractmethod
    def training_set(self) -> TrainingSet:
        """The configured training set.

        Raises:
            PoseError, UsageError: it cannot be used, or nobody in it can be learnt from.
        """

    def training_stage(self, epochs: int) -> str:
        """What the configuration changes in training samples after so many epochs, for the log; empty: nothing."""
        return ""

    @abstractmethod
    def evaluation_set(self, annotations: Annotations, annotated: People, annotated_boxes: bool) -> EvaluationSet:
        """The inputs of an annotation file.

        Args:
            annotated: the people with keypoints in it.
            annotated_boxes: look at their boxes, where boxes matter; otherwise at those that the section `eval` names.

        Raises:
            PoseError, UsageError: the detections cannot be used.
        """

    def detections(self) -> Path | None:
        """The file of detected boxes that evaluation reads; None where it reads none.

        Raises:
            PoseError: it is missing.
        """
        return None

    @abstractmethod
    def view(self, image: np.ndarray, boxes: Boxes | None) -> tuple[View, Instances]:
        """What the network is to see of a picture (H, W, 3) uint8 BGR, and what that shows.

        Args:
            boxes: people in it, for methods that need them.

        Raises:
            ImageError: the picture has a size that cannot be handled.
        """

    @abstractmethod
    def choose(self, people: Decoded, instances: Instances) -> tuple[Decoded, np.ndarray]:
        """Score people and leave out duplicates, as the section `eval` says.

        Args:
            people: in pixels of their pictures; `source` numbers rows of `instances`.

        Returns:
            those that stay, and their boxes (P, 4) x, y, width, height.
        """

    @abstractmethod
    def describe(self) -> list[str]:
        """Steps from a picture to the network's input, and about mirroring and scales, for the model card."""

    @abstractmethod
    def describe_back(self) -> str:
        """The step from pixels of the input to pixels of the picture, for the model card."""

    @abstractmethod
    def fixed_sample(self, instances: Instances, index: int, images: Images, row: int) -> dict[str, Any]:
        """What a manifest of raw inputs says of one of them, so that `read_samples` can do without the picture.

        Raises:
            UsageError: inputs differ in size.
        """

    @abstractmethod
    def read_samples(self, samples: Sequence[dict[str, Any]]) -> tuple[Instances, np.ndarray]:
        """Instances and matrices (N, 2, 3) to the pictures of such samples."""

    def run(self, forward: Forward, view: View, batches: Sequence[int] | None = None) -> list[tuple[Maps, Maps | None]]:
        """The network's maps of a view: for each scale those of the input, and with `eval.flip_test` those of the
        mirrored one.

        Args:
            batches: numbers of inputs that the network may be given at a time, the largest first; None: any.
        """
        if not len(view.to_image):
            return [(self._no_maps(), None)]
        return [
            (
                in_batches(forward, inputs, batches),
                in_batches(forward, inputs[..., ::-1], batches) if self.config.eval.flip_test else None,
            )
            for inputs in view.inputs
        ]

    def merge(self, maps: list[tuple[Maps, Maps | None]], size: Size) -> Maps:
        """One set of maps of what `run` gave.

        Values that are no numbers, or as good as infinite, count as 0, and their inputs in `faults`.
        """
        seen: list[Maps] = []
        for plain, mirrored in maps:
            seen.append(plain)
            if mirrored is not None:
                seen.append(self.codec.flip_back(mirrored))
        merged, faulty = credible(self.codec.merge(seen, size))
        self.faults += faulty
        return merged

    def people(self, maps: Maps, to_image: np.ndarray, size: Size) -> Decoded:
        """The people of merged maps, in pixels of their pictures."""
        found = self.codec.decode(maps, size)
        return replace(found, keypoints=to_images(found.keypoints, to_image[found.source]))

    def heat(self, maps: Maps, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Strongest values of merged maps (N, h, w), and matrices (N, 2, 3) from their cells to the picture.

        Raises:
            PoseError: this codec has no such picture.
        """
        values, matrices = self.codec.heat(maps)
        return values, compose(view.to_image, matrices)


def credible(maps: Maps) -> tuple[Maps, int]:
    """Maps (N, …) with 0 for values that no network should give, and how many of the N have such values."""
    good = [np.abs(kind) < LARGEST for kind in maps]
    if all(kind.all() for kind in good):
        return maps, 0
    faulty = np.any([~kind.reshape(len(kind), -1).all(axis=1) for kind in good], axis=0)
    return tuple(np.where(fine, kind, np.float32(0)) for fine, kind in zip(good, maps)), int(faulty.sum())


def describe_faults(faulty: int, total: int, unit: str) -> str:
    """What to say of `Method.faults`."""
    return f"the network gave NaN or infinite values for {faulty} of {total} {unit}; they count as 0"


def in_batches(forward: Forward, inputs: np.ndarray, batches: Sequence[int] | None) -> Maps:
    """Run the network over N > 0 inputs in batches of the given sizes only, the largest first; None: of any size.

    A batch that lacks one input is filled up, since that costs less than going on one by one; so is the last one.
    """
    parts: list[Maps] = []
    start, count = 0, len(inputs)
    while start < count:
        left = count - start
        if batches is None:
            size = min(left, MOST_INPUTS)
        else:
            size = next((size for size in batches if left >= max(size - 1, 1)), batches[-1])
        if size <= left:
            batch = inputs[start : start + size]
        else:
            batch = inputs[np.minimum(np.arange(start, start + size), count - 1)]
        parts.append(tuple(maps[:left] for maps in forward(np.ascontiguousarray(batch))))
        start += size
    return parts[0] if len(parts) == 1 else tuple(np.concatenate(kinds) for kinds in zip(*parts))
