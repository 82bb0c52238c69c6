"""How fast the demo was, and who took the time."""

from __future__ import annotations

import time

from mspose.runtime.timing import Stopwatch

STEPS = ("reading", "detector", "cropping", "network", "drawing", "writing")
LEAST_SHARE = 0.02  # a step that takes less is not worth telling


class Speed:
    """Counts finished pictures and frames, and the seconds of each step.

    Attributes:
        done: how many are finished.
        watch: seconds of each of `STEPS` behind the first picture, which waits for the network to be compiled.
    """

    def __init__(self) -> None:
        self.done, self.watch = 0, Stopwatch()
        self._begin, self._first = time.perf_counter(), 0.0

    def count(self) -> None:
        """One more is finished."""
        self.done += 1
        if self.done == 1:
            now = time.perf_counter()
            self._first, self._begin = now - self._begin, now
            self.watch.seconds.clear()

    @property
    def rate(self) -> float:
        """Pictures a second behind the first one; of the first one where there is no other."""
        elapsed = time.perf_counter() - self._begin if self.done > 1 else self._first
        return max(self.done - 1, 1) / max(elapsed, 1e-9)

    def describe(self, unit: str) -> str:
        """One line: pictures a second, each step's share of the work, and about how many without the detector.

        The steps of different pictures overlap, and share the processor: without one of them, its share is free.

        Args:
            unit: "pictures", "frames".
        """
        if self.done == 1:
            return f"speed: 1 {unit[:-1]} in {self._first:.1f} s"
        seconds = self.watch.seconds
        work = sum(seconds.values())
        shares = {name: seconds[name] / work for name in STEPS if seconds.get(name, 0.0) > LEAST_SHARE * work}
        line = f"speed: {self.rate:.1f} {unit}/s behind the first, which took {self._first:.1f} s"
        if shares:
            line += "; work: " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        if "detector" in shares:
            line += f"; without the detector about {self.rate / max(1 - shares['detector'], 1e-9):.1f} {unit}/s"
        return line
