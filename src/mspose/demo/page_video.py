"""A video on the web page: the demo's own steps, within limits of length, size and time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2

from mspose.demo.outputs import video_file
from mspose.demo.page_networks import HINTS
from mspose.demo.pipeline import overlapped
from mspose.demo.results import Results
from mspose.demo.speed import Speed
from mspose.demo.steps import Demo, Job
from mspose.demo.video import Video
from mspose.errors import PoseError
from mspose.estimator import PoseEstimator
from mspose.extras import is_installed
from mspose.files import utf8_path, write_json

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 3  # frames that wait before and behind the network
# Seconds after which a video is left where it is: others wait, too.
MOST_WORK = 600.0


@dataclass(frozen=True)
class Limits:
    """What a visitor's video may take.

    Attributes:
        seconds: of the video that are looked at.
        pixels: of a frame.
        detecting, computing: held for each frame, so that others' pictures come in between.
    """

    seconds: float
    pixels: int
    detecting: threading.Lock
    computing: threading.Lock


def look_at(
    path: Path, estimator: PoseEstimator, folder: Path, limits: Limits, advance: Callable[[int, int], None]
) -> tuple[Path, Path, str]:
    """Find and draw people in a video.

    Args:
        estimator: with the options of `demo` that count.
        folder: for what is written.
        advance: called with the number of frames done, and of all.

    Returns:
        The drawn video, the keypoints in the form of COCO results, and a line that says what is in them.

    Raises:
        PoseError: it is no video, its frames have too many pixels, or the drawn one cannot be written.
    """
    _check_frames(path, limits.pixels)
    begin, done, most, is_late = time.monotonic(), 0, 0, False
    with closing(Video(path, end=limits.seconds)) as source:
        # Both are played by browsers: H.264 with the sound, and VP8, which OpenCV writes.
        drawn = folder / f"{source.name}_people{'.mp4' if is_installed('av') else '.webm'}"
        results = Results(folder, estimator.category_id, estimator.config.demo.keypoint_threshold)
        with video_file(drawn, source.fps, str(path)) as writer:
            demo = Demo(estimator, source, results, Speed(), writer)
            jobs = overlapped(
                demo.read(),
                _held(limits.detecting, demo.prepare),
                demo.is_full,
                _held(limits.computing, demo.run),
                demo.finish,
                demo.held,
                AHEAD,
                stop=demo.stop,
            )
            with closing(jobs):
                for job in jobs:
                    done += 1
                    most = max(most, _count(job))
                    advance(done, max(source.total or 0, done))
                    is_late = time.monotonic() - begin > MOST_WORK
                    if is_late:
                        break
        if is_late:
            notes = [f"the page gives a video {MOST_WORK:.0f} s"]
        else:
            first = [f"the first {limits.seconds:g} s (demo.max_seconds)"] if source.is_cut else []
            notes = [*first, *source.problems(), *writer.notes]
    keypoints = folder / f"{source.name}_keypoints.json"
    write_json(keypoints, results.entries)
    nobody = f"nobody found; {HINTS.get(estimator.detector, 'a lower threshold finds more')}"
    who = nobody if not most else "1 person" if most == 1 else f"up to {most} people at once"
    # Where the upload lies is nobody's business.
    count = f"{done} frame{'s' * (done != 1)}"
    return drawn, keypoints, "; ".join([f"{count}: {who}", *notes]).replace(str(path), path.name)


def _check_frames(path: Path, most: int) -> None:
    """Refuse a video of larger frames, by its header."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # it writes pages about damaged files
    with utf8_path(path) as name:
        capture = cv2.VideoCapture(name)
    width, height = (int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    capture.release()
    if width * height > most:
        raise PoseError(f"the video has {width}x{height} pixels, more than {most} (demo.max_pixels): {path}")


def _held(lock: threading.Lock, step: Callable[[T], R]) -> Callable[[T], R]:
    def run(item: T) -> R:
        with lock:
            return step(item)

    return run


def _count(job: Job) -> int:
    return len(job.people) if job.people is not None else 0
