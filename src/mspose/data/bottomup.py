"""Bottom-up samples: a whole picture with everyone in it, OpenPose's augmentation, heat-map and PAF targets.

Every random draw comes from a generator seeded by (seed, epoch, index), so a run repeats exactly on any number of
workers and after any interruption.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mspose.codecs.base import Codec
from mspose.config.bottomup import BottomUpData
from mspose.data.coco import Annotations
from mspose.data.ignore_mask import MIN_AREA, AnnotatedMasks, MaskFolder, select_usable
from mspose.data.pixels import shift_color
from mspose.data.topdown import Normalizer
from mspose.errors import PoseError, UsageError
from mspose.geometry import PADDING_LEVEL, resize_canvas, transform_points, warp

IDENTITY = np.eye(2, 3)
LAST_ROW = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class BottomUpAugmentation:
    """What a training sample may show; the defaults are the MindSpore OpenPose's, with the Caffe original's rotation.

    Attributes:
        min_keypoints, min_area: people with fewer labelled keypoints (None: as many as fit the skeleton), or not on
            more than so many square pixels, are left out of the targets and ignored by the loss.
        min_scale, max_scale: bounds of the enlargement.
        min_box, max_box: nobody is made smaller or larger than this by it: pixels of network input along the diagonal
            of the box around a person's keypoints.
        rotation: bound of the rotation in degrees, uniformly drawn.
        shift: bound of the offset of the chosen person from the middle, in pixels of network input, uniformly drawn in
            x and y.
        flip: probability of mirroring.
        color: probability of moving hue, saturation and value, by whole numbers drawn uniformly within `hue` (units of
            two degrees), `saturation` and `value` (grey levels).
    """

    min_keypoints: int | None = None
    min_area: float = MIN_AREA
    min_scale: float = 0.5
    max_scale: float = 2.0
    min_box: float = 64.0
    max_box: float = 512.0
    rotation: float = 40.0
    shift: float = 40.0
    flip: float = 0.5
    color: float = 0.5
    hue: int = 10
    saturation: int = 40
    value: int = 30


class BottomUpDataset:
    """Pictures with at least one usable person, augmented, with the targets of all their usable people.

    As in the published code, the targets show only people with enough keypoints and area; the loss ignores the pixels
    of all others.

    Attributes:
        left_out: how many people are left out for which reason, to be put behind a line about the others.

    Args:
        data: `data.crop` says whether a sample is centred on a person or shows the whole picture as evaluation in a
            canvas of this size does.
        annotations: loaded with `segmentations=True` unless there is a `mask_dir`; not kept.
        codec: makes the targets; its stride divides `data.input_size`.
        mask_dir: folder of written ignore masks; empty: computed from the segmentations.

    Raises:
        UsageError: the input size is no multiple of the stride.
        PoseError: nobody is usable, malformed segmentations, or no masks in `mask_dir`.
    """

    def __init__(
        self,
        data: BottomUpData,
        augmentation: BottomUpAugmentation,
        annotations: Annotations,
        codec: Codec,
        seed: int = 0,
        mask_dir: str = "",
    ) -> None:
        self._size = (data.input_size[0], data.input_size[1])
        if any(side % codec.stride for side in self._size):
            raise UsageError(f"data.input_size {list(self._size)} must be multiples of the maps' stride {codec.stride}")
        people = annotations.people
        learnt, self.left_out = select_usable(people, augmentation.min_keypoints, augmentation.min_area)
        if not learnt.any():
            raise PoseError(
                f"nobody to learn from among {len(people)} people of {annotations.categories}{self.left_out}: "
                f"{annotations.path}"
            )
        self.images, self.people, self.skeleton = annotations.images, people.select(learnt), codec.skeleton
        self.rows, self._starts = np.unique(self.people.image_index, return_index=True)
        self._stops = np.append(self._starts[1:], len(self.people))
        self._masks = MaskFolder(mask_dir, self.images) if mask_dir else AnnotatedMasks(annotations, learnt, self.rows)
        self._augmentation, self._codec, self._seed = augmentation, codec, seed
        self._whole = data.crop == "picture"
        self._normalize = Normalizer(data)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def image_count(self) -> int:
        """Pictures with somebody to learn from."""
        return len(self.rows)

    @property
    def train_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the arrays that `train_sample` fills: image, then the codec's targets."""
        return (3, *self._size[::-1]), *self._codec.targets(self._size)

    def train_sample(self, index: int, epoch: int, out: tuple[np.ndarray, ...]) -> None:
        """Fill image (3, H, W) and the codec's targets, float32, of one picture.

        Outside of the picture, which shows as grey, nobody is: there the loss counts.

        Raises:
            ImageError: the picture or its written mask cannot be read or has an unexpected size.
        """
        rng = np.random.default_rng((self._seed, epoch, index))
        row = int(self.rows[index])
        keypoints = self.people.keypoints[self._starts[index] : self._stops[index]]
        image, fit = self.images.read(row), IDENTITY
        if self._whole:
            # Fitted first, as evaluation does it: without augmentation both see the same pixels.
            image, back = resize_canvas(image, self._size)
            fit = cv2.invertAffineTransform(back)
            keypoints = _moved(keypoints, fit)
        matrix, flip = random_view(rng, keypoints, self._size, self._augmentation, self._whole)
        shifts = random_color(rng, self._augmentation)
        view = warp(image, matrix, self._size, border=(PADDING_LEVEL,) * 3)
        if shifts is not None:
            view = shift_color(view, shifts)
        self._normalize(view, out[0])
        keypoints = _moved(keypoints[:, self.skeleton.flip_index] if flip else keypoints, matrix)
        mask = self._ignored(row, np.vstack([matrix, LAST_ROW]) @ np.vstack([fit, LAST_ROW]))
        for array, target in zip(out[1:], self._codec.encode(keypoints, self._size, mask)):
            array[...] = target

    def _ignored(self, row: int, matrix: np.ndarray) -> np.ndarray | None:
        """Mask (H, W) uint8 of the input where people are not annotated, by the matrix (3, 3) from the picture."""
        mask = self._masks.read(row)
        return None if mask is None else warp(mask, matrix[:2], self._size, cv2.INTER_NEAREST)


