"""The web page: what it does behind its controls. docs/page.md shows it."""

from __future__ import annotations

import io
import shutil
import tempfile
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mspose.config.schema import Config
from mspose.demo.page_networks import HINTS, Networks, with_demo
from mspose.demo.page_video import Limits, look_at
from mspose.demo.sources import image_ids
from mspose.estimator import PoseEstimator
from mspose.extras import need
from mspose.files import write_json
from mspose.images import ImageError, decode_image, read_image
from mspose.poses import Poses
from mspose.visual import encode_image, write_image

# How long results can be downloaded, in seconds, and how many there are at most.
KEPT_SECONDS, KEPT_RESULTS = 3600, 100
SHOWN = {".png", ".webp"}  # formats that browsers show and that drawn pictures keep; others become JPEG


@dataclass(frozen=True)
class Options:
    """What changes the drawn picture, but not who is in it."""

    person_threshold: float = 0.1
    keypoint_threshold: float = 0.2
    heatmaps: bool = False
    black_background: bool = False


@dataclass
class Found:
    """Everybody in a picture, whatever their score: it is drawn anew from this when a threshold changes.

    Attributes:
        picture: its file; the pixels are read again, since each open page would hold them otherwise.
        heat: see `PoseEstimator.heat`.
        faults: inputs for which the network gave no numbers.
        folder: of what was drawn last.
    """

    picture: str
    estimator: PoseEstimator
    people: Poses
    heat: tuple[np.ndarray, np.ndarray]
    faults: int
    folder: Path | None = field(default=None)


@dataclass(frozen=True)
class Result:
    """Files to show and to download, and a line that says what is in them."""

    drawn: Path
    keypoints: Path
    said: str


class Page:
    """What the page does behind its controls, for all who have it open.

    Args:
        config: the first network, and for all of them the sections `demo` and `runtime`.
        folder: where results are put.

    Attributes:
        networks: what can be chosen.

    Raises:
        UsageError, PoseError: see `Networks`.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        self.networks = Networks(config)
        self._config, self._folder = config, folder
        # A picture, or a frame of somebody's video, at a time: the device is one.
        self._detecting, self._computing = threading.Lock(), threading.Lock()
        self._results: deque[tuple[float, Path]] = deque()  # when each was written, oldest first, and where
        self._tidying = threading.Lock()

    def find(self, picture: str, network: str, detector: str) -> Found:
        """Find people in a picture file.

        Raises:
            PoseError: the file is not a picture or has too many pixels, or the network cannot be loaded.
        """
        check_size(picture, self._config.demo.max_pixels)
        return self._find(read_image(picture, apply_exif=True), picture, network, detector)

    def _find(self, image: np.ndarray, name: str, network: str, detector: str) -> Found:
        loaded = self.networks.get(network, detector)
        estimator = loaded.with_options(loaded.config.demo)  # its count of faults is this picture's
        with self._detecting:
            prepared = estimator.prepare(image, name=name)
        with self._computing:
            maps = estimator.run(prepared)
        people = estimator.finish(prepared, maps)
        return Found(name, estimator, people, estimator.heat(prepared, maps), estimator.faults)

    def draw(self, found: Found, options: Options) -> Result:
        """Draw who was found, as far as the thresholds let them through; the network is not run.

        Raises:
            PoseError: the picture is there no more, or the result cannot be written.
        """
        people = found.people[found.people.scores >= options.person_threshold]
        image = read_image(found.picture, apply_exif=True)
        path = Path(found.picture)
        folder = self._new_folder()
        drawn = folder / f"{path.stem}_people{path.suffix if path.suffix.lower() in SHOWN else '.jpg'}"
        write_image(drawn, _drawn(found, image, people, options))
        keypoints = folder / f"{path.stem}_keypoints.json"
        category = found.estimator.category_id
        write_json(keypoints, people.to_coco(image_ids([Path(path.name)])[0], category, path.name))
        if found.folder is not None:
            shutil.rmtree(found.folder, ignore_errors=True)
        found.folder = folder
        return Result(drawn, keypoints, describe(people, found.estimator.detector, found.faults))

    def live(self, data: bytes, network: str, detector: str, options: Options) -> tuple[bytes, str]:
        """People in a camera's picture: the drawn picture as JPEG, and how many they are. Nothing is written.

        Raises:
            PoseError: it is no picture, or the network cannot be loaded.
        """
        check_size(data, self._config.demo.max_pixels)
        image = decode_image(np.frombuffer(data, np.uint8), apply_exif=True)
        if image is None:
            raise ImageError("the camera's picture is damaged")
        found = self._find(image, "camera", network, detector)
        people = found.people[found.people.scores >= options.person_threshold]
        drawn = encode_image(Path("camera.jpg"), _drawn(found, image, people, options))
        return drawn, describe(people, found.estimator.detector, found.faults)

    def video(
        self, path: str, network: str, detector: str, options: Options, advance: Callable[[int, int], None]
    ) -> Result:
        """Find and draw people in a video, in its first `demo.max_seconds`; they are followed from frame to frame.

        Args:
            advance: called with the number of frames done, and of all.

        Raises:
            PoseError: it is no video, or its frames are too large.
        """
        estimator = with_demo(self.networks.get(network, detector), track=True, **vars(options))
        limits = Limits(self._config.demo.max_seconds, self._config.demo.max_pixels, self._detecting, self._computing)
        drawn, keypoints, said = look_at(Path(path), estimator, self._new_folder(), limits, advance)
        return Result(drawn, keypoints, said)

    def _new_folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        with self._tidying:
            self._results.append((time.monotonic(), folder))
        self.tidy()
        return folder

    def tidy(self) -> None:
        """Remove results that are too old, and the oldest of too many."""
        with self._tidying:
            latest = time.monotonic() - KEPT_SECONDS
            while self._results and (self._results[0][0] < latest or len(self._results) > KEPT_RESULTS):
                shutil.rmtree(self._results.popleft()[1], ignore_errors=True)


def _drawn(found: Found, image: np.ndarray, people: Poses, options: Options) -> np.ndarray:
    demo = replace(
        found.estimator.config.demo,
        keypoint_threshold=options.keypoint_threshold,
        black_background=options.black_background,
    )
    return found.estimator.draw(image, people, found.heat if options.heatmaps else None, demo)


def check_size(picture: str | bytes, most: int) -> None:
    """Refuse a picture of more than `most` pixels, by its header: decoded, a small file may fill the memory.

    Args:
        picture: its path, or its bytes.

    Raises:
        ImageError: it has more, or is no picture.
    """
    reader, name = need("PIL.Image"), picture if isinstance(picture, str) else "from the camera"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the limit is ours
            with reader.open(picture if isinstance(picture, str) else io.BytesIO(picture)) as opened:
                width, height = opened.size
    except reader.DecompressionBombError as error:
        raise ImageError(f"image has more than {most} pixels (demo.max_pixels): {name}") from error
    except Exception as error:  # of various types
        raise ImageError(f"image is truncated or not a picture: {name}") from error
    if width * height > most:
        raise ImageError(f"image has {width}x{height} pixels, more than {most} (demo.max_pixels): {name}")


def describe(people: Poses, detector: str, faults: int = 0) -> str:
    """How many people there are, in words, and what to do where there are none."""
    count = len(people)
    if count:
        said = "1 person" if count == 1 else f"{count} people"
    else:
        said = f"Nobody found; {HINTS.get(detector, 'a lower threshold finds more')}"
    if faults:
        said += f"; NaN or infinite values of the network count as 0: {faults} people or pictures"
    return said
