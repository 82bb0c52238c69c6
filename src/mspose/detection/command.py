"""What `mspose detect` does: find the people of a whole data set.

Writes the boxes for `eval.bbox_file`. The pictures are those of `data.val_set`; data.val_set=train2017 takes others.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import numpy as np

from mspose.config.keys import section_as
from mspose.config.schema import Config
from mspose.config.text import save_config
from mspose.config.topdown import TopDownDemo
from mspose.data.coco import Images, image_folder, load_split
from mspose.detection import Detector, build_detector, detector_kind
from mspose.detection.listed import ListedBoxes
from mspose.errors import PoseError
from mspose.files import atomic_group, write_json
from mspose.images import ImageError
from mspose.outputs import check_targets
from mspose.runtime.progress import Progress
from mspose.runtime.read_ahead import read_ahead, worker_threads
from mspose.runtime.results import results_folder
from mspose.skeleton import load_skeleton

log = logging.getLogger("pose")

NAME = "person_boxes"


def detect_people(config: Config) -> Path:
    """Run the configured detector over the evaluation set; returns the path of the written boxes.

    Raises:
        PoseError, UsageError: the set or the detector cannot be used, or none of the pictures can be read.
    """
    kind = detector_kind(config)
    with results_folder(config.runtime.output, "detect") as output:
        return _detect(config, kind, output)


def _detect(config: Config, kind: str, output: Path) -> Path:
    boxes, record = output / f"{NAME}.json", output / f"{NAME}.yaml"
    annotations = load_split(config.data, "val", load_skeleton(config.data.skeleton))
    images = annotations.images
    check_targets(config, [boxes, record], [record], images.files)
    detector, threshold = build_detector(config), section_as(config.demo, TopDownDemo).detector_threshold
    log.info(f"finding people in {len(images)} pictures: {kind}, boxes scored above {threshold}")
    begin = time.monotonic()
    with Progress(len(images), "detecting", "pictures") as progress:
        folder = image_folder(config.data, "val")
        results, skipped = detect_images(
            detector, images, folder, annotations.category_id, config.data.workers, progress
        )
    with atomic_group(boxes, record) as (found, configuration):
        save_config(config, configuration)
        write_json(found, results)
    seconds = time.monotonic() - begin
    done = len(images) - skipped
    log.info(
        f"{len(results)} boxes in {done} pictures in {seconds:.1f} s, {done / max(seconds, 1e-9):.1f}/s"
        + (f"; {skipped} skipped" if skipped else "")
    )
    log.info(f"boxes in {boxes}: python eval.py … eval.bbox_file={boxes}")
    return boxes


def detect_images(
    detector: Detector, images: Images, folder: Path, category_id: int, workers: int, progress: Progress
) -> tuple[list[dict], int]:
    """COCO detection results of all pictures, best box first, and how many pictures could not be read.

    Each has the `file_name` of its picture too, relative to `folder`, as the annotation file has it. Boxes are rounded
    to hundredths of a pixel, as in COCO's own files.

    Raises:
        PoseError: none of the pictures can be read, or the detector fails.
    """
    results, skipped = [], 0

    def attempt(row: int) -> np.ndarray | ImageError:
        try:
            return images.read(row)
        except ImageError as error:
            return error

    file_names = [os.path.relpath(path, folder) for path in images.files]
    if isinstance(detector, ListedBoxes):
        detector.expect({str(path.absolute()): name for path, name in zip(images.files, file_names)})
    for row, image in enumerate(read_ahead(attempt, range(len(images)), worker_threads(workers))):
        if isinstance(image, ImageError):
            skipped += 1
            progress.line(f"warning: skipped, {skipped} so far: {image}")
        else:
            found = detector(image, str(images.files[row].absolute()))
            results += [
                {
                    "image_id": int(images.ids[row]),
                    "file_name": file_names[row],
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
