"""Videos on the web page, and its sample pictures."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from mspose.demo.page import Options, Page
from mspose.demo.page_samples import DRAWS, SIZE, draw_samples
from mspose.errors import PoseError
from tests.demo.test_outputs import frames
from tests.demo.test_sources import video
from tests.fake_network import Sliced, config_with, install
from tests.messages import naming

ALL = Options(0.0, 0.0)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    install(monkeypatch, Sliced())
    return Page(config_with(tmp_path, demo__max_seconds=1.0), tmp_path)


@pytest.fixture
def without_av(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mspose.demo.page_video.is_installed", lambda name: False)
    monkeypatch.setattr("mspose.demo.outputs.is_installed", lambda name: False)


@pytest.mark.usefixtures("without_av")
def test_a_video_that_browsers_play_and_keypoints(page: Page, tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    path = video(tmp_path / "walk.mp4", 12)
    result = page.video(str(path), page.networks.names[0], "given", ALL, lambda *counts: done.append(counts))
    assert result.drawn.name == "walk_people.webm"
    assert int(cv2.VideoCapture(str(result.drawn)).get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little") == b"VP80"
    assert [frame.shape for frame in frames(result.drawn)] == [(48, 64, 3)] * 12
    assert done == [(number, 12) for number in range(1, 13)]
    entries = json.loads(result.keypoints.read_text())
    assert [entry["frame"] for entry in entries] == list(range(12))
    assert result.said == "12 frames: 1 person"


@pytest.mark.usefixtures("without_av")
def test_the_beginning_of_a_long_video(page: Page, tmp_path: Path) -> None:
    path = video(tmp_path / "long.mp4", 50, fps=20)
    result = page.video(str(path), page.networks.names[0], "given", ALL, lambda *_: None)
    assert "20 frames" in result.said
    assert "demo.max_seconds" in result.said


@pytest.mark.usefixtures("without_av")
def test_a_video_that_takes_too_long_is_left(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mspose.demo.page_video.MOST_WORK", 0.0)
    path = video(tmp_path / "slow.mp4", 12)
    result = page.video(str(path), page.networks.names[0], "given", ALL, lambda *_: None)
    assert result.said.startswith("1 frame: 1 person; ")
    assert len(frames(result.drawn)) >= 1


@pytest.mark.usefixtures("without_av")
def test_nobody_in_it(page: Page, tmp_path: Path) -> None:
    path = video(tmp_path / "empty.mp4", 3)
    result = page.video(str(path), page.networks.names[0], "given", Options(99.0, 0.0), lambda *_: None)
    assert "nobody found" in result.said
    assert json.loads(result.keypoints.read_text()) == []


def test_large_frames_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Sliced())
    page = Page(config_with(tmp_path, demo__max_pixels=64 * 48 - 1), tmp_path)
    path = video(tmp_path / "large.mp4", 3)
    with pytest.raises(PoseError, match=naming("demo.max_pixels", "64x48", path)):
        page.video(str(path), page.networks.names[0], "given", ALL, lambda *_: None)


def test_a_file_that_is_no_video(page: Page, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video at all")
    with pytest.raises(PoseError, match=naming(tmp_path / "text.mp4")):
        page.video(str(tmp_path / "text.mp4"), page.networks.names[0], "given", ALL, lambda *_: None)


def test_sample_pictures_are_the_same_each_time(tmp_path: Path) -> None:
    first, second = draw_samples(tmp_path / "a"), draw_samples(tmp_path / "b")
    assert len(first) == len(DRAWS)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert cv2.imread(str(first[0])).shape == (SIZE[1], SIZE[0], 3)
