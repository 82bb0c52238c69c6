"""COCO annotations and person detections as typed records, shared by every network.

An annotation file becomes `Images` and `People`: parallel arrays with one row a picture and one row an annotated
person, in the order of COCO's own API (image by image, then in file order). The arrays hold everything that was
annotated; `labelled` and `load_detections` select what a top-down network is trained or evaluated on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from mspose.config.schema import DataConfig
from mspose.errors import PoseError
from mspose.files import read_json
from mspose.geometry import clip_boxes
from mspose.images import ImageError, read_image
from mspose.skeleton import Skeleton


@dataclass(frozen=True)
class Images:
    """M pictures: ids (M,) int64, files (M paths), widths and heights (M,) int64 in pixels."""

    ids: np.ndarray
    files: Sequence[Path]
    widths: np.ndarray
    heights: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, row: int) -> np.ndarray:
        """The picture of a row as (H, W, 3) uint8 BGR.

        Raises:
            ImageError: it cannot be read, or has another size than the annotation file says.
        """
        image = read_image(self.files[row])
        width, height = self.widths[row], self.heights[row]
        if image.shape[:2] != (height, width):
            raise ImageError(
                f"image is {image.shape[1]}x{image.shape[0]}, annotated as {width}x{height}: {self.files[row]}"
            )
        return image


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
    """An annotation file: its pictures, all its people, the category id of people, and the file's path.

    `segmentations` holds what the file has for each of the people (polygons, RLE or None), where it was asked for.
    """

    images: Images
    people: People
    category_id: int
    path: Path
    segmentations: Sequence[Any] | None = None


def annotation_file(data: DataConfig, split: str) -> Path:
    """Annotation file of "train" or "val": the explicit path or COCO's layout under `data.root`."""
    explicit = getattr(data, f"{split}_annotations")
    name = getattr(data, f"{split}_set")
    return Path(explicit) if explicit else Path(data.root) / "annotations" / f"person_keypoints_{name}.json"


def image_folder(data: DataConfig, split: str) -> Path:
    """Picture folder of "train" or "val": the explicit path or COCO's layout under `data.root`."""
    explicit = getattr(data, f"{split}_images")
    return Path(explicit) if explicit else Path(data.root) / getattr(data, f"{split}_set")


def detection_file(named: str, data: DataConfig) -> Path:
    """File of person detections: a relative path may start from the current folder or from `data.root`.

    Raises:
        PoseError: it is in neither.
    """
    for path in (Path(named), Path(data.root) / named):
        if path.is_file():
            return path
    raise PoseError(
        f"detection file (eval.bbox_file) not found: {named}, here or below data.root {data.root}; "
        "eval.use_gt_bbox=true takes the annotated boxes"
    )


def load_annotations(path: Path, folder: Path, skeleton: Skeleton, segmentations: bool = False) -> Annotations:
    """Read and check an annotation file in COCO's keypoint format.

    Args:
        folder: where its pictures are; only their presence is checked.
        segmentations: keep them, unchecked; for all of COCO they take more memory than everything else.

    Raises:
        PoseError: missing or malformed file, keypoints of another skeleton, no pictures, or pictures missing on disk.
    """
    content = read_json(path, "annotation file")
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in ("images", "annotations")):
        raise PoseError(f"annotation file has no images and annotations (not COCO format?): {path}")
    category = _category(content.get("categories"), skeleton, path)
    images = _images(content["images"], folder, path)
    people, entries = _people(content["annotations"], images, category, skeleton, path)
    kept = [entry.get("segmentation") for entry in entries] if segmentations else None
    return Annotations(images, people, category, path, kept)


def load_split(data: DataConfig, split: str, skeleton: Skeleton, segmentations: bool = False) -> Annotations:
    """`load_annotations` of the configured "train" or "val" split."""
    path = annotation_file(data, split)
    if not Path(data.root).exists() and Path(data.root) in path.parents:
        raise PoseError(
            f"annotation file not found: {path}; data.root={data.root} is where COCO is looked for "
            f"(mspose download {data.root} fetches it, mspose sample data/sample draws a small data set)"
        )
    return load_annotations(path, image_folder(data, split), skeleton, segmentations)


