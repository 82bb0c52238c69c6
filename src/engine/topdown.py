"""The top-down task: crops of people in, heat maps out, one pose a crop."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from src.codecs.heatmap import HeatmapCodec
from src.data.coco import People, labelled, load_detections, load_split
from src.data.topdown import TopDownDataset
from src.engine.evaluator import Evaluator
from src.engine.predictor import Forward, predict
from src.errors import PoseError, UsageError
from src.evaluation.coco import to_coco_results
from src.evaluation.oks import NMS, RESCORE
from src.schema import Config
from src.skeleton import load_skeleton

log = logging.getLogger("pose")


def build_codec(config: Config) -> HeatmapCodec:
    """The heat-map codec of a configuration."""
    data, codec = config.data, config.codec
    return HeatmapCodec((data.input_size[0], data.input_size[1]), (codec.heatmap_size[0], codec.heatmap_size[1]),
                        codec.sigma, codec.refine)


def training_set(config: Config) -> TopDownDataset:
    """The configured training set.

    Raises:
        PoseError, UsageError: it cannot be used, or nobody is labelled in it.
    """
    skeleton = load_skeleton(config.data.skeleton)
    annotations = load_split(config.data, "train", skeleton)
    people = labelled(annotations)
    if not len(people):
        raise PoseError(f"nobody with keypoints is annotated in the training set: {annotations.path}")
    log.info(f"loaded {len(people)} people in {len(annotations.images)} images from {annotations.path}")
    return TopDownDataset(config.data, annotations.images, people, skeleton, build_codec(config), config.runtime.seed)


class TopDownEvaluator(Evaluator):
    """Evaluates on boxes.

    Args:
        use_gt_bbox: annotated boxes instead of `eval.bbox_file`.

    Raises:
        PoseError, UsageError: the set or the detections cannot be used (see `src.data.coco`).
    """

    unit = "people"

    def __init__(self, config: Config, use_gt_bbox: bool) -> None:
        super().__init__(config)
        people = self.annotated if use_gt_bbox else self._detections()
        self.codec = build_codec(config)
        self.dataset = TopDownDataset(config.data, self.images, people, self.skeleton, self.codec)

    def __len__(self) -> int:
        return len(self.dataset)

    def predict(self, forward: Forward, progress: Callable[[int], None]) -> tuple[list[dict], dict[str, float]]:
        """Keypoints of every box, rescored, without duplicates."""
        keypoints, seconds = predict(forward, self.dataset, self.codec, self.config, progress)
        return self.to_results(keypoints), seconds

    def to_results(self, keypoints: np.ndarray) -> list[dict]:
        """COCO results of predicted keypoints (N, J, 3), one row a person of the data set."""
        eval_config, people = self.config.eval, self.dataset.people
        scores = RESCORE[eval_config.rescore](keypoints[..., 2], people.scores, eval_config.visible_threshold)
        # The reference takes the area of the padded crop as the person's scale when it compares people.
        areas = np.prod(self.dataset.sizes, axis=1)
        image_ids = self.images.ids[people.image_index]
        kept, scores = NMS[eval_config.nms](keypoints, scores, areas, image_ids, np.array(self.skeleton.sigmas),
                                            eval_config.oks_threshold)
        return to_coco_results(keypoints[kept], scores, image_ids[kept], self.annotations.category_id)

    def _detections(self) -> People:
        eval_config = self.config.eval
        if not eval_config.bbox_file:
            raise UsageError("eval.bbox_file is empty: name a person detection file, or set eval.use_gt_bbox=true to "
                             "evaluate with the annotated boxes")
        people = load_detections(eval_config.bbox_file, self.annotations, eval_config.image_threshold)
        if not len(people):
            raise PoseError(f"no box is left to evaluate: {eval_config.bbox_file} (eval.image_threshold is "
                            f"{eval_config.image_threshold})")
        log.info(f"loaded {len(people)} boxes from {eval_config.bbox_file}")
        return people
