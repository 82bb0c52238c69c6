"""Evaluation on COCO: pictures to people to AP, with every file a user may want beside it.

`Evaluator` is what top-down and bottom-up evaluation share; each adds how people are found in pictures.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mspose.config.schema import Config
from mspose.data.coco import labelled, load_split
from mspose.errors import PoseError
from mspose.evaluation.coco import evaluate_keypoints, mean_keypoint_error
from mspose.files import read_json, write_json
from mspose.images import read_image
from mspose.methods.predictor import Forward
from mspose.runtime.progress import Progress
from mspose.runtime.ranks import ALONE, Ranks
from mspose.skeleton import Skeleton, load_skeleton
from mspose.visual import draw_poses, side_by_side, write_image


@dataclass(frozen=True)
class Outcome:
    """What an evaluation gave.

    Attributes:
        figures: COCO's ten.
        results: the COCO results behind them.
        seconds: spent in `data`, `network`, `decode`, and `wall`; the parts overlap.
        instances: what the network was run on, in `unit`: people (top-down) or images (bottom-up).
    """

    figures: Mapping[str, float]
    results: list[dict]
    seconds: Mapping[str, float]
    instances: int
    unit: str


class Evaluator(ABC):
    """Evaluates networks on the configured evaluation set; reads the set once, then serves many epochs.

    Attributes:
        unit: what the network is run on, "people" or "images".
        any_size: whether inputs differ in size.

    Raises:
        PoseError, UsageError: the set cannot be used (see `mspose.data.coco`).
    """

    unit: str
    any_size: bool = False

    def __init__(self, config: Config) -> None:
        self.config = config
        self.skeleton: Skeleton = load_skeleton(config.data.skeleton)
        self.annotations = load_split(config.data, "val", self.skeleton)
        self.images = self.annotations.images
        self._truth = read_json(self.annotations.path, "annotation file")
        self.annotated = labelled(self.annotations)
        if not len(self.annotated):
            raise PoseError(f"nobody with keypoints is annotated in the evaluation set: {self.annotations.path}")

    @abstractmethod
    def __len__(self) -> int:
        """How many people or images the network is run on."""

    @abstractmethod
    def predict(
        self, forward: Forward, ranks: Ranks, progress: Callable[[int], None]
    ) -> tuple[list[dict], dict[str, float]]:
        """COCO results of the whole set, and the seconds spent (see `Outcome`).

        Each rank runs the network on its share; the results stand on the first rank.
        """

    def run(self, forward: Forward, ranks: Ranks = ALONE) -> Outcome | None:
        """Find people and compute AP; None on ranks other than the first."""
        with Progress(len(ranks.share(len(self))), "evaluating", self.unit, lines=ranks.is_first) as progress:
            results, seconds = self.predict(forward, ranks, progress.advance)
        if not ranks.is_first:
            return None
        figures = evaluate_keypoints(self._truth, results, self.skeleton.sigmas)
        return Outcome(figures, results, seconds, len(self), self.unit)

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

    def drawn_rows(self, count: int) -> list[int]:
        """The first `count` pictures with annotated people."""
        return list(dict.fromkeys(self.annotated.image_index.tolist()))[:count]

    def draw(self, outcome: Outcome, folder: Path, count: int) -> list[Path]:
        """Draw the first `count` pictures with annotated people: prediction and annotation side by side."""
        rows = self.drawn_rows(count)
        by_image: dict[int, list[dict]] = {}
        for result in outcome.results:
            by_image.setdefault(result["image_id"], []).append(result)
        return [self._draw_one(row, by_image.get(int(self.images.ids[row]), []), folder) for row in rows]

    def draw_maps(self, row: int, image: np.ndarray) -> np.ndarray | None:
        """What the network saw in a picture, drawn over it twice, side by side; None where that is not kept."""
        return None

    def _draw_one(self, row: int, results: list[dict], folder: Path) -> Path:
        joints, threshold = self.skeleton.num_keypoints, self.config.eval.visible_threshold
        image = read_image(self.images.files[row])
        predicted = np.array([r["keypoints"] for r in results], np.float32).reshape(-1, joints, 3)
        annotated = self.annotated.keypoints[self.annotated.image_index == row]
        picture = side_by_side(
            draw_poses(image, predicted, self.skeleton, threshold), draw_poses(image, annotated, self.skeleton, 0.5)
        )
        maps = self.draw_maps(row, image)
        if maps is not None:
            picture = np.vstack([picture, maps])
        path = folder / f"{self.images.files[row].stem}.jpg"
        write_image(path, picture)
        return path


def describe_speed(outcome: Outcome) -> str:
    """One line: people or images a second, overall and by part; the parts overlap."""
    rate = {name: outcome.instances / max(seconds, 1e-9) for name, seconds in outcome.seconds.items()}
    parts = ", ".join(
        f"{label} {rate[part]:.0f}/s"
        for part, label in (("data", "data"), ("network", "network"), ("decode", "decoding"))
    )
    return (
        f"{outcome.instances} {outcome.unit} in {outcome.seconds['wall']:.1f} s, {rate['wall']:.1f}/s "
        f"(overlapping: {parts})"
    )
