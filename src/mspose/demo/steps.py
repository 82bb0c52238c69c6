"""What the demo does to each picture or frame, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from mspose.codecs.base import Maps
from mspose.config.topdown import TopDownDemo
from mspose.demo.follow import Follower
from mspose.demo.outputs import Writer
from mspose.demo.results import Results
from mspose.demo.sources import Pictures
from mspose.demo.speed import Speed
from mspose.demo.video import Frame, Video
from mspose.estimator import WAITING, PoseEstimator, Prepared
from mspose.images import ImageError
from mspose.poses import Poses
from mspose.visual import side_by_side

TITLES = "input", "poses"  # of the halves of a picture, side by side


@dataclass
class Job:
    """A frame on its way: what the network is to see, its maps, the people found and the drawn picture.

    Attributes:
        place: 0, 1, … among the frames that are looked at.
    """

    frame: Frame
    place: int = 0
    prepared: Prepared | None = None
    maps: Maps | None = None
    people: Poses | None = None
    drawn: np.ndarray | None = None


class Demo:
    """The steps of the demo; `mspose.demo.pipeline` calls them in threads of their own.

    Args:
        video: what drawn frames are written to; None: they are pictures.

    Attributes:
        estimator: see above.
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
        self.estimator, self._source, self._results, self._video = estimator, source, results, video
        self.options = estimator.config.demo
        every = self.options.detect_every if source.is_video and isinstance(self.options, TopDownDemo) else 1
        self._follower = Follower(every, self.options.keypoint_threshold)
        self._watch = speed.watch

    def read(self) -> Iterator[Job]:
        """The frames of the source, in order."""
        frames = iter(self._source)
        for place in count():
            with self._watch("reading"):
                frame = next(frames, None)
            if frame is None:
                return
            yield Job(frame, place)

    def prepare(self, job: Job) -> Job:
        """Find people, or follow them from the frame before, and cut them out. Frames may be prepared at once."""
        frame, boxes = job.frame, self._follower.boxes(job.place)
        if frame.image is None:
            return job
        name = str(frame.number) if self._source.is_video else str(self._source.folder / frame.file_name)
        try:
            if boxes is None:
                with self._watch("detector"):
                    found = self.estimator.detect(frame.image, name)
            with self._watch("cropping"):
                if boxes is None:
                    job.prepared = self.estimator.cut_out(frame.image, found)
                else:
                    job.prepared = self.estimator.prepare(frame.image, boxes)
        except ImageError as error:
            job.frame = replace(frame, image=None, error=f"{error}: {frame.file_name}")
        except BaseException:
            self.stop()  # the next frame waits for the people of this one
            raise
        return job

    def is_full(self, jobs: Sequence[Job]) -> bool:
        """Whether the network is to run now: the people fill a batch, or the next frame is not to wait for more."""
        if (self._source.is_video and self._source.is_live) or self._follower.follows(jobs[-1].place + 1):
            return True
        prepared = [job.prepared for job in jobs if job.prepared is not None]
        return len(jobs) >= WAITING or (bool(prepared) and self.estimator.fills(prepared))

    def run(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """Run the network on the people of some frames, all at once."""
        seen = [job for job in jobs if job.prepared is not None]
        if seen:
            with self._watch("network"):
                found = self.estimator.run_group([job.prepared for job in seen if job.prepared is not None])
            for job, maps in zip(seen, found):
                job.maps = maps
        return jobs

    def finish(self, job: Job) -> Job:
        """Decode the maps, draw the people, and write what was found and drawn; in the order of frames.

        Raises:
            PoseError: the disk is full, or the format cannot be written.
        """
        return self._write(self._draw(job))

    def _draw(self, job: Job) -> Job:
        try:
            if job.prepared is not None and job.maps is not None:
                with self._watch("drawing"):
                    job.people = self.estimator.finish(job.prepared, job.maps)
            self._follower.found(job.people)
        except BaseException:
            self.stop()  # the next frame waits for the people of this one
            raise
        if job.prepared is None or job.maps is None or job.people is None:
            return job
        with self._watch("drawing"):
            image = job.prepared.image
            heat = self.estimator.heat(job.prepared, job.maps) if self.options.heatmaps else None
            job.drawn = self.estimator.draw(image, job.people, heat)
            if self.options.side_by_side:
                job.drawn = side_by_side(image, job.drawn, TITLES)
        job.prepared = job.maps = None
        return job

    def _write(self, job: Job) -> Job:
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

    @staticmethod
    def held(job: Job) -> int:
        """Bytes of a frame and of what is drawn of it."""
        return 0 if job.frame.image is None else 2 * job.frame.image.nbytes

    def stop(self) -> None:
        """Let frames that wait for the people of others go on: none will be found any more."""
        self._follower.close()
