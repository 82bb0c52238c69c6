"""What the demo looks at: pictures, a video file, or a camera."""

from __future__ import annotations

import glob
import itertools
import logging
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
from mspose.filenames import common_folder, short_name, unique_names
from mspose.files import utf8_path
from mspose.images import ImageError, picture_format, read_image

log = logging.getLogger("pose")

# Suffixes that OpenCV writes, and those of other pictures.
WRITABLE = {".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm"}
PICTURES = WRITABLE | {".jfif", ".jfi", ".avif", ".heic", ".heif", ".hif", ".jp2", ".pbm", ".pam", ".hdr", ".exr"}
VIDEOS = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp", ".gif"}
DEFAULT_FPS, SLOWEST, FASTEST = 25.0, 0.01, 1000.0
# Attempts at a next frame before the video counts as over, where it does not say how many are left; and at most.
ATTEMPTS, MOST_ATTEMPTS = 64, 10_000
# Frames by which a regular frame's time is off at most. A phone that leaves out one frame of a thousand has times that
# are off by more, since its rate is the mean; containers that round to milliseconds tell nothing.
OFF_GRID = 1e-4
COUNTED = {".avi", ".mp4", ".m4v", ".mov", ".3gp"}  # containers that count their frames; others estimate


@dataclass(frozen=True)
class Frame:
    """A picture, or one frame of a video.

    Attributes:
        number: 0, 1, … in the source.
        image_id: for COCO's results: of a picture see `image_ids`, of a video the number.
        file_name: of a picture, relative to the folder that all of the source are in, or of the video.
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
        file_names: relative to `folder`.
        names: of the pictures' results, without suffix, none twice.
        drawn: file names for what is drawn, one a picture and none twice.
        folder: that all of them are in, directly or in folders of it.
    """

    is_video: Literal[False] = False
    is_live = False

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths, self.total = list(paths), len(paths)
        self.names, self._ids = unique_names(self.paths), image_ids(self.paths)
        self.folder = common_folder(self.paths)
        self.file_names = [path.absolute().relative_to(self.folder).as_posix() for path in self.paths]
        self.drawn = [f"{name}{_writable_suffix(path)}" for name, path in zip(self.names, self.paths)]

    def __iter__(self) -> Iterator[Frame]:
        for number, row in enumerate(zip(self.paths, self.file_names, self.names, self._ids)):
            path, file_name, name, image_id = row
            try:
                yield Frame(number, image_id, file_name, name, read_image(path, apply_exif=True))
            except ImageError as error:
                yield Frame(number, image_id, file_name, name, None, str(error))

    def close(self) -> None:
        """Nothing is held open."""


