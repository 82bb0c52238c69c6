"""A small web page: drop a picture, choose network and thresholds, see the people, download their keypoints."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import time
import warnings
from collections import deque
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from mspose.backends.open import check_checkpoint
from mspose.config.builder import network_of
from mspose.config.recipes import find_recipe
from mspose.config.schema import Config, keys_of
from mspose.demo.sources import image_ids
from mspose.detection import HOG_HINT
from mspose.errors import PoseError, UsageError
from mspose.estimator import PoseEstimator
from mspose.extras import need
from mspose.files import file_fault, user_path, write_json
from mspose.hub.cache import name_of
from mspose.hub.table import meant, named
from mspose.images import ImageError

if TYPE_CHECKING:
    import gradio

log = logging.getLogger("pose")

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MAX_UPLOAD = "100mb"
# How long results can be downloaded, in seconds, and how many there are at most.
KEPT_SECONDS, KEPT_RESULTS = 3600, 100


class Page:
    """What the page does behind its controls; networks are loaded when they are first chosen.

    Args:
        config: the first network, and for all of them the sections `demo` and `runtime`.
        folder: where JSON files are put for download.

    Attributes:
        networks: names to choose from.

    Raises:
        UsageError, PoseError: no checkpoint, an entry of `demo.networks` is wrong, or a file of it is missing.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        check_checkpoint(config, "to serve")
        self._config, self._folder = config, folder
        self._files: dict[str, tuple[Config | str, str]] = {_name(config.runtime.ckpt): (config, config.runtime.ckpt)}
        for entry in config.demo.networks:
            if named(entry) is not None:
                self._files[entry] = entry, ""
                continue
            recipe, colon, ckpt = entry.rpartition(":")
            if not colon:
                raise UsageError(
                    f"demo.networks: {entry!r} is neither CONFIG:CKPT nor the name of a published network{meant(entry)}"
                )
            recipe, ckpt = str(find_recipe(user_path(recipe))), str(user_path(ckpt))
            fault = file_fault(ckpt)
            if fault:
                raise PoseError(f"demo.networks: {ckpt} {fault}")
            name = _name(ckpt)
            self._files[name if name not in self._files else entry] = recipe, ckpt
        self.networks = list(self._files)
        self._loaded: dict[str, PoseEstimator] = {}
        self._one_at_a_time = threading.Lock()
        self._results: deque[tuple[float, Path]] = deque()  # when each was written, oldest first, and where

    def load(self, network: str) -> PoseEstimator:
        """The network of that name, kept once it is loaded.

        Raises:
            PoseError: it cannot be loaded.
        """
        if network not in self._loaded:
            config, ckpt = self._files[network]
            # All people are wanted: the page has a threshold of its own. Its pictures do not follow each other.
            demo = replace(self._config.demo, person_threshold=0.0, track=False)
            # The networks may be of different kinds: what one of them does not have is not for it.
            known = keys_of({"demo": network_of(config).schema["demo"]})
            overrides: dict[str, object] = {
                **{key: value for name, value in asdict(demo).items() if (key := f"demo.{name}") in known},
                "data.category": self._config.data.category,
                "runtime.device": self._config.runtime.device,
                "runtime.device_id": self._config.runtime.device_id,
                "runtime.offline": self._config.runtime.offline,
                "runtime.mirror": self._config.runtime.mirror,
            }
            self._loaded[network] = PoseEstimator(config, ckpt or None, overrides)
        return self._loaded[network]

    def estimate(
        self,
        picture: str,
        network: str,
        person_threshold: float,
        keypoint_threshold: float,
        heatmaps: bool = False,
        black_background: bool = False,
    ) -> tuple[np.ndarray, str, str]:
        """Find people in a picture file.

        Returns:
            the drawn picture (H, W, 3) uint8 RGB, the path of a JSON file in the form of COCO results, and a line that
            says how many people there are.

        Raises:
            PoseError: the file is not a picture or has too many pixels, or the network cannot be loaded.
        """
        check_size(picture, self._config.demo.max_pixels)
        with self._one_at_a_time:
            estimator = self.load(network)
            before, prepared = estimator.faults, estimator.prepare(picture)
            maps = estimator.run(prepared)
            faults = estimator.faults - before
            people = estimator.finish(prepared, maps)
            people = people[people.scores >= person_threshold]
        demo = replace(self._config.demo, keypoint_threshold=keypoint_threshold, black_background=black_background)
        heat = estimator.heat(prepared, maps) if heatmaps else None
        drawn = estimator.draw(prepared.image, people, heat, demo)
        name = Path(picture).name
        path = Path(tempfile.mkdtemp(dir=self._folder)) / f"{Path(picture).stem}_keypoints.json"
        write_json(path, people.to_coco(image_ids([Path(name)])[0], estimator.category_id, name))
        with self._one_at_a_time:
            self._results.append((time.monotonic(), path.parent))
        self.tidy()
        said = describe(len(people), estimator.detector)
        if faults:
            said += f"; NaN or infinite values of the network count as 0: {faults} people or pictures"
        return np.ascontiguousarray(drawn[..., ::-1]), str(path), said

    def tidy(self) -> None:
        """Remove results that are too old, and the oldest of too many."""
        with self._one_at_a_time:
            latest = time.monotonic() - KEPT_SECONDS
            while self._results and (self._results[0][0] < latest or len(self._results) > KEPT_RESULTS):
                shutil.rmtree(self._results.popleft()[1], ignore_errors=True)