def labelled(annotations: Annotations) -> People:
    """People a top-down network learns from: no crowds, at least one labelled keypoint, a box inside the picture.

    Boxes are clipped to their pictures, as the SimpleBaselines loader does.
    """
    images, people = annotations.images, annotations.people
    rows = people.image_index
    boxes = clip_boxes(people.boxes, images.widths[rows], images.heights[rows])
    keep = ~people.is_crowd & (people.keypoints.max(axis=(1, 2), initial=0) > 0) & (people.areas > 0)
    keep &= (boxes[:, 2:].min(axis=1, initial=np.inf) >= 0) & (boxes[:, 2:].max(axis=1, initial=0) > 0)
    return replace(people, boxes=boxes).select(keep)


def load_detections(path: str | Path, annotations: Annotations, threshold: float = 0.0) -> People:
    """Read person detections: a JSON list of {image_id, category_id, bbox, score}.

    Detections of other categories, of unknown pictures and with a score below `threshold` are left
    out, as is a box without any extent.

    Raises:
        PoseError: missing or malformed file, or none of its pictures is in the annotation file.
    """
    path, images = Path(path), annotations.images
    content = read_json(path, "detection file (eval.bbox_file)")
    if not isinstance(content, list):
        raise PoseError(f"detection file must be a list of {{image_id, category_id, bbox, score}}: {path}")
    try:
        content = [d for d in content if d["category_id"] == annotations.category_id]
        image_ids = _numbers([d["image_id"] for d in content], np.int64)
        scores = _numbers([d["score"] for d in content], np.float32)
        boxes = _numbers([d["bbox"] for d in content], np.float64).reshape(len(content), 4)
    except (KeyError, TypeError, ValueError) as error:
        raise PoseError(
            f"detection file: every entry needs image_id, category_id, bbox (4 numbers) and score: {path} "
            f"({type(error).__name__}: {error})"
        ) from error
    rows, known = _rows_of(image_ids, images.ids)
    if len(content) and not known.any():
        raise PoseError(f"detection file is of other pictures than the annotation file: {path}")
    keep = known & (scores >= threshold) & np.isfinite(boxes).all(axis=1) & (boxes[:, 2:].min(axis=1, initial=1) > 0)
    count = int(keep.sum())
    return People(
        ids=np.zeros(count, np.int64),
        image_index=rows[keep],
        boxes=boxes[keep],
        scores=scores[keep],
        keypoints=np.zeros((count, annotations.people.keypoints.shape[1], 3), np.float32),
        areas=(boxes[keep, 2] * boxes[keep, 3]).astype(np.float32),
        is_crowd=np.zeros(count, bool),
    )


def _category(categories: object, skeleton: Skeleton, path: Path) -> int:
    """Id of the category whose keypoints these are: the one called person, else the first that has keypoints."""
    entries = [c for c in categories if isinstance(c, dict) and "id" in c] if isinstance(categories, list) else []
    chosen = next((c for c in entries if c.get("name") == "person"), None)
    chosen = chosen or next((c for c in entries if c.get("keypoints")), None)
    if chosen is None:
        raise PoseError(f"annotation file has no category called person and none with keypoints: {path}")
    names = chosen.get("keypoints")
    if names and names != list(skeleton.keypoints):
        names = names if isinstance(names, list) else [names]
        raise PoseError(
            f"annotation file does not match data.skeleton {skeleton.name!r}: it has {len(names)} keypoints "
            f"({', '.join(map(str, names[:3]))}, …), the skeleton {skeleton.num_keypoints} "
            f"({', '.join(skeleton.keypoints[:3])}, …): {path}"
        )
    return chosen["id"]


