"""Frames of videos and cameras: their numbers and times, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose.demo.video import Video
from mspose.errors import PoseError
from tests.demo.test_sources import open_source, video
from tests.messages import names, naming


def test_video(tmp_path: Path) -> None:
    source = Video(video(tmp_path / "v.mp4"))
    frames = list(source)
    assert (len(frames), source.total, source.fps, list(source.problems())) == (30, 30, 20, [])
    assert [frames[0].name, frames[29].name] == ["v_000000000000", "v_000000000029"]
    assert not np.array_equal(frames[0].image, frames[1].image)


def test_video_without_a_telling_suffix(tmp_path: Path) -> None:
    path = video(tmp_path / "v.mp4").rename(tmp_path / "recording")
    assert len(list(open_source(str(path)))) == 30


def test_video_that_ends_early(tmp_path: Path) -> None:
    path = video(tmp_path / "v.avi", 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = Video(path)
    count = len(list(source))
    assert 10 < count < 30
    (problem,) = source.problems()
    assert f"{count} of 40 frames" in problem
    assert str(path) in problem


@pytest.mark.parametrize("lost", [[0], [10, 20, 21], [28], list(range(3, 25))])
def test_damaged_frames_are_counted_and_the_others_keep_their_numbers(tmp_path: Path, lost: list[int]) -> None:
    whole, path = list(Video(video(tmp_path / "w.mov"))), video(tmp_path / "v.mov")
    data, place = bytearray(path.read_bytes()), -1
    for number in range(30):
        place = data.index(b"\x89PNG", place + 1)  # each frame is one
        if number in lost:
            data[place : place + 100] = bytes(100)
    path.write_bytes(data)
    source = Video(path)
    frames = list(source)
    assert [frame.number for frame in frames] == [number for number in range(30) if number not in lost]
    assert all(np.array_equal(frame.image, whole[frame.number].image) for frame in frames)
    (problem,) = source.problems()
    assert problem.startswith(f"{len(lost)} ")
    assert str(path) in problem


def numbered_video(path: Path, codec: str) -> list[int]:
    """A video of 30 frames, each one grey level that tells its number, and where the data of each begin."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 20, (64, 48))
    for i in range(30):
        writer.write(np.full((48, 64, 3), 8 * i + 8, np.uint8))
    writer.release()
    data, places = path.read_bytes(), []
    at = data.index(b"movi")
    while len(places) < 30:
        at = data.index(b"00dc", at + 1)
        places.append(at)
    return places


@pytest.mark.parametrize("codec", ["MJPG", "VP80"])
@pytest.mark.parametrize("lost", [[10], [20, 21], [29], [28, 29]])
def test_frames_of_avi_keep_their_numbers(tmp_path: Path, codec: str, lost: list[int]) -> None:
    path = tmp_path / "v.avi"
    places, data = numbered_video(path, codec), bytearray(path.read_bytes())
    for number in lost:
        at = places[number] + 8
        length = int.from_bytes(data[at - 4 : at], "little")
        data[at : at + length] = bytes(length)
    path.write_bytes(data)
    source = Video(path)
    assert [frame.number for frame in source] == [number for number in range(30) if number not in lost]
    (problem,) = source.problems()
    assert names(problem, len(lost), path)


class Dropping:
    """A capture that leaves out some frames without a failed read; the time of each is its own."""

    lost: tuple[int, ...] = ()
    times: tuple[float, ...] = tuple(i / 20 for i in range(30))
    fps: float = 20

    def __init__(self, name: str) -> None:
        self._left = [i for i in range(len(self.times)) if i not in self.lost]
        self._at = 0.0

    def isOpened(self) -> bool:
        return True

    def set(self, key: int, value: float) -> bool:
        return True

    def grab(self) -> bool:
        if self._left:
            self._at = self.times[self._left.pop(0)]
            return True
        return False

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((24, 32, 3), np.uint8)

    def get(self, key: int) -> float:
        known = {
            cv2.CAP_PROP_FRAME_COUNT: len(self.times),
            cv2.CAP_PROP_FPS: self.fps,
            cv2.CAP_PROP_POS_MSEC: 1000 * self._at,
        }
        return known.get(key, 0)  # as OpenCV does

    def release(self) -> None:
        pass


@pytest.mark.parametrize("lost", [(10,), (1, 2, 20), (29,)])
def test_frames_that_a_decoder_drops_without_a_word_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: tuple[int, ...]
) -> None:
    monkeypatch.setattr(Dropping, "lost", lost)
    monkeypatch.setattr(cv2, "VideoCapture", Dropping)
    source = Video(tmp_path / "v.mp4")
    assert [frame.number for frame in source] == [i for i in range(30) if i not in lost]
    (problem,) = source.problems()
    assert names(problem, len(lost), tmp_path / "v.mp4")


@pytest.mark.parametrize("fps", [29.97, 30, 60])
@pytest.mark.parametrize("lost", [(10,), (7, 8, 20)])
def test_rounded_times_tell_of_dropped_frames_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: tuple[int, ...], fps: float
) -> None:
    monkeypatch.setattr(Dropping, "lost", lost)
    monkeypatch.setattr(Dropping, "fps", fps)
    monkeypatch.setattr(Dropping, "times", tuple(round(0.021 + i / fps, 3) for i in range(30)))
    monkeypatch.setattr(cv2, "VideoCapture", Dropping)
    source = Video(tmp_path / "v.mkv")
    assert [frame.number for frame in source] == [i for i in range(30) if i not in lost]
    (problem,) = source.problems()
    assert names(problem, len(lost), tmp_path / "v.mkv")


