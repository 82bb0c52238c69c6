"""Top-down samples: one person cropped to the network's input, with augmentation and targets.

Every random draw comes from a generator seeded by (seed, epoch, index), so a run repeats exactly on any number of
workers and after any interruption.
"""

from __future__ import annotations

from bisect import bisect_right

import cv2
import numpy as np

from mspose.codecs.base import Codec
from mspose.config.schema import DataConfig
from mspose.config.topdown import TopDownData
from mspose.data.coco import Images, People
from mspose.data.crops import Crop, Frame, random_crop
from mspose.data.pixels import change_pixels
from mspose.data.proposals import propose
from mspose.geometry import BOX_PADDING, box_to_crop, crop_matrix, transform_points, warp


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
        self._codec, self._seed, self._proposals_epoch = codec, seed, proposals_epoch
        self._stage_epochs = [stage["epoch"] for stage in data.stages]
        self._stages = [data.after(epochs) for epochs in (0, *self._stage_epochs)]
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
        data = self._stages[bisect_right(self._stage_epochs, epoch)]
        keypoints = self.people.keypoints[index]
        frame = Frame(self.centers[index], self.sizes[index], self.people.boxes[index, 2:] * BOX_PADDING)
        if 0 < self._proposals_epoch <= epoch:
            frame = self._proposal(rng, index)
        crop = random_crop(rng, frame, keypoints, self._upper, data)
        pixels, matrix = self._cut(index, crop)
        self._normalize(change_pixels(rng, pixels, data), out[0])
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
        pixels, _ = self._cut(index, Crop(self.centers[index], self.sizes[index]))
        self._normalize(pixels, out[0])

    def _proposal(self, rng: np.random.Generator, index: int) -> Frame:
        row = self.people.image_index[index]
        box = propose(rng, self.people.boxes[index], self.images.widths[row], self.images.heights[row])
        centers, sizes = box_to_crop(box, self._aspect)
        return Frame(centers[0], sizes[0], box[2:] * BOX_PADDING)

    def _cut(self, index: int, crop: Crop) -> tuple[np.ndarray, np.ndarray]:
        """The pixels (H, W, 3) uint8 BGR of a crop, and the matrix (2, 3) from the picture to them."""
        image = self.images.read(int(self.people.image_index[index]))
        matrix = crop_matrix(crop.center, crop.size, self.size, crop.rotation, crop.flip, self.unbiased)
        return warp(image, matrix, self.size), matrix
