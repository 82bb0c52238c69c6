"""Poses of people in pictures, in a few lines of code:

from mspose import PoseEstimator
estimator = PoseEstimator("configs/simplepose_r50_256x192.yaml", ckpt="simplepose.ckpt")
people = estimator("picture.jpg")
print(people.keypoints, people.scores)
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mspose.backends.open import check_checkpoint, open_backend
from mspose.codecs.base import Maps
from mspose.config.schema import Config, DemoConfig
from mspose.data.categories import assumed_category
from mspose.detection import Boxes, build_detector, detector_kind
from mspose.detection.listed import ListedBoxes
from mspose.errors import UsageError
from mspose.images import read_image
from mspose.methods.base import Instances, View, describe_faults
from mspose.networks import method_of
from mspose.poses import Poses, make_poses
from mspose.resolve import resolve
from mspose.skeleton import Skeleton
from mspose.tracking import Tracker
from mspose.visual import draw_heatmaps, draw_poses

log = logging.getLogger("pose")


@dataclass(frozen=True)
class Prepared:
    """A picture (H, W, 3) uint8 BGR and what the network is to see of it (see `mspose.methods.base`)."""

    image: np.ndarray
    view: View
    instances: Instances


class PoseEstimator:
    """Finds people and their keypoints in pictures; loads the network once.

    A call does everything. Where pictures follow each other, `prepare`, `run` and `finish` may be called in different
    threads, so that one picture is being prepared while the network sees another; `finish` in the order of pictures.

    Args:
        config: recipe (its name or a YAML file), or a complete configuration; a checkpoint that knows its network
            (X.yaml lies beside X.ckpt), an exported model with its card and a published one that is known need none. Or
            the name of a published network ("rtmpose-m", see docs/weights.md), which is fetched once.
        ckpt: checkpoint; by default `runtime.ckpt` of the configuration. Input conventions stored beside it are obeyed
            where the configuration is a file.
        overrides: values of dotted keys, such as {"demo.detector": "yolov3", "demo.detector_file": "yolo.ckpt"}.

    Attributes:
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
    ) -> None:
        given = dict(overrides or {})
        if ckpt is not None:
            given["runtime.ckpt"] = str(ckpt)
        self.config = resolve(config, given, "overrides", "demo")
        check_checkpoint(self.config, "to load")
        self._method = method_of(self.config)
        self.skeleton: Skeleton = self._method.skeleton
        # What is wrong with it is said before MindSpore is imported.
        self.detector = detector_kind(self.config) if self._method.needs_boxes else ""
        self._forward = open_backend(self.config, self._method.any_size)
        self._detect = build_detector(self.config) if self._method.needs_boxes else None
        demo = self.config.demo
        self._tracker = None
        if demo.track:
            self._tracker = Tracker(self.skeleton.sigmas, keypoint_threshold=demo.keypoint_threshold)

    def __call__(self, image: str | Path | np.ndarray, boxes: np.ndarray | None = None) -> Poses:
        """People in a picture, best first.

        People whose score is below `demo.person_threshold` and duplicates (`eval.nms`) are left out.

        Args:
            image: file, turned as its EXIF orientation says, or (H, W, 3) uint8 BGR, taken as it is.
            boxes: (N, 4) x, y, width, height of people in pixels, for top-down networks; by default the detector finds
                them. Boxes without an extent are left out.

        Raises:
            ImageError: the file is missing, truncated or not a picture.
            UsageError: the array is not a picture, or boxes were given to a network that needs none.
        """
        before, prepared = self.faults, self.prepare(image, boxes)
        people = self.finish(prepared, self.run(prepared))
        if self.faults > before:
            seen = len(prepared.instances)
            log.warning(f"warning: {describe_faults(self.faults - before, seen, self._method.unit)}")
        return people

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

    def prepare(self, image: str | Path | np.ndarray, boxes: np.ndarray | None = None, name: str = "") -> Prepared:
        """Read a picture, find people in it and cut them out (or resize it, for bottom-up networks).

        Args:
            image, boxes: as in a call.
            name: path of the picture, or number of the frame, where `image` is an array; for `demo.boxes`.
        """
        if not isinstance(image, np.ndarray):
            name = name or str(Path(image).absolute())
            image = read_image(image, apply_exif=True)
        elif image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise UsageError(f"a picture is an array (H, W, 3) of uint8 BGR, not {image.dtype} {image.shape}")
        if boxes is not None:
            if self._detect is None:
                raise UsageError(f"model.name={self.config.model.name} finds people itself: leave out boxes")
            return Prepared(image, *self._method.view(image, _given(boxes)))
        found = self._detect(image, name) if self._detect is not None else None
        return Prepared(image, *self._method.view(image, found))

    def run(self, prepared: Prepared) -> Maps:
        """The network's maps, of mirrored inputs and all scales merged."""
        return self._method.merge(self._method.run(self._forward, prepared.view), prepared.view.size)

    def finish(self, prepared: Prepared, maps: Maps) -> Poses:
        """People from the maps, followed from picture to picture where `demo.track` says so."""
        found = self._method.people(maps, prepared.view.to_image, prepared.view.size)
        chosen, boxes = self._method.choose(found, prepared.instances)
        order = np.argsort(-chosen.scores, kind="stable")
        people = make_poses(chosen.keypoints[order], chosen.scores[order], boxes[order])
        people = people.select(people.scores >= self.config.demo.person_threshold)
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
        labels = [f"#{number}" for number in people.ids] if self._tracker else None
        return draw_poses(
            canvas, people.triplets, self.skeleton, demo.keypoint_threshold, labels, line_width=demo.line_width
        )


def _given(boxes: np.ndarray) -> Boxes:
    """Boxes of the caller, all of score 1."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    boxes = boxes[np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)]
    return Boxes(boxes, np.ones(len(boxes), np.float32))