def _images(entries: list[dict], folder: Path, path: Path) -> Images:
    if not entries:
        raise PoseError(f"annotation file lists no images: {path}")
    try:
        names = [entry["file_name"] for entry in entries]
        if not all(isinstance(name, str) for name in names):
            raise TypeError("a file_name is not text")
        numbers = _numbers([(entry["id"], entry["width"], entry["height"]) for entry in entries], np.int64)
    except (KeyError, TypeError, ValueError) as error:
        raise PoseError(
            f"annotation file: every image needs id, file_name, width and height: {path} "
            f"({type(error).__name__}: {error})"
        ) from error
    if len(np.unique(numbers[:, 0])) != len(numbers):
        raise PoseError(f"annotation file lists an image id twice: {path}")
    if not folder.is_dir():
        raise PoseError(f"image folder not found: {folder} (set data.root, or the folder itself)")
    present = set(os.listdir(folder))  # one listing: asking for each of 118,287 files takes seconds on a network disk
    missing = [name for name in names if name not in present and not (folder / name).is_file()]
    if missing:
        raise PoseError(f"{len(missing)} of {len(names)} images are missing in {folder}, such as {missing[0]}")
    return Images(numbers[:, 0], [folder / name for name in names], numbers[:, 1], numbers[:, 2])


def _people(
    annotations: list[dict], images: Images, category: int, skeleton: Skeleton, path: Path
) -> tuple[People, list[dict]]:
    """The people of the category, and the file's entries they were made of, in the same order."""
    joints = skeleton.num_keypoints
    try:
        annotations = [a for a in annotations if a["category_id"] == category]
        image_ids = _numbers([a["image_id"] for a in annotations], np.int64)
        rows, known = _rows_of(image_ids, images.ids)
        if not known.all():
            raise PoseError(
                f"annotation file: annotation {annotations[int(np.argmin(known))].get('id')} is of image "
                f"{image_ids[np.argmin(known)]}, which is not listed: {path}"
            )
        # COCO's API walks image by image; a stable sort gives the same order.
        order = np.argsort(rows, kind="stable")
        annotations = [annotations[i] for i in order]
        blank = [0] * (3 * joints)
        keypoints = [a.get("keypoints") or blank for a in annotations]
    except (KeyError, TypeError, ValueError) as error:
        raise PoseError(
            f"annotation file: every annotation needs image_id and category_id: {path} "
            f"({type(error).__name__}: {error})"
        ) from error
    for annotation, values in zip(annotations, keypoints):
        if not isinstance(values, list) or len(values) != 3 * joints:
            found = f"{len(values) / 3:g}" if isinstance(values, list) else repr(values)
            raise PoseError(
                f"annotation {annotation.get('id')} has {found} keypoints, the skeleton "
                f"{skeleton.name!r} has {joints} (data.skeleton): {path}"
            )
    count = len(annotations)
    try:
        boxes = _numbers([a["bbox"] for a in annotations], np.float64).reshape(count, 4)
        people = People(
            ids=_numbers([a.get("id", 0) for a in annotations], np.int64),
            image_index=rows[order],
            boxes=boxes,
            scores=np.ones(count, np.float32),
            keypoints=_numbers(keypoints, np.float32).reshape(count, joints, 3),
            areas=_numbers([a.get("area", a["bbox"][2] * a["bbox"][3]) for a in annotations], np.float32),
            is_crowd=np.array([bool(a.get("iscrowd", 0)) for a in annotations], bool),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise PoseError(
            f"annotation file: bbox must be 4 numbers, keypoints {3 * joints}, area one: {path} "
            f"({type(error).__name__}: {error})"
        ) from error
    finite = np.isfinite(people.boxes).all(axis=1) & np.isfinite(people.keypoints).all(axis=(1, 2))
    finite &= np.isfinite(people.areas)
    if not finite.all():
        bad = people.ids[np.argmin(finite)]
        raise PoseError(f"annotation {bad} has a bbox, keypoints or an area that are not finite: {path}")
    return people, annotations


def _numbers(values: list, dtype: type) -> np.ndarray:
    """An array of the numbers in nested lists; text raises, where NumPy would convert it and COCO's API would not."""
    array = np.array(values)
    if array.dtype.kind not in "biuf":
        raise TypeError("text, null or a huge number where numbers belong")
    with np.errstate(invalid="ignore", over="ignore"):
        numbers: np.ndarray = array.astype(dtype)
    if np.issubdtype(dtype, np.integer) and (numbers != array).any():
        raise ValueError("not a whole number")
    return numbers


def _rows_of(values: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row in `table` of each value, and whether it is there at all."""
    order = np.argsort(table, kind="stable")
    position = np.minimum(np.searchsorted(table[order], values), len(table) - 1)
    rows = order[position]
    return rows, table[rows] == values
