"""Drawn videos where PyAV is not installed; test_h264.py has the others."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose.demo.outputs import video_file
from mspose.errors import PoseError
from tests.messages import naming


@pytest.fixture(autouse=True)
def without_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mspose.demo.outputs.is_installed", lambda name: False)


def frames(path: Path) -> list[np.ndarray]:
    capture, result = cv2.VideoCapture(str(path)), []
    while (image := capture.read()[1]) is not None:
        result.append(image)
    return result


def test_video_of_odd_size(tmp_path: Path) -> None:
    with video_file(tmp_path / "v.mp4", 12.5) as writer:
        for number, level in enumerate((40, 120, 200)):
            writer.write(np.full((49, 65, 3), level, np.uint8), number, number / 10)
    read = frames(tmp_path / "v.mp4")
    assert [image.shape for image in read] == [(48, 64, 3)] * 3
    np.testing.assert_allclose([image.mean() for image in read], [40, 120, 200], atol=6)
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]


@pytest.mark.parametrize(
    "fps",
    [
        0.01,
        0.1,
        0.5,
        0.337,
        1,
        12.34,
        23.976,
        29.97,
        30,
        59.94,
        65.5351,
        66.667,
        70.123,
        118.347,
        165.002,
        655.355,
        999.9,
    ],
)
def test_any_rate(tmp_path: Path, fps: float) -> None:
    with video_file(tmp_path / "v.mp4", fps) as writer:
        for number in range(3):
            writer.write(np.zeros((48, 64, 3), np.uint8), number, number / 10)
    capture = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    assert abs(capture.get(cv2.CAP_PROP_FPS) - fps) <= max(1e-3, 1e-4 * fps)
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3


def test_missing_frames_leave_the_others_their_time(tmp_path: Path) -> None:
    with video_file(tmp_path / "v.mp4", 10) as writer:
        for number, level in ((0, 40), (3, 200)):
            writer.write(np.full((48, 64, 3), level, np.uint8), number, number / 10)
    np.testing.assert_allclose([image.mean() for image in frames(tmp_path / "v.mp4")], [40, 40, 40, 200], atol=6)


def test_a_folder_whose_name_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff") / os.fsdecode(b"caf\xe9.mp4")
    with video_file(path, 10) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8), 0, 0 / 10)
    path = path.rename(tmp_path / "v.mp4")
    assert len(frames(path)) == 1


def test_an_interrupted_video_keeps_what_was_written(tmp_path: Path) -> None:
    def interrupt() -> None:
        with video_file(tmp_path / "v.mp4", 10) as writer:
            writer.write(np.zeros((48, 64, 3), np.uint8), 0, 0 / 10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert len(frames(tmp_path / "v.mp4")) == 1


def test_a_failed_video_leaves_no_file(tmp_path: Path) -> None:
    def fail() -> None:
        with video_file(tmp_path / "v.mp4", 10) as writer:
            writer.write(np.zeros((48, 64, 3), np.uint8), 0, 0 / 10)
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fail()
    assert list(tmp_path.iterdir()) == []


def test_frames_that_did_not_reach_the_disk_are_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_too_few() -> None:
        with video_file(tmp_path / "v.mp4", 10) as writer:
            writer.write(np.zeros((48, 64, 3), np.uint8), 0, 0 / 10)
            writer.count += 1

    with pytest.raises(PoseError, match=naming(tmp_path / "v.mp4", "frames")):
        write_too_few()
    assert list(tmp_path.iterdir()) == []


def test_a_part_begins_at_once(tmp_path: Path) -> None:
    with video_file(tmp_path / "v.mp4", 10) as writer:
        for number in (100, 101):
            writer.write(np.zeros((48, 64, 3), np.uint8), number, number / 10)
    assert len(frames(tmp_path / "v.mp4")) == 2


def test_where_no_frame_came_there_is_no_file(tmp_path: Path) -> None:
    with video_file(tmp_path / "v.mp4", 10):
        pass
    assert list(tmp_path.iterdir()) == []
