"""The web page in headless Chromium, as somebody uses it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.demo.test_sources import picture, video
from tests.fake_network import TOP_DOWN

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECONDS = 60_000  # milliseconds: for what takes a moment
# Chromium's own camera, a green picture with a disc, and nobody asks whether it may be used.
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


def network(path: Path, seed: int) -> Path:
    """Write an ONNX file of random weights that gives heat maps."""
    onnx = pytest.importorskip("onnx", reason="the browser test writes its network with onnx")
    weights = np.random.default_rng(seed).normal(0, 0.1, (17, 3, 4, 4)).astype(np.float32)
    float32 = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Conv", ["input", "weights"], ["linear"], strides=[4, 4]),
            onnx.helper.make_node("Sigmoid", ["linear"], ["heatmaps"]),
        ],
        "toy",
        [onnx.helper.make_tensor_value_info("input", float32, ["N", 3, "H", "W"])],
        [onnx.helper.make_tensor_value_info("heatmaps", float32, ["N", 17, "h", "w"])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(url: str, process: subprocess.Popen) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            assert process.poll() is None, process.communicate()
            time.sleep(0.2)
    raise AssertionError("the page did not come up")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page is served; at the end, Ctrl-C ends it without a traceback, and nothing of it is left."""
    pytest.importorskip("gradio", reason="the page needs gradio")
    folder, port = tmp_path_factory.mktemp("page"), free_port()
    first, second = network(folder / "first.onnx", 1), network(folder / "second.onnx", 2)
    (folder / "tmp").mkdir()
    arguments = [sys.executable, "demo.py", "--config", TOP_DOWN, "--ckpt", first, "--serve", f"demo.port={port}"]
    keys = ["detector=whole", "person_threshold=0", "keypoint_threshold=0", f"networks=[{TOP_DOWN}:{second}]"]
    process = subprocess.Popen(
        [*map(str, arguments), *(f"demo.{key}" for key in keys)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/", process)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert not list((folder / "tmp").glob("poses-*"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright")
    if CHROMIUM is None:
        pytest.skip("the browser test needs chromium")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *CAMERA])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    yield from visit(browser, address)


def visit(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    context = browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **options})
    page = context.new_page()
    page.goto(address)
    page.locator("#samples img").first.wait_for(timeout=SECONDS)
    yield page
    context.close()


def drop(page: Any, path: Path, where: str = "#picture") -> None:
    page.locator(f"{where} input[type=file]").first.set_input_files(str(path))


def shown(page: Any, after: str = "") -> str:
    """Address of the drawn picture, once it is another than `after`."""
    page.wait_for_function(
        "after => { const i = document.querySelector('#drawn img'); return i && i.complete && i.src !== after }",
        arg=after,
        timeout=SECONDS,
    )
    return page.locator("#drawn img").get_attribute("src")


def says(page: Any, text: str, where: str = "#summary") -> None:
    page.locator(where, has_text=text).wait_for(timeout=SECONDS)


def choose(page: Any, what: str, number: int) -> None:
    page.locator(f"{what} input").click()
    page.get_by_role("option").nth(number).click()


def test_a_picture_gives_people_to_download_and_asks_nobody_else(page: Any, address: str, tmp_path: Path) -> None:
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    drop(page, picture(tmp_path / "my photo.png"))
    says(page, "1 person")
    shown(page)
    with page.expect_download() as download:
        page.locator("#download").click()
    (entry,) = json.loads(Path(download.value.path()).read_text())
    assert len(entry["keypoints"]) == 51
    assert {host for host in hosts if host} == {address.split("/")[2]}


def test_no_name_of_a_text_is_shown_in_its_place(page: Any, tmp_path: Path) -> None:
    page.evaluate(
        """() => {
            window.announced = new Set();
            new MutationObserver(() => document.querySelectorAll('[role=status]').forEach(
                element => window.announced.add(element.textContent.trim())
            )).observe(document.body, {subtree: true, childList: true, characterData: true});
        }"""
    )
    drop(page, picture(tmp_path / "a.png"))
    shown(page)
    page.wait_for_function("() => window.announced.has('Complete')", timeout=SECONDS)
    assert not [text for text in page.evaluate("() => [...window.announced]") if "common." in text]


def test_thresholds_count_at_once(page: Any, tmp_path: Path) -> None:
    drop(page, picture(tmp_path / "a.png"))
    says(page, "1 person")
    page.locator("#person input[type=number]").fill("1")
    page.keyboard.press("Tab")
    says(page, "Nobody")


