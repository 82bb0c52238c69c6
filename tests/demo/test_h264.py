"""Drawn videos by PyAV: what is in the file, when each frame is shown, and that the sound stays with the picture."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose.demo.outputs import video_file
from mspose.demo.run import run_demo
from mspose.demo.video import Video
from mspose.errors import PoseError
from tests.fake_network import Sliced, config_with, install
from tests.messages import naming

av = pytest.importorskip("av", reason="PyAV is not installed (the extra `video`)")
RATE = 16_000


def spoken(path: Path, times: list[float], seconds: float = 3.0) -> Path:
    """A video of grey frames at some times, and a beep of 0.1 s at each whole second from 1 on."""
    with av.open(str(path), "w") as file:
        picture, sound = file.add_stream("mpeg4", rate=20), file.add_stream("aac", rate=RATE, layout="mono")
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        picture.codec_context.time_base = Fraction(1, 1000)
        for time in times:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 128, np.uint8), format="bgr24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            file.mux(picture.encode(frame))
        clock = np.arange(round(seconds * RATE)) / RATE
        beeps = np.sin(2 * np.pi * 880 * clock) * ((clock % 1 < 0.1) & (clock >= 1))
        frame = av.AudioFrame.from_ndarray(beeps[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        file.mux(sound.encode(frame))
        file.mux([*picture.encode(None), *sound.encode(None)])
    return path


def shown(path: Path) -> list[float]:
    """Seconds at which the frames of a video are shown."""
    with av.open(str(path)) as file:
        return [frame.time for frame in file.decode(video=0)]


def heard(path: Path) -> list[float]:
    """Seconds at which beeps begin."""
    loud = []
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            samples = np.abs(frame.to_ndarray()[0])
            loud += (frame.time + np.flatnonzero(samples > 0.3) / frame.sample_rate).tolist()
    return [time for time, before in zip(loud, [-1.0, *loud]) if time - before > 0.5]


def test_what_browsers_play(tmp_path: Path) -> None:
    with video_file(tmp_path / "v.mp4", 12.5) as writer:
        for number, level in enumerate((40, 120, 200)):
            writer.write(np.full((49, 65, 3), level, np.uint8), number, number / 12.5)
    data = (tmp_path / "v.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(tmp_path / "v.mp4")) as file:
        (stream,) = file.streams
        assert (stream.codec_context.name, stream.pix_fmt, stream.width, stream.height) == ("h264", "yuv420p", 64, 48)
        assert stream.average_rate == Fraction(25, 2)
        levels = [frame.to_ndarray(format="bgr24").mean() for frame in file.decode(stream)]
    np.testing.assert_allclose(levels, [40, 120, 200], atol=6)


@pytest.mark.parametrize("fps", [0.01, 29.97, 1000.0])
def test_each_frame_has_its_own_time(tmp_path: Path, fps: float) -> None:
    times = [0.5, 0.51, 0.9, 100.0]
    with video_file(tmp_path / "v.mp4", fps) as writer:
        for number, time in enumerate(times):
            writer.write(np.zeros((48, 64, 3), np.uint8), number, time)
    assert shown(tmp_path / "v.mp4") == pytest.approx([time - 0.5 for time in times], abs=1e-4)


@pytest.mark.parametrize("fault", ["encode", "close"])
def test_a_fault_names_the_video_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    def fail(*_: object) -> None:
        raise av.FFmpegError(28, "No space left on device")

    def write() -> None:
        with video_file(tmp_path / "v.mp4", 10) as writer:
            writer.write(np.zeros((48, 64, 3), np.uint8), 0, 0)
            owner = {"encode": "_write_sound", "close": "_video"}[fault]
            if fault == "encode":
                monkeypatch.setattr(writer, owner, fail)
                writer.write(np.zeros((48, 64, 3), np.uint8), 1, 0.1)
            else:
                monkeypatch.setattr(writer, owner, type("Full", (), {"encode": fail})())

    with pytest.raises(PoseError, match=naming(tmp_path / "v.mp4", "No space left")):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("times", "start", "expected"),
    [
        ([i / 20 for i in range(60)], 0.0, [1.0, 2.0]),
        ([i / 20 for i in range(60)], 0.7, [0.3, 1.3]),
        ([i / 20 + 0.03 * (i % 2) for i in range(60)], 1.5, [0.5]),
    ],
)
def test_sound_stays_with_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: list[float], start: float, expected: list[float]
) -> None:
    install(monkeypatch, Sliced())
    path = spoken(tmp_path / "v.mkv", times)
    run_demo(config_with(tmp_path, demo__input=str(path), demo__start=start))
    drawn = tmp_path / "out" / "v.mp4"
    kept = [time for time in times if time >= start]
    assert shown(drawn) == pytest.approx([time - kept[0] for time in kept], abs=2e-3)
    assert heard(drawn) == pytest.approx([time + start - kept[0] for time in expected], abs=0.01)


def test_sound_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"nothing" * 99)
    with video_file(tmp_path / "v.mp4", 10, str(tmp_path / "x.mp4")) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8), 0, 0)
    assert [note for note in writer.notes if "sound" in note]
    assert len(shown(tmp_path / "v.mp4")) == 1


def test_a_video_without_sound(tmp_path: Path) -> None:
    cv2_writer = cv2.VideoWriter(str(tmp_path / "x.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    cv2_writer.write(np.zeros((48, 64, 3), np.uint8))
    cv2_writer.release()
    with video_file(tmp_path / "v.mp4", 10, str(tmp_path / "x.mp4")) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8), 0, 0)
    assert writer.notes == []


def test_a_video_that_begins_late_is_not_cut_short(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "late.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * number, np.uint8), format="bgr24")
            frame.pts, frame.time_base = 40 + number, Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    video = Video(tmp_path / "late.mkv")
    assert len(list(video)) == 30
    assert list(video.problems()) == []
