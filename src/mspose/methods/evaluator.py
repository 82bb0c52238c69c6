"""Evaluation on COCO: pictures to people to AP, with every file a user may want beside it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mspose.codecs.base import Decoded, Maps
from mspose.data.coco import Images, People, labelled
from mspose.data.loader import BadImages, check_unreadable, unreadable
from mspose.errors import PoseError
from mspose.evaluation.coco import evaluate_keypoints, mean_keypoint_error, to_coco_results
from mspose.filenames import unique_names
from mspose.images import ImageError
from mspose.methods.base import Forward, Method, View, describe_faults
from mspose.runtime.progress import Progress
from mspose.runtime.ranks import ALONE, Ranks
from mspose.runtime.read_ahead import read_ahead, worker_threads
from mspose.runtime.timing import Stopwatch
from mspose.version import software
from mspose.visual import draw_poses, side_by_side, write_image

log = logging.getLogger("pose")

DECODE_AHEAD = 4  # batches that may wait to be decoded


@dataclass(frozen=True)
class Outcome:
    """What an evaluation gave.

    Attributes:
        figures: COCO's ten; none where nobody is annotated.
        results: the COCO results behind them.
        seconds: spent in `data` (reading threads, divided by their number), `network`, `decode`, and `wall`; the parts
            overlap.
        instances: what the network was run on, in `unit`: people (top-down) or images (bottom-up).
        skipped_images: pictures that could not be read; whoever is annotated in them counts as missed.
    """

    figures: Mapping[str, float]
    results: list[dict]
    seconds: Mapping[str, float]
    instances: int
    unit: str
    skipped_images: int = 0


class Evaluator:
    """Evaluates networks on the configured evaluation set; reads the set once, then serves many epochs.

    Args:
        annotated_boxes: look at annotated boxes, where boxes matter; otherwise at those that the section `eval` names.

    Raises:
        PoseError, UsageError: the set or the detections cannot be used (see `mspose.data.coco`).
    """

    def __init__(self, method: Method, annotated_boxes: bool = False) -> None:
        self.method, self.config, self.skeleton = method, method.config, method.skeleton
        self.annotations = method.load("val", truth=True)
        self.images: Images = self.annotations.images
        self._truth = self.annotations.truth or {}
        self.annotated: People = labelled(self.annotations)
        if self.annotations.is_annotated and not len(self.annotated):
            raise PoseError(
                f"nobody of {self.annotations.categories} with keypoints is annotated in the evaluation set: "
                f"{self.annotations.path}"
            )
        self.estimated_areas = self.annotations.estimated
        self.set = method.evaluation_set(self.annotations, self.annotated, annotated_boxes)
        self._names = unique_names(self.images.files)
        # Of the inputs from pictures to be drawn: merged maps (1, …), and the matrix (1, 2, 3) to the picture.
        self._seen: dict[int, tuple[Maps, np.ndarray] | None] = {}

    def __len__(self) -> int:
        return len(self.set.instances)

    def check_pictures(self, ranks: Ranks = ALONE) -> set[int]:
        """Read every picture of the set once, before work begins that would end at those that cannot be read.

        Returns:
            Rows of the few that cannot be, which evaluation leaves out and counts.

        Raises:
            PoseError: they are too many; some are named.
        """
        rows = np.unique(self.set.rows)
        own = unreadable(self.images, rows[ranks.share(len(rows))].tolist(), self.config.data.workers)
        found = [pair for part in ranks.gather_json(list(own.items())) for pair in part]
        check_unreadable([why for _, why in sorted(found)], len(rows), "evaluation set")
        return {row for row, _ in found}

    def run(self, forward: Forward, ranks: Ranks = ALONE) -> Outcome | None:
        """Find people and compute AP; None on ranks other than the first."""
        with Progress(len(ranks.share(len(self))), "evaluating", self.method.unit, lines=ranks.is_first) as progress:
            people, seconds, skipped = self.predict(forward, ranks, progress.advance)
        if not ranks.is_first:
            return None
        results = self.to_results(people)
        figures: Mapping[str, float] = {}
        if self.annotations.is_annotated:
            figures = evaluate_keypoints(self._truth, results, self.skeleton.sigmas)
        return Outcome(figures, results, seconds, len(self), self.method.unit, skipped)

    def predict(
        self, forward: Forward, ranks: Ranks, progress: Callable[[int], None]
    ) -> tuple[Decoded, dict[str, float], int]:
        """People of the whole set, in pixels of their pictures, the seconds spent, and how many pictures could not be
        read (see `Outcome`).

        Each rank runs the network on its share; what all found stands on every rank. Reading, network and decoding
        overlap. Every batch has the same size, since each new one costs a compilation.
        """
        method, data, watch = self.method, self.config.data, Stopwatch()
        rows, size, threads = ranks.share(len(self)), method.batch_size, worker_threads(data.workers)
        drawn = self.drawn_rows(self.config.eval.draw) if method.codec.draws else []
        self._seen = dict.fromkeys(np.flatnonzero(np.isin(self.set.rows, drawn)).tolist())
        bad_images, faults = BadImages(len(np.unique(self.set.rows)), "evaluation set"), method.faults
        cv2.setNumThreads(0)  # one picture a thread; OpenCV's own threads would only compete with these

        def read(row: int) -> View | None:
            with watch("data"):
                try:
                    return self.set.view(row)
                except ImageError as error:
                    bad_images.add(error)
                    return None

        def decode(batch: np.ndarray, view: View, raw: list[tuple[Maps, Maps | None]]) -> Decoded:
            with watch("decode"):
                maps = method.merge(raw, view.size)
                for place in np.flatnonzero(np.isin(batch, list(self._seen))).tolist():
                    one = slice(place, place + 1)
                    self._seen[int(batch[place])] = tuple(kind[one].copy() for kind in maps), view.to_image[one]
                found = method.people(maps, view.to_image, view.size)
                return Decoded(found.keypoints, found.scores, batch[found.source])

        begin, decoded = time.perf_counter(), list[Future[Decoded]]()
        reading = read_ahead(read, rows.tolist(), threads, threads + size * data.prefetch)
        # Closed here: left to be collected, it would swallow a Ctrl-C that comes meanwhile.
        with closing(reading) as views, ThreadPoolExecutor(1, thread_name_prefix="pose-decode") as pool:
            for start in range(0, len(rows), size):
                batch = rows[start : start + size]
                read_views = [next(views) for _ in batch]
                progress(len(batch))
                batch = batch[[view is not None for view in read_views]]
                parts = [view for view in read_views if view is not None]
                if not parts:
                    continue
                view = parts[0] if len(parts) == 1 else View.joined(parts)
                with watch("network"):
                    raw = method.run(forward, view, (size,))
                decoded.append(pool.submit(decode, batch, view, raw))
                if len(decoded) > DECODE_AHEAD:  # bounds what waits, and lets an error show at once
                    decoded[-1 - DECODE_AHEAD].result()
            found = [future.result() for future in decoded]
        seconds = dict.fromkeys(("data", "network", "decode"), 0.0) | watch.seconds
        seconds["data"] /= threads
        seconds["wall"] = time.perf_counter() - begin
        told = np.concatenate(ranks.gather(np.array([[method.faults - faults, len(bad_images)]])))
        faulty, skipped = told.sum(axis=0).tolist()
        if ranks.is_first:
            self._warn(faulty, skipped)
        return _gathered(found, ranks, self.skeleton.num_keypoints), seconds, skipped

    def _warn(self, faulty: int, skipped: int) -> None:
        if faulty:
            log.warning(f"warning: {describe_faults(faulty, len(self), self.method.unit)}")
        if skipped:
            log.warning(f"warning: {skipped} images could not be read; whoever is annotated in them counts as missed")

    def to_results(self, people: Decoded) -> list[dict]:
        """COCO results of the people of the whole set: scored, without duplicates."""
        instances = self.set.instances
        chosen, _ = self.method.choose(people, instances)
        image_ids = instances.image_ids[chosen.source]
        return to_coco_results(chosen.keypoints, chosen.scores, image_ids, self.annotations.category_id)

    def metrics(self, outcome: Outcome) -> dict[str, object]:
        """What metrics.json holds: figures, mean error of each keypoint, speed, software.

        Where areas are estimated, "comparable" is false; without annotations there are no figures.
        """
        return {
            **outcome.figures,
            **self._remarks(outcome),
            "instances": outcome.instances,
            "seconds": outcome.seconds,
            "instances_per_second": {k: outcome.instances / max(v, 1e-9) for k, v in outcome.seconds.items()},
            "software": software(),
        }

    def _remarks(self, outcome: Outcome) -> dict[str, object]:
        remarks: dict[str, object] = {}
        if outcome.figures:
            remarks["mean_keypoint_error"] = mean_keypoint_error(self._truth, outcome.results, self.skeleton)
            remarks["comparable"] = not self.estimated_areas
        if self.estimated_areas:
            remarks["estimated_areas"] = self.estimated_areas
        if outcome.skipped_images:
            remarks["skipped_images"] = outcome.skipped_images
        return remarks

    def drawn_rows(self, count: int) -> list[int]:
        """The first `count` pictures with annotated people, of a test set the first ones at all."""
        rows = self.annotated.image_index if self.annotations.is_annotated else self.set.rows
        return list(dict.fromkeys(rows.tolist()))[:count]

    def drawn_files(self, folder: Path, count: int) -> list[Path]:
        """The files that `draw` writes."""
        return [folder / f"{self._names[row]}.jpg" for row in self.drawn_rows(count)]

    def draw(self, outcome: Outcome, folder: Path, count: int) -> list[Path]:
        """Draw the first `count` pictures with annotated people: prediction and annotation side by side."""
        rows = self.drawn_rows(count)
        by_image: dict[int, list[dict]] = {}
        for result in outcome.results:
            by_image.setdefault(result["image_id"], []).append(result)
        drawn = [self._draw_one(row, by_image.get(int(self.images.ids[row]), []), folder) for row in rows]
        return [path for path in drawn if path is not None]

    def _draw_one(self, row: int, results: list[dict], folder: Path) -> Path | None:
        joints, threshold = self.skeleton.num_keypoints, self.config.eval.visible_threshold
        try:
            image = self.images.read(row)
        except ImageError:  # evaluation has told of it
            return None
        predicted = np.array([r["keypoints"] for r in results], np.float32).reshape(-1, joints, 3)
        annotated = self.annotated.keypoints[self.annotated.image_index == row]
        picture = side_by_side(
            draw_poses(image, predicted, self.skeleton, threshold), draw_poses(image, annotated, self.skeleton, 0.5)
        )
        seen = [kept for index, kept in self._seen.items() if kept is not None and self.set.rows[index] == row]
        if seen:
            maps = tuple(np.concatenate(kinds) for kinds in zip(*(maps for maps, _ in seen)))
            to_image = np.concatenate([matrix for _, matrix in seen])
            picture = np.vstack([picture, self.method.codec.draw(maps, image, to_image)])
        path = folder / f"{self._names[row]}.jpg"
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
