"""What the demo looks at: pictures, folders, globs, videos, cameras, and what is none of them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose.demo.sources import Pictures, Video, image_ids, open_source, open_sources, unique_names
from mspose.errors import PoseError, UsageError
from tests.messages import names, naming


def picture(path: Path, value: int = 128) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((24, 32, 3), value, np.uint8))
    return path


def video(path: Path, frames: int = 30, fps: float = 20) -> Path:
    fourcc = cv2.VideoWriter_fourcc(*{".avi": "MJPG", ".mov": "png "}.get(path.suffix, "mp4v"))
    writer = cv2.VideoWriter(str(path), fourcc, fps, (64, 48))
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for i in range(frames):
        writer.write(np.roll(noise, i, axis=1))
    writer.release()
    return path


def test_one_picture(tmp_path: Path) -> None:
    source = open_source(str(picture(tmp_path / "a.png")))
    (frame,) = source
    assert (frame.name, frame.file_name, source.drawn, source.total) == ("a", "a.png", ["a.png"], 1)
    assert frame.image.shape == (24, 32, 3)


def test_folder_in_natural_order_without_other_files(tmp_path: Path) -> None:
    for name in ("f10.jpg", "f9.JPG", "f2.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder.jpg").mkdir()
    assert [frame.file_name for frame in open_source(str(tmp_path))] == ["f2.png", "f9.JPG", "f10.jpg"]


def test_what_is_called_like_a_picture_and_is_no_file_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / "dangling.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    for name in ("folder.jpg", "album", ".hidden.jpg"):
        (tmp_path / name).mkdir()
    assert [frame.file_name for frame in open_source(str(tmp_path))] == ["a.jpg"]
    assert names(caplog.text, "dangling.jpg", "folder.jpg", "pipe.jpg", 3)


def test_glob_through_folders(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.jpg")
    picture(tmp_path / "b" / "2.jpg")
    assert [path.name for path in open_source(str(tmp_path / "**" / "*.jpg")).paths] == ["1.jpg", "2.jpg"]


def test_a_file_called_like_a_glob(tmp_path: Path) -> None:
    assert len(open_source(str(picture(tmp_path / "photo[1].jpg"))).paths) == 1


@pytest.mark.parametrize(
    ("spec", "things"),
    [
        ("", ("--input", "--serve")),
        ("absent.jpg", ("demo.input", "absent.jpg")),
        ("x*.jpg", ("demo.input", "x*.jpg")),
        (".", ("demo.input", "folder", "**/*.jpg")),
    ],
)
def test_nothing_to_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, things: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=naming(*things)):
        open_source(spec)


def test_unreadable_pictures_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("a text that is no picture")
    (tmp_path / "b.jpg").write_bytes(picture(tmp_path / "c.jpg").read_bytes()[:-100])
    frames = list(open_source(str(tmp_path)))
    assert [frame.image is None for frame in frames] == [True, True, False]
    assert all(str(tmp_path / name) in frame.error for name, frame in zip(("a.jpg", "b.jpg"), frames))


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg")
    data = path.read_bytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    (frame,) = open_source(str(path))
    assert frame.image.shape == (32, 24, 3)


def test_names_of_outputs_are_unique() -> None:
    paths = [
        Path(p)
        for p in ("/x/a/1.jpg", "/x/b/1.jpg", "/x/b/1.png", "/x/b/2.jpg", "/x/B/3.jpg", "/x/b/3.JPG", "/x/a_1_jpg.png")
    ]
    names = unique_names(paths)
    assert names[3] == "2"
    assert len({name.casefold() for name in names}) == len(names)
    assert all("/" not in name for name in names)


def test_video(tmp_path: Path) -> None:
    source = open_source(str(video(tmp_path / "v.mp4")))
    assert isinstance(source, Video)
    frames = list(source)
    assert (len(frames), source.total, source.fps, list(source.problems())) == (30, 30, 20, [])
    assert [frames[0].name, frames[29].name] == ["v_000000000000", "v_000000000029"]
    assert not np.array_equal(frames[0].image, frames[1].image)


def test_video_without_a_telling_suffix(tmp_path: Path) -> None:
    path = video(tmp_path / "v.mp4").rename(tmp_path / "recording")
    assert isinstance(open_source(str(path)), Video)


def test_video_that_ends_early(tmp_path: Path) -> None:
    path = video(tmp_path / "v.avi", 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = open_source(str(path))
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

    def __init__(self, name: str) -> None:
        self._left = [i for i in range(30) if i not in self.lost]
        self._at = 0.0

    def isOpened(self) -> bool:
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        if not self._left:
            return False, None
        self._at = self.times[self._left.pop(0)]
        return True, np.zeros((24, 32, 3), np.uint8)

    def get(self, key: int) -> float:
        return {cv2.CAP_PROP_FRAME_COUNT: 30, cv2.CAP_PROP_FPS: 20, cv2.CAP_PROP_POS_MSEC: 1000 * self._at}[key]

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


BYTES = os.fsdecode(b"caf\xe9 \xff")  # names from Windows and of old are not UTF-8


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / BYTES
    folder.mkdir()
    picture(tmp_path / "a.png").rename(folder / f"{BYTES}.png")
    (frame,) = open_source(str(folder))
    assert frame.image.shape == (24, 32, 3)
    path = video(tmp_path / "v.mp4").rename(folder / f"{BYTES}.mp4")
    assert len(list(open_source(str(path)))) == 30


@pytest.mark.parametrize("letter", ["x", "ü", "写"])
def test_names_of_outputs_fit_into_the_file_system(tmp_path: Path, letter: str) -> None:
    stem = letter * (246 // len(letter.encode()))
    for i, ending in enumerate(("a.png", "b.png")):
        picture(tmp_path / "a.png", 100 * i).rename(tmp_path / f"{stem}{ending}")
    source = open_source(str(tmp_path))
    names = [frame.name for frame in source]
    assert len({*names}) == 2
    for name in (*source.drawn, *(f"{name}_keypoints.json" for name in names)):
        (tmp_path / name).touch()
    clip = Video(video(tmp_path / "v.ts.mp4").rename(tmp_path / f"{stem}c.mp4"))
    for name in (*clip.drawn, f"{next(iter(clip)).name}_keypoints.json"):
        (tmp_path / name).touch()


def test_digits_that_are_no_numbers(tmp_path: Path) -> None:
    for name in ("10²4.png", "²0.png", "²3²9².png"):
        picture(tmp_path / "a.png").rename(tmp_path / name)
    assert len(list(open_source(str(tmp_path)))) == 3
    with pytest.raises(UsageError, match="²"):
        open_source("²")


def test_pictures_by_any_name(tmp_path: Path) -> None:
    image = cv2.resize(cv2.imread(str(picture(tmp_path / "a.png"))), (64, 64))
    forms = {"b": ".png", "c.jfif": ".jpg", "d.avif": ".avif", "e.backup": ".webp", "f.JP2": ".jp2"}
    if not cv2.haveImageWriter("x.avif"):  # OpenCV 4.11 and older
        del forms["d.avif"]
    for name, form in forms.items():
        (tmp_path / name).write_bytes(cv2.imencode(form, image)[1].tobytes())
    source = open_source(str(tmp_path))
    assert [frame.file_name for frame in source if frame.image is not None] == ["a.png", *forms]
    assert source.drawn[1:4] == ["b.jpg", "c.jpg", f"{list(forms)[2][0]}.jpg"]


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(2000)


@pytest.mark.parametrize("name", ["photo.heic", "photo.HEIF", "photo", "photo.jpg"])
def test_heic_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(HEIC)
    (frame,) = open_source(str(tmp_path / name))
    assert "HEIC" in frame.error
    assert name in frame.error


@pytest.mark.parametrize("pattern", ["", "*"])
def test_what_is_left_out_of_a_folder_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    monkeypatch.setattr(logging.getLogger("pose"), "propagate", True)
    spec = str(tmp_path / pattern) if pattern else str(tmp_path)
    for name in ("a.mp4", "b.mov", "notes.txt", ".hidden"):
        (tmp_path / name).write_bytes(b"x" * 50)
    with pytest.raises(UsageError, match=naming("demo.input", spec, "a.mp4, b.mov", "3")):
        open_source(spec)
    picture(tmp_path / "c.jpg")
    assert len(open_source(spec).paths) == 1
    (record,) = caplog.records
    assert names(record.message, spec, "a.mp4, b.mov, notes.txt", "3")


@pytest.mark.parametrize("content", [b"", b"no video at all" * 50])
def test_broken_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    with pytest.raises(PoseError, match=naming("video", path)):
        open_source(str(path))


def test_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    class Camera:
        def __init__(self, number: int) -> None:
            assert number == 7
            self._left = 3

        def isOpened(self) -> bool:
            return True

        def read(self) -> tuple[bool, np.ndarray | None]:
            self._left -= 1
            return self._left >= 0, np.zeros((24, 32, 3), np.uint8)

        def get(self, key: int) -> float:
            return -1.0

        def release(self) -> None:
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    source = open_source("7")
    assert (source.is_live, source.total, source.fps, source.drawn) == (True, None, 25, ["camera7.mp4"])
    assert len(list(source)) == 3


def test_absent_camera() -> None:
    with pytest.raises(PoseError, match="camera 97"):
        open_source("97")


def test_pictures_are_read_when_they_are_wanted(tmp_path: Path) -> None:
    frames = iter(Pictures([picture(tmp_path / "a.jpg"), tmp_path / "later.jpg"]))
    next(frames)
    picture(tmp_path / "later.jpg")
    assert next(frames).image is not None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["000000000139.jpg", "000000000285.jpg"], [139, 285]),
        (["1.jpg", "2.jpg", "cat.jpg", "dog.jpg"], [1, 2, 0, 3]),
        (["a/7.jpg", "b/7.jpg", "0.png"], [1, 2, 0]),
        ([f"{10**16}.jpg"], [0]),
    ],
)
def test_no_two_pictures_have_the_same_number(names: list[str], expected: list[int]) -> None:
    assert image_ids([Path(name) for name in names]) == expected


def test_several_inputs_are_looked_at_in_their_order_and_each_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    first, last = picture(tmp_path / "z.png"), picture(tmp_path / "folder" / "z.png")
    source = open_sources([str(first), str(tmp_path / "folder"), str(tmp_path / "*.png")])
    assert source.paths == [first, last]
    assert source.file_names == ["z.png", "folder/z.png"]
    assert len(set(source.names)) == 2


@pytest.mark.parametrize("other", ["v.mp4", "0"])
def test_a_video_or_camera_among_several_is_refused(tmp_path: Path, other: str) -> None:
    named = other if other == "0" else str(video(tmp_path / other))
    with pytest.raises(UsageError, match=naming("demo.input", named)):
        open_sources([str(picture(tmp_path / "a.png")), named])
