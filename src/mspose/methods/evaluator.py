"""Evaluation on COCO: pictures to people to AP, with every file a user may want beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mspose.codecs.base import Decoded, Maps
from mspose.data.coco import Images, People, labelled, load_split
from mspose.errors import PoseError
from mspose.evaluation.coco import evaluate_keypoints, mean_keypoint_error, to_coco_results
from mspose.files import read_json, write_json
from mspose.images import read_image
from mspose.methods.base import Forward, Method, View
from mspose.runtime.progress import Progress
from mspose.runtime.ranks import ALONE, Ranks
from mspose.runtime.read_ahead import read_ahead, worker_threads
from mspose.runtime.timing import Stopwatch
from mspose.version import software
from mspose.visual import draw_poses, side_by_side, write_image

DECODE_AHEAD = 4  # batches that may wait to be decoded


@dataclass(frozen=True)
class Outcome:
    """What an evaluation gave.

    Attributes:
        figures: COCO's ten.
        results: the COCO results behind them.
        seconds: spent in `data` (reading threads, divided by their number), `network`, `decode`, and `wall`; the parts
            overlap.
        instances: what the network was run on, in `unit`: people (top-down) or images (bottom-up).
    """

    figures: Mapping[str, float]
    results: list[dict]
    seconds: Mapping[str, float]
    instances: int
    unit: str


class Evaluator:
    """Evaluates networks on the configured evaluation set; reads the set once, then serves many epochs.

    Args:
        annotated_boxes: look at annotated boxes, where boxes matter; otherwise at those that the section `eval` names.

    Raises:
        PoseError, UsageError: the set or the detections cannot be used (see `mspose.data.coco`).
    """

    def __init__(self, method: Method, annotated_boxes: bool = False) -> None:
        self.method, self.config, self.skeleton = method, method.config, method.skeleton
        self.annotations = load_split(self.config.data, "val", self.skeleton)
        self.images: Images = self.annotations.images
        self._truth = read_json(self.annotations.path, "annotation file")
        self.annotated: People = labelled(self.annotations)
        if not len(self.annotated):
            raise PoseError(f"nobody with keypoints is annotated in the evaluation set: {self.annotations.path}")
        self.set = method.evaluation_set(self.annotations, self.annotated, annotated_boxes)
        # Of pictures to be drawn, where inputs are whole pictures: merged maps, and the matrix to the picture.
        self._seen: dict[int, tuple[Maps, np.ndarray] | None] = {}

    def __len__(self) -> int:
        return len(self.set.instances)

    def run(self, forward: Forward, ranks: Ranks = ALONE) -> Outcome | None:
        """Find people and compute AP; None on ranks other than the first."""
        with Progress(len(ranks.share(len(self))), "evaluating", self.method.unit, lines=ranks.is_first) as progress:
            people, seconds = self.predict(forward, ranks, progress.advance)
        if not ranks.is_first:
            return None
        results = self.to_results(people)
        figures = evaluate_keypoints(self._truth, results, self.skeleton.sigmas)
        return Outcome(figures, results, seconds, len(self), self.method.unit)

    def predict(
        self, forward: Forward, ranks: Ranks, progress: Callable[[int], None]
    ) -> tuple[Decoded, dict[str, float]]:
        """People of the whole set, in pixels of their pictures, and the seconds spent (see `Outcome`).

        Each rank runs the network on its share; what all found stands on every rank. Reading, network and decoding
        overlap. Every batch has the same size, since each new one costs a compilation.
        """
        method, data, watch = self.method, self.config.data, Stopwatch()
        rows, size, threads = ranks.share(len(self)), method.batch_size, worker_threads(data.workers)
        whole = method.unit == "images"
        self._seen = dict.fromkeys(self.drawn_rows(self.config.eval.draw)) if whole else {}
        cv2.setNumThreads(0)  # one picture a thread; OpenCV's own threads would only compete with these

        def read(row: int) -> View:
            with watch("data"):
                return self.set.view(row)

        def decode(batch: np.ndarray, view: View, raw: list[tuple[Maps, Maps | None]]) -> Decoded:
            with watch("decode"):
                maps = method.merge(raw, view.size)
                for row in batch[np.isin(batch, list(self._seen))].tolist():
                    self._seen[row] = maps, view.to_image[0]
                found = method.people(maps, view.to_image, view.size)
                return Decoded(found.keypoints, found.scores, batch[found.source])

        begin, decoded = time.perf_counter(), list[Future[Decoded]]()
        views = read_ahead(read, rows.tolist(), threads, threads + size * data.prefetch)
        with ThreadPoolExecutor(1, thread_name_prefix="pose-decode") as pool:
            for start in range(0, len(rows), size):
                batch = rows[start : start + size]
                parts = [next(views) for _ in batch]
                view = parts[0] if len(parts) == 1 else View.joined(parts)
                with watch("network"):
                    raw = method.run(forward, view, (size,))
                decoded.append(pool.submit(decode, batch, view, raw))
                if len(decoded) > DECODE_AHEAD:  # bounds what waits, and lets an error show at once
                    decoded[-1 - DECODE_AHEAD].result()
                progress(len(batch))
            found = [future.result() for future in decoded]
        seconds = dict.fromkeys(("data", "network", "decode"), 0.0) | watch.seconds
        seconds["data"] /= threads
        seconds["wall"] = time.perf_counter() - begin
        return _gathered(found, ranks, self.skeleton.num_keypoints), seconds

    def to_results(self, people: Decoded) -> list[dict]:
        """COCO results of the people of the whole set: scored, without duplicates."""
        instances = self.set.instances
        chosen, _ = self.method.choose(people, instances)
        image_ids = instances.image_ids[chosen.source]
        return to_coco_results(chosen.keypoints, chosen.scores, image_ids, self.annotations.category_id)

    def save(self, outcome: Outcome, folder: Path) -> None:
        """Write keypoints_results.json and metrics.json: figures, mean error of each keypoint, speed, software."""
        write_json(folder / "keypoints_results.json", outcome.results)
        metrics = {
            **outcome.figures,
            "mean_keypoint_error": mean_keypoint_error(self._truth, outcome.results, self.skeleton),
            "instances": outcome.instances,
            "seconds": outcome.seconds,
            "instances_per_second": {k: outcome.instances / max(v, 1e-9) for k, v in outcome.seconds.items()},
            "software": software(),
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

    def _draw_one(self, row: int, results: list[dict], folder: Path) -> Path:
        joints, threshold = self.skeleton.num_keypoints, self.config.eval.visible_threshold
        image = read_image(self.images.files[row])
        predicted = np.array([r["keypoints"] for r in results], np.float32).reshape(-1, joints, 3)
        annotated = self.annotated.keypoints[self.annotated.image_index == row]
        picture = side_by_side(
            draw_poses(image, predicted, self.skeleton, threshold), draw_poses(image, annotated, self.skeleton, 0.5)
        )
        seen = self._seen.get(row)
        maps = self.method.codec.draw(seen[0], image, seen[1]) if seen else None
        if maps is not None:
            picture = np.vstack([picture, maps])
        path = folder / f"{self.images.files[row].stem}.jpg"
        write_image(path, picture)
        return path


def _gathered(parts: list[Decoded], ranks: Ranks, joints: int) -> Decoded:
    """What all ranks found, in the order of the set."""
    own = Decoded.joined(parts, joints)
    keypoints, scores, source = (
        np.concatenate(ranks.gather(column)) for column in (own.keypoints, own.scores, own.source)
    )
    order = np.argsort(source, kind="stable")
    return Decoded(keypoints[order], scores[order], source[order])


def describe_speed(outcome: Outcome) -> str:
    """One line: people or images a second, overall and by part; the parts overlap."""
    rate = {name: outcome.instances / max(seconds, 1e-9) for name, seconds in outcome.seconds.items()}
    labels = {"data": "data", "network": "network", "decode": "decoding"}
    parts = ", ".join(f"{label} {rate[part]:.0f}/s" for part, label in labels.items())
    return (
        f"{outcome.instances} {outcome.unit} in {outcome.seconds['wall']:.1f} s, {rate['wall']:.1f}/s "
        f"(overlapping: {parts})"
    )
