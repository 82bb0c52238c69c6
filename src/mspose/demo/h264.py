"""Drawn videos as browsers and phones play them: H.264 and AAC in MP4, by PyAV (the extra `video`)."""

from __future__ import annotations

import math
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mspose.demo.sound import Sound
from mspose.errors import one_line
from mspose.extras import need
from mspose.files import utf8_path
from mspose.visual import even, even_size

TICK = Fraction(1, 90_000)  # of the times of frames: exact at all usual rates
# The network wants the processor more than the encoder does.
OPTIONS = {"preset": "veryfast", "crf": "20"}
KEY_SECONDS = 2.0  # between two frames that a player can jump to
BT709 = 1  # in each of FFmpeg's tables


class H264Writer:
    """Writes frames at the times that they have in the source, and its sound from the first of them on.

    Args:
        fps: of the source; the last frame is shown as long as this says.
        sound: file or address of the video whose sound is kept; empty: none.

    Attributes:
        notes: see `mspose.demo.outputs.Writer`.

    Raises:
        PoseError: PyAV is not installed.
        OSError: it has no encoder for H.264, or the file cannot be written.
    """

    def __init__(self, path: Path, fps: float, sound: str = "") -> None:
        self._av = need("av")
        self._path, self._source = path, sound
        self._duration = max(round(1 / (fps * TICK)), 1)
        self._fps = Fraction(fps).limit_denominator(1001)
        self._size, self._begin, self._last = (0, 0), 0.0, -1
        self._container: Any = None
        self._sound: Sound | None = None
        self._open_files = ExitStack()
        self._convert = self._av.video.reformatter.VideoReformatter().reformat
        self.notes: list[str] = []

    def write(self, image: np.ndarray, number: int, seconds: float) -> None:
        """See `mspose.demo.outputs.Writer`."""
        try:
            if self._container is None:
                self._start(even_size(image), seconds)
            # The pixels are read in place, and the tables of the conversion kept: 1 ms a frame of 640x480, not 4.
            pixels = np.ascontiguousarray(even(image, self._size))
            frame = self._convert(
                self._av.VideoFrame.from_numpy_buffer(pixels, format="bgr24"),
                format="yuv420p",
                dst_colorspace="ITU709",
                dst_color_range="MPEG",
            )
            frame.pts = max(round((seconds - self._begin) / TICK), self._last + 1)
            frame.time_base, self._last = TICK, frame.pts
            frame.duration = self._duration
            self._container.mux(self._video.encode(frame))
            self._write_sound(frame.pts + self._duration)
        except (OSError, ValueError, self._av.FFmpegError) as error:
            raise _fault(error) from error

    def close(self) -> bool:
        """See `mspose.demo.outputs.Writer`."""
        if self._container is None:
            return False
        try:
            with self._open_files:
                self._container.mux(self._video.encode(None))
                if self._sound is not None:
                    self._container.mux(self._voice.encode(None))
                    self.notes += self._sound.problems()
                self._container.close()
        except (OSError, ValueError, self._av.FFmpegError) as error:
            raise _fault(error) from error
        return True

    def _start(self, size: tuple[int, int], seconds: float) -> None:
        self._size, self._begin = size, seconds
        name = self._open_files.enter_context(utf8_path(self._path))
        # The index comes first, so that a browser can begin before it has all of the file.
        self._container = self._av.open(name, "w", format="mp4", options={"movflags": "+faststart"})
        self._open_files.callback(self._container.close)
        self._video = self._container.add_stream("libx264", rate=self._fps, options=OPTIONS)
        coder = self._video.codec_context
        coder.width, coder.height, coder.pix_fmt, coder.time_base = *size, "yuv420p", TICK
        coder.thread_type = "FRAME"  # it works on some frames while the next ones are drawn
        coder.gop_size = max(math.ceil(KEY_SECONDS * self._fps), 1)
        coder.colorspace = coder.color_primaries = coder.color_trc = coder.color_range = BT709
        if self._source:
            self._sound = self._open_files.enter_context(Sound(self._source, seconds))
            if self._sound.rate:
                self._voice = self._container.add_stream("aac", rate=self._sound.rate, layout=self._sound.layout)
                self._voice.bit_rate = 96_000 * self._sound.channels
            else:
                self.notes += self._sound.problems()
                self._sound = None

    def _write_sound(self, end: int) -> None:
        """Write the sound up to a time, in ticks."""
        while self._sound is not None:
            begin, samples = self._sound.read(float(end * TICK))
            if not samples.shape[1]:
                return
            frame = self._av.AudioFrame.from_ndarray(samples, format="fltp", layout=self._sound.layout)
            frame.sample_rate, frame.pts = self._sound.rate, begin
            frame.time_base = Fraction(1, self._sound.rate)
            self._container.mux(self._voice.encode(frame))


def _fault(error: Exception) -> OSError:
    return OSError(one_line(getattr(error, "strerror", None) or error))