def _moved(keypoints: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Keypoints (P, J, 3) with their x, y mapped by a matrix (2, 3)."""
    return np.concatenate([transform_points(keypoints[..., :2], matrix), keypoints[..., 2:]], axis=-1)


def random_view(
    rng: np.random.Generator,
    keypoints: np.ndarray,
    size: tuple[int, int],
    augmentation: BottomUpAugmentation,
    whole: bool = False,
) -> tuple[np.ndarray, bool]:
    """Draw scale, rotation, place and mirroring as OpenPose does.

    The scale is uniform between two bounds: the smaller makes the smallest person `min_box` pixels large, within
    [min_scale, 1]; the larger makes the largest person `max_box`, within [1, max_scale]. One of the people, each with
    the same chance, comes to lie around the middle of the input.

    Args:
        keypoints: (P, J, 3) x, y, visibility in image pixels; P > 0 people with labelled keypoints.
        size: (width, height) of the network input.
        whole: the picture has this size already and its own middle comes to lie around that of the input, whoever is
            in it.

    Returns:
        The matrix (2, 3) from image pixels to pixels of the input, and whether it mirrors.
    """
    low, high = keypoint_boxes(keypoints[..., :2], keypoints[..., 2] > 0)
    diagonals = np.linalg.norm(high - low + 1, axis=1)
    least = np.clip(augmentation.min_box / diagonals.min(), augmentation.min_scale, 1)
    most = np.clip(augmentation.max_box / diagonals.max(), 1, augmentation.max_scale)
    scale = rng.uniform(least, most)
    angle = np.deg2rad(rng.uniform(-augmentation.rotation, augmentation.rotation))
    person = int(rng.integers(len(keypoints)))
    shift = rng.uniform(-augmentation.shift, augmentation.shift, 2)
    flip = bool(rng.random() < augmentation.flip)
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    matrix = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0]])
    middle = (np.array(size) - 1) / 2
    if whole:
        center = transform_points(middle, matrix)
    else:
        # The box is taken after the rotation, as in the published code: that of a turned person has another middle.
        chosen = keypoints[person]
        low, high = keypoint_boxes(transform_points(chosen[None, :, :2], matrix), chosen[None, :, 2] > 0)
        center = (low + high)[0] / 2
    matrix[:, 2] = middle - center - shift
    if flip:
        matrix[0] *= -1
        matrix[0, 2] += size[0] - 1
    return matrix, flip


def keypoint_boxes(points: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest x, y (P, 2) of the visible ones (P, J) of points (P, J, 2)."""
    seen = visible[..., None]
    return np.where(seen, points, np.inf).min(axis=1), np.where(seen, points, -np.inf).max(axis=1)


def random_color(rng: np.random.Generator, augmentation: BottomUpAugmentation) -> np.ndarray | None:
    """Draw shifts (3,) of hue, saturation and value for `shift_color`, or None for no change."""
    bounds = np.array([augmentation.hue, augmentation.saturation, augmentation.value])
    shifts = rng.integers(-bounds, bounds + 1)
    return shifts if rng.random() < augmentation.color else None
