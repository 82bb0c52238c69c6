"""What demo.py does: from pictures, videos, cameras and streams to drawn people and their keypoints."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from mspose.backends.open import check_checkpoint
from mspose.config.schema import Config
from mspose.config.text import save_config
from mspose.demo.address import shown
from mspose.demo.outputs import WITHOUT_AV, video_file
from mspose.demo.pipeline import overlapped
from mspose.demo.results import RECORD, Results, targets
from mspose.demo.sources import Clip, Pictures, find, open_sources
from mspose.demo.speed import Speed
from mspose.demo.steps import Demo
from mspose.demo.video import Video
from mspose.demo.window import Window
from mspose.detection import HOG_HINT
from mspose.errors import PoseError, UsageError
from mspose.estimator import PoseEstimator
from mspose.extras import check_installed, is_installed
from mspose.outputs import check_targets
from mspose.runtime.progress import Progress
from mspose.runtime.results import results_folder
from mspose.visual import draw_label

log = logging.getLogger("pose")

# Frames that wait before and behind the network. From a camera, each would be a delay.
AHEAD, AHEAD_LIVE = 8, 1
# Frames in which people are looked for at a time: detectors are slow, and do not gain from many threads each.
PREPARED = 4
UNEVEN = 0.1  # seconds by which frames may be off in the drawn video without a word


def demo(config: Config) -> None:
    """What demo.py does: find people in `demo.input`; serve the page without one, or where `demo.serve` says so."""
    if _serves(config):
        from mspose.demo.page_serve import serve

        check_inputs(config)
        serve(config)
    else:
        run_demo(config)


def _serves(config: Config) -> bool:
    return config.demo.serve or not config.demo.input


def check_inputs(config: Config) -> None:
    """Whether there is what the demo is to look at, or what its page needs.

    Raises:
        UsageError: nothing is there, or no pictures and videos are.
        PoseError: the page's library is not installed.
    """
    if not _serves(config):
        for spec in filter(None, config.demo.input):
            find(spec)
        return
    try:
        check_installed("gradio")
    except PoseError as error:
        hint = (
            ""
            if config.demo.serve
            else "; without a page: --input PICTURE, FOLDER, 'GLOB', VIDEO, ADDRESS or camera number"
        )
        raise PoseError(f"{error}{hint}") from error


def run_demo(config: Config) -> None:
    """Find people in `demo.input` and write what was found into `runtime.output`.

    Pictures are drawn into pictures/ under their own names, the first of several also side by side into sheet.jpg, each
    video into NAME.mp4; predictions.json holds everybody in the form of COCO results, people.csv as a table,
    openpose/NAME_keypoints.json each picture or frame in OpenPose's form. A picture that cannot be read is named and
    left out, and among several inputs a video too.

    Raises:
        UsageError: nothing to look at, or a wrong setting.
        PoseError: no checkpoint, nothing could be read, or the outputs cannot be written.
    """
    check_checkpoint(config, "to run")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="poses-")))
        sources = open_sources(config.demo.input, scratch)
        # Before the network is loaded: what is wrong with a single video is told at once.
        first = _opened(sources[0], config) if len(sources) == 1 else None
        if first is not None:
            stack.enter_context(closing(first))
        folder = stack.enter_context(results_folder(config.runtime.output, "demo"))
        _find_people(config, sources, first, folder)


def _opened(source: Pictures | Clip, config: Config) -> Pictures | Video:
    return source.open(config.demo.start, config.demo.end) if source.is_video else source


def _find_people(config: Config, sources: list[Pictures | Clip], first: Pictures | Video | None, folder: Path) -> None:
    record = folder / RECORD
    check_targets(
        config, [*targets(sources, folder), record], [record], [path for source in sources for path in source.paths]
    )
    estimator = PoseEstimator(config, overlap=PREPARED)
    _check_together(config, sources, estimator.detector)
    # Passwords in addresses are not for whoever gets the results.
    save_config(replace(config, demo=replace(config.demo, input=[shown(spec) for spec in config.demo.input])), record)
    results, speed = Results(folder, estimator.category_id, config.demo.keypoint_threshold), Speed()
    left_out = 0
    try:
        for source in sources:
            try:
                opened = first or _opened(source, config)
            except PoseError as error:
                log.warning(f"warning: left out: {error}")
                left_out += 1
                continue
            with closing(opened):
                left_out += _look(estimator, opened, source, results, speed, folder)
    finally:
        # Also what an interrupted run has found is worth keeping.
        results.save(estimator.skeleton)
    kinds = {
        "videos" if source.is_video else "pictures": "frames" if source.is_video else "pictures" for source in sources
    }
    if not speed.done:
        raise PoseError(f"none of the {left_out} {' and '.join(kinds)} could be read")
    if estimator.faults:
        log.warning(f"warning: NaN or infinite values of the network count as 0: {estimator.faults} people or pictures")
    log.info(speed.describe(" and ".join(kinds.values())))
    for path in _drawn(sources, folder):
        log.info(f"drawn: {path}")
    count = len(results.entries)
    log.info(
        f"{count} {'person' if count == 1 else 'people'}{f'; {left_out} left out' if left_out else ''}; results in "
        f"{folder}: {results.describe()}"
    )
    if results.entries and estimator.category_note:
        log.warning(f"note: {estimator.category_note}")
    if not results.entries and estimator.detector == "hog":
        log.info(HOG_HINT)


def _check_together(config: Config, sources: Sequence[Pictures | Clip], detector: str) -> None:
    """Say what does not go together, or is without effect."""
    clips = [source for source in sources if source.is_video]
    if detector == "boxes" and clips and len(sources) > 1:
        raise UsageError(
            f"demo.boxes has the boxes of a video by the numbers of frames, and there are {len(sources)} inputs: "
            f"look at {clips[0].label} by itself"
        )
    if not clips and (config.demo.start or config.demo.end):
        log.warning("note: demo.start and demo.end are without effect: pictures have no time")
    if clips and not is_installed("av"):
        log.info(f"note: {WITHOUT_AV}")


def _drawn(sources: Sequence[Pictures | Clip], folder: Path) -> Iterator[Path]:
    """The drawn picture, the folder of several, and the drawn videos, as far as they are there."""
    for source in sources:
        if source.is_video:
            path = folder / source.drawn[0]
        else:
            path = Path(folder, "pictures", *source.drawn[:1] * (source.total == 1))
        if path.exists():
            yield path


def _look(
    estimator: PoseEstimator,
    opened: Pictures | Video,
    source: Pictures | Clip,
    results: Results,
    speed: Speed,
    folder: Path,
) -> int:
    """Work through one source, and say what is wrong with it; number of pictures that could not be read."""
    estimator.forget()
    if isinstance(opened, Pictures):
        estimator.expect({str(opened.folder / name): name for name in opened.file_names})
        return opened.total - _run(Demo(estimator, opened, results, speed), opened, speed)
    opened.first_id = results.next_id
    sound = "" if opened.is_live else str(opened.source)
    with video_file(folder / source.drawn[0], opened.fps, sound) as video:
        _run(Demo(estimator, opened, results, speed, video), opened, speed)
    problems = [*opened.problems(), *(f"{note}: {opened.label}" for note in video.notes)]
    if opened.drift > UNEVEN and not is_installed("av"):
        problems.append(
            f"the frame rate varies, and the drawn video has {opened.fps:.1f}/s throughout: its frames are up to "
            f"{opened.drift:.1f} s off: {opened.label}"
        )
    for problem in problems:
        log.warning(f"warning: {problem}")
    return 0


def _run(demo: Demo, source: Pictures | Video, speed: Speed) -> int:
    """Work through the source; number of frames that could be read."""
    done = 0
    last: np.ndarray | None = None
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(source.total, "demo", "frames" if source.is_video else "pictures"))
        window = stack.enter_context(closing(Window("poses"))) if demo.options.show else None
        jobs = overlapped(
            demo.read(),
            demo.prepare,
            demo.is_full,
            demo.run,
            demo.finish,
            demo.held,
            AHEAD_LIVE if source.is_live else AHEAD,
            demo.estimator.threads,
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
                    speed.count()
                    if window is not None:
                        draw_label(job.drawn, f"{speed.rate:.1f}/s", np.array([8, 24]))
                        if not window.show(job.drawn):
                            break
                if window is not None and not source.is_video and last is not None:
                    window.show(last, 0)
        except KeyboardInterrupt:
            if not source.is_live:  # a camera has no other end
                raise
    return done
