"""The drawn video: H.264 with the sound of the input where PyAV is installed, else OpenCV's MPEG-4."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from mspose.extras import is_installed
from mspose.files import atomic_path, utf8_path
from mspose.visual import even, even_size

WITHOUT_AV = (
    "drawn videos are MPEG-4 without sound, which browsers and most phones do not play; pip install 'mspose[video]', "
    "or '.[video]' in the checkout, brings PyAV for H.264 with sound"
)


class Writer(Protocol):
    """What frames are written to.

    Attributes:
        notes: lines on what could not be kept, once it is closed.
    """

    notes: list[str]

    def write(self, image: np.ndarray, number: int, seconds: float) -> None:
        """Write (H, W, 3) uint8 BGR frame `number` of the source, shown there at `seconds`; the first sets the size."""
        ...

    def close(self) -> bool:
        """Finish the file; whether anything is in it."""
        ...


def writable_rate(fps: float) -> float:
    """The nearest rate that an MPEG-4 video can have: OpenCV makes a decimal fraction of it, with 16 bits above."""
    base = next(base for base in (1000, 100, 10, 1) if fps * base < 65535.5 or base == 1)
    return min(max(round(fps * base), 10), 65535 * base) / base


class OpenCvWriter:
    """Writes frames at one rate, as MPEG-4 or, to .webm, as VP8; where some are missing, the one before stands longer.

    Raises:
        OSError: OpenCV has no encoder for it, or frames did not reach the disk.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._fps = path, writable_rate(fps)
        self._codec = "VP80" if path.suffix == ".webm" else "mp4v"
        self._writer: cv2.VideoWriter | None = None
        self._size, self._begin, self.count = (0, 0), 0, 0
        self._last: np.ndarray | None = None
        self.notes: list[str] = []

    def write(self, image: np.ndarray, number: int, seconds: float) -> None:
        """See `Writer`; the time follows from the number."""
        if self._writer is None:
            self._size, self._begin = even_size(image), number
            with utf8_path(self._path) as name:
                self._writer = cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*self._codec), self._fps, self._size)
            if not self._writer.isOpened():
                raise OSError("this OpenCV has no encoder for it, or the disk is full")
        image = even(image, self._size)
        while self._last is not None and self.count < number - self._begin:
            self._writer.write(self._last)
            self.count += 1
        self._writer.write(image)
        self.count += 1
        self._last = image

    def close(self) -> bool:
        """See `Writer`; the file is read again, since OpenCV reports no failed write."""
        if self._writer is None:
            return False
        self._writer.release()
        with utf8_path(self._path) as name:
            capture = cv2.VideoCapture(name)
        written = capture.get(cv2.CAP_PROP_FRAME_COUNT) if capture.isOpened() else 0
        capture.release()
        if written < self.count:
            raise OSError("frames are missing in it; is the disk full?")
        return True


class _NothingError(Exception):
    """No frame came: there is no file to be."""


@contextmanager
def video_file(path: Path, fps: float, sound: str = "") -> Iterator[Writer]:
    """Write a video under a temporary name and move it to `path`, also when the block is interrupted half-way.

    Where no frame is written, there is no file.

    Args:
        sound: file or address of the video whose sound is kept; empty: none.

    Raises:
        PoseError: it cannot be written.
    """
    interrupted: BaseException | None = None
    with suppress(_NothingError), atomic_path(path) as temporary:
        writer = _writer(temporary, fps, sound)
        try:
            yield writer
        except KeyboardInterrupt as error:
            interrupted = error
        except BaseException:
            with suppress(OSError):  # what went wrong first counts
                writer.close()
            raise
        if not writer.close():
            raise _NothingError
    if interrupted is not None:
        raise interrupted


def _writer(path: Path, fps: float, sound: str) -> Writer:
    if not is_installed("av"):
        return OpenCvWriter(path, fps)
    from mspose.demo.h264 import H264Writer

    return H264Writer(path, fps, sound)
