"""Person detections of a data set: what `eval.bbox_file` holds."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from mspose.config.schema import DataConfig
from mspose.data.categories import describe_others
from mspose.data.check import Entries, Report, check_boxes, left_out
from mspose.data.coco import Annotations, People, rows_of
from mspose.errors import PoseError
from mspose.files import file_fault, read_json

log = logging.getLogger("pose")


def detection_file(named: str, data: DataConfig) -> Path:
    """File of person detections: a relative path may start from the current folder or from `data.root`.

    Raises:
        PoseError: it is in neither, or no file.
    """
    for path in (Path(named), Path(data.root) / named):
        fault = file_fault(path)
        if not fault:
            return path
        if path.exists():
            raise PoseError(f"detection file (eval.bbox_file) {fault}: {path}")
    raise PoseError(
        f"detection file (eval.bbox_file) not found: {named}, here or below data.root {data.root}; "
        "eval.use_gt_bbox=true takes the annotated boxes"
    )


def load_detections(path: str | Path, annotations: Annotations, threshold: float = 0.0, check: bool = True) -> People:
    """Read person detections: a JSON list of {image_id, category_id, bbox, score}.

    Those of other categories than the annotations', of unknown pictures and with a score below `threshold` are left
    out, as is a box without any extent; how many is logged.

    Args:
        check: whether implausible boxes count (`data.check`).

    Raises:
        PoseError: missing or malformed file, none of its pictures is in the annotation file, or no box is left.
    """
    path, images, categories = Path(path), annotations.images, annotations.categories
    content = read_json(path, "detection file (eval.bbox_file)")
    wanted = "{image_id, category_id, bbox, score}"
    if not isinstance(content, list):
        raise PoseError(f"detection file must be a list of {wanted}: {path}")
    try:
        ids = [entry["category_id"] for entry in content]
        others = describe_others(ids, categories)
        chosen = [entry for entry in content if entry["category_id"] in categories]
    except (KeyError, TypeError) as error:
        raise PoseError(
            f"detection file: every entry needs image_id, category_id, bbox (4 numbers) and score: {path} "
            f"({type(error).__name__}: {error})"
        ) from error
    if others and not chosen:
        raise PoseError(f"detection file has no boxes of {categories}; {others}: {path}")
    report = Report(path, check)
    entries = Entries(chosen, report, "detection")
    what = f"every entry is {wanted}, with 4 numbers as bbox"
    rows, known = rows_of(entries.image_ids(), images.ids)
    scores = entries.column("score", what, None)
    boxes = entries.column("bbox", what, None, 4)
    report.raise_errors()
    if len(chosen) and not known.any():
        raise PoseError(f"detection file is of other pictures than the annotation file: {path}")
    reasons = {
        "of other pictures": ~known,
        f"with a score below {threshold:g} (eval.image_threshold)": scores < threshold,
        "without an extent": boxes[:, 2:].min(axis=1, initial=1) <= 0,
    }
    keep, words = left_out(reasons, len(chosen))
    if keep.any():
        kept = Entries([chosen[i] for i in np.flatnonzero(keep)], report, "detection")
        check_boxes(kept, boxes[keep], images.widths[rows[keep]], images.heights[rows[keep]])
    report.close()
    if others:
        log.info(f"{others}: {path}")
    log.info(f"loaded {int(keep.sum())} boxes of {categories} from {path}{words}")
    if not keep.any():
        raise PoseError(f"no box of {categories} is left to evaluate{words}: {path}")
    count = int(keep.sum())
    return People(
        ids=np.zeros(count, np.int64),
        image_index=rows[keep],
        boxes=boxes[keep],
        scores=scores[keep].astype(np.float32),
        keypoints=np.zeros((count, annotations.people.keypoints.shape[1], 3), np.float32),
        areas=(boxes[keep, 2] * boxes[keep, 3]).astype(np.float32),
        is_crowd=np.zeros(count, bool),
    )
