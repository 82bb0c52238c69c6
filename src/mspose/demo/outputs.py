"""What the demo writes besides the poses themselves: a drawn video."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from mspose.errors import PoseError
from mspose.files import atomic_path, utf8_path


def writable_rate(fps: float) -> float:
    """The nearest rate that an MPEG-4 video can have: OpenCV makes a decimal fraction of it, with 16 bits above."""
    base = next(base for base in (1000, 100, 10, 1) if fps * base < 65535.5 or base == 1)
    return min(max(round(fps * base), 10), 65535 * base) / base


class VideoWriter:
    """Writes frames of one size to an MP4 file; the first frame sets the size.

    Raises:
        PoseError: OpenCV has no encoder for it.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._fps = path, writable_rate(fps)
        self._writer: cv2.VideoWriter | None = None
        self._size, self.count = (0, 0), 0
        self._last: np.ndarray | None = None

    def write(self, image: np.ndarray, number: int) -> None:
        """Make (H, W, 3) uint8 BGR frame `number`; where some before it are missing, the last one stands longer.

        A frame of another size, as some cameras send, is resized.
        """
        if self._writer is None:
            # Encoders take even sides only.
            self._size = image.shape[1] // 2 * 2, image.shape[0] // 2 * 2
            with utf8_path(self._path) as name:
                self._writer = cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*"mp4v"), self._fps, self._size)
            if not self._writer.isOpened():
                raise PoseError(f"cannot write video {self._path}: this OpenCV has no MP4 encoder, or the disk is full")
        width, height = self._size
        if 0 <= image.shape[1] - width <= 1 and 0 <= image.shape[0] - height <= 1:
            image = np.ascontiguousarray(image[:height, :width])
        else:
            image = cv2.resize(image, self._size)
        while self._last is not None and self.count < number:
            self._writer.write(self._last)
            self.count += 1
        self._writer.write(image)
        self.count += 1
        self._last = image

    def close(self) -> bool:
        """Finish the file; whether all frames are in it, since OpenCV reports no failed write."""
        if self._writer is None:
            return True
        self._writer.release()
        with utf8_path(self._path) as name:
            capture = cv2.VideoCapture(name)
        written = capture.get(cv2.CAP_PROP_FRAME_COUNT) if capture.isOpened() else 0
        capture.release()
        return written >= self.count


@contextmanager
def video_file(path: Path, fps: float) -> Iterator[VideoWriter]:
    """Write a video under a temporary name and move it to `path`, also when the block is interrupted half-way.

    Raises:
        PoseError: it cannot be written.
    """
    interrupted: BaseException | None = None
    with atomic_path(path) as temporary:
        writer = VideoWriter(temporary, fps)
        try:
            yield writer
        except KeyboardInterrupt as error:
            interrupted = error
        except BaseException:
            writer.close()
            raise
        if not writer.close():
            raise PoseError(f"cannot write {path}: frames are missing in it; is the disk full?")
    if interrupted is not None:
        raise interrupted
