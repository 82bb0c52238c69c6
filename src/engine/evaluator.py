"""Evaluation on COCO: boxes to keypoints to AP, with every file a user may want beside it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.codecs.heatmap import HeatmapCodec
from src.config import save_config
from src.data.coco import People, labelled, load_detections, load_split
from src.data.topdown import TopDownDataset
from src.engine.predictor import Forward, predict
from src.engine.progress import Progress
from src.engine.runtime import start
from src.errors import PoseError, UsageError
from src.evaluation.coco import evaluate_keypoints, format_table, mean_keypoint_error, to_coco_results
from src.evaluation.oks import NMS, RESCORE
from src.files import check_writable, read_json, write_json
from src.images import read_image
from src.schema import Config
from src.skeleton import Skeleton, load_skeleton
from src.visual import draw_poses, side_by_side, write_image

log = logging.getLogger("pose")


@dataclass(frozen=True)
class Outcome:
    """What an evaluation gave: COCO's ten figures, the results behind them, and where the time went."""

    figures: Mapping[str, float]
    results: list[dict]
    seconds: Mapping[str, float]
    instances: int


class TopDownEvaluator:
    """Evaluates top-down networks on the configured evaluation set; reads the set once, then serves many epochs.

    Args:
        use_gt_bbox: annotated boxes instead of `eval.bbox_file`.

    Raises:
        PoseError, UsageError: the set or the detections cannot be used (see `src.data.coco`).
    """

    def __init__(self, config: Config, use_gt_bbox: bool) -> None:
        self._config = config
        self.skeleton: Skeleton = load_skeleton(config.data.skeleton)
        self.annotations = load_split(config.data, "val", self.skeleton)
        self.images = self.annotations.images
        self._truth = read_json(self.annotations.path, "annotation file")
        self.annotated = labelled(self.annotations)
        if not len(self.annotated):
            raise PoseError(f"nobody with keypoints is annotated in the evaluation set: {self.annotations.path}")
        people = self.annotated if use_gt_bbox else self._detections()
        width, height = config.codec.heatmap_size
        self.codec = HeatmapCodec(tuple(config.data.input_size), (width, height), config.codec.sigma,
                                  config.codec.refine)
        self.dataset = TopDownDataset(config.data, self.images, people, self.skeleton, self.codec)

    def _detections(self) -> People:
        eval_config = self._config.eval
        if not eval_config.bbox_file:
            raise UsageError("eval.bbox_file is empty: name a person detection file, or set eval.use_gt_bbox=true to "
                             "evaluate with the annotated boxes")
        people = load_detections(eval_config.bbox_file, self.annotations, eval_config.image_threshold)
        if not len(people):
            raise PoseError(f"no box is left to evaluate: {eval_config.bbox_file} (eval.image_threshold is "
                            f"{eval_config.image_threshold})")
        log.info(f"loaded {len(people)} boxes from {eval_config.bbox_file}")
        return people

    def run(self, forward: Forward) -> Outcome:
        """Predict, rescore, suppress duplicates and compute AP."""
        with Progress(len(self.dataset), "evaluating", "people") as progress:
            keypoints, seconds = predict(forward, self.dataset, self.codec, self._config, progress.advance)
        results = self.to_results(keypoints)
        figures = evaluate_keypoints(self._truth, results, self.skeleton.sigmas)
        return Outcome(figures, results, seconds, len(keypoints))

    def to_results(self, keypoints: np.ndarray) -> list[dict]:
        """COCO results of predicted keypoints (N, J, 3), one row a person of the data set."""
        eval_config, people = self._config.eval, self.dataset.people
        scores = RESCORE[eval_config.rescore](keypoints[..., 2], people.scores, eval_config.visible_threshold)
        # The reference takes the area of the padded crop as the person's scale when it compares people.
        areas = np.prod(self.dataset.sizes, axis=1)
        image_ids = self.images.ids[people.image_index]
        kept, scores = NMS[eval_config.nms](keypoints, scores, areas, image_ids,
                                            np.array(self.skeleton.sigmas), eval_config.oks_threshold)
        return to_coco_results(keypoints[kept], scores, image_ids[kept], self.annotations.category_id)

    def save(self, outcome: Outcome, folder: Path) -> None:
        """Write keypoints_results.json and metrics.json: figures, mean error of each keypoint, speed."""
        write_json(folder / "keypoints_results.json", outcome.results)
        metrics = {
            **outcome.figures,
            "mean_keypoint_error": mean_keypoint_error(self._truth, outcome.results, self.skeleton),
            "instances": outcome.instances,
            "seconds": outcome.seconds,
            "instances_per_second": {k: outcome.instances / max(v, 1e-9) for k, v in outcome.seconds.items()},
        }
        write_json(folder / "metrics.json", metrics, indent=2)

    def draw(self, outcome: Outcome, folder: Path, count: int) -> list[Path]:
        """Draw the first `count` pictures with annotated people: prediction and annotation side by side."""
        rows = list(dict.fromkeys(self.annotated.image_index.tolist()))[:count]
        by_image: dict[int, list[dict]] = {}
        for result in outcome.results:
            by_image.setdefault(result["image_id"], []).append(result)
        return [self._draw_one(row, by_image.get(int(self.images.ids[row]), []), folder) for row in rows]

    def _draw_one(self, row: int, results: list[dict], folder: Path) -> Path:
        joints, threshold = self.skeleton.num_keypoints, self._config.eval.visible_threshold
        image = read_image(self.images.files[row])
        predicted = np.array([r["keypoints"] for r in results], np.float32).reshape(-1, joints, 3)
        annotated = self.annotated.keypoints[self.annotated.image_index == row]
        picture = side_by_side(draw_poses(image, predicted, self.skeleton, threshold),
                               draw_poses(image, annotated, self.skeleton, 0.5))
        path = folder / f"{self.images.files[row].stem}.jpg"
        write_image(path, picture)
        return path


