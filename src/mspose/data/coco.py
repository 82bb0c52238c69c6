"""COCO annotations as typed records, shared by every network.

An annotation file becomes `Images` and `People`: parallel arrays with one row a picture and one row an annotated
person, in the order of COCO's own API (image by image, then in file order). The arrays hold everything that was
annotated in the chosen categories (`data.category`); `labelled` selects what a top-down network is trained or evaluated
on. What is wrong with a file is found here, while it is read: see `mspose.data.check`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from mspose.config.schema import Config, DataConfig
from mspose.data.categories import Categories, choose_categories, describe_others
from mspose.data.check import Entries, Report, left_out, whole_numbers
from mspose.data.exif import Orientations, read_annotated
from mspose.errors import PoseError, one_line
from mspose.evaluation.areas import estimated_areas
from mspose.files import file_fault, read_json
from mspose.geometry import clip_boxes
from mspose.skeleton import Skeleton

log = logging.getLogger("pose")

_LONGEST_SIDE, _MOST_PIXELS = 1 << 20, 1 << 30  # of pictures that OpenCV reads


@dataclass(frozen=True)
class Images:
    """M pictures: ids (M,) int64, files (M paths), widths and heights (M,) int64 in pixels.

    `exif` says whether those that are stored turned are read so (`data.exif`).
    """

    ids: np.ndarray
    files: Sequence[Path]
    widths: np.ndarray
    heights: np.ndarray
    exif: str = "auto"
    _orientations: Orientations = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        orientations = Orientations(self.files, self.widths, self.heights, self.exif)
        object.__setattr__(self, "_orientations", orientations)

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, row: int) -> np.ndarray:
        """The picture of a row as (H, W, 3) uint8 BGR.

        Raises:
            ImageError: it cannot be read, or has another size than the annotation file says.
        """
        size, known = (int(self.widths[row]), int(self.heights[row])), self._orientations
        return read_annotated(self.files[row], size, known.tag(row), known.turns(row))


@dataclass(frozen=True)
class People:
    """N people as parallel arrays; coordinates in image pixels.

    Attributes:
        ids: (N,) int64 annotation ids; 0 for detections.
        image_index: (N,) int64 row of the person's picture in `Images`.
        boxes: (N, 4) float64 x, y, width, height.
        scores: (N,) float32 detection score; 1 for annotations.
        keypoints: (N, J, 3) float32 x, y, visibility (0 unlabelled, 1 hidden, 2 visible); all 0 for detections.
        areas: (N,) float32 segment area in square pixels; box area for detections.
        is_crowd: (N,) bool.
    """

    ids: np.ndarray
    image_index: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    keypoints: np.ndarray
    areas: np.ndarray
    is_crowd: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: np.ndarray) -> People:
        """The people of a boolean mask or of row numbers, in that order."""
        return People(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


@dataclass(frozen=True)
class Annotations:
    """An annotation file: its pictures, the people of the chosen categories, and the file's path.

    Attributes:
        segmentations: what the file has for each of the people (polygons, RLE or None), where it was asked for.
        truth: the people as `mspose.evaluation` compares results with them, where that was asked for.
        estimated: people with keypoints whose area the file lacks; it is that of the segmentation, or follows from the
            box.
        is_annotated: whether people are annotated at all: in test sets they are not.
    """

    images: Images
    people: People
    categories: Categories
    path: Path
    segmentations: Sequence[Any] | None = None
    truth: Mapping[str, Any] | None = None
    estimated: int = 0
    is_annotated: bool = True

    @property
    def category_id(self) -> int:
        """The category of results."""
        return self.categories.ids[0]


def annotation_file(data: DataConfig, split: str) -> Path:
    """Annotation file of "train" or "val": the explicit path or COCO's layout under `data.root`."""
    explicit = getattr(data, f"{split}_annotations")
    name = getattr(data, f"{split}_set")
    return Path(explicit) if explicit else Path(data.root) / "annotations" / f"person_keypoints_{name}.json"


def image_folder(data: DataConfig, split: str) -> Path:
    """Picture folder of "train" or "val": the explicit path or COCO's layout under `data.root`."""
    explicit = getattr(data, f"{split}_images")
    return Path(explicit) if explicit else Path(data.root) / getattr(data, f"{split}_set")


def check_there(data: DataConfig, split: str) -> Path:
    """Path of the annotation file of the "train" or "val" split.

    Raises:
        PoseError: there is none, and what to do where there is no data at all.
    """
    path = annotation_file(data, split)
    if not Path(data.root).exists() and Path(data.root) in path.parents:
        raise PoseError(
            f"annotation file not found: {path}; data.root={data.root} is where COCO is looked for "
            f"({_remedy(data.root)}; data.root=FOLDER names another place)"
        )
    fault = file_fault(path)
    if fault:
        raise PoseError(f"annotation file {fault}: {path}")
    return path


def check_evaluation(config: Config) -> None:
    """Whether there is a set to evaluate; see `check_there`."""
    check_there(config.data, "val")


