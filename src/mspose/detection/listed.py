"""Boxes that are known already: a COCO JSON, of annotations or of detections, in place of a detector."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from mspose.data.categories import box_categories, choose_categories, describe_others
from mspose.data.check import Entries, Report, check_boxes, left_out
from mspose.detection.boxes import Boxes, clipped
from mspose.errors import PoseError
from mspose.files import read_json
from mspose.images import ImageError
from mspose.skeleton import Skeleton

log = logging.getLogger("pose")


class ListedBoxes:
    """Looks the people of a picture up by its file name.

    A file of annotations (`images` and `annotations`) names its pictures, and so do detections that were written here
    (`file_name`). The names may have folders: then the picture must lie in folders of those names. Other lists of
    detections (image_id, category_id, bbox, score) name nothing: there `000000000785.jpg`, or the frame 785 of a video,
    is the picture 785; or its image_ids are file names. Annotated crowds are no person's box; the other annotations
    have score 1. Boxes without a category_id are of people.

    Args:
        path: the file.
        threshold: boxes with a lower score are left out.
        category: `data.category`; empty: in annotations what fits the skeleton or is called person, in a list the only
            one or COCO's person.
        check: whether implausible boxes count (`data.check`).

    Attributes:
        category_id: of the boxes.

    Raises:
        PoseError: the file is missing, malformed, or has no boxes of the category.
        UsageError: which category is meant cannot be told.
    """

    def __init__(
        self,
        path: str | Path,
        threshold: float,
        skeleton: Skeleton,
        category: Sequence[str] = (),
        check: bool = True,
    ) -> None:
        self._path = path
        content: Any = read_json(path, "file of person boxes (demo.boxes)")
        names: list[tuple[str, object]] = []
        known: object = None
        sizes: dict[object, tuple[float, float]] = {}
        self._is_annotated = isinstance(content, dict)
        try:
            if self._is_annotated:
                names = [(image["file_name"], image["id"]) for image in content["images"]]
                sized = [image for image in content["images"] if "width" in image and "height" in image]
                sizes = {image["id"]: (float(image["width"]), float(image["height"])) for image in sized}
                known, content = content.get("categories"), content["annotations"]
            else:  # of a video's people, `file_name` is the video
                names = [(e["file_name"], e["image_id"]) for e in content if "file_name" in e and "frame" not in e]
            if known:
                categories = choose_categories(known, category, skeleton, content, path, for_boxes=True)
            else:
                categories = box_categories(_categories(content), category, path)
            ids = [entry.get("category_id", categories.ids[0]) for entry in content]
            chosen = [entry for entry, number in zip(content, ids) if number in categories]
            others = describe_others(ids, categories, known)
            named = {(PurePath(name).as_posix(), image_id) for name, image_id in names}
            self._names: dict[str, object] = dict(named)
            self._known = {*(entry["image_id"] for entry in chosen), *self._names.values()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise PoseError(
                f"demo.boxes must be COCO annotations, or a list of {{image_id, category_id, bbox, score}}:"
                f" {path} ({type(error).__name__}: {error})"
            ) from error
        if not chosen:
            raise PoseError(f"demo.boxes has no boxes of {categories}{f'; {others}' if others else ''}: {path}")
        if len(named) > len(self._names):
            twice = next(name for name, count in Counter(name for name, _ in named).items() if count > 1)
            raise PoseError(f"demo.boxes has two pictures called {twice}: {path}")
        report = Report(path, check)
        entries = Entries(chosen, report, "annotation" if self._is_annotated else "detection")
        # The demo's own predictions say `box`, see `mspose.demo.outputs`.
        name = "box" if all("box" in entry and "bbox" not in entry for entry in chosen) else "bbox"
        boxes = entries.column(name, "a bbox is x, y, width, height", None, 4)
        scores = entries.column("score", "a score is a number", 1.0)
        crowds = entries.crowds()
        report.raise_errors()
        if all(entry["image_id"] in sizes for entry in chosen):
            widths, heights = np.array([sizes[entry["image_id"]] for entry in chosen]).T
            check_boxes(entries, boxes, widths, heights)
        report.close()
        reasons = {
            "in crowds": crowds,
            f"with a score below {threshold:g} (demo.detector_threshold)": scores < threshold,
            "without an extent": boxes[:, 2:].min(axis=1) <= 0,
        }
        kept, words = left_out(reasons, len(chosen))
        if others:
            log.info(f"{others}: {path}")
        log.info(f"{int(kept.sum())} boxes of {categories} from {path}{words}")
        rows: dict[object, list[int]] = {}
        for row in np.flatnonzero(kept)[np.argsort(-scores[kept], kind="stable")].tolist():
            rows.setdefault(chosen[row]["image_id"], []).append(row)
        self.category_id = categories.ids[0]
        self._rows, self._boxes, self._scores = rows, boxes, scores
        self._by_file = any(isinstance(entry["image_id"], str) for entry in chosen)
        self._namesakes: dict[str, list[object]] = {}  # entries by file name without folders
        for name, key in self._names.items():
            self._namesakes.setdefault(PurePath(name).name, []).append(key)
        # Which pictures each entry was found for, and which one of them has its very name.
        self._found: dict[object, set[str]] = {}
        self._exact: dict[object, str] = {}

    def expect(self, pictures: Mapping[str, str]) -> None:
        """Say beforehand which pictures there will be, so that two of one name do not get the boxes of one.

        Args:
            pictures: names as in a call → names relative to the folder that all of them are in.
        """
        for name, relative in pictures.items():
            key = self._names.get(relative)
            if key is not None:
                self._exact[key] = name
        for name in pictures:
            try:
                self._remember(name)
            except ImageError:
                continue  # a call says so

    def __call__(self, image: np.ndarray, name: str = "") -> Boxes:
        """People listed for a picture (H, W, 3) uint8 BGR.

        Args:
            name: path of the picture, or number of the frame.

        Raises:
            ImageError: the file does not list a picture of that name, or it may be that of another picture.
        """
        key = self._remember(name)
        others = self._found.get(key, set()) - {name}
        if key in self._exact and self._exact[key] != name:
            raise ImageError(f"not in {self._path} (demo.boxes), which has {self._exact[key]} of that name")
        if others and key not in self._exact:
            raise ImageError(f"in {self._path} (demo.boxes) it cannot be told from {min(others)}")
        rows = self._rows.get(key, [])
        return clipped(self._boxes[rows], self._scores[rows], (image.shape[1], image.shape[0]))

    def _remember(self, name: str) -> object:
        key = self._image_id(name)
        if key is not None:
            self._found.setdefault(key, set()).add(name)
        return key

    def _image_id(self, name: str) -> object:
        """The entry of a picture; None where a list of detections has none, since nobody was found in it."""
        path = PurePath(name)
        for start in range(len(path.parts)):
            tail = PurePath(*path.parts[start:]).as_posix()
            if tail in self._names:
                return self._names[tail]
        file, stem = path.name, path.stem
        # That of another picture is none of this one's business.
        if any(key not in self._exact for key in self._namesakes.get(file, ())):
            raise ImageError(f"{self._path} (demo.boxes) has a picture of that name in another folder only")
        number = int(stem) if stem.isascii() and stem.isdigit() else None
        for candidate in (file, stem, number) if not self._names else (number,) if file == stem else ():
            if candidate in self._known:
                return candidate
        if name and not self._is_annotated and (self._names or self._by_file or number is not None):
            return None
        raise ImageError(f"not in {self._path} (demo.boxes), which knows pictures by file name")


def _categories(entries: Any) -> list[object]:
    return [entry["category_id"] for entry in entries if "category_id" in entry]
