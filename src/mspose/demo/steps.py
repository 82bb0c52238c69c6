"""What the demo does to each picture or frame, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mspose.config.topdown import TopDownDemo
from mspose.demo.follow import Follower
from mspose.demo.outputs import Writer
from mspose.demo.results import Results
from mspose.demo.sources import Pictures
from mspose.demo.speed import Speed
from mspose.demo.video import Frame, Video
from mspose.estimator import PoseEstimator, Prepared
from mspose.images import ImageError
from mspose.poses import Poses
from mspose.visual import side_by_side

TITLES = "input", "poses"  # of the halves of a picture, side by side


@dataclass
class Job:
    """A frame on its way: what the network is to see, its maps, the people found and the drawn picture."""

    frame: Frame
    prepared: Prepared | None = None
    maps: Any = None
    people: Poses | None = None
    drawn: np.ndarray | None = None


class Demo:
    """The steps of the demo, each called for every frame of a source in order, in a thread of its own.

    Args:
        video: what drawn frames are written to; None: they are pictures.

    Attributes:
        options: the section `demo` of the configuration.
    """

    def __init__(
        self,
        estimator: PoseEstimator,
        source: Pictures | Video,
        results: Results,
        speed: Speed,
        video: Writer | None = None,
    ) -> None:
        self._estimator, self._source, self._results, self._video = estimator, source, results, video
        self.options = estimator.config.demo
        every = self.options.detect_every if source.is_video and isinstance(self.options, TopDownDemo) else 1
        self._follower = Follower(every, self.options.keypoint_threshold)
        self._watch = speed.watch

    def read(self) -> Iterator[Frame]:
        """The frames of the source."""
        frames = iter(self._source)
        while True:
            with self._watch("reading"):
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
        try:
            if boxes is None:
                with self._watch("detector"):
                    found = self._estimator.detect(frame.image, name)
            with self._watch("cropping"):
                if boxes is None:
                    return Job(frame, self._estimator.cut_out(frame.image, found))
                return Job(frame, self._estimator.prepare(frame.image, boxes))
        except ImageError as error:
            return Job(replace(frame, image=None, error=f"{error}: {frame.file_name}"))
        except BaseException:
            self.stop()  # the next frame waits for the people of this one
            raise

    def run(self, job: Job) -> Job:
        """Run the network."""
        if job.prepared is not None:
            with self._watch("network"):
                job.maps = self._estimator.run(job.prepared)
        return job

    def draw(self, job: Job) -> Job:
        """Decode the maps and draw the people."""
        try:
            if job.prepared is not None:
                with self._watch("drawing"):
                    job.people = self._estimator.finish(job.prepared, job.maps)
            self._follower.found(job.people)
        except BaseException:
            self.stop()  # the next frame waits for the people of this one
            raise
        if job.prepared is None or job.people is None:
            return job
        with self._watch("drawing"):
            image = job.prepared.image
            heat = self._estimator.heat(job.prepared, job.maps) if self.options.heatmaps else None
            job.drawn = self._estimator.draw(image, job.people, heat)
            if self.options.side_by_side:
                job.drawn = side_by_side(image, job.drawn, TITLES)
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
        with self._watch("writing"):
            if self._video is not None:
                self._video.write(job.drawn, frame.number, frame.seconds)
            elif isinstance(self._source, Pictures):
                self._results.add_picture(self._source.drawn[frame.number], job.drawn)
            self._results.add(frame, job.people, self._source.is_video)
        return job

    def stop(self) -> None:
        """Let frames that wait for the people of others go on: none will be found any more."""
        self._follower.close()
