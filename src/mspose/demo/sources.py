"""What the demo looks at: pictures, a video file, or a camera."""

from __future__ import annotations

import glob
import itertools
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from mspose.errors import PoseError, UsageError
from mspose.images import ImageError, read_image

PICTURES = {".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm"}
VIDEOS = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp", ".gif"}
DEFAULT_FPS = 25.0


@dataclass(frozen=True)
class Frame:
    """A picture, or one frame of a video.

    Attributes:
        number: 0, 1, … in the source.
        image_id: for COCO's results: of a picture see `image_ids`, of a video the number.
        file_name: of a picture as its folder has it, or of the video.
        name: unique in the source, without suffix: output files are called after it.
        image: (H, W, 3) uint8 BGR; None where it could not be read.
        error: why not.
    """

    number: int
    image_id: int
    file_name: str
    name: str
    image: np.ndarray | None
    error: str = ""


class Pictures:
    """Picture files in order; a file that cannot be read is a frame without an image.

    Attributes:
        total: number of pictures.
        drawn: file names for what is drawn, one a picture and none twice.
    """

    is_video: Literal[False] = False
    is_live = False

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths, self.total = list(paths), len(paths)
        self._names, self._ids = unique_names(self.paths), image_ids(self.paths)
        self.drawn = [f"{name}{_writable_suffix(path)}" for name, path in zip(self._names, self.paths)]

    def __iter__(self) -> Iterator[Frame]:
        for number, (path, name, image_id) in enumerate(zip(self.paths, self._names, self._ids)):
            try:
                yield Frame(number, image_id, path.name, name, read_image(path, apply_exif=True))
            except ImageError as error:
                yield Frame(number, image_id, path.name, name, None, str(error))

    def close(self) -> None:
        """Nothing is held open."""


class Video:
    """A video file, or a camera given by its number.

    Attributes:
        paths: the file, if it is one.
        drawn: name of the drawn video.
        total: frames that the file announces, None for a camera or where it does not say.
        fps: frames a second.
        shortfall: after reading, a line that says how much of what was announced is missing; else empty.

    Raises:
        PoseError: it cannot be opened, or holds no frame.
    """

    is_video: Literal[True] = True

    def __init__(self, source: Path | int) -> None:
        # Both libraries write pages about damaged files to standard error.
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        # The function has moved from one release of OpenCV 4 to another.
        set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
        set_level(0)
        self.is_live = isinstance(source, int)
        self.paths = [] if isinstance(source, int) else [source]
        self.name = f"camera{source}" if isinstance(source, int) else source.stem
        self.file_name = self.name if isinstance(source, int) else source.name
        self._capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
        self.drawn = [f"{self.name}.mp4"]
        self.shortfall, self._source = "", source
        self._first: np.ndarray | None = None
        opened = False
        if self._capture.isOpened():
            opened, self._first = self._capture.read()
        if not opened:
            self._capture.release()
            if self.is_live:
                raise PoseError(f"camera {source} cannot be opened; demo.input=0 is the first one")
            raise PoseError(f"video cannot be read (damaged, cut short, or no video?): {source}")
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if math.isfinite(fps) and 1 <= fps <= 1000 else DEFAULT_FPS
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.total = int(count) if not self.is_live and 0 < count < 1e9 else None

    def __iter__(self) -> Iterator[Frame]:
        number, image = 0, self._first
        self._first = None
        while image is not None:
            yield Frame(number, number, self.file_name, f"{self.name}_{number:012}", image)
            number += 1
            more, image = self._capture.read()
            image = image if more else None
        # Containers that only estimate their length are off by a frame or two.
        if self.total is not None and number < 0.99 * self.total - 2:
            self.shortfall = f"video ends early: {number} of {self.total} frames could be read: {self._source}"

    def close(self) -> None:
        """Let go of the file or camera."""
        self._capture.release()


def open_source(spec: str) -> Pictures | Video:
    """Open a picture, a folder, a glob such as "photos/**/*.jpg", a video file, or a camera (its number).

    Raises:
        UsageError: nothing is there, or no pictures are.
        PoseError: the video or camera cannot be opened.
    """
    if not spec:
        raise UsageError("nothing to look at: --input PICTURE, FOLDER, 'GLOB', VIDEO or camera number (or --serve)")
    path = Path(spec)
    if path.is_dir():
        found = [p for p in path.iterdir() if p.suffix.lower() in PICTURES and p.is_file()]
        if not found:
            raise UsageError(f"demo.input: no pictures in the folder {spec} (sub-folders: '{path / '**' / '*.jpg'}')")
        return Pictures(sorted(found, key=_natural))
    if path.is_file():
        return Video(path) if _is_video(path) else Pictures([path])
    if spec.isdigit():
        return Video(int(spec))
    if glob.has_magic(spec):
        found = [Path(p) for p in glob.glob(spec, recursive=True) if Path(p).is_file()]
        if not found:
            raise UsageError(f"demo.input: nothing matches {spec}")
        return Pictures(sorted(found, key=_natural))
    raise UsageError(f"demo.input: no such file or folder: {spec}")


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Names for the outputs of files: their stems; where some have the same, their folders and suffix besides.

    Names that differ in case alone count as the same, as some file systems see it.
    """
    stems = Counter(path.stem.casefold() for path in paths)
    common = Path(os.path.commonpath([path.parent.absolute() for path in paths]))
    names, used = [], {stem for stem, count in stems.items() if count == 1}
    for path in paths:
        if stems[path.stem.casefold()] == 1:
            names.append(path.stem)
            continue
        parts = path.absolute().relative_to(common).parts
        base = name = "_".join(parts).replace(".", "_")
        number = 1
        while name.casefold() in used:
            number += 1
            name = f"{base}_{number}"
        used.add(name.casefold())
        names.append(name)
    return names


def image_ids(paths: Sequence[Path]) -> list[int]:
    """COCO's numbers of pictures: their file names where these are numbers, as COCO's are; the others get free ones."""
    numbers = [int(path.stem) if path.stem.isdecimal() and len(path.stem) < 16 else None for path in paths]
    counts = Counter(numbers)
    free = (number for number in itertools.count() if number not in counts)
    return [number if number is not None and counts[number] == 1 else next(free) for number in numbers]


def _natural(path: Path) -> list[object]:
    """Sort key by which frame10 comes after frame9."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", str(path))]


def _is_video(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in PICTURES | VIDEOS:
        return suffix in VIDEOS
    try:  # no telling suffix: whatever cannot be read as a picture may be a video
        read_image(path)
    except ImageError:
        return True
    return False


def _writable_suffix(path: Path) -> str:
    return path.suffix if path.suffix.lower() in PICTURES else ".jpg"
