"""What the demo looks at: pictures, folders, globs, videos, cameras, and what is none of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose.demo.sources import Pictures, Video, image_ids, open_source, unique_names
from mspose.errors import PoseError, UsageError


def picture(path: Path, value: int = 128) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((24, 32, 3), value, np.uint8))
    return path


def video(path: Path, frames: int = 30, fps: float = 20) -> Path:
    fourcc = cv2.VideoWriter_fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
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


def test_glob_through_folders(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.jpg")
    picture(tmp_path / "b" / "2.jpg")
    assert [path.name for path in open_source(str(tmp_path / "**" / "*.jpg")).paths] == ["1.jpg", "2.jpg"]


def test_a_file_called_like_a_glob(tmp_path: Path) -> None:
    assert len(open_source(str(picture(tmp_path / "photo[1].jpg"))).paths) == 1


@pytest.mark.parametrize(
    ("spec", "words"), [("", "--input"), ("absent.jpg", "no such file"), ("x*.jpg", "nothing"), (".", "no pictures")]
)
def test_nothing_to_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=words):
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
    assert (len(frames), source.total, source.fps, source.shortfall) == (30, 30, 20, "")
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
    assert f"{count} of 40 frames" in source.shortfall
    assert str(path) in source.shortfall


@pytest.mark.parametrize("content", [b"", b"no video at all" * 50])
def test_broken_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    with pytest.raises(PoseError, match=r"video cannot be read.*v\.mp4"):
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
