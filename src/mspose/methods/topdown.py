"""The top-down method: crops of people in, one pose a crop out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mspose.codecs.base import Codec, Decoded
from mspose.config.keys import section_as
from mspose.config.schema import Config
from mspose.config.topdown import TopDownData, TopDownDemo, TopDownEval, TopDownTrain
from mspose.data.coco import Annotations, Images, People, describe_left_out, labelled
from mspose.data.detections import detection_file, load_detections
from mspose.data.topdown import Normalizer, TopDownDataset
from mspose.detection.boxes import Boxes
from mspose.errors import PoseError, UsageError
from mspose.evaluation.oks import NMS, RESCORE
from mspose.evaluation.pose_nms import parametric_pose_nms
from mspose.geometry import BOX_PADDING, box_to_crop, crop_matrix, crop_to_image, warp
from mspose.methods.base import EvaluationSet, Instances, Method, View

log = logging.getLogger("pose")

# What the input shows, for model cards: as SimpleBaselines has it, and as UDP.
_PLAIN_CROP = (
    "Input pixel (u, v) shows image pixel center + ((u, v) - (W / 2, H / 2)) * side / W: cv2.warpAffine, "
    "bilinear, black outside of the picture, with cv2.getAffineTransform of three float32 points, center, top "
    "= center + (0, -side / 2) and top + (top.y - center.y, 0), to (W / 2, H / 2), (W / 2, (H - W) / 2) and "
    "(0, (H - W) / 2)."
)
_UNBIASED_CROP = (
    "Let tall be the crop's height, rounded as side is. Input pixel (u, v) shows image pixel center + (u / (W - 1) - "
    "1 / 2, v / (H - 1) - 1 / 2) * (side, tall): cv2.warpAffine, bilinear, black outside of the picture, with the "
    "float32 matrix [[a, 0, (W - 1) / 2 - a * center.x], [0, b, (H - 1) / 2 - b * center.y]], a = (W - 1) / side, b = "
    "(H - 1) / tall."
)


class TopDown(Method):
    """Crops around boxes; each gives one person."""

    unit = "people"
    needs_boxes = True
    any_size = False
    sections: ClassVar = {"data": TopDownData, "train": TopDownTrain, "eval": TopDownEval, "demo": TopDownDemo}

    def __init__(self, config: Config, codec: Codec) -> None:
        super().__init__(config, codec)
        self.data, self.eval = section_as(config.data, TopDownData), section_as(config.eval, TopDownEval)

    @staticmethod
    def fix_size(config: Config) -> None:
        """Crops have one size anyway."""

    @property
    def batch_size(self) -> int:
        """People at once."""
        return self.eval.batch_size

    def training_set(self) -> TopDownDataset:
        """Crops of all people with keypoints."""
        config = self.config
        annotations = self.load("train")
        people, others = labelled(annotations), describe_left_out(annotations)
        if not len(people):
            raise PoseError(
                f"nobody of {annotations.categories} with keypoints is annotated in the training set{others}: "
                f"{annotations.path}"
            )
        log.info(f"loaded {len(people)} people in {len(annotations.images)} images from {annotations.path}{others}")
        self._note_idle_keys()
        return TopDownDataset(
            self.data,
            annotations.images,
            people,
            self.codec,
            config.runtime.seed,
            section_as(config.train, TopDownTrain).proposals_epoch,
        )

    def _note_idle_keys(self) -> None:
        """Say which augmentation will not take place although it is asked for."""
        data, epochs = self.data, self.config.train.epochs
        late = [stage["epoch"] for stage in data.stages if stage["epoch"] >= epochs]
        if late:
            log.warning(f"note: data.stages: with train.epochs={epochs} no stage after {late[0]} epochs begins")
        used = (data.after(epoch).half_body_prob for epoch in (0, *(stage["epoch"] for stage in data.stages)))
        if any(used) and not self.skeleton.has_halves:
            log.warning(
                f"note: skeleton {self.skeleton.name} does not say what the upper body is (upper_body): "
                "data.half_body_prob does not count"
            )

    def training_stage(self, epochs: int) -> str:
        """The keys that `data.stages` has changed after so many epochs."""
        return ", ".join(f"data.{name}={value}" for name, value in self.data.changes(epochs).items())

    def evaluation_set(self, annotations: Annotations, annotated: People, annotated_boxes: bool) -> EvaluationSet:
        """Crops around annotated or detected boxes."""
        given = annotated_boxes or self.eval.use_gt_bbox
        if given and not annotations.is_annotated:
            raise UsageError(
                f"{annotations.path} annotates nobody: name a person detection file, eval.bbox_file, and leave out "
                "eval.use_gt_bbox"
            )
        people = annotated if given else self._detected(annotations)
        return Crops(TopDownDataset(self.data, annotations.images, people, self.codec))

    def detections(self) -> Path | None:
        """`eval.bbox_file`, unless annotated boxes are taken."""
        if self.eval.use_gt_bbox or not self.eval.bbox_file:
            return None
        return detection_file(self.eval.bbox_file, self.data)

    def _detected(self, annotations: Annotations) -> People:
        path = self.detections()
        if path is None:
            raise UsageError(
                "eval.bbox_file is empty: name a person detection file, or set eval.use_gt_bbox=true to "
                "evaluate with the annotated boxes"
            )
        return load_detections(path, annotations, self.eval.image_threshold, self.data.check)

    def view(self, image: np.ndarray, boxes: Boxes | None) -> tuple[View, Instances]:
        """Crops of the people in `boxes`."""
        if boxes is None:
            raise UsageError("a top-down network needs boxes of the people")
        width, height = size = self.size
        normalize = Normalizer(self.data)
        centers, sizes = box_to_crop(boxes.boxes, width / height)
        inputs = np.empty((len(boxes), 3, height, width), np.float32)
        for center, extent, out in zip(centers, sizes, inputs):
            matrix = crop_matrix(center, extent, size, unbiased=self.data.unbiased)
            normalize(warp(image, matrix, size), out)
        instances = Instances(np.zeros(len(boxes), np.int64), boxes.boxes, boxes.scores, sizes)
        return View([inputs], self._to_image(centers, sizes), size), instances

    def _to_image(self, centers: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        return crop_to_image(centers, sizes, self.size, self.data.unbiased)

    def choose(self, people: Decoded, instances: Instances) -> tuple[Decoded, np.ndarray]:
        """Score by joints and boxes as `eval.rescore` says; duplicates as `eval.nms` says."""
        options, keypoints, source = self.eval, people.keypoints, people.source
        # The reference takes the area of the padded crop as the person's scale when it compares people.
        areas, image_ids = np.prod(instances.sizes, axis=1)[source], instances.image_ids[source]
        rows = np.arange(len(keypoints))
        if options.nms == "parametric":  # before scoring: a merged pose is scored by its own joints
            rows, keypoints = parametric_pose_nms(keypoints, instances.boxes[source], image_ids)
        box_scores = instances.scores[source[rows]]
        scores = RESCORE[options.rescore](keypoints[..., 2], box_scores, options.visible_threshold)
        kept, scores = NMS[options.nms](
            keypoints, scores, areas[rows], image_ids[rows], np.array(self.skeleton.sigmas), options.oks_threshold
        )
        source = source[rows[kept]]
        return Decoded(keypoints[kept], scores, source), instances.boxes[source]

    def fixed_sample(self, instances: Instances, index: int, images: Images, row: int) -> dict[str, Any]:
        """`image_id`, `box`, `center` and `size` of the crop, `score`."""
        centers, sizes = box_to_crop(instances.boxes[index], self.size[0] / self.size[1])
        return {
            "image_id": int(instances.image_ids[index]),
            "box": instances.boxes[index].tolist(),
            "center": centers[0].tolist(),
            "size": sizes[0].tolist(),
            "score": float(instances.scores[index]),
        }

    def read_samples(self, samples: Sequence[dict[str, Any]]) -> tuple[Instances, np.ndarray]:
        """Instances and matrices of `fixed_sample`."""

        def column(name: str, dtype: type, *shape: int) -> np.ndarray:
            return np.array([sample[name] for sample in samples], dtype).reshape(len(samples), *shape)

        centers, sizes = column("center", np.float32, 2), column("size", np.float32, 2)
        instances = Instances(
            column("image_id", np.int64), column("box", np.float64, 4), column("score", np.float32), sizes
        )
        return instances, self._to_image(centers, sizes)

    def describe(self) -> list[str]:
        """Boxes, crops, the flip test."""
        return [
            "Boxes are x, y, width, height in image pixels, from any person detector; W, H are the input's width and "
            "height, w, h those of the maps. (COCO's annotated boxes are shrunk before they are evaluated: x to max(x, "
            "0), width to min(picture width - 1, x + max(width - 1, 0)) - x with that x, y and height alike.)",
            "Crop: center = (x + width / 2, y + height / 2) as float32; side = float32(max(width, height * W / H) / "
            f"200) * float32({BOX_PADDING}) * float32(200); the crop is side wide and side * H / W high. (The rounding "
            "decides in the last digit which pixels the crop shows.)",
            _UNBIASED_CROP if self.data.unbiased else _PLAIN_CROP,
            "Normalise as `input` says and run the model.",
            *(
                ["Flip test: run the input mirrored left to right too; " + self.codec.describe_flip()]
                if self.config.eval.flip_test
                else []
            ),
        ]

    def describe_back(self) -> str:
        """From the crop to the picture."""
        if self.data.unbiased:
            return "Image pixel = center + (u / (W - 1) - 1 / 2, v / (H - 1) - 1 / 2) * (side, tall)."
        return "Image pixel = center + ((u, v) - (W / 2, H / 2)) * side / W."


class Crops:
    """The crops of a data set (see `EvaluationSet`)."""

    def __init__(self, dataset: TopDownDataset) -> None:
        self._dataset, people = dataset, dataset.people
        self.rows = people.image_index
        self.instances = Instances(dataset.images.ids[self.rows], people.boxes, people.scores, dataset.sizes)

    def view(self, index: int) -> View:
        """One crop."""
        dataset = self._dataset
        inputs = np.empty((1, *dataset.eval_shapes[0]), np.float32)
        dataset.eval_sample(index, 0, (inputs[0],))
        one = slice(index, index + 1)
        matrices = crop_to_image(dataset.centers[one], dataset.sizes[one], dataset.size, dataset.unbiased)
        return View([inputs], matrices, dataset.size)
