"""Pictures that are stored turned: the EXIF orientation, and whether a data set's annotations mean it.

Cameras store a picture as the sensor saw it and note how to turn it. Some programs show, and people annotate, the
turned picture; COCO's annotations are of the stored one. The annotated width and height tell which, where turning
exchanges them; for upside-down, mirrored and square pictures the others of the same file tell.
"""

from __future__ import annotations

import logging
import struct
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mspose.files import file_fault
from mspose.images import ImageError, read_image
from mspose.runtime.read_ahead import read_ahead, worker_threads

log = logging.getLogger("pose")

UPRIGHT = 1
# These exchange width and height.
QUARTER_TURNS = (5, 6, 7, 8)
# The orientation lies near the beginning of a file: before the pixels, of which previews may be large.
HEAD = 2**17
PNG = b"\x89PNG"


class Orientations:
    """Whether the pictures of a data set are to be turned.

    Only once a picture with an orientation is met, all are looked at.

    Args:
        files: M pictures; widths, heights: (M,) as annotated.
        mode: "ignore" or "apply" what EXIF says, or "auto": as the annotations are.
    """

    def __init__(self, files: Sequence[Path], widths: np.ndarray, heights: np.ndarray, mode: str) -> None:
        self._files, self._sizes, self._mode = files, np.stack([widths, heights], axis=1), mode
        self._lock = threading.Lock()
        self._tags: dict[int, int] = {}
        self._turned: np.ndarray | None = None

    def tag(self, row: int) -> int:
        """EXIF orientation of a picture, 1 to 8; 1 is upright."""
        if row not in self._tags:
            self._tags[row] = orientation(self._files[row])
        return self._tags[row]

    def turns(self, row: int) -> bool:
        """Whether a picture is to be turned as its EXIF orientation says."""
        if self._mode == "ignore" or self.tag(row) == UPRIGHT:
            return False
        with self._lock:
            if self._turned is None:
                self._turned = self._decide()
        return bool(self._turned[row])

    def _decide(self) -> np.ndarray:
        """(M,) bool; says in one line what was found."""
        tags: np.ndarray = np.array(list(read_ahead(self.tag, range(len(self._files)), worker_threads(0))))
        tagged = tags != UPRIGHT
        example = int(tagged.argmax())
        found = f"{tagged.sum()} pictures have an EXIF orientation, such as {tags[example]} in {self._files[example]}"
        if self._mode == "apply":
            log.info(f"{found}: turned (data.exif=apply)")
            return tagged
        quarter = np.flatnonzero(np.isin(tags, QUARTER_TURNS) & (self._sizes[:, 0] != self._sizes[:, 1]))
        stored = np.array([_stored_size(self._files[row]) for row in quarter.tolist()]).reshape(-1, 2)
        as_stored = (stored == self._sizes[quarter]).all(axis=1)
        as_turned = (stored[:, ::-1] == self._sizes[quarter]).all(axis=1)
        turned = np.zeros(len(tags), bool)
        turned[quarter[as_turned]] = True
        undecided = tagged.copy()
        undecided[quarter] = False
        parts = []
        if len(quarter):
            parts.append(f"{as_turned.sum()} are turned and {as_stored.sum()} not, as their annotated sizes say")
        if undecided.any():
            together = bool(as_turned.sum() > as_stored.sum())
            turned[undecided] = together
            why = "like most of the others" if len(quarter) else "since nothing tells that they are meant so"
            parts.append(f"{undecided.sum()}, whose sizes do not tell, are {'' if together else 'not '}turned, {why}")
        log.warning(f"warning: {found}: {'; '.join(parts)} (data.exif=apply turns all, data.exif=ignore none)")
        return turned


def read_annotated(path: Path, size: tuple[int, int], tag: int, turn: bool) -> np.ndarray:
    """A picture (H, W, 3) uint8 BGR, turned as its EXIF orientation says or not.

    Args:
        size: annotated (width, height).
        tag: its EXIF orientation, for the message.

    Raises:
        ImageError: it cannot be read, or has another size.
    """
    image = read_image(path, apply_exif=turn)
    height, width = image.shape[:2]
    if (width, height) != size:
        hint = ""
        if tag != UPRIGHT:
            done = "turned" if turn else "not turned"
            hint = f" ({done} by its EXIF orientation {tag}; data.exif={'ignore' if turn else 'apply'} does otherwise)"
        raise ImageError(f"image is {width}x{height}, annotated as {size[0]}x{size[1]}: {path}{hint}")
    return image


def orientation(path: str | Path) -> int:
    """EXIF orientation of a JPEG or PNG file, 1 to 8; 1 also where it has none or cannot be read."""
    if file_fault(path):
        return UPRIGHT
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
            if _exif_place(head) is None and not _may_follow(head):
                return UPRIGHT
            head += file.read(HEAD - len(head))
    except OSError:
        return UPRIGHT
    place = _exif_place(head)
    return UPRIGHT if place is None else _orientation(head[place:])


def _may_follow(head: bytes) -> bool:
    """Whether EXIF data may come later in a file: pixels have not begun."""
    if head[:2] == b"\xff\xd8":
        return b"\xff\xda" not in head
    return head[:4] == PNG and b"IDAT" not in head


def _exif_place(head: bytes) -> int | None:
    """Where the TIFF header of EXIF data begins."""
    if head[:2] == b"\xff\xd8":
        at = 2
        while at + 10 <= len(head) and head[at] == 0xFF and head[at + 1] != 0xDA:
            if head[at + 1] == 0xE1 and head[at + 4 : at + 10] == b"Exif\0\0":
                return at + 10
            at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
        return None
    found = head.partition(b"IDAT")[0].find(b"eXIf") if head[:4] == PNG else -1
    return None if found < 0 else found + 4


def _orientation(tiff: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return UPRIGHT
    try:
        (first,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, first)
        for entry in range(count):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, first + 2 + 12 * entry)
            if tag == 0x112:
                return value if UPRIGHT <= value <= 8 else UPRIGHT
    except struct.error:
        pass
    return UPRIGHT


def _stored_size(path: Path) -> tuple[int, int]:
    """(width, height) of the pixels of a picture; 0, 0 where it cannot be read."""
    try:
        image = read_image(path)
    except ImageError:
        return 0, 0
    return image.shape[1], image.shape[0]
