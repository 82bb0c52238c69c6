"""From one picture to its people in three steps that may overlap: prepare, run the network, finish.

What is done equals what evaluation does with the same boxes or pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from mspose.codecs.heatmap import merge_flipped
from mspose.config.schema import Config
from mspose.data.topdown import Normalizer
from mspose.detection import Boxes
from mspose.geometry import box_to_crop, crop_matrix
from mspose.images import ImageError
from mspose.methods import bottomup, topdown
from mspose.methods.predictor import Forward
from mspose.poses import Poses, make_poses
from mspose.skeleton import load_skeleton

# Numbers of crops that the network is compiled for; another number is made up of these.
BATCHES = (4, 1)
# OpenCV's warps address pixels with 16 bits.
MAX_SIDE = 32766


class Stages(Protocol):
    """One kind of network; `Prepared` and maps are its own affair.

    Attributes:
        needs_boxes: whether people must be found before.
        any_size: whether its inputs differ in size.
    """

    needs_boxes: bool
    any_size: bool

    def prepare(self, image: np.ndarray, boxes: Boxes | None) -> Any:
        """What the network is to see of a picture (H, W, 3) uint8 BGR.

        Raises:
            ImageError: the picture has a size that cannot be handled.
        """

    def run(self, forward: Forward, prepared: Any) -> Any:
        """The network's maps."""

    def finish(self, prepared: Any, maps: Any) -> Poses:
        """The people in the picture, best first."""

    def heat(self, prepared: Any, maps: Any) -> tuple[np.ndarray, np.ndarray]:
        """Strongest heat-map values (M, h, w) and matrices (M, 2, 3) from their cells to pixels of the picture."""


@dataclass(frozen=True)
class Crops:
    """N people cut out of a picture: `inputs` (N, 3, H, W), and their `boxes`, with `centers`, `sizes` (N, 2)."""

    inputs: np.ndarray
    boxes: Boxes
    centers: np.ndarray
    sizes: np.ndarray


class TopDownStages:
    """Crops around boxes, one pose a crop (see `mspose.methods.topdown`)."""

    needs_boxes = True
    any_size = False

    def __init__(self, config: Config) -> None:
        self._config, self._skeleton = config, load_skeleton(config.data.skeleton)
        self._codec, self._normalize = topdown.build_codec(config), Normalizer(config.data)

    def prepare(self, image: np.ndarray, boxes: Boxes | None) -> Crops:
        """Crops of the people in `boxes`."""
        if max(image.shape[:2]) > MAX_SIDE:
            raise ImageError(f"image is {image.shape[1]}x{image.shape[0]}; sides over {MAX_SIDE} cannot be cropped")
        width, height = size = self._codec.input_size
        centers, sizes = box_to_crop(boxes.boxes, width / height)
        inputs = np.empty((len(boxes), 3, height, width), np.float32)
        for center, extent, out in zip(centers, sizes, inputs):
            matrix = crop_matrix(center, extent, size)
            self._normalize(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR), out)
        return Crops(inputs, boxes, centers, sizes)

    def run(self, forward: Forward, prepared: Crops) -> np.ndarray:
        """Heat maps (N, J, h, w), with those of the mirrored crops if `eval.flip_test` says so."""
        inputs, options = prepared.inputs, self._config.eval
        maps = self._forward(forward, inputs)
        if options.flip_test and len(inputs):
            mirrored = self._forward(forward, inputs[..., ::-1])
            maps = merge_flipped(maps, mirrored, self._skeleton.flip_index, options.shift_heatmap)
        return maps

    def _forward(self, forward: Forward, inputs: np.ndarray) -> np.ndarray:
        maps = [np.zeros((0, self._skeleton.num_keypoints, *self._codec.heatmap_size[::-1]), np.float32)]
        large, small = BATCHES
        start = 0
        while start < len(inputs):
            left = len(inputs) - start
            # Nearly a full batch costs less when it is filled up than one by one.
            size = large if left >= large - 1 else small
            rows = np.minimum(np.arange(start, start + size), len(inputs) - 1)
            maps.append(forward(np.ascontiguousarray(inputs[rows]))[:left])
            start += size
        return np.concatenate(maps)

    def finish(self, prepared: Crops, maps: np.ndarray) -> Poses:
        """Decode, score and leave out duplicates, as `codec.refine`, `eval.rescore` and `eval.nms` say."""
        keypoints = self._codec.decode(maps, prepared.centers, prepared.sizes)
        boxes = prepared.boxes
        rows, keypoints, scores = topdown.choose_people(
            keypoints,
            boxes.boxes,
            boxes.scores,
            prepared.sizes,
            np.zeros(len(boxes), np.int64),
            self._config,
            self._skeleton,
        )
        order = np.argsort(-scores, kind="stable")
        return make_poses(keypoints[order], scores[order], boxes.boxes[rows[order]])

    def heat(self, prepared: Crops, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The crops' maps, where `HeatmapCodec.decode` puts their cells."""
        size = self._codec.heatmap_size
        scales = prepared.sizes[:, :1] / size[0]
        matrices = np.zeros((len(maps), 2, 3))
        matrices[:, 0, 0] = matrices[:, 1, 1] = scales[:, 0]
        matrices[:, :, 2] = prepared.centers - scales * np.array(size) / 2
        return maps.max(axis=1), matrices


class BottomUpStages:
    """Whole pictures, all people at once (see `mspose.methods.bottomup`)."""

    needs_boxes = False

    def __init__(self, config: Config) -> None:
        self._config, self._codec = config, bottomup.build_codec(config)
        self._viewer = bottomup.Viewer(config)
        self.any_size = bottomup.sizes_differ(config)

    def prepare(self, image: np.ndarray, boxes: Boxes | None) -> bottomup.View:
        """The picture resized as `eval.resize` and `eval.scales` say."""
        return self._viewer(image)

    def run(self, forward: Forward, prepared: bottomup.View) -> tuple[np.ndarray, np.ndarray]:
        """Heat maps (K + 1, h, w) and PAFs (2 L, h, w), averaged over scales and mirror images."""
        maps = bottomup.network_maps(forward, prepared, self._codec, self._config.eval.flip_test)
        return bottomup.merge_maps(maps, prepared.size)

    def finish(self, prepared: bottomup.View, maps: tuple[np.ndarray, np.ndarray]) -> Poses:
        """Group joints into people; the box of each is drawn around the joints that were found."""
        keypoints, scores = bottomup.decode_people(self._codec, prepared, *maps)
        order = np.argsort(-scores, kind="stable")
        keypoints = keypoints[order]
        found = keypoints[..., 2:] > 0
        low = np.where(found, keypoints[..., :2], np.inf).min(axis=1)
        high = np.where(found, keypoints[..., :2], -np.inf).max(axis=1)
        return make_poses(keypoints, scores[order], np.concatenate([low, high - low], axis=1))

    def heat(self, prepared: bottomup.View, maps: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The joints' maps, without the background."""
        return maps[0][:-1].max(axis=0)[None], prepared.cells_to_image(self._codec.stride)[None]