def evaluate_checkpoint(config: Config) -> Outcome:
    """What eval.py does: load the checkpoint, evaluate, write and print everything into `runtime.output`.

    Raises:
        PoseError, UsageError: no checkpoint, one of another network, unusable data, unwritable output.
    """
    if not config.runtime.ckpt:
        raise UsageError("no checkpoint to evaluate: give --ckpt FILE")
    if not Path(config.runtime.ckpt).is_file():
        raise PoseError(f"checkpoint not found: {config.runtime.ckpt}")
    folder = check_writable(config.runtime.output)
    evaluator = TopDownEvaluator(config, config.eval.use_gt_bbox)
    runtime = start(config.runtime)
    # These import MindSpore, which must come after every check that needs none.
    from src.checkpoints.io import assign, load, network_weights
    from src.engine.backends import MindSporeBackend
    from src.models import build_model

    log.info(f"loading {config.runtime.ckpt}")
    network = build_model(config.model, evaluator.skeleton.num_keypoints)
    assign(network, network_weights(load(config.runtime.ckpt)), config.runtime.ckpt)
    log.info(f"evaluating {len(evaluator.dataset)} boxes of {len(evaluator.images)} images on {runtime.device}, "
             f"flip test: {config.eval.flip_test}")
    outcome = evaluator.run(MindSporeBackend(runtime.adapt(network)))
    evaluator.save(outcome, folder)
    save_config(config, folder / "eval_config.yaml")
    if config.eval.draw:
        pictures = evaluator.draw(outcome, folder / "pictures", config.eval.draw)
        log.info(f"{len(pictures)} pictures in {folder / 'pictures'}")
    log.info(describe_speed(outcome))
    log.info(f"results in {folder}")
    log.info(format_table(outcome.figures))
    log.info(f"AP: {outcome.figures['AP']}")
    return outcome


def describe_speed(outcome: Outcome) -> str:
    """One line: people a second overall and by part; the parts overlap."""
    rate = {name: outcome.instances / max(seconds, 1e-9) for name, seconds in outcome.seconds.items()}
    return (f"{outcome.instances} people in {outcome.seconds['wall']:.1f} s, {rate['wall']:.1f}/s (overlapping: data "
            f"{rate['data']:.0f}/s, network {rate['network']:.1f}/s, decoding {rate['decode']:.0f}/s)")
