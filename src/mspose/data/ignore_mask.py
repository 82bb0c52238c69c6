"""Ignore masks: where a bottom-up network must not be told that nobody is there.

Crowds, and people who are too small or have too few labelled keypoints to be learnt from, are in the picture but not
in the targets; the loss leaves their pixels out. The masks are computed from the annotations while training. This
command writes them to `ignore_mask_train/` and `ignore_mask_val/` beside the folders of pictures instead, for tools
that expect them there; `data.mask_dir` reads such a folder:

    mspose ignore-mask --train_ann FILE --val_ann FILE --train_dir DIR --val_dir DIR [--skeleton FILE]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from mspose.data.check import left_out
from mspose.data.coco import Annotations, Images, People, load_annotations
from mspose.errors import PoseError
from mspose.evaluation.areas import decompress
from mspose.extras import need
from mspose.files import atomic_path, file_fault, user_path
from mspose.images import ImageError, silence_opencv
from mspose.skeleton import load_skeleton

# Whom OpenPose learns from: at least this many labelled keypoints of COCO's 17, on more than 32 × 32 pixels.
MIN_KEYPOINTS = 5
MIN_AREA = 1024.0

# One person's pixels: K polygons (2n,) float64 x, y, x, y, …, or COCO's compressed run lengths {size, counts}.
Segmentation = list[np.ndarray] | dict[str, Any]


def usable(people: People, min_keypoints: int | None = None, min_area: float = MIN_AREA) -> np.ndarray:
    """Which people (N,) a bottom-up network learns from, as `select_usable` does."""
    return select_usable(people, min_keypoints, min_area)[0]


def select_usable(people: People, min_keypoints: int | None, min_area: float) -> tuple[np.ndarray, str]:
    """Whom a bottom-up network learns from: not crowds, enough labelled keypoints, large enough.

    Args:
        min_keypoints: None: as many as fit the skeleton.
        min_area: square pixels that the segment must exceed.

    Returns:
        (N,) bool, and how many are left out for which reason, to be put behind a line about the others.
    """
    least = default_min_keypoints(people.keypoints.shape[1]) if min_keypoints is None else min_keypoints
    seen = (people.keypoints[..., 2] > 0).sum(axis=1)
    reasons = {
        "in crowds": people.is_crowd,
        "without keypoints": (seen == 0) & (least > 0),
        f"with fewer than {least} labelled keypoints (data.min_keypoints)": seen < least,
        f"on at most {min_area:g} square pixels (data.min_area)": people.areas <= min_area,
    }
    return left_out(reasons, len(people))


def default_min_keypoints(joints: int) -> int:
    """A third of so many keypoints, at most OpenPose's 5."""
    return min(MIN_KEYPOINTS, -(-joints // 3))


def ignore_mask(
    ignored: Sequence[Segmentation],
    crowds: Sequence[Segmentation],
    learnt: Sequence[Segmentation],
    height: int,
    width: int,
) -> np.ndarray:
    """Pixels that the loss leaves out: `ignored` people, and crowds where none of the `learnt` people stands.

    A person who is ignored covers one who is learnt from, as in the published code.

    Returns:
        (height, width) uint8: 1 is ignored.
    """
    mask = _union(ignored, height, width)
    if crowds:
        mask |= _union(crowds, height, width) & (1 - _union(learnt, height, width))
    return mask


class AnnotatedMasks:
    """Ignore masks computed from the segmentations of an annotation file whenever one is asked for.

    Only the segmentations that are needed are kept; where a person has none, the box counts.

    Args:
        annotations: loaded with `segmentations=True`.
        learnt: (N,) bool, the people that appear in the targets.
        rows: the pictures that will be asked for.

    Raises:
        PoseError: a segmentation is malformed.
    """

    def __init__(self, annotations: Annotations, learnt: np.ndarray, rows: Iterable[int]) -> None:
        segmentations = annotations.segmentations
        if segmentations is None:
            raise ValueError("annotations were loaded without segmentations")
        images, people = annotations.images, annotations.people
        self._sizes = np.stack([images.heights, images.widths], axis=1)
        self._parts: dict[int, tuple[list[Segmentation], list[Segmentation], list[Segmentation]]] = {}
        left_out = ~learnt
        for row in np.intersect1d(np.fromiter(rows, np.int64), people.image_index[left_out]).tolist():
            start, stop = np.searchsorted(people.image_index, [row, row + 1])
            here = np.arange(start, stop)
            crowds = here[left_out[here] & people.is_crowd[here]]
            groups = here[left_out[here] & ~people.is_crowd[here]], crowds, here[learnt[here]] if len(crowds) else []
            ignored, hiding, seen = (
                [checked_segmentation(annotations, int(person), segmentations[person]) for person in group]
                for group in groups
            )
            self._parts[row] = ignored, hiding, seen

    def read(self, row: int) -> np.ndarray | None:
        """Mask (H, W) uint8 of a picture, 1 is ignored; None where nothing is."""
        parts = self._parts.get(row)
        if parts is None:
            return None
        height, width = self._sizes[row].tolist()
        return ignore_mask(*parts, height, width)


class MaskFolder:
    """Ignore masks that were written as `<image id, 12 digits>.png`; a picture without a file has nothing to ignore.

    Raises:
        PoseError: the folder is missing, or has a mask of none of the pictures.
    """

    def __init__(self, folder: str | Path, images: Images) -> None:
        self._folder, self._images = Path(folder), images
        if not self._folder.is_dir():
            raise PoseError(f"mask folder not found: {folder} (data.mask_dir; empty: computed from the annotations)")
        self._present = set(os.listdir(self._folder))
        if self._present.isdisjoint(map(mask_name, images.ids.tolist())):
            raise PoseError(
                f"mask folder has no mask of these pictures, such as {mask_name(images.ids[0])}: {folder} "
                "(mspose ignore-mask makes them)"
            )

    def read(self, row: int) -> np.ndarray | None:
        """Mask (H, W) uint8 of a picture, 1 is ignored; None where there is none.

        Raises:
            ImageError: the mask cannot be read or has another size than the picture.
        """
        name = mask_name(self._images.ids[row])
        if name not in self._present:
            return None
        path = self._folder / name
        try:
            data = np.empty(0, np.uint8) if file_fault(path) else np.fromfile(path, np.uint8)
            silence_opencv()
            mask = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        except (OSError, cv2.error):
            mask = None
        if mask is None:
            raise ImageError(f"ignore mask cannot be read: {path} (mspose ignore-mask makes it again)")
        width, height = self._images.widths[row], self._images.heights[row]
        if mask.shape != (height, width):
            raise ImageError(f"ignore mask is {mask.shape[1]}x{mask.shape[0]}, its image {width}x{height}: {path}")
        return (mask > 127).view(np.uint8)


def mask_name(image_id: int) -> str:
    """File name of a picture's ignore mask."""
    return f"{int(image_id):012d}.png"


@dataclass
class Written:
    """What `write_masks` did: files written, files that were there, pictures with nothing to ignore."""

    written: int = 0
    present: int = 0
    empty: int = 0


def write_masks(
    annotations: Annotations, folder: Path, min_keypoints: int | None = None, min_area: float = MIN_AREA
) -> Written:
    """Write the ignore masks of all pictures as PNG (0, or 255 for ignored); files that are there stay as they are.

    Raises:
        PoseError: a malformed segmentation, or the folder cannot be written.
    """
    images, counts = annotations.images, Written()
    learnt = usable(annotations.people, min_keypoints, min_area)
    masks = AnnotatedMasks(annotations, learnt, range(len(images)))
    # disable=None: no bar where the output is not a terminal.
    for row in tqdm(range(len(images)), desc=folder.name, unit=" images", disable=None):
        path = folder / mask_name(images.ids[row])
        if path.exists():
            counts.present += 1
            continue
        mask = masks.read(row)
        if mask is None or not mask.any():
            counts.empty += 1
            continue
        with atomic_path(path) as temporary:
            temporary.write_bytes(cv2.imencode(".png", mask * 255)[1].tobytes())
        counts.written += 1
    return counts


def _union(segmentations: Sequence[Segmentation], height: int, width: int) -> np.ndarray:
    """Pixels (height, width) uint8 that any of the people covers."""
    if not segmentations:
        return np.zeros((height, width), np.uint8)
    rle = need("pycocotools.mask")
    runs: list[dict] = []
    for segmentation in segmentations:
        runs += [segmentation] if isinstance(segmentation, dict) else rle.frPyObjects(segmentation, height, width)
    return np.ascontiguousarray(rle.decode(rle.merge(runs)))


def checked_segmentation(annotations: Annotations, person: int, value: Any) -> Segmentation:
    """The segmentation of one person, which the file has as `value`, compact and safe to rasterise.

    Raises:
        PoseError: it is malformed.
    """
    images, people = annotations.images, annotations.people
    row = people.image_index[person]
    height, width = int(images.heights[row]), int(images.widths[row])
    try:
        if isinstance(value, dict):
            return _run_lengths(value, height, width)
        polygons = [np.array(polygon, np.float64) for polygon in value or []]
        if any(p.ndim != 1 or len(p) % 2 or not np.isfinite(p).all() for p in polygons):
            raise ValueError("a polygon must be a list of x, y, x, y, …")
    except (KeyError, TypeError, ValueError) as error:
        raise PoseError(
            f"annotation {people.ids[person]}: segmentation is neither polygons nor run lengths of its "
            f"{width}x{height} image ({error}): {annotations.path}"
        ) from error
    polygons = [p for p in polygons if len(p) >= 6]  # fewer than three points enclose nothing
    if not polygons:
        x, y, w, h = people.boxes[person]
        polygons = [np.array([x, y, x + w, y, x + w, y + h, x, y + h])]
    # pycocotools walks every edge in steps of a fifth of a pixel, however far outside of the picture it leads.
    limit = np.array([width, height], np.float64)
    return [np.clip(p.reshape(-1, 2), 0, limit).ravel() for p in polygons]


def _run_lengths(value: dict, height: int, width: int) -> dict[str, Any]:
    size, counts = list(value["size"]), value["counts"]
    if size != [height, width]:
        raise ValueError(f"size is {size}")
    runs = decompress(counts) if isinstance(counts, str | bytes) else np.array(counts)
    # pycocotools leaves pixels that no run reaches as they happen to be in memory.
    if runs.ndim != 1 or runs.dtype.kind not in "iu" or (runs < 0).any() or runs.sum() != height * width:
        raise ValueError("counts do not fill the image")
    return need("pycocotools.mask").frPyObjects({"size": size, "counts": runs.tolist()}, height, width)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 1 when the masks could not be made."""
    parser = argparse.ArgumentParser(
        prog="mspose ignore-mask", description="Write ignore_mask_train/ and ignore_mask_val/ beside the pictures."
    )
    for split in ("train", "val"):
        parser.add_argument(f"--{split}_ann", type=user_path, required=True, metavar="FILE", help="annotation file")
        parser.add_argument(
            f"--{split}_dir", type=user_path, required=True, metavar="DIR", help="its folder of pictures"
        )
    parser.add_argument(
        "--min_keypoints",
        type=int,
        help="people with fewer labelled keypoints are ignored (default: a third of the skeleton's, at most 5)",
    )
    parser.add_argument(
        "--min_area",
        type=float,
        default=MIN_AREA,
        help="people on at most so many square pixels are ignored (default: %(default)s)",
    )
    parser.add_argument("--skeleton", default="coco17", help="keypoint set of the annotations: coco17 or a YAML file")
    parser.add_argument("--category", nargs="+", default=[], help="names or ids of the annotated categories")
    options = parser.parse_args(argv)
    try:
        skeleton = load_skeleton(options.skeleton)
        for split, path, pictures in (
            ("train", options.train_ann, options.train_dir),
            ("val", options.val_ann, options.val_dir),
        ):
            annotations = load_annotations(path, pictures, skeleton, category=options.category, segmentations=True)
            folder = pictures.absolute().parent / f"ignore_mask_{split}"
            counts = write_masks(annotations, folder, options.min_keypoints, options.min_area)
            print(
                f"{folder}: {counts.written} written, {counts.present} were there, {counts.empty} images have "
                "nothing to ignore"
            )
    except PoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0
