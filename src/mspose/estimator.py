"""Poses of people in pictures, in a few lines of code; docs/api.md shows more:

from mspose import PoseEstimator
estimator = PoseEstimator("configs/simplepose_r50_256x192.yaml", ckpt="simplepose.ckpt")
people = estimator("picture.jpg")
print(people.keypoints, people.scores)
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from mspose.backends.open import check_checkpoint, open_backend
from mspose.codecs.base import Maps
from mspose.config.schema import Config, DemoConfig
from mspose.data.categories import assumed_category
from mspose.detection import CONCURRENT, Boxes, build_detector, detector_kind
from mspose.detection.listed import ListedBoxes
from mspose.errors import UsageError, one_line
from mspose.images import check_picture, to_bgr
from mspose.methods.base import Instances, Method, View, describe_faults
from mspose.networks import method_of
from mspose.poses import Poses
from mspose.resolve import resolve
from mspose.skeleton import Skeleton
from mspose.tracking import Tracker
from mspose.visual import draw_heatmaps

if TYPE_CHECKING:
    from mspose.images import Picture

log = logging.getLogger("pose")

# Pictures that wait until their people fill a batch, and people that do where the network takes any number: more at a
# time gain nothing.
WAITING, ENOUGH = 16, 8
# Options of `demo` of which a detector is made.
_DETECTING = ("detector", "detector_file", "detector_size", "detector_threshold", "detector_nms", "boxes")


@dataclass(frozen=True)
class Prepared:
    """A picture (H, W, 3) uint8 BGR and what the network is to see of it (see `mspose.methods.base`)."""

    image: np.ndarray
    view: View
    instances: Instances


class PoseEstimator:
    """Finds people and their keypoints in pictures; loads the network once.

        estimator = PoseEstimator("simplepose_r50_256x192", ckpt="simplepose.ckpt")
        people = estimator("photo.jpg")                      # a file, an array (H, W, 3) uint8 BGR, or a PIL image
        people = estimator(pixels, color="rgb")              # arrays of the other channel order
        many = estimator(["a.jpg", "b.jpg"])                 # a list gives a list, people of all share batches
        people = estimator("photo.jpg", boxes=[[20, 30, 80, 150]])   # your own boxes: x, y, width, height in pixels

    Who finds people for a top-down network, `demo.detector` and `demo.detector_file` say. By default it is the
    published yolox-tiny for a published network, and for other weights OpenCV's HOG, which needs no file and finds
    upright people only:

        PoseEstimator(ckpt="pose.onnx", overrides={"demo.detector_file": "yolox.onnx"})   # or yolov3.weights
        PoseEstimator(ckpt="pose.onnx", overrides={"demo.detector": "whole"})             # the picture is one person

    With {"demo.flip_test": True} the mirrored picture is looked at too, as evaluation does: better, and half as fast.

    With {"demo.track": True} people keep their number (`people.ids`) from picture to picture, in the order of calls.

    A call does everything. Where pictures follow each other, `prepare`, `run` and `finish` may be called in different
    threads, so that some pictures are being prepared while the network sees others; `finish` in the order of pictures.
    `overlap` tells it, so that detector and network share the cores rather than fight for them.

    Args:
        config: recipe (its name or a YAML file), or a complete configuration; a checkpoint that knows its network
            (X.yaml lies beside X.ckpt), an exported model with its card and a published one that is known need none. Or
            the name of a published network ("rtmpose-m", see docs/weights.md), which is fetched once.
        ckpt: checkpoint; by default `runtime.ckpt` of the configuration. Input conventions stored beside it are obeyed
            where the configuration is a file.
        overrides: values of dotted keys, such as {"demo.detector": "yolov3", "demo.detector_file": "yolo.ckpt"}.
        overlap: pictures that are prepared at a time, in threads, while the network runs in another one; 0: nothing
            runs beside it.

    Attributes:
        threads: how many of those the detector takes at a time, from 1 on.
        config: the whole configuration.
        skeleton: what the keypoints are.
        detector: who finds people: whole, hog, yolov3, onnx or boxes; empty for networks that find them themselves.

    Raises:
        UsageError: no checkpoint is given, a key or its value is wrong, or the device is not there.
        PoseError: a file is missing or does not fit.
    """

    def __init__(
        self,
        config: str | Path | Config | None = None,
        ckpt: str | Path | None = None,
        overrides: Mapping[str, object] | None = None,
        overlap: int = 0,
    ) -> None:
        given = _checked(overrides)
        if ckpt is not None:
            given["runtime.ckpt"] = str(ckpt)
        self.config = resolve(config, given, "overrides", "demo")
        check_checkpoint(self.config, "to load")
        self._method = _method(self.config)
        self.skeleton: Skeleton = self._method.skeleton
        # What is wrong with it is said before MindSpore is imported.
        self.detector = detector_kind(self.config) if self._method.needs_boxes else ""
        self._overlap = overlap
        self._forward = open_backend(self.config, self._method.any_size, overlap > 0)
        self._detect = build_detector(self.config, overlap) if self._method.needs_boxes else None
        self._tracker: Tracker | None = None
        self.forget()

    def with_options(self, demo: DemoConfig) -> PoseEstimator:
        """Another one with other options of the section `demo`; the loaded network is shared.

        It counts faults and follows people by itself. The detector is shared too, unless its options are others.

        Args:
            demo: of the same kind as `config.demo`; files in it are paths.

        Raises:
            UsageError, PoseError: the detector cannot be made.
        """
        other = copy.copy(self)
        other.config = replace(self.config, demo=demo)
        other._method = _method(other.config)
        if any(getattr(demo, name, None) != getattr(self.config.demo, name, None) for name in _DETECTING):
            other.detector, other._detect = detector_kind(other.config), build_detector(other.config, self._overlap)
        other._tracker = None
        other.forget()
        return other

    @overload
    def __call__(
        self, image: list[Any] | tuple[Any, ...], boxes: Sequence[object] | None = None, color: str = "bgr"
    ) -> list[Poses]: ...

    @overload
    def __call__(self, image: Picture, boxes: object = None, color: str = "bgr") -> Poses: ...

    def __call__(
        self, image: Picture | list[Any] | tuple[Any, ...], boxes: Any = None, color: str = "bgr"
    ) -> Poses | list[Poses]:
        """People in a picture, best first; of a list of pictures, a list with the people of each.

        People whose score is below `demo.person_threshold` and duplicates (`eval.nms`) are left out. The pictures of a
        list are looked at in order, and the first that cannot be read ends it.

        Args:
            image: file, turned as its EXIF orientation says; or (H, W, 3) uint8, or PIL image (grey, palette and
                transparent ones too), both taken as they are. Or a list of them.
            boxes: (N, 4) x, y, width, height of people in pixels, for top-down networks; by default the detector finds
                them. Boxes without an extent are left out. Of a list of pictures, a list with the boxes, or None, of
                each.
            color: order of the channels of arrays, "bgr" or "rgb".

        Raises:
            ImageError: the file is missing, truncated or not a picture.
            UsageError: it is nothing that stands for a picture, or an empty list; boxes are not (N, 4), or were given
                to a network that needs none.
        """
        if not isinstance(image, list | tuple):
            check_picture(image, color)
            return self._estimate([image], [boxes], color)[0]
        if not image:
            raise UsageError("a list of pictures is empty: there is nothing to look at")
        if boxes is not None and (not isinstance(boxes, list | tuple | np.ndarray) or len(boxes) != len(image)):
            many = len(boxes) if isinstance(boxes, list | tuple | np.ndarray) else type(boxes).__name__
            raise UsageError(f"boxes of {len(image)} pictures are a list with those of each, or None, not {many}")
        given = [None] * len(image) if boxes is None else list(boxes)
        # Before anything is computed.
        for number, (picture, own) in enumerate(zip(image, given), start=1):
            what = f"picture {number} of {len(image)}"
            check_picture(picture, color, what)
            if own is not None:
                _given(own, f"boxes of {what}")
        return self._estimate(image, given, color)

    def _estimate(self, pictures: Sequence[Picture], boxes: Sequence[Any], color: str) -> list[Poses]:
        before, seen, found = self.faults, 0, list[Poses]()
        for group in self._groups(pictures, boxes, color):
            found += map(self.finish, group, self.run_group(group))
            seen += sum(map(_inputs, group))
        if self.faults > before:
            log.warning(f"warning: {describe_faults(self.faults - before, seen, self._method.unit)}")
        return found

    def _groups(self, pictures: Sequence[Picture], boxes: Sequence[Any], color: str) -> Iterator[list[Prepared]]:
        """Pictures in order, as many at a time as fill a batch; one by one where their inputs differ in size."""
        group: list[Prepared] = []
        for picture, given in zip(pictures, boxes):
            group.append(self.prepare(picture, given, color=color))
            if self.fills(group):
                yield group
                group = []
        if group:
            yield group

    @property
    def threads(self) -> int:
        return max(self._overlap, 1) if self.detector in CONCURRENT else 1

    @property
    def category_id(self) -> int:
        """The category of people in COCO results: that of `demo.boxes`, the first number in `data.category`, or 1."""
        return self._category()[0]

    @property
    def category_note(self) -> str:
        """A line where `category_id` is a guess; empty where it is known."""
        return self._category()[1]

    def _category(self) -> tuple[int, str]:
        if isinstance(self._detect, ListedBoxes):
            return self._detect.category_id, ""
        return assumed_category(self.config.data.category, self.skeleton)

    @property
    def faults(self) -> int:
        """Inputs so far, people or pictures, for which the network gave NaN or infinite values, which count as 0."""
        return self._method.faults

    def expect(self, pictures: Mapping[str, str]) -> None:
        """Say beforehand which pictures there will be: `demo.boxes` then tells those of one name apart.

        Args:
            pictures: absolute paths → names relative to the folder that all of them are in.
        """
        if isinstance(self._detect, ListedBoxes):
            self._detect.expect(pictures)

    def prepare(self, image: Picture, boxes: Any = None, name: str = "", color: str = "bgr") -> Prepared:
        """Read a picture, find people in it and cut them out (or resize it, for bottom-up networks).

        Args:
            image, boxes, color: as in a call.
            name: path of the picture, or number of the frame, where `image` is no file; for `demo.boxes`.
        """
        check_picture(image, color)
        if isinstance(image, str | os.PathLike):
            name = name or str(Path(image).absolute())
        pixels = to_bgr(image, color)
        if boxes is not None:
            if self._detect is None:
                raise UsageError(f"model.name={self.config.model.name} finds people itself: leave out boxes")
            return self.cut_out(pixels, _given(boxes))
        return self.cut_out(pixels, self.detect(pixels, name))

    def detect(self, pixels: np.ndarray, name: str = "") -> Boxes | None:
        """The first half of `prepare`: people that the detector finds; None where the network finds them itself.

        Args:
            pixels: (H, W, 3) uint8 BGR.
            name: as in `prepare`.
        """
        return self._detect(pixels, name) if self._detect is not None else None

    def cut_out(self, pixels: np.ndarray, found: Boxes | None) -> Prepared:
        """The second half of `prepare`: what the network is to see of the people found."""
        return Prepared(pixels, *self._method.view(pixels, found))

    def forget(self) -> None:
        """Let the next picture be the first one: with `demo.track`, numbers of people begin anew."""
        demo = self.config.demo
        if demo.track:
            self._tracker = Tracker(self.skeleton.sigmas, keypoint_threshold=demo.keypoint_threshold)

    def run(self, prepared: Prepared) -> Maps:
        """The network's maps, of mirrored inputs and all scales merged."""
        return self.run_group([prepared])[0]

    def fills(self, group: Sequence[Prepared]) -> bool:
        """Whether these pictures are enough for the network to run on; a single one is where inputs differ in size."""
        enough = self._forward.batches[0] if self._forward.batches else ENOUGH
        return self._method.any_size or len(group) >= WAITING or sum(map(_inputs, group)) >= enough

    def run_group(self, group: Sequence[Prepared]) -> list[Maps]:
        """The maps of each of some pictures, whose people share batches; their inputs have one size."""
        view = View.joined([prepared.view for prepared in group])
        maps = self._method.merge(self._method.run(self._forward, view, self._forward.batches), view.size)
        ends = np.cumsum([_inputs(prepared) for prepared in group])
        return [
            tuple(kind[end - _inputs(prepared) : end] for kind in maps) for prepared, end in zip(group, ends.tolist())
        ]

    def finish(self, prepared: Prepared, maps: Maps) -> Poses:
        """People from the maps, followed from picture to picture where `demo.track` says so."""
        found = self._method.people(maps, prepared.view.to_image, prepared.view.size)
        chosen, boxes = self._method.choose(found, prepared.instances)
        order = np.argsort(-chosen.scores, kind="stable")
        height, width = prepared.image.shape[:2]
        people = Poses.from_triplets(
            chosen.keypoints[order], chosen.scores[order], boxes[order], self.skeleton, (width, height)
        )
        people = people[people.scores >= self.config.demo.person_threshold]
        if self._tracker is None:
            return people
        areas = np.prod(people.boxes[:, 2:], axis=1)
        return replace(people, ids=self._tracker(people.keypoints, people.keypoint_scores, areas))

    def heat(self, prepared: Prepared, maps: Maps) -> tuple[np.ndarray, np.ndarray]:
        """Strongest heat-map values (M, h, w), and matrices (M, 2, 3) from their cells to pixels of the picture."""
        return self._method.heat(maps, prepared.view)

    def draw(
        self,
        image: np.ndarray,
        people: Poses,
        heat: tuple[np.ndarray, np.ndarray] | None = None,
        options: DemoConfig | None = None,
    ) -> np.ndarray:
        """The picture (H, W, 3) uint8 BGR with people, and `heat` if given, drawn as the section `demo` says.

        Args:
            options: other options than those of the configuration.
        """
        demo = options or self.config.demo
        canvas = np.zeros_like(image) if demo.black_background else image
        if heat is not None:
            canvas = draw_heatmaps(canvas, *heat)
        return people.draw(canvas, demo.keypoint_threshold, demo.line_width, boxes=demo.draw_boxes)


