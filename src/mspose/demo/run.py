"""What demo.py does: from a picture, folder, video or camera to drawn people and their keypoints as JSON."""

from __future__ import annotations

import glob
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mspose.backends.open import check_checkpoint
from mspose.config.schema import Config
from mspose.config.text import save_config
from mspose.config.topdown import TopDownDemo
from mspose.demo.follow import Follower
from mspose.demo.outputs import VideoWriter, video_file
from mspose.demo.pipeline import overlapped
from mspose.demo.sources import Frame, Pictures, Video, open_sources
from mspose.demo.window import Window
from mspose.detection import HOG_HINT
from mspose.errors import PoseError
from mspose.estimator import PoseEstimator, Prepared
from mspose.extras import check_installed
from mspose.files import write_json
from mspose.images import ImageError
from mspose.outputs import check_targets
from mspose.poses import Poses
from mspose.runtime.progress import Progress
from mspose.runtime.results import results_folder
from mspose.runtime.timing import Stopwatch
from mspose.visual import contact_sheet, draw_label, fit, write_image

log = logging.getLogger("pose")

# Frames that wait before and behind the network. From a camera, each would be a delay.
AHEAD, AHEAD_LIVE = 3, 1
SHEET, CELL = 12, (480, 360)  # pictures of the contact sheet, and their width and height on it
LEAST_SECONDS = 1e-4  # a step that takes less of each frame is not worth telling
STEPS = ("reading", "detecting", "network", "drawing", "writing")


@dataclass
class Job:
    """A frame on its way: what the network is to see, its maps, the people found and the drawn picture."""

    frame: Frame
    prepared: Prepared | None = None
    maps: Any = None
    people: Poses | None = None
    drawn: np.ndarray | None = None


class Demo:
    """The steps of the demo, each called for every frame in order, in a thread of its own.

    Attributes:
        entries: COCO results of what was written so far.
        thumbnails: the first drawn pictures, small.
        options: the section `demo` of the configuration.
        watch: seconds spent in each step.
    """

    def __init__(self, estimator: PoseEstimator, source: Pictures | Video, folder: Path) -> None:
        self.entries: list[dict] = []
        self.thumbnails: list[np.ndarray] = []
        self.watch = Stopwatch()
        self.video: VideoWriter | None = None
        self._estimator, self._source, self._folder = estimator, source, folder
        self.options = estimator.config.demo
        every = self.options.detect_every if source.is_video and isinstance(self.options, TopDownDemo) else 1
        self._follower = Follower(every, self.options.keypoint_threshold)
        self._begin, self._first = time.perf_counter(), 0.0

    def read(self) -> Iterator[Frame]:
        """The frames of the source."""
        frames = iter(self._source)
        while True:
            with self.watch("reading"):
                frame = next(frames, None)
            if frame is None:
                return
            yield frame

    def prepare(self, frame: Frame) -> Job:
        """Find people, or follow them from the frame before, and cut them out."""
        boxes = self._follower.boxes()
        if frame.image is None:
            return Job(frame)
        name = str(frame.number) if self._source.is_video else str(self._source.folder / frame.file_name)
        with self.watch("detecting"):
            try:
                return Job(frame, self._estimator.prepare(frame.image, boxes, name))
            except ImageError as error:
                return Job(replace(frame, image=None, error=f"{error}: {frame.file_name}"))
            except BaseException:
                self.stop()  # the next frame waits for the people of this one
                raise

    def run(self, job: Job) -> Job:
        """Run the network."""
        if job.prepared is not None:
            with self.watch("network"):
                job.maps = self._estimator.run(job.prepared)
        return job

    def draw(self, job: Job) -> Job:
        """Decode the maps and draw the people."""
        try:
            if job.prepared is not None:
                with self.watch("drawing"):
                    job.people = self._estimator.finish(job.prepared, job.maps)
            self._follower.found(job.people)
        except BaseException:
            self.stop()  # the next frame waits for the people of this one
            raise
        if job.prepared is None or job.people is None:
            return job
        with self.watch("drawing"):
            heat = self._estimator.heat(job.prepared, job.maps) if self.options.heatmaps else None
            job.drawn = self._estimator.draw(job.prepared.image, job.people, heat)
        job.prepared = job.maps = None
        return job

    def write(self, job: Job) -> Job:
        """Write the drawn picture or frame and the keypoints.

        Raises:
            PoseError: the disk is full, or the format cannot be written.
        """
        frame = job.frame
        job.frame = replace(frame, image=None)
        if job.people is None or job.drawn is None:
            return job
        with self.watch("writing"):
            if self.video is not None:
                self.video.write(job.drawn, frame.number)
            else:
                write_image(self._folder / "pictures" / self._source.drawn[frame.number], job.drawn)
                if len(self.thumbnails) < SHEET:
                    self.thumbnails.append(fit(job.drawn, *CELL))
            people, options = job.people, self.options
            name = self._folder / "openpose" / f"{frame.name}_keypoints.json"
            write_json(name, people.to_openpose(options.keypoint_threshold))
            number = frame.number if self._source.is_video else None
            self.entries += people.to_coco(frame.image_id, self._estimator.category_id, frame.file_name, number)
        return job

    def stop(self) -> None:
        """Let frames that wait for the people of others go on: none will be found any more."""
        self._follower.close()

    def first_done(self) -> None:
        """Start the clock again behind the first frame, which waits for the network to be compiled."""
        now = time.perf_counter()
        self._first, self._begin = now - self._begin, now
        self.watch.seconds.clear()

    def rate(self, done: int) -> float:
        """Frames a second behind the first one; of the first one where there is no other."""
        return (done - 1) / (time.perf_counter() - self._begin) if done > 1 else 1 / max(self._first, 1e-9)

    def describe_speed(self, done: int, unit: str) -> str:
        """One line: how long the first frame took, and frames a second, overall and by step; the steps overlap."""
        if done == 1:
            return f"1 {unit[:-1]} in {self._first:.1f} s"
        line = f"first of {done} {unit} in {self._first:.1f} s"
        times = {name: self.watch.seconds.get(name, 0) / (done - 1) for name in STEPS}
        steps = ", ".join(f"{name} {1 / seconds:.1f}/s" for name, seconds in times.items() if seconds > LEAST_SECONDS)
        return f"{line}, then {self.rate(done):.1f}/s" + (f" (overlapping: {steps})" if steps else "")