def check_size(path: str, most: int) -> None:
    """Refuse a picture of more than `most` pixels, by its header: decoded, a small file may fill the memory.

    Raises:
        ImageError: it has more, or is no picture.
    """
    reader = need("PIL.Image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the limit is ours
            with reader.open(path) as picture:
                width, height = picture.size
    except reader.DecompressionBombError as error:
        raise ImageError(f"image has more than {most} pixels (demo.max_pixels): {path}") from error
    except Exception as error:  # of various types
        raise ImageError(f"image is truncated or not a picture: {path}") from error
    if width * height > most:
        raise ImageError(f"image has {width}x{height} pixels, more than {most} (demo.max_pixels): {path}")


def _name(ckpt: str) -> str:
    """What a network is called: as it is published, or its file with the last folder, which is often what tells
    best.ckpt from best.ckpt."""
    return name_of(ckpt) or "/".join(Path(ckpt).absolute().parts[-2:])


def describe(count: int, detector: str) -> str:
    """How many people there are, in words, and what to do where there are none."""
    if count:
        return "1 person" if count == 1 else f"{count} people"
    return "Nobody found; a lower threshold finds more." + (f" {HOG_HINT}." if detector == "hog" else "")


def build(page: Page, config: Config) -> gradio.Blocks:
    """The page itself.

    Raises:
        PoseError: Gradio is not installed.
    """
    _import_gradio()  # says what to install where it is missing
    import gradio

    class Picture(gradio.Image):
        """Hands over the file as it was dropped: whether it is a picture, our own reader says better."""

        is_template = True  # looks as its parent does

        def preprocess(self, payload: object) -> str | None:
            return getattr(payload, "path", None)

    def answer(picture: str | None, *options: Any) -> tuple[np.ndarray | None, str | None, str]:
        if picture is None:
            return None, None, "Drop a picture first."
        try:
            return page.estimate(picture, *options)
        except PoseError as error:
            text = str(error).replace(picture, Path(picture).name)  # where it lies here is nobody's business
            raise gradio.Error(text, print_exception=False) from error

    demo = config.demo
    with gradio.Blocks(title="Human poses", analytics_enabled=False, delete_cache=(3600, 3600)) as blocks:
        gradio.Markdown("# Human poses\nDrop a picture. Left limbs are drawn orange, right ones blue.")
        with gradio.Row():
            with gradio.Column():
                picture = Picture(type="filepath", sources=["upload", "clipboard"], label="Picture", elem_id="picture")
                network = gradio.Dropdown(page.networks, value=page.networks[0], label="Network", elem_id="network")
                person = gradio.Slider(
                    0, 1, min(demo.person_threshold, 1.0), step=0.01, label="Least score of a person"
                )
                keypoint = gradio.Slider(
                    0, 1, min(demo.keypoint_threshold, 1.0), step=0.01, label="Least score of a drawn keypoint"
                )
                heatmaps = gradio.Checkbox(demo.heatmaps, label="Heat maps")
                black = gradio.Checkbox(demo.black_background, label="Black background")
                button = gradio.Button("Find people", variant="primary", elem_id="find")
            with gradio.Column():
                drawn = gradio.Image(
                    label="People", format="png", interactive=False, elem_id="drawn", buttons=["download", "fullscreen"]
                )
                summary = gradio.Markdown(elem_id="summary")
                download = gradio.DownloadButton("Download keypoints (JSON)", elem_id="download")
        inputs, outputs = [picture, network, person, keypoint, heatmaps, black], [drawn, download, summary]
        gradio.on([button.click, picture.upload], answer, inputs, outputs, api_name="estimate")
    return blocks


def serve(config: Config) -> None:
    """Serve the page at `demo.host` and `demo.port` until Ctrl-C.

    Raises:
        UsageError, PoseError: a network cannot be loaded, Gradio is not installed, or the port is taken.
    """
    _import_gradio()
    host, port = config.demo.host, config.demo.port
    with tempfile.TemporaryDirectory(prefix="poses-") as folder:
        page = Page(config, Path(folder))
        page.load(page.networks[0])
        blocks = build(page, config)
        if host not in LOOPBACK:
            log.warning(f"warning: demo.host={host} lets other machines use this page")
        try:
            blocks.launch(
                server_name=host,
                server_port=port,
                share=False,
                quiet=True,
                show_error=True,
                prevent_thread_lock=True,
                max_file_size=MAX_UPLOAD,
                allowed_paths=[folder],
                footer_links=["gradio"],
            )
        except OSError as error:
            raise PoseError(f"the page cannot be served at {host}:{port} (demo.host, demo.port): {error}") from error
        log.info(f"serving http://{host}:{port} (Ctrl-C ends it)")
        try:
            while True:  # not one endless wait: a signal may arrive in another thread, and would not end it
                time.sleep(0.5)
                page.tidy()
        except KeyboardInterrupt:
            log.info("stopped")
        finally:
            blocks.close(verbose=False)


def _import_gradio() -> ModuleType:
    # Neither Gradio nor the hub client that it brings may call home.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")
    return need("gradio")
