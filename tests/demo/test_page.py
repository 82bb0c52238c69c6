"""What the web page does behind its controls, without Gradio."""

from __future__ import annotations

import ipaddress
import json
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose.config.builder import default_config
from mspose.demo.page import Options, Page, Result
from mspose.errors import PoseError
from tests.conftest import ROOT
from tests.demo.test_sources import picture
from tests.fake_network import TOP_DOWN, Sliced, config_with, install
from tests.messages import naming

ALL = Options(0.0, 0.0)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Sliced:
    network = Sliced()
    install(monkeypatch, network)
    return network


@pytest.fixture
def page(network: Sliced, tmp_path: Path) -> Page:
    second = tmp_path / "second.mindir"  # nothing is read of a MindIR without a card
    second.touch()
    return Page(config_with(tmp_path, demo__networks=[f"{TOP_DOWN}:{second}"]), tmp_path)


def noise(path: Path) -> np.ndarray:
    """Write a picture of noise; its pixels, BGR."""
    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    cv2.imwrite(str(path), pixels)
    return pixels


def shown(page: Page, path: Path, options: Options = ALL) -> Result:
    return page.draw(page.find(str(path), page.networks.names[0], "given"), options)


def test_picture_people_and_json(page: Page, tmp_path: Path) -> None:
    result = shown(page, picture(tmp_path / "my photo.png"))
    assert (result.drawn.name, result.said) == ("my photo_people.png", "1 person")
    assert cv2.imread(str(result.drawn)).shape == (24, 32, 3)
    (entry,) = json.loads(result.keypoints.read_text())
    assert (entry["file_name"], len(entry["keypoints"])) == ("my photo.png", 51)


def test_a_format_that_browsers_do_not_show_becomes_jpeg(page: Page, tmp_path: Path) -> None:
    assert shown(page, picture(tmp_path / "a.tif")).drawn.name == "a_people.jpg"


def test_thresholds_redraw_without_the_network(page: Page, network: Sliced, tmp_path: Path) -> None:
    plain = noise(tmp_path / "a.png")
    found = page.find(str(tmp_path / "a.png"), page.networks.names[0], "given")
    runs = len(network.shapes)
    nobody = page.draw(found, Options(99.0, 0.0))
    assert "Nobody" in nobody.said
    assert json.loads(nobody.keypoints.read_text()) == []
    np.testing.assert_array_equal(cv2.imread(str(nobody.drawn)), plain)
    everything = page.draw(found, ALL)
    assert (cv2.imread(str(everything.drawn)) != plain).any()
    np.testing.assert_array_equal(cv2.imread(str(page.draw(found, Options(0.0, 99.0)).drawn)), plain)
    assert (runs, len(network.shapes)) == (1, 1)


def test_only_what_was_drawn_last_is_kept(page: Page, tmp_path: Path) -> None:
    found = page.find(str(picture(tmp_path / "a.png")), page.networks.names[0], "given")
    results = [page.draw(found, Options(0.0, threshold)) for threshold in (0.1, 0.2, 0.3)]
    assert [result.drawn.exists() for result in results] == [False, False, True]


def test_options_change_the_picture(page: Page, tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", 200)
    plain, heat, black = (
        cv2.imread(str(shown(page, path, Options(0.0, 99.0, *options)).drawn))
        for options in ((False, False), (True, False), (False, True))
    )
    assert (plain != heat).any()
    assert black.max() == 0


def test_every_network_answers(page: Page, tmp_path: Path) -> None:
    path = str(picture(tmp_path / "a.png"))
    assert len(page.networks.names) == 2
    found = [page.find(path, name, "given") for name in page.networks.names]
    assert [len(one.people) for one in found] == [1, 1]


def test_visitors_at_once_get_their_own(page: Page, tmp_path: Path) -> None:
    paths = [picture(tmp_path / f"{level}.png", level) for level in range(40, 240, 20)]
    results: dict[Path, Result] = {}
    threads = [
        threading.Thread(target=lambda path=path: results.update({path: shown(page, path, Options(0.0, 99.0))}))
        for path in paths
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    levels = {path.stem: int(cv2.imread(str(results[path].drawn)).mean()) for path in paths}
    assert levels == {path.stem: int(path.stem) for path in paths}


def test_a_picture_that_is_gone(page: Page, tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    found = page.find(str(path), page.networks.names[0], "given")
    path.unlink()
    with pytest.raises(PoseError, match=naming("a.png")):
        page.draw(found, ALL)


def test_a_file_that_is_no_picture(page: Page, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture at all")
    with pytest.raises(PoseError, match=naming("truncated", tmp_path / "text.jpg")):
        shown(page, tmp_path / "text.jpg")


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
    monkeypatch.setattr("mspose.demo.page.read_image", lambda *_, **__: pytest.fail("it was going to be decoded"))
    with pytest.raises(PoseError, match=naming("demo.max_pixels", tmp_path / "bomb.png")):
        shown(page, tmp_path / "bomb.png")
    monkeypatch.setattr("mspose.demo.page.decode_image", lambda *_, **__: pytest.fail("it was going to be decoded"))
    with pytest.raises(PoseError, match=naming("demo.max_pixels", "camera")):
        page.live(claimed(*size), page.networks.names[0], "given", ALL)


def test_the_limit_is_a_key(network: Sliced, tmp_path: Path) -> None:
    page = Page(config_with(tmp_path, demo__max_pixels=32 * 24 - 1), tmp_path)
    with pytest.raises(PoseError, match=naming("demo.max_pixels", "32x24", tmp_path / "a.png")):
        shown(page, picture(tmp_path / "a.png"))


def test_pictures_of_a_camera_are_not_written(page: Page, tmp_path: Path) -> None:
    pixels = noise(tmp_path / "a.png")
    before = sorted(tmp_path.rglob("*"))
    data = cv2.imencode(".jpg", pixels)[1].tobytes()
    drawn, said = page.live(data, page.networks.names[0], "given", ALL)
    assert (cv2.imdecode(np.frombuffer(drawn, np.uint8), 1).shape, said) == ((96, 128, 3), "1 person")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_picture_of_a_camera(page: Page, tmp_path: Path) -> None:
    noise(tmp_path / "a.png")
    with pytest.raises(PoseError, match=naming("camera")):
        page.live((tmp_path / "a.png").read_bytes()[:5000], page.networks.names[0], "given", ALL)


def test_results_of_the_past_are_removed(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mspose.demo.page.KEPT_RESULTS", 2)
    path = picture(tmp_path / "a.png")
    files = [shown(page, path).keypoints for _ in range(4)]
    assert [file.exists() for file in files] == [False, False, True, True]
    monkeypatch.setattr("mspose.demo.page.KEPT_SECONDS", -1)
    page.tidy()
    assert not any(file.parent.exists() for file in files)


def test_the_page_is_for_this_machine_unless_told_otherwise() -> None:
    assert ipaddress.ip_address(default_config().demo.host).is_loopback


def test_without_gradio_one_line_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "net.mindir").touch()
    code = (
        f"import runpy, sys; sys.modules['gradio'] = None; "
        f"sys.argv = ['demo.py', '--config', {str(TOP_DOWN)!r}, '--ckpt', {str(tmp_path / 'net.mindir')!r}, "
        f"'--serve']; runpy.run_path('demo.py', run_name='__main__')"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "mspose[page]" in result.stderr
