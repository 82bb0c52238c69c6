"""What the demo looks at: pictures, folders, globs, videos, cameras, and what is none of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose.demo.sources import Clip, Pictures, image_ids, open_sources
from mspose.demo.video import Video
from mspose.errors import PoseError, UsageError
from mspose.filenames import unique_names
from tests.loopback import Server, loopback
from tests.messages import names, naming


def picture(path: Path, value: int = 128) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((24, 32, 3), value, np.uint8))
    return path


def video(path: Path, frames: int = 30, fps: float = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    fourcc = cv2.VideoWriter_fourcc(*{".avi": "MJPG", ".mov": "png "}.get(path.suffix.lower(), "mp4v"))
    writer = cv2.VideoWriter(str(path), fourcc, fps, (64, 48))
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for i in range(frames):
        writer.write(np.roll(noise, i, axis=1))
    writer.release()
    return path


def open_source(spec: str) -> Pictures | Video:
    """The only source that an input stands for, opened."""
    (source,) = open_sources([spec], Path("/nowhere"))
    return source.open() if isinstance(source, Clip) else source


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with loopback(monkeypatch) as server:
        yield server


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
    (clip,) = open_sources([str(video(tmp_path / "v.ts.mp4").rename(tmp_path / f"{stem}c.mp4"))], tmp_path)
    for name in (*clip.drawn, f"{next(iter(clip.open())).name}_keypoints.json"):
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
    for name in ("a.pdf", "b.zip", "notes.txt", ".hidden"):
        (tmp_path / name).write_bytes(b"x" * 50)
    with pytest.raises(UsageError, match=naming("demo.input", spec, "a.pdf, b.zip", "3")):
        open_source(spec)
    picture(tmp_path / "c.jpg")
    assert len(open_source(spec).paths) == 1
    (record,) = caplog.records
    assert names(record.message, spec, "a.pdf, b.zip, notes.txt", "3")


def test_pictures_are_read_when_they_are_wanted(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    later = picture(tmp_path / "later.jpg")
    frames = iter(open_source(str(tmp_path)))
    later.unlink()
    next(frames)
    picture(later)
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
    (source,) = open_sources([str(first), str(tmp_path / "folder"), str(tmp_path / "*.png")], tmp_path)
    assert source.paths == [first, last]
    assert source.file_names == ["z.png", "folder/z.png"]
    assert len(set(source.names)) == 2


def test_pictures_come_first_and_then_each_video_and_camera(tmp_path: Path) -> None:
    specs = [str(video(tmp_path / "in" / name)) for name in ("b.mp4", "a.mp4")]
    specs += ["3", str(picture(tmp_path / "in" / "a.png")), str(tmp_path / "in")]
    sources = open_sources(specs, tmp_path)
    assert [source.file_names for source in sources] == [["a.png"], ["b.mp4"], ["a.mp4"], ["camera3"]]
    assert [source.is_video for source in sources] == [False, True, True, True]


@pytest.mark.parametrize(
    "files",
    [
        ("a/v.mp4", "b/v.mp4", "v.png"),
        ("v.mp4", "v.avi", "V.MOV"),
        ("v.mp4", "v_000000000003.png"),
        ("v.mp4", "V_000000000003.png", "v_2.mp4"),
        ("v.mp4", "v_000000000003.png", "v_2_0000000000007.png"),
    ],
)
def test_no_two_results_have_the_same_name(tmp_path: Path, files: tuple[str, ...]) -> None:
    for name in files:
        (picture if name.endswith(".png") else video)(tmp_path / name)
    sources = open_sources([str(tmp_path / name) for name in files], tmp_path)
    results = [f"{name}_{number:012}" for s in sources if s.is_video for name in s.names for number in range(30)]
    results += [name for source in sources if not source.is_video for name in source.names]
    assert len({name.casefold() for name in results}) == len(results)
    drawn = [name.casefold() for source in sources if source.is_video for name in source.drawn]
    assert len({*drawn}) == len(drawn)
    assert len({name for source in sources for name in source.file_names}) == len(files)


def test_a_picture_that_breaks_off_at_an_address_is_one_line(tmp_path: Path, server: Server) -> None:
    data = picture(tmp_path / "a.png").read_bytes()
    server.files["/a.png"] = data
    server.cuts = [len(data) // 2]
    with pytest.raises(PoseError, match=naming("demo.input", f"{server.url}/a.png", len(data))):
        open_sources([f"{server.url}/a.png"], tmp_path)


def test_a_picture_at_an_address(tmp_path: Path, server: Server) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    server.files["/x/a.png?key=secret"] = picture(tmp_path / "a.png").read_bytes()
    (source,) = open_sources([f"{server.url}/x/a.png?key=secret", str(tmp_path / "a.png")], scratch)
    assert source.file_names == [f"{server.url}/x/a.png", "a.png"]
    assert len({*source.names}) == 2
    assert [frame.image.shape for frame in source] == [(24, 32, 3)] * 2


def test_a_video_at_an_address(tmp_path: Path, server: Server) -> None:
    server.files["/v.mp4"] = video(tmp_path / "v.mp4").read_bytes()
    (source,) = open_sources([f"{server.url}/v.mp4"], tmp_path)
    frames = list(source.open())
    assert (len(frames), frames[0].name, frames[0].file_name) == (30, "v_000000000000", f"{server.url}/v.mp4")


def test_an_address_where_nothing_is(tmp_path: Path, server: Server) -> None:
    with pytest.raises(PoseError, match=naming("demo.input", f"{server.url}/absent.jpg", 404)):
        open_sources([f"{server.url}/absent.jpg"], tmp_path)
    server.files["/page"] = b"<html>" * 99
    (source,) = open_sources([f"{server.url}/page"], tmp_path)
    with pytest.raises(PoseError, match=naming(f"{server.url}/page")):
        source.open()


def test_passwords_go_to_the_server_and_nowhere_else(tmp_path: Path, server: Server) -> None:
    address = server.url.replace("://", "://me:top%20secret@")
    server.files["/a.png"] = picture(tmp_path / "a.png").read_bytes()[:-40]
    (source,) = open_sources([f"{address}/a.png?token=secret"[: len(address) + 6]], tmp_path)
    assert source.file_names == [f"{server.url}/a.png"]
    (frame,) = source
    assert names(frame.error, f"{server.url}/a.png")
    with pytest.raises(PoseError) as caught:
        open_sources([f"{address}/none?token=secret"], tmp_path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("address", ["ftp://host/a.jpg", "file:///etc/passwd", "https://", "http://a b", "http://h:x/"])
def test_addresses_that_are_not_read(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError, match=naming("demo.input", "https")):
        open_sources([address], tmp_path)