class Video:
    """A video file, or a camera given by its number.

    Attributes:
        paths: the file, if it is one.
        drawn: name of the drawn video.
        total: frames that the file announces, None for a camera or where it does not say.
        fps: frames a second.

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
        self._source = source
        if isinstance(source, int):
            self.is_live, self.paths, self.file_name = True, list[Path](), f"camera{source}"
            self.name = self.file_name
            self._capture = cv2.VideoCapture(source)
        else:
            self.is_live, self.paths, self.file_name = False, [source], source.name
            self.name = short_name(source.stem)
            with utf8_path(source) as name:
                self._capture = cv2.VideoCapture(name)
        self.drawn = [f"{self.name}.mp4"]
        opened = self._capture.isOpened()
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT) if opened else 0
        self.total = int(count) if not self.is_live and 0 < count < 1e9 else None
        fps = self._capture.get(cv2.CAP_PROP_FPS) if opened else 0
        self.fps = fps if math.isfinite(fps) and SLOWEST <= fps <= FASTEST else DEFAULT_FPS
        self._number, self._seconds, self._damaged, self._read = -1, -1 / self.fps, 0, 0
        self._is_regular = True  # each frame so far came a whole number of frames behind the one before
        self._first = self._next() if opened else None
        if self._first is None:
            self._capture.release()
            if self.is_live:
                raise PoseError(f"camera {source} cannot be opened; demo.input=0 is the first one")
            raise PoseError(f"video cannot be read (damaged, cut short, or no video?): {source}")

    def __iter__(self) -> Iterator[Frame]:
        image, self._first = self._first, None
        while image is not None:
            self._read += 1
            yield Frame(self._number, self._number, self.file_name, f"{self.name}_{self._number:012}", image)
            image = self._next()

    def _next(self) -> np.ndarray | None:
        """The next frame that can be decoded, `_number` its place in the video; None behind the last."""
        left = 0 if self.total is None else self.total - self._number
        for failed in range(1 if self.is_live else min(max(left, ATTEMPTS), MOST_ATTEMPTS)):
            done, image = self._capture.read()
            if done:
                self._count(failed)
                return image
        return None

    def _count(self, failed: int) -> None:
        """Number the frame that was just read, behind so many attempts that gave none.

        Its time says how many are missing, as far as the file has times: not each attempt was a frame, and some
        decoders drop a frame without a word. That can be told only where every frame so far came at its regular time
        and the file announces as many frames; elsewhere a longer pause is a longer pause.
        """
        seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        steps = (seconds - self._seconds) * self.fps
        has_time = 0 < steps < math.inf
        self._is_regular &= has_time and abs(steps - round(steps)) < OFF_GRID
        most = self.total - self._number - 2 if self.total is not None and self._is_regular else failed
        is_told = failed or (self._is_regular and self._number >= 0)  # a video may begin late
        missing = min(max(round(steps) - 1, 0), most) if has_time and is_told else failed
        self._number, self._seconds = self._number + 1 + max(missing, 0), seconds
        self._damaged += max(missing, 0)

    def problems(self) -> Iterator[str]:
        """After reading: a line for each thing that is wrong with the video."""
        if self._damaged:
            frames = "frame is" if self._damaged == 1 else "frames are"
            yield f"{self._damaged} {frames} damaged or missing, and left out: {self._source}"
        behind = 0 if self.total is None else self.total - self._number - 1
        if self.total is not None and behind > 0.01 * self.total + 2:
            yield f"only {self._read} of {self.total} frames could be read (cut short or damaged?): {self._source}"
        elif behind > 0 and Path(self.file_name).suffix.lower() in COUNTED:
            yield f"the last {behind} of {self.total} frames could not be read: {self._source}"

    def close(self) -> None:
        """Let go of the file or camera."""
        self._capture.release()


def open_sources(specs: Sequence[str]) -> Pictures | Video:
    """Open one source, or the pictures of several, each once and in the order in which they are named.

    Raises:
        UsageError: nothing is there, or no pictures are; of several, one is a video or camera.
        PoseError: the video or camera cannot be opened.
    """
    if len(specs) < 2:
        return open_source(*specs or ("",))
    paths: dict[Path, Path] = {}
    for spec in specs:
        if (spec.isascii() and spec.isdigit() and not Path(spec).exists()) or (
            Path(spec).is_file() and is_video(Path(spec))
        ):
            raise UsageError(f"demo.input: a video or camera is looked at by itself, and {len(specs)} inputs: {spec}")
        for path in open_source(spec).paths:
            paths.setdefault(path.resolve(), path)
    return Pictures(list(paths.values()))


def open_source(spec: str) -> Pictures | Video:
    """Open a picture, a folder, a glob such as "photos/**/*.jpg", a video file, or a camera (its number).

    Raises:
        UsageError: nothing is there, or no pictures are.
        PoseError: the video or camera cannot be opened.
    """
    if not spec:
        raise UsageError("nothing to look at: --input PICTURE, FOLDER, 'GLOB', VIDEO or camera number (or --serve)")
    path = Path(spec)
    if path.is_file():
        return Video(path) if is_video(path) else Pictures([path])
    if path.is_dir():
        found, where = list(path.iterdir()), f"in the folder {spec}"
        hint = f" (sub-folders: '{path / '**' / '*.jpg'}')"
    elif spec.isascii() and spec.isdigit():
        return Video(int(spec))
    elif glob.has_magic(spec):
        found, where, hint = [Path(p) for p in glob.glob(spec, recursive=True)], f"among {spec}", ""
        if not found:
            raise UsageError(f"demo.input: nothing matches {spec}")
    else:
        what = "neither file nor folder" if path.exists() else "no such file or folder"
        raise UsageError(f"demo.input: {what}: {spec}")
    files = sorted((p for p in found if p.is_file()), key=_natural)
    pictures = [p for p in files if is_picture(p)]
    # Folders go without a word, but for those that are called like a picture.
    odd = [p for p in found if not p.is_file() and (not p.is_dir() or p.suffix.lower() in PICTURES)]
    left = sorted([*set(files).difference(pictures), *odd], key=_natural)
    others = [p.name for p in left if not p.name.startswith(".")]
    names = f"{', '.join(others[:3])}{', …' if len(others) > 3 else ''} ({len(others)} in all)"
    if not pictures:
        there = f", but {names}; name a video by itself" if others else hint
        raise UsageError(f"demo.input: no pictures {where}{there}")
    if others:
        log.warning(f"note: no pictures, left out {where}: {names}")
    return Pictures(pictures)


def image_ids(paths: Sequence[Path]) -> list[int]:
    """COCO's numbers of pictures: their file names where these are numbers, as COCO's are; the others get free ones."""
    numbers = [int(path.stem) if path.stem.isdecimal() and len(path.stem) < 16 else None for path in paths]
    counts = Counter(numbers)
    free = (number for number in itertools.count() if number not in counts)
    return [number if number is not None and counts[number] == 1 else next(free) for number in numbers]


def _natural(path: Path) -> list[object]:
    """Sort key by which frame10 comes after frame9."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", str(path))]


def is_video(path: Path) -> bool:
    """Whether a file is a video, by its suffix; without a telling one, whatever is no picture may be a video."""
    suffix = path.suffix.lower()
    return suffix in VIDEOS or (suffix not in PICTURES and not is_picture(path))


def is_picture(path: Path) -> bool:
    """Whether a file is a picture, by its suffix; without a telling one, by how it begins."""
    suffix = path.suffix.lower()
    if suffix in PICTURES | VIDEOS:
        return suffix in PICTURES
    try:
        with path.open("rb") as file:
            return picture_format(file.read(16)) != ""
    except OSError:
        return False


def _writable_suffix(path: Path) -> str:
    return path.suffix if path.suffix.lower() in WRITABLE else ".jpg"
