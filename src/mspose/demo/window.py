"""A window with what is being drawn, where there is a display and OpenCV was built with a GUI toolkit."""

from __future__ import annotations

import logging
import os
import sys

import cv2
import numpy as np

log = logging.getLogger("pose")

QUIT_KEYS = {27, ord("q")}  # escape


class Window:
    """Shows pictures; where it cannot, it says so once and does nothing."""

    def __init__(self, title: str) -> None:
        self._title = title
        reason = _obstacle()
        if not reason:
            try:
                cv2.namedWindow(title, cv2.WINDOW_NORMAL)
            except cv2.error as error:
                reason = error.err or "no window could be opened"
        if reason:
            log.warning(f"warning: demo.show is ignored: {reason}")
        self._open = not reason

    def show(self, image: np.ndarray, milliseconds: int = 1) -> bool:
        """Show a picture; False when the user wants no more of them (q, escape, or the window was closed).

        Args:
            milliseconds: time to wait for a key; 0 waits for one.
        """
        if not self._open:
            return True
        cv2.imshow(self._title, image)
        key = cv2.waitKey(milliseconds) & 0xFF
        return key not in QUIT_KEYS and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) > 0

    def close(self) -> None:
        """Close the window."""
        if self._open:
            cv2.destroyAllWindows()


def _obstacle() -> str:
    """Why no window can be opened; empty where it may be tried. Some toolkits end the process without a display."""
    if not any(
        line.split()[1:2] not in ([], ["NONE"])
        for line in cv2.getBuildInformation().splitlines()
        if line.strip().startswith("GUI:")
    ):
        return "this OpenCV has no windows (pip install opencv-python instead of opencv-python-headless)"
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display"
    return ""
