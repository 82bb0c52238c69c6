"""Progress of long work: a bar in a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time

log = logging.getLogger("pose")

# Seconds between two lines where there is no terminal.
LINE_INTERVAL = 10.0


class Progress:
    """Counts finished items of `total` and shows the rate and the time left; a context manager.

    Args:
        total: None where nobody knows.
        initial: items that were finished before.
        lines: print lines of its own where there is no terminal; callers with their own log lines do not want them.
    """

    def __init__(self, total: int | None, label: str, unit: str, initial: int = 0, lines: bool = True) -> None:
        self._lines = lines
        self._total, self._label, self._unit = total, label, unit
        self._done, self._initial = initial, initial
        self._begin = self._shown = time.monotonic()
        self._bar = None
        if sys.stdout.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                desc=label,
                unit=f" {unit}",
                initial=initial,
                leave=False,
                file=sys.stdout,
                dynamic_ncols=True,
            )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, count: int, note: str = "") -> None:
        """Count finished items; `note` (a loss, say) stands behind the bar."""
        self._done += count
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
            return
        now = time.monotonic()
        if self._lines and self._done > self._initial and now - self._shown >= LINE_INTERVAL:
            self._shown = now
            rate = (self._done - self._initial) / (now - self._begin)
            if self._total is None:
                log.info(f"{self._label}: {self._done} {self._unit}, {rate:.1f}/s")
                return
            left = format_seconds((self._total - self._done) / rate)
            log.info(f"{self._label}: {self._done}/{self._total} {self._unit}, {rate:.1f}/s, {left} left")

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stdout)
        else:
            log.info(text)


def format_seconds(seconds: float) -> str:
    """1:02:03 for hours, 2:03 for less."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
