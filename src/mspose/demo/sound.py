"""The sound of a video as samples, from one moment of its picture on, by PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from mspose.demo.address import is_address
from mspose.errors import one_line
from mspose.extras import need
from mspose.files import utf8_path

# What AAC encodes; other rates become the last.
RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
# Seconds by which a block of samples may be off from the end of the one before: containers round times.
JITTER = 0.03
TIMEOUT = 10.0


class Sound:
    """Reads the first sound track; a context manager.

    Args:
        source: file or address of the video.
        begin: seconds of its picture where the sound begins.

    Attributes:
        rate: samples a second; 0 where there is no sound.
        layout: "mono" or "stereo", which players of all kinds have; more channels become two.
        channels: 1 or 2.
    """

    def __init__(self, source: str, begin: float) -> None:
        self._av = need("av")
        self.rate, self.layout, self.channels, self._at = 0, "mono", 1, 0
        self._source, self._fault, self._damaged = source, "", 0
        self._files = ExitStack()
        self._is_begun = False
        self._left: tuple[int, np.ndarray] | None = None
        try:
            self._open(begin)
        except (OSError, ValueError, self._av.FFmpegError) as error:
            self._fault, self.rate = one_line(getattr(error, "strerror", None) or error), 0

    def __enter__(self) -> Sound:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def _open(self, begin: float) -> None:
        name = self._source if is_address(self._source) else self._files.enter_context(utf8_path(Path(self._source)))
        container = self._files.enter_context(self._av.open(name, timeout=TIMEOUT))
        if not container.streams.audio or not container.streams.video:
            return
        track, picture = container.streams.audio[0], container.streams.video[0]
        coder = track.codec_context
        self.rate = coder.sample_rate if coder.sample_rate in RATES else RATES[-1]
        self.channels = min(max(coder.channels, 1), 2)
        self.layout = "mono" if self.channels == 1 else "stereo"
        # Times of frames count from the first one of the picture (see `mspose.demo.video`).
        self._zero = begin + float((picture.start_time or 0) * picture.time_base)
        if begin > 1:
            container.seek(int((self._zero - 1) * 1_000_000))
        self._blocks = self._decode(container.demux(track))

    def problems(self) -> Iterator[str]:
        """A line for each thing that is wrong with the sound."""
        if self._fault:
            yield f"the sound cannot be read, and is left out: {self._fault}"
        if self._damaged:
            yield f"the sound is damaged in {self._damaged} {'place' if self._damaged == 1 else 'places'}"

    def _decode(self, packets: Iterator[Any]) -> Iterator[tuple[int, np.ndarray]]:
        """Blocks (channels, n) float32, each with the number of its first sample."""
        resampler, after = None, 0
        while True:
            try:
                packet = next(packets, None)
            except (OSError, self._av.FFmpegError):
                self._damaged += 1
                packet = None
            if packet is None:
                return
            try:
                for frame in packet.decode():
                    resampler = resampler or self._resampler()
                    blocks = [block.to_ndarray() for block in resampler.resample(frame)]
                    if frame.time is not None:
                        after = round((frame.time - self._zero) * self.rate)
                    for block in blocks:
                        yield after, block
                        after += block.shape[1]
            except (OSError, ValueError, self._av.FFmpegError):
                self._damaged += 1
                resampler = None  # its input may have become another

    def _resampler(self) -> Any:
        return self._av.AudioResampler(format="fltp", layout=self.layout, rate=self.rate)

    def read(self, seconds: float) -> tuple[int, np.ndarray]:
        """Samples from where the last call ended up to `seconds` behind the beginning, and a second's at most.

        Where the track has a gap, there is silence; behind its end, nothing.

        Returns:
            the number of the first one, and (channels, n) float32.
        """
        begin, parts = self._at, []
        end = min(round(seconds * self.rate), begin + self.rate)
        while (wanted := end - self._at) > 0:
            block = self._left or next(self._blocks, None)
            if block is None:
                break
            at, samples = block
            ahead, allowed = at - self._at, JITTER * self.rate if self._is_begun else 0
            if ahead > allowed:
                parts.append(np.zeros((self.channels, min(ahead, wanted)), np.float32))
                self._left = block
            else:
                samples = samples[:, -ahead if -ahead > allowed else 0 :]
                parts.append(samples[:, :wanted])
                rest = samples[:, wanted:]
                self._left = (self._at + wanted, rest) if rest.shape[1] else None
                self._is_begun |= samples.shape[1] > 0
            self._at += parts[-1].shape[1]
        return begin, np.concatenate(parts, axis=1) if parts else np.zeros((self.channels, 0), np.float32)