def _method(config: Config) -> Method:
    # Recipes and model cards ask evaluation for the mirrored pass: what the figures were published with.
    look = replace(config.eval, flip_test=config.demo.flip_test)
    return method_of(replace(config, eval=look))


def _inputs(prepared: Prepared) -> int:
    """Number of inputs that the network is to see: people, or one picture."""
    return len(prepared.instances)


def _checked(overrides: object) -> dict[str, object]:
    """Overrides as a dict of dotted keys.

    Raises:
        UsageError: they are something else.
    """
    if overrides is None:
        return {}
    if not isinstance(overrides, Mapping) or not all(isinstance(key, str) for key in overrides):
        raise UsageError(
            'overrides are a dict of dotted keys and their values, such as {"demo.detector": "whole"}, not '
            f"{one_line(repr(overrides), 60)}"
        )
    return dict(overrides)


def _given(boxes: object, what: str = "boxes") -> Boxes:
    """Boxes of the caller, all of score 1.

    Raises:
        UsageError: they are no boxes.
    """
    try:
        array = np.asarray(boxes, np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{what} are numbers (N, 4), x, y, width, height: {one_line(error, 80)}") from error
    if array.size and (array.ndim > 2 or array.shape[-1:] != (4,)):
        raise UsageError(f"{what} have the shape (N, 4), x, y, width, height, not {array.shape}")
    array = array.reshape(-1, 4)
    array = array[np.isfinite(array).all(axis=1) & (array[:, 2:] > 0).all(axis=1)]
    return Boxes(array, np.ones(len(array), np.float32))
