"""Top-down samples: one person cropped to the network's input, with augmentation and targets.

Every random draw comes from a generator seeded by (seed, epoch, index), so a run repeats exactly on any number of
workers and after any interruption.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mspose.codecs.base import Codec
from mspose.config.schema import DataConfig
from mspose.config.topdown import TopDownData
from mspose.data.coco import Images, People
from mspose.data.proposals import propose
from mspose.geometry import box_to_crop, crop_matrix, transform_points, warp

# Half-body crops as published for HRNet and AlphaPose: their draw `randn() < 0.5` takes the upper half this often,
# and the crop is the box of the chosen joints enlarged by this factor.
UPPER_HALF_PROB = 0.6915
HALF_BODY_PADDING = 1.5


@dataclass(frozen=True)
class Crop:
    """Which part of a picture a sample shows: centre and size in image pixels, rotation in degrees, mirrored or not."""

    center: np.ndarray
    size: np.ndarray
    rotation: float = 0.0
    flip: bool = False


class Normalizer:
    """Turns uint8 BGR crops into network input: channel order, scale, mean and standard deviation by table look-up."""

    def __init__(self, data: DataConfig) -> None:
        levels = np.arange(256, dtype=np.float64)[:, None] / data.scale
        table = (levels - np.array(data.mean)) / np.array(data.std)
        # The table is indexed by the picture's own BGR channels; mean and std are given in the order of the input.
        self._reverse = data.color == "rgb"
        self._table = np.ascontiguousarray(table[:, ::-1] if self._reverse else table, np.float32)[None]

    def __call__(self, crop: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Normalise (H, W, 3) uint8 BGR into (3, H, W) float32, into `out` if given."""
        levels = cv2.LUT(crop, self._table).transpose(2, 0, 1)
        levels = levels[::-1] if self._reverse else levels
        if out is None:
            return np.ascontiguousarray(levels)
        out[...] = levels
        return out


class TopDownDataset:
    """Crops of annotated or detected people, with targets for training.

    Args:
        seed: of every random draw in training.
        proposals_epoch: epochs after which training crops come from random proposals around the boxes; 0: never.
    """

    def __init__(
        self,
        data: TopDownData,
        images: Images,
        people: People,
        codec: Codec,
        seed: int = 0,
        proposals_epoch: int = 0,
    ) -> None:
        self.images, self.people, self.skeleton = images, people, codec.skeleton
        self._aspect = data.input_size[0] / data.input_size[1]
        self.centers, self.sizes = box_to_crop(people.boxes, self._aspect)
        self._data, self._codec, self._seed, self._proposals_epoch = data, codec, seed, proposals_epoch
        self.size = (data.input_size[0], data.input_size[1])
        self.unbiased = data.unbiased
        self._normalize = Normalizer(data)
        upper = np.zeros(self.skeleton.num_keypoints, bool)
        upper[list(self.skeleton.upper_body)] = True
        self._upper = upper

    def __len__(self) -> int:
        return len(self.people)

    @property
    def image_count(self) -> int:
        """Pictures with at least one of the people."""
        return len(np.unique(self.people.image_index))

    @property
    def train_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the arrays that `train_sample` fills: image, then the codec's targets."""
        return (*self.eval_shapes, *self._codec.targets(self.size))

    @property
    def eval_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of the array that `eval_sample` fills: image."""
        return ((3, self.size[1], self.size[0]),)

    def train_sample(self, index: int, epoch: int, out: tuple[np.ndarray, ...]) -> None:
        """Fill image (3, H, W) and the codec's targets, float32, with an augmented sample.

        Raises:
            ImageError: the picture cannot be read.
        """
        rng = np.random.default_rng((self._seed, epoch, index))
        keypoints = self.people.keypoints[index]
        center, size = self.centers[index], self.sizes[index]
        if 0 < self._proposals_epoch <= epoch:
            center, size = self._proposal(rng, index)
        crop = random_crop(rng, center, size, keypoints, self._upper, self._data)
        matrix = self._read(index, crop, out[0])
        keypoints = np.column_stack([transform_points(keypoints[:, :2], matrix), keypoints[:, 2]])
        if crop.flip:
            keypoints = keypoints[self.skeleton.flip_index]
        for array, target in zip(out[1:], self._codec.encode(keypoints[None], self.size)):
            array[...] = target

    def eval_sample(self, index: int, epoch: int, out: tuple[np.ndarray, ...]) -> None:
        """Fill image (3, H, W), float32, with the plain crop.

        Raises:
            ImageError: the picture cannot be read.
        """
        self._read(index, Crop(self.centers[index], self.sizes[index]), out[0])

    def _proposal(self, rng: np.random.Generator, index: int) -> tuple[np.ndarray, np.ndarray]:
        row = self.people.image_index[index]
        box = propose(rng, self.people.boxes[index], self.images.widths[row], self.images.heights[row])
        centers, sizes = box_to_crop(box, self._aspect)
        return centers[0], sizes[0]

    def _read(self, index: int, crop: Crop, out: np.ndarray) -> np.ndarray:
        image = self.images.read(int(self.people.image_index[index]))
        matrix = crop_matrix(crop.center, crop.size, self.size, crop.rotation, crop.flip, self.unbiased)
        self._normalize(warp(image, matrix, self.size), out)
        return matrix


def random_crop(
    rng: np.random.Generator,
    center: np.ndarray,
    size: np.ndarray,
    keypoints: np.ndarray,
    upper: np.ndarray,
    data: TopDownData,
) -> Crop:
    """Draw half-body, scale, rotation and flip as SimpleBaselines does.

    Args:
        center, size: (2,) of the person's crop.
        keypoints: (J, 3) annotated x, y, visibility.
        upper: (J,) bool, the keypoints of the upper body.
    """
    visible = keypoints[:, 2] > 0
    if visible.sum() > data.half_body_joints and rng.random() < data.half_body_prob:
        half = half_body(rng, keypoints[:, :2], visible, upper, data.input_size[0] / data.input_size[1])
        center, size = half or (center, size)
    factor = data.scale_factor
    size = size * np.clip(1 + rng.standard_normal() * factor, 1 - factor, 1 + factor)
    bound = 2 * data.rotation_factor
    rotation = np.clip(rng.standard_normal() * data.rotation_factor, -bound, bound)
    rotation = float(rotation) if rng.random() <= data.rotation_prob else 0.0
    return Crop(center, size, rotation, bool(rng.random() < data.flip))


def half_body(
    rng: np.random.Generator, points: np.ndarray, visible: np.ndarray, upper: np.ndarray, aspect: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Centre and size of a crop around the labelled keypoints of the upper or the lower body.

    Returns None where neither half has more than two labelled keypoints that span an area.
    """
    halves = [points[visible & upper], points[visible & ~upper]]
    if rng.random() >= UPPER_HALF_PROB:
        halves.reverse()
    chosen = next((half for half in halves if len(half) > 2), None)
    if chosen is None:
        return None
    extent = chosen.max(axis=0) - chosen.min(axis=0)
    if extent.max() <= 0:
        return None
    center = chosen.mean(axis=0)
    _, sizes = box_to_crop(np.concatenate([center - extent / 2, extent])[None], aspect, HALF_BODY_PADDING)
    return center.astype(np.float32), sizes[0]