def demo(config: Config) -> None:
    """What demo.py does: find people in `demo.input`; serve the page without one, or where `demo.serve` says so."""
    if config.demo.serve or not config.demo.input:
        from mspose.demo.page import serve

        try:
            check_installed("gradio")
        except PoseError as error:
            hint = (
                "" if config.demo.serve else "; without a page: --input PICTURE, FOLDER, 'GLOB', VIDEO or camera number"
            )
            raise PoseError(f"{error}{hint}") from error
        serve(config)
    else:
        run_demo(config)


def run_demo(config: Config) -> None:
    """Find people in `demo.input` and write what was found into `runtime.output`.

    Pictures are drawn into pictures/ under their own names, the first of several also side by side into sheet.jpg, a
    video into NAME.mp4; predictions.json holds everybody in the form of COCO results, openpose/NAME_keypoints.json each
    picture or frame in OpenPose's form. A picture that cannot be read is named and left out.

    Raises:
        UsageError: nothing to look at, or a wrong setting.
        PoseError: no checkpoint, nothing could be read, or the outputs cannot be written.
    """
    check_checkpoint(config, "to run")
    with (
        closing(open_sources(config.demo.input)) as source,
        results_folder(config.runtime.output, "demo") as folder,
    ):
        _find_people(config, source, folder)


def _find_people(config: Config, source: Pictures | Video, folder: Path) -> None:
    record = folder / "demo_config.yaml"
    check_targets(config, [*_targets(source, folder), record], [record], source.paths)
    estimator = PoseEstimator(config)
    if not source.is_video:
        estimator.expect({str(source.folder / name): name for name in source.file_names})
    save_config(config, record)
    demo = Demo(estimator, source, folder)
    try:
        done = _run(demo, source, folder)
    finally:
        # Also what an interrupted run has found is worth keeping.
        write_json(folder / "predictions.json", demo.entries)
    if len(demo.thumbnails) > 1:
        write_image(folder / "sheet.jpg", contact_sheet(demo.thumbnails, 3, CELL))
    if source.is_video:
        for problem in source.problems():
            log.warning(f"warning: {problem}")
    if not done:
        raise PoseError(f"none of the {source.total} pictures could be read")
    if estimator.faults:
        log.warning(f"warning: NaN or infinite values of the network count as 0: {estimator.faults} people or pictures")
    log.info(demo.describe_speed(done, "frames" if source.is_video else "pictures"))
    missing = 0 if source.is_video else source.total - done
    left_out = f"; {missing} left out" if missing else ""
    drawn = Path(source.drawn[0]) if source.is_video else Path("pictures", *source.drawn[:1] * (source.total == 1))
    log.info(f"drawn: {folder / drawn}")
    log.info(f"{len(demo.entries)} {'person' if len(demo.entries) == 1 else 'people'}{left_out}; results in {folder}")
    if demo.entries and estimator.category_note:
        log.warning(f"note: {estimator.category_note}")
    if not demo.entries and estimator.detector == "hog":
        log.info(HOG_HINT)


def _targets(source: Pictures | Video, folder: Path) -> list[Path]:
    """Files that the demo writes; of a video's frames, whose number nobody knows beforehand, those that are there."""
    if source.is_video:
        frames = (folder / "openpose").glob(f"{glob.escape(source.name)}_*_keypoints.json")
        return [folder / "predictions.json", folder / source.drawn[0], *frames]
    pictures = [folder / "pictures" / name for name in source.drawn]
    people = [folder / "openpose" / f"{name}_keypoints.json" for name in source.names]
    return [folder / "predictions.json", folder / "sheet.jpg", *pictures, *people]


def _run(demo: Demo, source: Pictures | Video, folder: Path) -> int:
    """Work through the source; number of frames that could be read."""
    unit, done = "frames" if source.is_video else "pictures", 0
    last: np.ndarray | None = None
    with ExitStack() as stack:
        if source.is_video:
            demo.video = stack.enter_context(video_file(folder / source.drawn[0], source.fps))
        progress = stack.enter_context(Progress(source.total, "demo", unit))
        window = stack.enter_context(closing(Window("poses"))) if demo.options.show else None
        jobs = overlapped(
            demo.read(),
            demo.prepare,
            demo.run,
            demo.draw,
            demo.write,
            lambda frame: 0 if frame.image is None else 2 * frame.image.nbytes,
            AHEAD_LIVE if source.is_live else AHEAD,
            demo.stop,
        )
        try:
            with closing(jobs):
                for job in jobs:
                    progress.advance(1)
                    if job.drawn is None:
                        if source.total == 1:
                            raise PoseError(job.frame.error)
                        progress.line(f"warning: left out: {job.frame.error}")
                        continue
                    done, last = done + 1, job.drawn
                    if done == 1:
                        demo.first_done()
                    if window is not None:
                        draw_label(job.drawn, f"{demo.rate(done):.1f}/s", np.array([8, 24]))
                        if not window.show(job.drawn):
                            break
                if window is not None and not source.is_video and last is not None:
                    window.show(last, 0)
        except KeyboardInterrupt:
            if not source.is_live:  # a camera has no other end
                raise
    return done