def test_a_network_and_a_detector_count_at_once(page: Any, tmp_path: Path) -> None:
    drop(page, picture(tmp_path / "a.png"))
    first = shown(page)
    choose(page, "#network", 1)
    second = shown(page, first)
    page.get_by_role("option").first.wait_for(state="detached", timeout=SECONDS)
    page.locator("#detector input").click()
    page.get_by_role("option", name="HOG").click()
    says(page, "HOG finds only upright people")
    assert second != first


def test_a_sample_picture(page: Any) -> None:
    page.locator("#samples img").nth(2).click()
    says(page, "1 person")
    assert "drawn_3_people" in shown(page)


def test_an_error_is_a_line_in_the_page(page: Any, tmp_path: Path) -> None:
    drop(page, picture(tmp_path / "a.png"))
    shown(page)
    (tmp_path / "text.jpg").write_text("no picture at all")
    page.get_by_label("Clear").or_(page.get_by_label("Remove Image")).first.click()
    says(page, "Drop a picture")
    drop(page, tmp_path / "text.jpg")
    says(page, "image is truncated or not a picture: text.jpg")
    assert page.locator("#drawn img").count() == 0


def test_visitors_see_their_own(browser: Any, address: str, tmp_path: Path) -> None:
    visits = [visit(browser, address) for _ in range(2)]
    pages = [next(one) for one in visits]
    for number, page in enumerate(pages):
        drop(page, picture(tmp_path / f"visitor{number}.png", 60 + 90 * number))
    for number, page in enumerate(pages):
        assert f"visitor{number}_people" in shown(page)
    before = [shown(page) for page in pages]
    pages[0].locator("#black input").check()  # drawn anew for the first one, from what is its own
    assert "visitor0_people" in shown(pages[0], before[0])
    assert shown(pages[1]) == before[1]
    for one in visits:
        one.close()


def test_a_video_plays(page: Any, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Video").click()
    drop(page, video(tmp_path / "walk.mp4", 12), "#video")
    says(page, "12 frames: 1 person", "#video_summary")
    page.wait_for_function(
        "() => { const v = document.querySelector('#drawn_video video'); return v && v.videoWidth === 64 }",
        timeout=SECONDS,
    )


def test_a_file_that_is_no_video(page: Any, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Video").click()
    (tmp_path / "text.mp4").write_text("no video at all")
    drop(page, tmp_path / "text.mp4", "#video")
    says(page, "text.mp4", "#video_summary .error")


def test_a_camera(page: Any) -> None:
    page.context.grant_permissions(["camera"])
    page.get_by_role("tab", name="Camera").click()
    page.locator("#camera").get_by_text("Click to Access Webcam").click()
    page.locator("#camera").get_by_text("Record").click(timeout=SECONDS)
    says(page, "1 person", "#live_summary")
    page.locator("#drawn_live img").wait_for(timeout=SECONDS)
    assert page.locator("#drawn_live img").get_attribute("src").startswith("data:image/jpeg")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1400, 900), (390, 844)], ids=["wide", "narrow"])
def test_everything_has_its_place(
    browser: Any, address: str, sample_dir: Path, tmp_path: Path, size: tuple[int, int], scheme: str
) -> None:
    """POSE_SCREENSHOT names a folder for the pictures, to look at them."""
    width, height = size
    folder = Path(os.environ.get("POSE_SCREENSHOT", tmp_path))
    for page in visit(browser, address, viewport={"width": width, "height": height}, color_scheme=scheme):
        drop(page, sorted((sample_dir / "val2017").iterdir())[0])
        shown(page)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        places = {name: page.locator(name).bounding_box() for name in ("#picture", "#drawn", "#network", "#keypoint")}
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in places.values())
        if width > height:
            assert all(box["y"] + box["height"] <= height for box in places.values()), "seen without scrolling"
        boxes = list(places.values())
        apart = [_apart(a, b) for number, a in enumerate(boxes) for b in boxes[:number]]
        assert all(apart)
        page.screenshot(path=folder / f"page_{width}_{scheme}.png", full_page=True)
        assert cv2.imread(str(folder / f"page_{width}_{scheme}.png")).mean() > 128 or scheme == "dark"


def _apart(a: dict[str, float], b: dict[str, float]) -> bool:
    """Whether two boxes do not overlap."""
    beside = a["x"] + a["width"] <= b["x"] or b["x"] + b["width"] <= a["x"]
    return beside or a["y"] + a["height"] <= b["y"] or b["y"] + b["height"] <= a["y"]