def check_training(config: Config) -> None:
    """Whether there are the sets that training reads; see `check_there`."""
    for split in ("train", "val") if config.train.eval_epochs else ("train",):
        check_there(config.data, split)


def load_annotations(
    path: Path,
    folder: Path | None,
    skeleton: Skeleton,
    *,
    category: Sequence[str] = (),
    segmentations: bool = False,
    truth: bool = False,
    exif: str = "auto",
    report: Report | None = None,
) -> Annotations:
    """Read and check an annotation file in COCO's keypoint format; one without `annotations` is a test set.

    Args:
        folder: where its pictures are; only their presence is checked. None: they are not needed.
        category: `data.category`.
        segmentations: keep them, unchecked; for all of COCO they take more memory than everything else.
        truth: keep what evaluation needs.
        exif: `data.exif`.
        report: takes what is wrong with the people; by default warnings are logged, and the first error is raised.

    Raises:
        PoseError: missing or malformed file, keypoints of another skeleton, no pictures, or pictures missing on disk.
        UsageError: the category cannot be told or is not there.
    """
    content = read_json(path, "annotation file")
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise PoseError(f"annotation file has no images (not COCO format?): {path}")
    entries = content.get("annotations")
    if entries is not None and not isinstance(entries, list):
        raise PoseError(f"annotation file: annotations must be a list (not COCO format?): {path}")
    own, report = report is None, report or Report(path)
    images = _images(content["images"], folder, path, exif)
    _check_entries(entries or [], path)
    categories = choose_categories(content.get("categories"), category, skeleton, entries or [], path)
    Entries(entries or [], report).categories(content["categories"])
    others = describe_others([a["category_id"] for a in entries or []], categories, content.get("categories"))
    if others:
        log.info(f"{others}: {path}")
    chosen = [entry for entry in entries or [] if entry["category_id"] in categories]
    chosen, rows = _in_order(Entries(chosen, report), images)
    people, estimated, exact = _people(Entries(chosen, report), rows, images, skeleton)
    if own:
        report.close()
    return Annotations(
        images,
        people,
        categories,
        path,
        [entry.get("segmentation") for entry in chosen] if segmentations else None,
        _truth(images, people, *exact, categories) if truth else None,
        estimated,
        entries is not None,
    )


def load_split(
    data: DataConfig,
    split: str,
    skeleton: Skeleton,
    *,
    segmentations: bool = False,
    truth: bool = False,
    pictures: bool = True,
) -> Annotations:
    """`load_annotations` of the configured "train" or "val" split; without `pictures` they need not be there."""
    path = check_there(data, split)
    report = Report(path, data.check)
    annotations = load_annotations(
        path,
        image_folder(data, split) if pictures else None,
        skeleton,
        category=data.category,
        segmentations=segmentations,
        truth=truth,
        exif=data.exif,
        report=report,
    )
    report.close()
    return annotations


def _remedy(root: str) -> str:
    """How a data set gets where it is looked for: never drawn people where somebody expects COCO, nor the reverse."""
    if "sample" in Path(root).name:
        return f"mspose sample {root} draws a small data set there"
    return f"mspose download {root} fetches COCO 2017"


def labelled(annotations: Annotations) -> People:
    """People a top-down network learns from: no crowds, at least one labelled keypoint, a box inside the picture.

    Boxes are clipped to their pictures, as the SimpleBaselines loader does.
    """
    return _labelled(annotations)[0]


def describe_left_out(annotations: Annotations) -> str:
    """How many people `labelled` leaves out for which reason, to be put behind a line about the others."""
    return _labelled(annotations)[1]


def _labelled(annotations: Annotations) -> tuple[People, str]:
    images, people = annotations.images, annotations.people
    rows = people.image_index
    boxes = clip_boxes(people.boxes, images.widths[rows], images.heights[rows])
    sides = boxes[:, 2:]
    reasons = {
        "in crowds": people.is_crowd,
        "without keypoints": people.keypoints.max(axis=(1, 2), initial=0) <= 0,
        "whose box shows nothing of the picture": (sides < 0).any(axis=1) | (sides <= 0).all(axis=1),
        "without an area": people.areas <= 0,
    }
    keep, words = left_out(reasons, len(people))
    return replace(people, boxes=boxes).select(keep), words


def _images(entries: list[dict], folder: Path | None, path: Path, exif: str) -> Images:
    if not entries:
        raise PoseError(f"annotation file lists no images: {path}")
    try:
        names = [entry["file_name"] for entry in entries]
        if not all(isinstance(name, str) for name in names):
            raise TypeError("a file_name is not text")
        numbers = whole_numbers([(entry["id"], entry["width"], entry["height"]) for entry in entries])
    except (KeyError, TypeError, ValueError) as error:
        raise PoseError(
            f"annotation file: every image needs id, file_name, width and height: {path} "
            f"({type(error).__name__}: {error})"
        ) from error
    if len(np.unique(numbers[:, 0])) != len(numbers):
        raise PoseError(f"annotation file lists an image id twice: {path}")
    sides = numbers[:, 1:]
    impossible = (sides <= 0).any(axis=1) | (sides > _LONGEST_SIDE).any(axis=1) | (sides.prod(axis=1) > _MOST_PIXELS)
    if impossible.any():
        number, width, height = numbers[impossible.argmax()].tolist()
        raise PoseError(f"annotation file: image {number} is {width}x{height} pixels large: {path}")
    if folder is None:
        folder = Path()
    else:
        _check_present(names, folder)
    return Images(numbers[:, 0], [folder / name for name in names], numbers[:, 1], numbers[:, 2], exif)


