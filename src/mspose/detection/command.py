"""What `mspose detect` does: find the people of a whole data set.

Writes the boxes for `eval.bbox_file`. The pictures are those of `data.val_set`; data.val_set=train2017 takes others.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np

from mspose.config.builder import save_config
from mspose.config.schema import Config, section_as
from mspose.config.topdown import TopDownDemo
from mspose.data.coco import Images, load_split
from mspose.detection import Detector, build_detector, detector_kind
from mspose.errors import PoseError
from mspose.files import check_writable, write_json
from mspose.images import ImageError
from mspose.runtime.progress import Progress
from mspose.runtime.read_ahead import read_ahead, worker_threads
from mspose.skeleton import load_skeleton

log = logging.getLogger("pose")

NAME = "person_boxes"


def detect_people(config: Config) -> Path:
    """Run the configured detector over the evaluation set; returns the path of the written boxes.

    Raises:
        PoseError, UsageError: the set or the detector cannot be used, or none of the pictures can be read.
    """
    kind = detector_kind(config)
    folder = check_writable(config.runtime.output)
    annotations = load_split(config.data, "val", load_skeleton(config.data.skeleton))
    images = annotations.images
    detector, threshold = build_detector(config), section_as(config.demo, TopDownDemo).detector_threshold
    log.info(f"finding people in {len(images)} pictures: {kind}, boxes scored above {threshold}")
    begin = time.monotonic()
    with Progress(len(images), "detecting", "pictures") as progress:
        results, skipped = detect_images(detector, images, annotations.category_id, config.data.workers, progress)
    path = write_json(folder / f"{NAME}.json", results)
    save_config(config, folder / f"{NAME}.yaml")
    seconds = time.monotonic() - begin
    done = len(images) - skipped
    log.info(
        f"{len(results)} boxes in {done} pictures in {seconds:.1f} s, {done / max(seconds, 1e-9):.1f}/s"
        + (f"; {skipped} skipped" if skipped else "")
    )
    log.info(f"boxes in {path}: python eval.py … eval.bbox_file={path}")
    return path


def detect_images(
    detector: Detector, images: Images, category_id: int, workers: int, progress: Progress
) -> tuple[list[dict], int]:
    """COCO detection results of all pictures, best box first, and how many pictures could not be read.

    Boxes are rounded to hundredths of a pixel, as in COCO's own files.

    Raises:
        PoseError: none of the pictures can be read, or the detector fails.
    """
    results, skipped = [], 0

    def attempt(row: int) -> np.ndarray | ImageError:
        try:
            return images.read(row)
        except ImageError as error:
            return error

    for row, image in enumerate(read_ahead(attempt, range(len(images)), worker_threads(workers))):
        if isinstance(image, ImageError):
            skipped += 1
            progress.line(f"warning: skipped, {skipped} so far: {image}")
        else:
            found = detector(image, images.files[row].name)
            results += [
                {
                    "image_id": int(images.ids[row]),
                    "category_id": category_id,
                    "bbox": [round(float(value), 2) for value in box],
                    "score": round(float(score), 5),
                }
                for box, score in zip(found.boxes, found.scores)
            ]
        progress.advance(1)
    if skipped == len(images):
        raise PoseError(f"none of the {skipped} pictures can be read, such as {images.files[0]}")
    return results, skipped
