"""The bottom-up method: whole pictures in, all people of a picture at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import cv2
import numpy as np

from mspose.codecs.base import Codec, Decoded, Maps, Size
from mspose.config.bottomup import BottomUpData, BottomUpEval
from mspose.config.keys import section_as
from mspose.config.schema import Config
from mspose.data.bottomup import BottomUpAugmentation, BottomUpDataset
from mspose.data.coco import Annotations, Images, People
from mspose.data.topdown import Normalizer
from mspose.detection.boxes import Boxes
from mspose.errors import UsageError
from mspose.geometry import MAX_ASPECT, PADDING_LEVEL, canvas_fit, resize_canvas, resize_matrix, resize_short_side
from mspose.methods.base import EvaluationSet, Instances, Method, View

log = logging.getLogger("pose")

# Sides of whole pictures are multiples of this.
MULTIPLE = 8


class BottomUp(Method):
    """Whole pictures, resized as `eval.resize` and `eval.scales` say; boxes play no part."""

    unit = "images"
    needs_boxes = False
    batch_size = 1  # pictures differ in size
    sections: ClassVar = {"data": BottomUpData, "eval": BottomUpEval}

    def __init__(self, config: Config, codec: Codec) -> None:
        super().__init__(config, codec)
        self.data, self.eval = section_as(config.data, BottomUpData), section_as(config.eval, BottomUpEval)
        self._normalize = Normalizer(config.data)

    @staticmethod
    def fix_size(config: Config) -> None:
        """Into a canvas of that size: the only way to show such a model whole pictures."""
        options = section_as(config.eval, BottomUpEval)
        options.resize, options.scales = "canvas", [1.0]

    @property
    def any_size(self) -> bool:
        """Whether inputs differ in size."""
        return self.eval.resize == "short_side" or len(self.eval.scales) > 1

    def training_set(self) -> BottomUpDataset:
        """Pictures with everyone in them."""
        data = self.data
        augmentation = BottomUpAugmentation(
            min_keypoints=data.min_keypoints or None,
            min_area=data.min_area,
            min_scale=data.scale_range[0],
            max_scale=data.scale_range[1],
            min_box=data.person_range[0],
            max_box=data.person_range[1],
            rotation=data.max_rotation,
            shift=data.crop_shift,
            flip=data.flip,
            color=0.5 if data.color_jitter else 0.0,
        )
        annotations = self.load("train", segmentations=not data.mask_dir)
        dataset = BottomUpDataset(data, augmentation, annotations, self.codec, self.config.runtime.seed, data.mask_dir)
        log.info(
            f"loaded {len(dataset.people)} people in {len(dataset)} images from {annotations.path}{dataset.left_out}"
        )
        return dataset

    def evaluation_set(self, annotations: Annotations, annotated: People, annotated_boxes: bool) -> EvaluationSet:
        """All pictures, also those without anybody."""
        return Pictures(self, annotations.images)

    def view(self, image: np.ndarray, boxes: Boxes | None) -> tuple[View, Instances]:
        """The whole picture."""
        return self.whole(image), whole_pictures(np.zeros(1, np.int64))

    def whole(self, image: np.ndarray) -> View:
        """View of a picture (H, W, 3) uint8 BGR."""
        options = self.eval
        if options.resize == "canvas":
            base, to_image = resize_canvas(image, self.size)
        else:
            base, to_image = resize_short_side(image, options.short_side or min(self.size))
        height, width = base.shape[:2]
        inputs = []
        for scale in options.scales:
            scaled = _scaled(width, scale), _scaled(height, scale)
            pixels = base if scaled == (width, height) else cv2.resize(base, scaled, interpolation=cv2.INTER_LINEAR)
            inputs.append(self._normalize(pixels)[None])
        return View(inputs, to_image[None], (width, height))

    def people(self, maps: Maps, to_image: np.ndarray, size: Size) -> Decoded:
        """The people of merged maps; keypoints that were not found stay 0, 0, 0."""
        found = super().people(maps, to_image, size)
        return replace(found, keypoints=np.where(found.keypoints[..., 2:] > 0, found.keypoints, 0))

    def choose(self, people: Decoded, instances: Instances) -> tuple[Decoded, np.ndarray]:
        """All people, best first in each picture; the box of each is drawn around the joints that were found."""
        order = np.lexsort((-people.scores, people.source))
        keypoints = people.keypoints[order]
        seen = keypoints[..., 2:] > 0
        low = np.where(seen, keypoints[..., :2], np.inf).min(axis=1)
        high = np.where(seen, keypoints[..., :2], -np.inf).max(axis=1)
        return Decoded(keypoints, people.scores[order], people.source[order]), np.concatenate([low, high - low], axis=1)

    def fixed_sample(self, instances: Instances, index: int, images: Images, row: int) -> dict[str, Any]:
        """`image_id`, `size` of the input and the matrix `to_image`."""
        if self.any_size:
            options = self.eval
            raise UsageError(
                "raw inputs are all of one size: set eval.resize=canvas (into data.input_size) and "
                f"eval.scales=[1], not eval.resize={options.resize} and eval.scales={options.scales}"
            )
        source = int(images.widths[row]), int(images.heights[row])
        to_image = resize_matrix(canvas_fit(source, self.size), source)
        return {
            "image_id": int(instances.image_ids[index]),
            "size": list(self.size),
            "to_image": to_image.tolist(),
        }

    def read_samples(self, samples: Sequence[dict[str, Any]]) -> tuple[Instances, np.ndarray]:
        """Instances and matrices of `fixed_sample`."""
        image_ids = np.array([sample["image_id"] for sample in samples], np.int64)
        to_image = np.array([sample["to_image"] for sample in samples], np.float64).reshape(len(samples), 2, 3)
        return whole_pictures(image_ids), to_image

    def describe(self) -> list[str]:
        """Resizing, scales, the flip test."""
        options, steps = self.eval, list[str]()
        if options.scales != [1.0]:
            steps.append(
                f"Scales: run it at each of {options.scales} of that size, its sides rounded to multiples of "
                f"{MULTIPLE} (at least {MULTIPLE}), made of the resized picture by cv2.resize, bilinear; resize the "
                "maps the same way to an eighth of the size at scale 1."
            )
        if options.flip_test:
            steps.append("Flip test: run each input mirrored left to right too; " + self.codec.describe_flip())
        if steps:
            steps.append("Take the mean of all heat maps and of all fields.")
        return [
            self._describe_resize() + " cv2.resize, bilinear; INTER_AREA where both sides shrink to less than half.",
            "Normalise as `input` says and run the model.",
            *steps,
        ]

    def _describe_resize(self) -> str:
        width, height = self.size
        if self.eval.resize == "canvas":
            return (
                f"Resize the whole picture to (round(width * f), round(height * f)), f = min({width} / width, {height} "
                f"/ height), at least 1 pixel, and pad it right and bottom with {PADDING_LEVEL} to {width}x{height} "
                "(the resized size below is that without padding)."
            )
        side = self.eval.short_side or min(width, height)
        return (
            f"Resize the whole picture: its short side to {side}, its long side to round({side} * long / short), "
            f"both then rounded up to multiples of {MULTIPLE}. (Where the long side would exceed {MAX_ASPECT * side}, "
            f"it becomes that, and the short side round({MAX_ASPECT * side} * short / long).)"
        )

    def describe_back(self) -> str:
        """From the resized picture to the picture."""
        return "Image pixel = (input pixel + 0.5) * picture size / resized size - 0.5, on each axis."


class Pictures:
    """Whole pictures of a data set (see `EvaluationSet`)."""

    def __init__(self, method: BottomUp, images: Images) -> None:
        self._method, self._images = method, images
        self.rows = np.arange(len(images))
        self.instances = whole_pictures(images.ids)

    def view(self, index: int) -> View:
        """One picture."""
        return self._method.whole(self._images.read(index))


def whole_pictures(image_ids: np.ndarray) -> Instances:
    """Instances of whole pictures."""
    nothing = np.zeros((len(image_ids), 0))
    return Instances(image_ids, nothing, np.zeros(len(image_ids), np.float32), nothing)


def _scaled(side: int, scale: float) -> int:
    return max(MULTIPLE, round(side * scale / MULTIPLE) * MULTIPLE)
