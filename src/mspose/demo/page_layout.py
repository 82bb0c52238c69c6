"""How the web page looks, in Gradio, and what its controls set off."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio

from mspose.config.schema import Config
from mspose.demo.page import Found, Options, Page
from mspose.demo.page_components import Camera, Live, Picture, Upload
from mspose.demo.page_samples import draw_samples
from mspose.errors import PoseError

# The longest that a camera is looked at before its owner starts it again, and how many are at a time; others wait.
LIVE_SECONDS, LIVE_VISITORS = 300, 4
LIVE_EVERY = 0.1  # seconds between two pictures of a camera, if the network is as fast
VISITORS = 8  # who are served at a time; the network sees one picture after the other
WAITING = 64  # requests that may wait

DROP = "Drop a picture, take one, or choose one of the drawn ones below."
DROP_VIDEO = "Drop a video: its first {:g} seconds are looked at."
START_CAMERA = "Start the camera; nothing of it is kept."
# Gradio 6 announces the end of each request to screen readers by a text that none of its languages has.
MISSING_TEXTS = {"common.complete": "Complete"}

CSS = """
.said { margin: 0; min-height: 1.5em; overflow-wrap: anywhere; }
.said.error { color: var(--error-text-color); }
#title p { margin: 0; }
#summary, #video_summary, #live_summary { padding: 0; }
.shown { height: clamp(17rem, 55vh, 40rem); }
@media (max-width: 640px) {
  .shown { height: 17rem; }
  .gradio-container main { padding: 0.5rem !important; }
}
"""


class Handlers:
    """What the controls set off; errors become one line in the page.

    Args:
        limit: seconds of a video that are looked at.
    """

    def __init__(self, page: Page, limit: float) -> None:
        self._page, self._limit = page, limit

    def find(self, picture: str | None, network: str, detector: str) -> Iterator[tuple[Any, str]]:
        """Find people; what they are drawn from later, and a line meanwhile or where it fails."""
        if picture is None:
            yield None, said(DROP)
            return
        delay = self._page.networks.delay(network, detector)
        if delay:
            yield gradio.skip(), said(delay)
        try:
            yield self._page.find(picture, network, detector), gradio.skip()
        except PoseError as error:
            yield None, failed(error, picture)

    def draw(self, found: Found | None, *options: Any) -> tuple[Any, Any, Any]:
        """Draw what was found: the picture, the file of keypoints, and a line."""
        if found is None:
            return None, gradio.update(value=None, interactive=False), gradio.skip()
        try:
            result = self._page.draw(found, Options(*options))
        except PoseError as error:
            return None, gradio.update(value=None, interactive=False), failed(error, found.picture)
        return str(result.drawn), gradio.update(value=str(result.keypoints), interactive=True), said(result.said)

    def video(
        self,
        path: str | None,
        network: str,
        detector: str,
        *options: Any,
        progress: gradio.Progress = gradio.Progress(),  # noqa: B008 (how Gradio wants it)
    ) -> Iterator[tuple[Any, Any, str]]:
        """Find people in a video: the drawn one, the file of keypoints, and a line."""
        empty = gradio.update(value=None, interactive=False)
        if path is None:
            yield None, empty, said(DROP_VIDEO.format(self._limit))
            return
        yield None, empty, said(self._page.networks.delay(network, detector) or "Looking at the video …")
        try:
            result = self._page.video(
                path, network, detector, Options(*options), lambda done, total: progress((done, total), unit="frames")
            )
        except PoseError as error:
            yield None, empty, failed(error, path)
            return
        yield str(result.drawn), gradio.update(value=str(result.keypoints), interactive=True), said(result.said)

    def live(self, data: bytes | None, network: str, detector: str, *options: Any) -> tuple[Any, str]:
        """People in a picture of a camera, and a line."""
        if not data:
            return gradio.skip(), said(START_CAMERA)
        try:
            drawn, text = self._page.live(data, network, detector, Options(*options))
        except PoseError as error:
            return None, failed(error)
        return drawn, said(text)

    def needs_detector(self, network: str) -> Any:
        """The choice of a detector, where the network has a use for one."""
        finds = self._page.networks.finds_people(network)
        return gradio.update(interactive=not finds, info="This network finds people itself." if finds else None)


def said(text: str) -> str:
    """A line for the page, as HTML."""
    return f'<p class="said">{html.escape(text)}</p>'


def failed(error: PoseError, path: str = "") -> str:
    """The line of an error, as HTML; where an upload lies here is nobody's business."""
    text = str(error).replace(path, Path(path).name) if path else str(error)
    return f'<p class="said error">{html.escape(text)}</p>'


def texts() -> gradio.I18n:
    """Texts that Gradio lacks; English ones stand in for those of other languages."""
    return gradio.I18n(en=MISSING_TEXTS)


def build(page: Page, config: Config, folder: Path) -> gradio.Blocks:
    """The page itself; sample pictures are drawn into a folder."""
    handlers = Handlers(page, config.demo.max_seconds)
    with gradio.Blocks(title="Human poses", analytics_enabled=False, delete_cache=(3600, 3600)) as blocks:
        gradio.Markdown("## Human poses\nLeft limbs are drawn orange, right ones blue.", elem_id="title")
        with gradio.Row():
            with gradio.Column(scale=3, min_width=320), gradio.Tabs():
                with gradio.Tab("Picture"):
                    picture_tab = _pictures(draw_samples(folder / "samples"))
                with gradio.Tab("Video"):
                    video_tab = _videos(config.demo.max_seconds)
                with gradio.Tab("Camera"):
                    camera_tab = _camera()
            with gradio.Column(scale=1, min_width=260):
                network, detector, options = _settings(page, config)
        chosen = [network, detector]
        _picture_events(handlers, picture_tab, chosen, options)
        _video_events(handlers, video_tab, [*chosen, *options])
        live, shown, line = camera_tab
        live.stream(
            handlers.live,
            [live, *chosen, *options],
            [shown, line],
            stream_every=LIVE_EVERY,
            time_limit=LIVE_SECONDS,
            concurrency_limit=LIVE_VISITORS,
            show_progress="hidden",
            api_visibility="private",
        )
        network.change(
            handlers.needs_detector, network, detector, queue=False, show_progress="hidden", api_visibility="private"
        )
    return blocks.queue(max_size=WAITING)


