"""Boxes that are known already: a COCO JSON, of annotations or of detections, in place of a detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mspose.detection.boxes import Boxes, clipped
from mspose.errors import PoseError
from mspose.files import read_json
from mspose.images import ImageError

PERSON = 1  # COCO's category id


class ListedBoxes:
    """Looks the people of a picture up by its file name.

    A file of annotations (`images` and `annotations`) names its pictures. A list of detections (image_id, category_id,
    bbox, score) does not: there `000000000785.jpg`, or the frame 785 of a video, is the picture 785; or its image_ids
    are file names. Annotated crowds are no person's box; the other annotations have score 1.

    Args:
        path: the file.
        threshold: boxes with a lower score are left out.

    Raises:
        PoseError: the file is missing, malformed, or has no boxes of people.
    """

    def __init__(self, path: str | Path, threshold: float) -> None:
        self._path = path
        content: Any = read_json(path, "file of person boxes (demo.boxes)")
        names: dict[str, object] = {}
        try:
            if isinstance(content, dict):
                names = {Path(image["file_name"]).name: image["id"] for image in content["images"]}
                content = [entry for entry in content["annotations"] if not entry.get("iscrowd")]
            people = [entry for entry in content if entry.get("category_id", PERSON) == PERSON]
            ids = [entry["image_id"] for entry in people]
            boxes = np.array([entry["bbox"] for entry in people], np.float64).reshape(len(people), 4)
            scores = np.array([entry.get("score", 1.0) for entry in people], np.float64).reshape(len(people))
            self._known = {*ids, *names.values()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise PoseError(
                f"demo.boxes must be COCO annotations, or a list of {{image_id, category_id, bbox, score}}:"
                f" {path} ({type(error).__name__}: {error})"
            ) from error
        if not people:
            raise PoseError(f"demo.boxes has no boxes of people (category_id 1): {path}")
        kept = np.isfinite(boxes).all(axis=1) & (scores >= threshold)
        rows: dict[object, list[int]] = {}
        for row in np.flatnonzero(kept)[np.argsort(-scores[kept], kind="stable")]:
            rows.setdefault(ids[row], []).append(int(row))
        self._names, self._rows, self._boxes, self._scores = names, rows, boxes, scores
        self._by_file = any(isinstance(image_id, str) for image_id in ids)

    def __call__(self, image: np.ndarray, name: str = "") -> Boxes:
        """People listed for a picture (H, W, 3) uint8 BGR.

        Raises:
            ImageError: the file does not list a picture of that name.
        """
        rows = self._rows.get(self._image_id(name), [])
        return clipped(self._boxes[rows], self._scores[rows], (image.shape[1], image.shape[0]))

    def _image_id(self, name: str) -> object:
        file, stem = Path(name).name, Path(name).stem
        number = int(stem) if stem.isascii() and stem.isdigit() else None
        if file in self._names:
            return self._names[file]
        for candidate in (file, stem, number):
            if candidate in self._known:
                return candidate
        if name and not self._names and (self._by_file or number is not None):
            return None  # a list of detections has no entry for a picture in which nobody was found
        raise ImageError(f"not in {self._path} (demo.boxes), which knows pictures by file name")
