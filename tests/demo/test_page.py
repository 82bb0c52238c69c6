"""The web page: its handler without Gradio, and the page itself in headless Chromium."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose.config.builder import default_config
from mspose.demo.page import Page
from mspose.errors import PoseError, UsageError
from tests.conftest import ROOT
from tests.demo.test_run import checkpoint  # noqa: F401
from tests.demo.test_sources import picture
from tests.fake_network import TOP_DOWN, Sliced, config_with, install
from tests.messages import naming

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Page:
    install(monkeypatch, Sliced())
    second = tmp_path / "second.mindir"  # nothing is read of a MindIR without a card
    second.touch()
    return Page(config_with(tmp_path, demo__networks=[f"{TOP_DOWN}:{second}"]), tmp_path)


def test_picture_people_and_json(page: Page, tmp_path: Path) -> None:
    path = picture(tmp_path / "my photo.png")
    drawn, file, summary = page.estimate(str(path), page.networks[0], 0.0, 0.0)
    assert (drawn.shape, drawn.dtype, summary) == ((24, 32, 3), np.uint8, "1 person")
    (entry,) = json.loads(Path(file).read_text())
    assert (entry["file_name"], len(entry["keypoints"])) == ("my photo.png", 51)


def test_colours_are_for_screens(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    cv2.imwrite(str(path), np.full((24, 32, 3), (0, 0, 255), np.uint8))
    drawn, _, _ = page.estimate(str(path), page.networks[0], 99.0, 0.5)
    assert drawn[0, 0].tolist() == [255, 0, 0]


def test_thresholds(page: Page, tmp_path: Path) -> None:
    plain = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    path = str(tmp_path / "a.png")
    cv2.imwrite(path, plain[..., ::-1])
    drawn, file, summary = page.estimate(path, page.networks[0], 99.0, 0.0)
    assert "Nobody" in summary
    assert json.loads(Path(file).read_text()) == []
    np.testing.assert_array_equal(drawn, plain)
    all_joints, none = (page.estimate(path, page.networks[0], 0.0, threshold)[0] for threshold in (0.0, 99.0))
    assert (all_joints != plain).any()
    np.testing.assert_array_equal(none, plain)


def test_options_change_the_picture(page: Page, tmp_path: Path) -> None:
    path = str(picture(tmp_path / "a.png", 200))
    pictures = [
        page.estimate(path, page.networks[0], 0.0, 99.0, *options)[0]
        for options in ((False, False), (True, False), (False, True))
    ]
    assert (pictures[1] != pictures[0]).any()
    assert pictures[2].max() == 0


def test_every_network_answers(page: Page, tmp_path: Path) -> None:
    assert page.networks == [f"{tmp_path.name}/net.ckpt", f"{tmp_path.name}/second.mindir"]
    path = str(picture(tmp_path / "a.png"))
    assert [page.estimate(path, name, 0.0, 0.0)[2] for name in page.networks] == ["1 person"] * 2


def test_a_file_that_is_no_picture(page: Page, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture at all")
    with pytest.raises(PoseError, match=naming("truncated", tmp_path / "text.jpg")):
        page.estimate(str(tmp_path / "text.jpg"), page.networks[0], 0.0, 0.0)


def claimed(width: int, height: int) -> bytes:
    """A PNG whose header promises that many pixels, and little behind it."""
    chunks = b""
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" * 10_000)),
        (b"IEND", b""),
    ):
        chunks += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("size", [(8000, 7000), (30000, 30000), (2**31 - 1, 2**31 - 1)])
def test_pictures_of_too_many_pixels_are_refused_undecoded(
    page: Page, tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bomb.png").write_bytes(claimed(*size))
    monkeypatch.setattr(page, "load", lambda name: pytest.fail("it was going to be decoded"))
    with pytest.raises(PoseError, match=naming("demo.max_pixels", tmp_path / "bomb.png")):
        page.estimate(str(tmp_path / "bomb.png"), page.networks[0], 0.0, 0.0)


def test_the_limit_is_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Sliced())
    page = Page(config_with(tmp_path, demo__max_pixels=32 * 24 - 1), tmp_path)
    with pytest.raises(PoseError, match=naming("demo.max_pixels", "32x24", tmp_path / "a.png")):
        page.estimate(str(picture(tmp_path / "a.png")), page.networks[0], 0.0, 0.0)


def test_results_of_the_past_are_removed(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mspose.demo.page.KEPT_RESULTS", 2)
    path = str(picture(tmp_path / "a.png"))
    files = [Path(page.estimate(path, page.networks[0], 0.0, 0.0)[1]) for _ in range(4)]
    assert [file.exists() for file in files] == [False, False, True, True]
    monkeypatch.setattr("mspose.demo.page.KEPT_SECONDS", -1)
    page.tidy()
    assert not any(file.parent.exists() for file in files)


def test_the_page_is_for_this_machine_unless_told_otherwise() -> None:
    assert ipaddress.ip_address(default_config().demo.host).is_loopback


@pytest.mark.parametrize(
    ("entry", "error", "things"),
    [
        ("recipe.yaml", UsageError, ("demo.networks", "'recipe.yaml'", "CONFIG:CKPT")),
        ("recipe.yaml:absent.ckpt", PoseError, ("recipe.yaml",)),
        (f"{TOP_DOWN}:absent.ckpt", PoseError, ("demo.networks", "absent.ckpt")),
    ],
    ids=["form", "recipe", "checkpoint"],
)
def test_wrong_networks(tmp_path: Path, entry: str, error: type, things: tuple[str, ...]) -> None:
    with pytest.raises(error, match=naming(*things)):
        Page(config_with(tmp_path, demo__networks=[entry]), tmp_path)


def test_without_gradio_one_line_says_what_to_install(checkpoint: Path) -> None:  # noqa: F811
    code = (
        f"import runpy, sys; sys.modules['gradio'] = None; "
        f"sys.argv = ['demo.py', '--config', {str(TOP_DOWN)!r}, '--ckpt', {str(checkpoint)!r}, '--serve']; "
        f"runpy.run_path('demo.py', run_name='__main__')"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "mspose[page]" in result.stderr


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


def test_in_the_browser(checkpoint: Path, sample_dir: Path, tmp_path: Path) -> None:  # noqa: F811
    pytest.importorskip("gradio", reason="the page needs gradio")
    api = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright")
    if CHROMIUM is None:
        pytest.skip("the browser test needs chromium")
    port = free_port()
    arguments = [
        sys.executable,
        "demo.py",
        "--config",
        str(TOP_DOWN),
        "--ckpt",
        str(checkpoint),
        "--serve",
        f"demo.port={port}",
        "demo.detector=whole",
        "demo.person_threshold=0",
        "demo.keypoint_threshold=0",
    ]
    process = subprocess.Popen(
        arguments,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/", process)
        with api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            hosts: set[str] = set()
            page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
            page.goto(f"http://127.0.0.1:{port}/")
            photo = sorted((sample_dir / "val2017").iterdir())[0]
            page.locator("#picture input[type=file]").first.set_input_files(str(photo))
            page.get_by_text("1 person").wait_for(timeout=120_000)
            page.locator("#drawn img").first.wait_for(timeout=30_000)
            with page.expect_download() as download:
                page.locator("#download").click()
            entries = json.loads(Path(download.value.path()).read_text())
            page.screenshot(path=os.environ.get("POSE_SCREENSHOT", str(tmp_path / "page.png")), full_page=True)
            (tmp_path / "text.jpg").write_text("no picture at all")
            page.get_by_label("Clear").or_(page.get_by_label("Remove Image")).first.click()
            page.locator("#picture input[type=file]").first.set_input_files(str(tmp_path / "text.jpg"))
            page.get_by_text("not a picture").first.wait_for(timeout=30_000)
            browser.close()
        assert len(entries) == 1
        assert len(entries[0]["keypoints"]) == 51
        assert {host for host in hosts if host} == {f"127.0.0.1:{port}"}, "the page asks nobody else"
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