def _check_present(names: list[str], folder: Path) -> None:
    if not folder.is_dir():
        raise PoseError(f"image folder not found: {folder} (set data.root, or the folder itself)")
    present = set(os.listdir(folder))  # one listing: asking for each of 118,287 files takes seconds on a network disk
    missing = [name for name in names if name not in present and not (folder / name).is_file()]
    if missing:
        raise PoseError(f"{len(missing)} of {len(names)} images are missing in {folder}, such as {missing[0]}")


def _check_entries(entries: list, path: Path) -> None:
    row = 0
    try:
        while row < len(entries):
            hash((entries[row]["category_id"], entries[row]["image_id"]))
            row += 1
    except (KeyError, TypeError) as error:
        number = entries[row].get("id") if isinstance(entries[row], dict) else None
        name = f"number {row} (counted from 0)" if number is None else one_line(number, 20)
        raise PoseError(
            f"annotation file: every annotation needs image_id and category_id, annotation {name} does not have them: "
            f"{path} ({type(error).__name__}: {error})"
        ) from error


def _in_order(entries: Entries, images: Images) -> tuple[list[Mapping], np.ndarray]:
    """The annotations image by image, as COCO's API walks them, and the rows of their pictures."""
    rows, known = rows_of(entries.image_ids(), images.ids)
    entries.error(np.flatnonzero(~known), "is of an image that is not listed")
    entries.report.raise_errors()  # where nobody knows whose they are, nothing else can be told
    order = np.argsort(rows, kind="stable")
    return [entries.entries[i] for i in order.tolist()], rows[order]


def _people(
    entries: Entries, rows: np.ndarray, images: Images, skeleton: Skeleton
) -> tuple[People, int, tuple[np.ndarray, np.ndarray]]:
    """The people of annotations, how many areas are estimated, and keypoints and areas as exact as the file's."""
    boxes = entries.column("bbox", "a bbox is x, y, width, height", None, 4)
    keypoints = entries.keypoints(skeleton)
    areas = entries.column("area", "an area is a number", 0.0)
    crowds = entries.crowds()
    entries.error(np.flatnonzero((boxes[:, 2:] < 0).any(axis=1)), "has a bbox of negative width or height")
    entries.error(np.flatnonzero(areas < 0), "has a negative area")
    seen = (keypoints[..., 2] > 0).sum(axis=1)
    if not entries.report.errors:
        entries.counts(seen)
    entries.plausible(boxes, keypoints, areas, images.widths[rows], images.heights[rows])
    bare = areas == 0
    telling = bare & (seen > 0) & ~crowds
    if bare.any():
        those = np.flatnonzero(bare)
        areas[those] = estimated_areas([entries.entries[i].get("segmentation") for i in those.tolist()], boxes[those])
        words = "have no area: it is estimated, and the AP not comparable with that of other programs"
        entries.warn(telling, words, shows=False)
    entries.report.odd = entries.odd
    people = People(
        ids=_ids(entries.entries),
        image_index=rows,
        boxes=boxes,
        scores=np.ones(len(rows), np.float32),
        keypoints=keypoints.astype(np.float32),
        areas=areas.astype(np.float32),
        is_crowd=crowds,
    )
    return people, int(telling.sum()), (keypoints, areas)


def _ids(entries: Sequence[Mapping]) -> np.ndarray:
    """The file's ids, for messages; numbers in order of the people where it has others, or none."""
    try:
        return whole_numbers([entry["id"] for entry in entries])
    except (KeyError, TypeError, ValueError):
        return np.arange(len(entries))


def _truth(
    images: Images, people: People, keypoints: np.ndarray, areas: np.ndarray, categories: Categories
) -> Mapping[str, Any]:
    """What COCO's metric reads, of one category."""
    category = categories.ids[0]
    columns = zip(
        images.ids[people.image_index].tolist(),
        people.is_crowd.astype(int).tolist(),
        (keypoints[..., 2] > 0).sum(axis=1).tolist(),
        keypoints.reshape(len(people), 3 * keypoints.shape[1]).tolist(),
        areas.tolist(),
        people.boxes.tolist(),
    )
    names = ("image_id", "iscrowd", "num_keypoints", "keypoints", "area", "bbox")
    return {
        "images": [{"id": number} for number in images.ids.tolist()],
        "annotations": [{"category_id": category, **dict(zip(names, values))} for values in columns],
        "categories": [{"id": category}],
    }


def rows_of(values: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row in `table` of each value, and whether it is there at all."""
    order = np.argsort(table, kind="stable")
    position = np.minimum(np.searchsorted(table[order], values), len(table) - 1)
    rows = order[position]
    return rows, table[rows] == values
