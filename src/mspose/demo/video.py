"""Frames of a video file, camera or stream, each with its number and time in the source."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from mspose.demo.address import shown
from mspose.errors import PoseError
from mspose.files import utf8_path
from mspose.images import silence_opencv

DEFAULT_FPS, SLOWEST, FASTEST = 25.0, 0.01, 1000.0
# Attempts at a next frame before the video counts as over, where it does not say how many are left; and at most.
ATTEMPTS, MOST_ATTEMPTS = 64, 10_000
# Frames by which a regular frame's time is off at most. A phone that leaves out one frame of a thousand has times that
# are off by more, since its rate is the mean.
OFF_GRID = 1e-4
# Containers that round times to milliseconds, and seconds by which the time since the first frame is off there at most:
# those of a mean rate are off by more soon.
ROUNDED, OFF_ROUNDED = {".webm", ".mkv", ".flv"}, 1.01e-3
COUNTED = {".avi", ".mp4", ".m4v", ".mov", ".3gp"}  # containers that count their frames; others estimate
PLACE = getattr(cv2, "CAP_PROP_PTS", -1)  # OpenCV 4.11 has it; elsewhere the answer is 0
TIMEOUT = 10_000  # milliseconds without a word from a server
SLACK = 5e-4  # seconds: some containers round to milliseconds


@dataclass(frozen=True)
class Frame:
    """A picture, or one frame of a video.

    Attributes:
        number: 0, 1, … in the source.
        image_id: for COCO's results.
        file_name: of the picture or video, relative to the folder that all inputs are in.
        name: unique among all inputs, without suffix: output files are called after it.
        image: (H, W, 3) uint8 BGR; None where it could not be read.
        error: why not.
        seconds: when it is shown, from the beginning of the video.
    """

    number: int
    image_id: int
    file_name: str
    name: str
    image: np.ndarray | None
    error: str = ""
    seconds: float = 0.0


class Video:
    """A video that is being read. Frames are turned as the file says, and have the size of the first one.

    Attributes:
        source: where it is read.
        label: what messages call it.
        name, file_name: see `Frame`.
        first_id: `image_id` of frame 0.
        is_live: it has no end but Ctrl-C.
        total: frames that are expected, None where nobody knows.
        fps: frames a second.
        is_cut: the part ended before the video did, as far as it was read.
        drift: seconds by which frames are off at most from where that rate would have them.

    Args:
        source: a file, the number of a camera, or an address.
        start, end: seconds of the part that is looked at; end 0: to the end.

    Raises:
        PoseError: it cannot be opened, or holds no frame, or none in that part.
    """

    is_video: Literal[True] = True

    def __init__(
        self,
        source: Path | int | str,
        name: str = "",
        file_name: str = "",
        start: float = 0.0,
        end: float = 0.0,
    ) -> None:
        self.source, self._start, self._end = source, start, end
        self.label = f"camera {source}" if isinstance(source, int) else shown(str(source))
        plain = Path(f"camera{source}" if isinstance(source, int) else source)
        self.name, self.file_name, self.first_id = name or plain.stem, file_name or plain.name, 0
        self._capture = _capture(source)
        opened = self._capture.isOpened()
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT) if opened else 0
        self._announced = int(count) if not isinstance(source, int) and 0 < count < 1e9 else None
        self.is_live = isinstance(source, int) or (isinstance(source, str) and self._announced is None)
        fps = self._capture.get(cv2.CAP_PROP_FPS) if opened else 0
        self.fps = fps if math.isfinite(fps) and SLOWEST <= fps <= FASTEST else DEFAULT_FPS
        self._number, self._time, self._damaged, self._read = -1, -1 / self.fps, 0, 0
        self._opened, self._seconds, self.drift = time.monotonic(), -1 / self.fps, 0.0
        self._rounds = Path(self.file_name).suffix.lower() in ROUNDED
        self._begin = 0.0  # time of the first frame in the file
        self._place = 0  # of the last frame by its time in the file, in frames
        self._is_regular = True  # each frame so far came a whole number of frames behind the one before
        self.is_cut = False  # the part ends before the video does
        try:
            self._first = self._next() if opened else None
            if self._first is None:
                raise PoseError(self._fault())
        except BaseException:
            self._capture.release()
            raise
        self._origin = self._number, self._seconds
        last = math.inf if self._announced is None else self._announced / self.fps
        expected = (min(end or math.inf, last) - start) * self.fps
        self.total = max(round(expected), 1) if not self.is_live and math.isfinite(expected) else None

    def _fault(self) -> str:
        if self._number >= 0:
            if self.is_cut:
                return f"no frame between demo.start={self._start:g} and demo.end={self._end:g}: {self.label}"
            return f"demo.start={self._start:g}: the last frame is at {self._seconds:.2f} s: {self.label}"
        if isinstance(self.source, int):
            return f"{self.label} cannot be opened; demo.input=0 is the first one"
        if isinstance(self.source, str):
            return f"stream cannot be opened (address, password, or no video?): {self.label}"
        return f"video cannot be read (damaged, cut short, or no video?): {self.label}"

    def __iter__(self) -> Iterator[Frame]:
        image, self._first = self._first, None
        while image is not None:
            self._read += 1
            steps, seconds = self._number - self._origin[0], self._seconds - self._origin[1]
            self.drift = max(self.drift, abs(seconds - steps / self.fps))
            name = f"{self.name}_{self._number:012}"
            yield Frame(self._number, self.first_id + self._number, self.file_name, name, image, seconds=self._seconds)
            image = self._next()

    def _next(self) -> np.ndarray | None:
        """The next frame of the part that can be decoded, `_number` its place in the video; None behind the last."""
        while self._grab():
            if self._end and self._seconds >= self._end - SLACK:
                self.is_cut = True
                return None
            if self._seconds >= self._start - SLACK:
                done, image = self._capture.retrieve()
                if done:
                    return image
                self._damaged += 1
        return None

    def _grab(self) -> bool:
        left = 0 if self._announced is None else self._announced - self._number
        for failed in range(1 if self.is_live else min(max(left, ATTEMPTS), MOST_ATTEMPTS)):
            if self._capture.grab():
                self._count(failed)
                return True
        return False

    def _count(self, failed: int) -> None:
        """Number the frame that was just read, behind so many attempts that gave none.

        Its time says how many are missing, as far as the file has times: not each attempt was a frame, and some
        decoders drop a frame without a word. That can be told only where every frame so far came at its regular time
        and the file announces as many frames; elsewhere a longer pause is a longer pause.
        """
        if isinstance(self.source, int):  # the clock is right for whatever the driver leaves out
            seconds = time.monotonic() - self._opened
        else:
            seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        steps = (seconds - self._time) * self.fps
        has_time = 0 < steps < math.inf
        self._begin = seconds if self._number < 0 else self._begin
        self._is_regular &= has_time and self._is_on_grid(seconds, steps)
        most = self._announced - self._number - 2 if self._announced is not None and self._is_regular else failed
        is_told = failed or (self._is_regular and self._number >= 0)  # a video may begin late
        missing = max(min(max(round(steps) - 1, 0), most) if has_time and is_told else failed, 0)
        self._number, self._time = self._number + 1 + missing, seconds
        self._seconds = seconds if has_time and seconds > self._seconds else self._seconds + (1 + missing) / self.fps
        self._damaged += missing
        self._place = int(self._capture.get(PLACE))

    def _is_on_grid(self, seconds: float, steps: float) -> bool:
        """Whether a frame came a whole number of frames behind others, as exactly as the container tells."""
        if self._rounds:
            since = (seconds - self._begin) * self.fps
            return abs(since - round(since)) < min(OFF_ROUNDED * self.fps, 0.25)
        return abs(steps - round(steps)) < OFF_GRID

    def problems(self) -> Iterator[str]:
        """After reading: a line for each thing that is wrong with the video."""
        if self._damaged:
            frames = "frame is" if self._damaged == 1 else "frames are"
            yield f"{self._damaged} {frames} damaged or missing, and left out: {self.label}"
        if self.is_cut or self._announced is None:
            return
        behind, counts = self._announced - self._number - 1, Path(self.file_name).suffix.lower() in COUNTED
        if not counts:  # an estimate by the length, which takes what lies before the first frame for frames
            behind = min(behind, self._announced - 1 - self._place)
        if behind > 0.01 * self._announced + 2:
            yield (f"only {self._read} of {self._announced} frames could be read (cut short or damaged?): {self.label}")
        elif behind > 0 and counts:
            yield f"the last {behind} of {self._announced} frames could not be read: {self.label}"

    def close(self) -> None:
        """Let go of the file, camera or stream."""
        self._capture.release()


def _capture(source: Path | int | str) -> cv2.VideoCapture:
    """Open it; frames come as a player shows them, which is not the default of every release of OpenCV."""
    # Both libraries write pages about damaged files to standard error.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    silence_opencv()
    if isinstance(source, int):
        return cv2.VideoCapture(source)
    if isinstance(source, str):
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT]
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
    else:
        with utf8_path(source) as name:
            capture = cv2.VideoCapture(name)
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture
