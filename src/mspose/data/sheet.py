"""A contact sheet of annotated people: what numbers do not show, such as left and right exchanged, eyes do."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from mspose.data.coco import Annotations
from mspose.errors import UsageError
from mspose.files import atomic_path
from mspose.images import ImageError
from mspose.skeleton import Skeleton
from mspose.visual import contact_sheet, draw_label, draw_poses, encode_image, fit

COLUMNS, ROWS = 6, 4
CELLS = COLUMNS * ROWS
CELL = 240, 300  # pixels, width and height
AROUND = 0.15  # what a crop shows around box and keypoints, as a part of them
PLAIN, ODD = (240, 240, 240), (60, 60, 255)  # BGR of boxes; of people with warnings

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = len(_SIGNATURE) + 25  # a PNG's signature and its first chunk, which has the size
_TEXT = b"tEXtSoftware\0mspose check-data"
# The chunk behind these that says whose a sheet is.
_MARK = (len(_TEXT) - 4).to_bytes(4, "big") + _TEXT + zlib.crc32(_TEXT).to_bytes(4, "big")


def check_sheet_path(path: Path) -> None:
    """
    Raises:
        UsageError: it is no name of a PNG file, or a file is there that is no sheet.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"--draw writes a file NAME.png, not {path}")
    if path.exists() and not _is_sheet(path):
        raise UsageError(f"{path} is there already, and no sheet that was drawn before: choose another name")


def _is_sheet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(_HEADER + len(_MARK))[_HEADER:] == _MARK
    except OSError:
        return False


def draw_people(
    path: Path, annotations: Annotations, skeleton: Skeleton, odd: np.ndarray, unread: Sequence[int], seed: int
) -> str:
    """Draw people into a PNG file: those of most warnings first, then others by chance.

    Args:
        odd: (N,) warnings about each person.
        unread: rows of pictures that cannot be read; their people are left out.
        seed: chooses the others.

    Returns:
        A line that says what was drawn.
    """
    chosen = choose(annotations, odd, unread, seed)
    cells = list(_cells(annotations, skeleton, odd, chosen))
    if not cells:
        return f"{path}: not written, since nobody can be drawn"
    data = encode_image(path, contact_sheet(cells, COLUMNS, CELL))
    with atomic_path(path) as temporary:
        temporary.write_bytes(data[:_HEADER] + _MARK + data[_HEADER:])
    warned = int((odd[chosen] > 0).sum())
    return f"{path}: {len(cells)} people, {warned} of them with warnings (red boxes)"


def choose(annotations: Annotations, odd: np.ndarray, unread: Sequence[int], seed: int) -> np.ndarray:
    """Rows of at most CELLS people: those of most warnings first, then people with keypoints, by chance."""
    people = annotations.people
    readable = ~np.isin(people.image_index, np.array(unread, np.int64))
    labelled = (people.keypoints[..., 2] > 0).any(axis=1)
    candidates = np.flatnonzero(readable & ((odd > 0) | labelled))
    draws = np.random.default_rng(seed).random(len(odd))[candidates]
    return candidates[np.lexsort([draws, -odd[candidates]])][:CELLS]


def _cells(annotations: Annotations, skeleton: Skeleton, odd: np.ndarray, chosen: np.ndarray) -> Iterator[np.ndarray]:
    for row in chosen.tolist():
        try:
            image = annotations.images.read(int(annotations.people.image_index[row]))
        except ImageError:  # it has just vanished: it could be read before
            continue
        yield _cell(image, annotations, skeleton, row, ODD if odd[row] else PLAIN)


def _cell(
    image: np.ndarray, annotations: Annotations, skeleton: Skeleton, row: int, color: tuple[int, int, int]
) -> np.ndarray:
    """A person (height, width, 3) as CELL says, with keypoints, limbs, box and annotation id."""
    people = annotations.people
    box, keypoints = people.boxes[row], people.keypoints[row].astype(np.float64)
    left, top, right, bottom = _region(box, keypoints, image.shape[1::-1])
    crop = image[top:bottom, left:right]
    ratio = min(CELL[0] / crop.shape[1], CELL[1] / crop.shape[0])
    scaled = fit(crop, max(1, round(crop.shape[1] * ratio)), max(1, round(crop.shape[0] * ratio)))
    # Lines are drawn at the size of the cell: pixel centres of the picture lie half a pixel within.
    place = (keypoints[:, :2] - [left, top] + 0.5) * ratio - 0.5
    drawn = draw_poses(scaled, np.concatenate([place, keypoints[:, 2:]], axis=1)[None], skeleton, threshold=0)
    corners = (np.stack([box[:2], box[:2] + box[2:]]) - [left, top]) * ratio
    (x0, y0), (x1, y1) = np.rint(np.clip(corners, -1e4, 1e4)).astype(int).tolist()
    cv2.rectangle(drawn, (x0, y0), (x1 - 1, y1 - 1), color, 2 if color == ODD else 1)
    cell = fit(drawn, *CELL)  # first: the id is wider than narrow people
    draw_label(cell, str(people.ids[row]), np.array([4, 20]))
    return cell


def _region(box: np.ndarray, keypoints: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is shown of a picture; all of it where nothing of the person is within."""
    points = np.concatenate([[box[:2], box[:2] + box[2:]], keypoints[keypoints[:, 2] > 0, :2]])
    low, high = points.min(axis=0), points.max(axis=0)
    margin = np.maximum(AROUND * (high - low), 8)
    start = np.clip(np.floor(low - margin), 0, size).astype(int)
    end = np.clip(np.ceil(high + margin), 0, size).astype(int)
    if (end <= start).any():
        start, end = np.zeros(2, int), np.array(size)
    return int(start[0]), int(start[1]), int(end[0]), int(end[1])