def test_rounded_times_of_a_mean_rate_are_no_missing_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = np.delete(np.arange(400), [99, 199, 299, 399]) / 30
    fps = len(times) / times[-1]
    monkeypatch.setattr(Dropping, "fps", fps)
    monkeypatch.setattr(Dropping, "times", tuple(np.round(times, 3)))
    monkeypatch.setattr(cv2, "VideoCapture", Dropping)
    source = Video(tmp_path / "v.webm")
    assert [frame.number for frame in source] == list(range(len(times)))
    assert not list(source.problems())


def test_pauses_of_a_video_without_a_regular_rate_are_no_missing_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a phone's: it has left out a frame while recording, and tells its mean rate."""
    times = np.delete(np.arange(31), 17) * 29 / 30 / 20
    monkeypatch.setattr(Dropping, "times", tuple(times))
    monkeypatch.setattr(cv2, "VideoCapture", Dropping)
    source = Video(tmp_path / "v.mp4")
    assert [frame.number for frame in source] == list(range(30))
    assert not list(source.problems())


@pytest.mark.parametrize("fps", [0.5, 0.1, 12.34, 29.97, 240])
def test_slow_and_fast_videos(tmp_path: Path, fps: float) -> None:
    assert abs(Video(video(tmp_path / "v.mp4", 3, fps)).fps / fps - 1) < 1e-3


@pytest.mark.parametrize("content", [b"", b"no video at all" * 50])
def test_broken_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    with pytest.raises(PoseError, match=naming("video", path)):
        Video(path)


def test_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    class Camera:
        def __init__(self, number: int) -> None:
            assert number == 7
            self._left = 3

        def isOpened(self) -> bool:
            return True

        def grab(self) -> bool:
            self._left -= 1
            return self._left >= 0

        def retrieve(self) -> tuple[bool, np.ndarray]:
            return True, np.zeros((24, 32, 3), np.uint8)

        def get(self, key: int) -> float:
            return -1.0

        def release(self) -> None:
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    source = Video(7)
    assert (source.is_live, source.total, source.fps, source.name) == (True, None, 25, "camera7")
    assert len(list(source)) == 3


def test_absent_camera() -> None:
    with pytest.raises(PoseError, match="camera 97"):
        Video(97)


def test_a_part_of_a_video_keeps_its_numbers_and_times(tmp_path: Path) -> None:
    source = Video(video(tmp_path / "v.mp4"), start=0.5, end=1.0)
    frames = list(source)
    assert [frame.number for frame in frames] == list(range(10, 20))
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(10, 20) / 20, atol=1e-9)
    whole = list(Video(tmp_path / "v.mp4"))
    assert all(np.array_equal(frame.image, whole[frame.number].image) for frame in frames)
    assert (source.total, list(source.problems())) == (10, [])


def test_a_part_that_begins_behind_the_end(tmp_path: Path) -> None:
    with pytest.raises(PoseError, match=naming("demo.start=9", "1.45", tmp_path / "v.mp4")):
        Video(video(tmp_path / "v.mp4"), start=9)


def test_a_part_between_two_frames(tmp_path: Path) -> None:
    with pytest.raises(PoseError, match=naming("demo.start=0.51", "demo.end=0.54", tmp_path / "v.mp4")):
        Video(video(tmp_path / "v.mp4"), start=0.51, end=0.54)


def test_uneven_times_are_kept_and_their_drift_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = tuple(float(t) for t in np.cumsum([0.02, 0.18] * 15))
    monkeypatch.setattr(Dropping, "times", times)
    monkeypatch.setattr(Dropping, "lost", ())
    monkeypatch.setattr(cv2, "VideoCapture", Dropping)
    source = Video(tmp_path / "v.mp4")
    assert [frame.seconds for frame in source] == pytest.approx(times)
    assert source.drift == pytest.approx(times[-1] - times[0] - 29 / 20)


def test_a_video_that_is_stored_turned_is_turned(tmp_path: Path) -> None:
    path = video(tmp_path / "v.mp4", 3)
    data = bytearray(path.read_bytes())
    upright = b"".join(value.to_bytes(4, "big") for value in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
    at = data.index(upright, data.index(b"tkhd"))
    turned = (0, 1 << 16, 0, (-1 << 16) & 0xFFFFFFFF, 0, 0, 0, 0, 1 << 30)
    data[at : at + 36] = b"".join(value.to_bytes(4, "big") for value in turned)
    whole = [frame.image for frame in Video(path)]
    path.write_bytes(data)
    frames = [frame.image for frame in Video(path)]
    assert all(np.array_equal(np.rot90(image, -1), frame) for image, frame in zip(whole, frames))
    assert len(frames) == 3


def test_frames_that_change_their_size_are_seen_whole_in_that_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "v.mjpeg"
    images = [
        np.tile(np.linspace(0, 255, w, dtype=np.uint8)[None, :, None], (h, 1, 3)) for h, w in ((48, 64), (96, 128))
    ]
    path.write_bytes(b"".join(cv2.imencode(".jpg", image)[1].tobytes() for image in images))
    first, last = (frame.image.astype(int) for frame in Video(path))
    assert first.shape == last.shape == (48, 64, 3)
    assert np.abs(first - last).max() < 8


def test_a_video_without_frames(tmp_path: Path) -> None:
    path = video(tmp_path / "v.mp4", 0)
    with pytest.raises(PoseError, match=naming(path)):
        Video(path)