def _settings(page: Page, config: Config) -> tuple[gradio.Dropdown, gradio.Dropdown, list[Any]]:
    """Network, detector, and the controls of `Options` in order."""
    names, detectors, demo = page.networks.names, page.networks.detectors, config.demo
    label = page.networks.label
    finds = page.networks.finds_people(names[0])
    network = gradio.Dropdown(
        [(label(name), name) for name in names], value=names[0], label="Network", elem_id="network", filterable=False
    )
    detector = gradio.Dropdown(
        [(label(name), name) for name in detectors],
        value=detectors[0],
        label="Who finds people",
        elem_id="detector",
        filterable=False,
        interactive=not finds,
        info="This network finds people itself." if finds else None,
    )
    person = gradio.Slider(
        0, 1, min(demo.person_threshold, 1.0), step=0.01, label="Least score of a person", elem_id="person"
    )
    keypoint = gradio.Slider(
        0, 1, min(demo.keypoint_threshold, 1.0), step=0.01, label="Least score of a keypoint", elem_id="keypoint"
    )
    heatmaps = gradio.Checkbox(demo.heatmaps, label="Heat maps", elem_id="heatmaps")
    black = gradio.Checkbox(demo.black_background, label="Black background", elem_id="black")
    return network, detector, [person, keypoint, heatmaps, black]


def _pictures(samples: list[Path]) -> tuple[Any, ...]:
    with gradio.Row():
        picture = Picture(
            sources=["upload", "webcam", "clipboard"],
            label="Picture",
            elem_id="picture",
            elem_classes="shown",
            webcam_options=gradio.WebcamOptions(mirror=False),  # mirrored, left limbs would be right ones
        )
        drawn = gradio.Image(
            label="People",
            interactive=False,
            elem_id="drawn",
            elem_classes="shown",
            buttons=["download", "fullscreen"],
        )
    with gradio.Row():
        with gradio.Column(scale=3, min_width=200):
            line = gradio.HTML(said(DROP), elem_id="summary", padding=False)
        download = gradio.DownloadButton(
            "Keypoints (JSON)", interactive=False, size="sm", scale=1, min_width=140, elem_id="download"
        )
    gradio.Examples([[str(path)] for path in samples], [picture], label="Drawn people", elem_id="samples")
    return picture, drawn, download, line, gradio.State(None, time_to_live=3600)


def _videos(seconds: float) -> tuple[Any, ...]:
    with gradio.Row():
        video = Upload(label="Video", elem_id="video", elem_classes="shown")
        drawn = gradio.Video(
            label="People", interactive=False, autoplay=True, elem_id="drawn_video", elem_classes="shown"
        )
    with gradio.Row():
        with gradio.Column(scale=3, min_width=200):
            line = gradio.HTML(said(DROP_VIDEO.format(seconds)), elem_id="video_summary", padding=False)
        again = gradio.Button("Look again", size="sm", scale=1, min_width=110, elem_id="again")
        download = gradio.DownloadButton(
            "Keypoints (JSON)", interactive=False, size="sm", scale=1, min_width=140, elem_id="video_download"
        )
    return video, drawn, download, line, again


def _camera() -> tuple[Any, ...]:
    with gradio.Row():
        live = Camera(
            sources=["webcam"],
            streaming=True,
            label="Camera",
            elem_id="camera",
            elem_classes="shown",
            webcam_options=gradio.WebcamOptions(mirror=False),
        )
        shown = Live(
            label="People",
            streaming=True,
            interactive=False,
            elem_id="drawn_live",
            elem_classes="shown",
            buttons=["fullscreen"],
        )
    return live, shown, gradio.HTML(said(START_CAMERA), elem_id="live_summary", padding=False)


def _picture_events(handlers: Handlers, tab: tuple[Any, ...], chosen: list[Any], options: list[Any]) -> None:
    picture, drawn, download, line, found = tab
    shown: dict[str, Any] = {
        "fn": handlers.draw,
        "inputs": [found, *options],
        "outputs": [drawn, download, line],
        "show_progress": "hidden",
        "concurrency_limit": VISITORS,
        "concurrency_id": "draw",
        "api_visibility": "private",
    }
    gradio.on(
        [picture.change, *(control.change for control in chosen)],
        handlers.find,
        [picture, *chosen],
        [found, line],
        show_progress_on=[drawn],
        trigger_mode="always_last",
        concurrency_limit=VISITORS,
        api_visibility="private",
    ).then(**shown)  # with the thresholds as they are by then
    gradio.on([control.change for control in options], trigger_mode="always_last", **shown)


def _video_events(handlers: Handlers, tab: tuple[Any, ...], settings: list[Any]) -> None:
    video, drawn, download, line, again = tab
    gradio.on(
        [video.change, again.click],
        handlers.video,
        [video, *settings],
        [drawn, download, line],
        show_progress_on=[drawn],
        trigger_mode="always_last",
        concurrency_limit=2,
        api_visibility="private",
    )
