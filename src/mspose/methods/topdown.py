"""The top-down task: crops of people in, heat maps out, one pose a crop."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from mspose.codecs.heatmap import HeatmapCodec
from mspose.config.schema import Config
from mspose.data.coco import People, detection_file, labelled, load_detections, load_split
from mspose.data.topdown import TopDownDataset
from mspose.errors import PoseError, UsageError
from mspose.evaluation.coco import to_coco_results
from mspose.evaluation.oks import NMS, RESCORE
from mspose.evaluation.pose_nms import parametric_pose_nms
from mspose.methods.evaluator import Evaluator
from mspose.methods.predictor import Forward, predict
from mspose.runtime.ranks import Ranks
from mspose.skeleton import Skeleton, load_skeleton

log = logging.getLogger("pose")


def build_codec(config: Config) -> HeatmapCodec:
    """The heat-map codec of a configuration."""
    data, codec = config.data, config.codec
    return HeatmapCodec(
        (data.input_size[0], data.input_size[1]),
        (codec.heatmap_size[0], codec.heatmap_size[1]),
        codec.sigma,
        codec.refine,
    )


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
    return TopDownDataset(
        config.data,
        annotations.images,
        people,
        skeleton,
        build_codec(config),
        config.runtime.seed,
        config.train.proposals_epoch,
    )


def choose_people(
    keypoints: np.ndarray,
    boxes: np.ndarray,
    box_scores: np.ndarray,
    sizes: np.ndarray,
    image_ids: np.ndarray,
    config: Config,
    skeleton: Skeleton,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score people as `eval.rescore` says and leave out duplicates as `eval.nms` says.

    Args:
        keypoints: (N, J, 3) x, y in image pixels and score.
        boxes: (N, 4) x, y, width, height in image pixels.
        box_scores: (N,).
        sizes: (N, 2) of the crops in image pixels.
        image_ids: (N,).

    Returns:
        rows (K,) of the people that stay, their keypoints (K, J, 3) and scores (K,).
    """
    options = config.eval
    # The reference takes the area of the padded crop as the person's scale when it compares people.
    areas, rows = np.prod(sizes, axis=1), np.arange(len(keypoints))
    if options.nms == "parametric":  # before scoring: a merged pose is scored by its own joints
        rows, keypoints = parametric_pose_nms(keypoints, boxes, image_ids)
    scores = RESCORE[options.rescore](keypoints[..., 2], box_scores[rows], options.visible_threshold)
    kept, scores = NMS[options.nms](
        keypoints, scores, areas[rows], image_ids[rows], np.array(skeleton.sigmas), options.oks_threshold
    )
    return rows[kept], keypoints[kept], scores


class TopDownEvaluator(Evaluator):
    """Evaluates on boxes.

    Args:
        use_gt_bbox: annotated boxes instead of `eval.bbox_file`.

    Raises:
        PoseError, UsageError: the set or the detections cannot be used (see `mspose.data.coco`).
    """

    unit = "people"

    def __init__(self, config: Config, use_gt_bbox: bool) -> None:
        super().__init__(config)
        people = self.annotated if use_gt_bbox else self._detections()
        self.codec = build_codec(config)
        self.dataset = TopDownDataset(config.data, self.images, people, self.skeleton, self.codec)

    def __len__(self) -> int:
        return len(self.dataset)

    def predict(
        self, forward: Forward, ranks: Ranks, progress: Callable[[int], None]
    ) -> tuple[list[dict], dict[str, float]]:
        """Keypoints of every box, rescored, without duplicates."""
        part, seconds = predict(forward, self.dataset, self.codec, self.config, ranks.share(len(self)), progress)
        # Duplicates are looked for once all people of a picture are together.
        keypoints = ranks.interleave(ranks.gather(part))
        return self.to_results(keypoints) if ranks.is_first else [], seconds

    def to_results(self, keypoints: np.ndarray) -> list[dict]:
        """COCO results of predicted keypoints (N, J, 3), one row a person of the data set."""
        people = self.dataset.people
        image_ids = self.images.ids[people.image_index]
        rows, keypoints, scores = choose_people(
            keypoints, people.boxes, people.scores, self.dataset.sizes, image_ids, self.config, self.skeleton
        )
        return to_coco_results(keypoints, scores, image_ids[rows], self.annotations.category_id)

    def _detections(self) -> People:
        eval_config = self.config.eval
        if not eval_config.bbox_file:
            raise UsageError(
                "eval.bbox_file is empty: name a person detection file, or set eval.use_gt_bbox=true to "
                "evaluate with the annotated boxes"
            )
        path = detection_file(eval_config.bbox_file, self.config.data)
        people = load_detections(path, self.annotations, eval_config.image_threshold)
        if not len(people):
            raise PoseError(
                f"no box is left to evaluate: {path} (eval.image_threshold is {eval_config.image_threshold})"
            )
        log.info(f"loaded {len(people)} boxes from {path}")
        return people
