"""Pictures that are stored turned: read as their annotations are, or as data.exif says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose.data.coco import Images
from mspose.data.exif import orientation
from mspose.images import ImageError, read_image
from tests.messages import names, naming

WIDTH, HEIGHT = 48, 32


def picture(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Four colours, one in each corner."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = 255, 0, 0
    image[height // 2 :, : width // 2] = 0, 255, 0
    image[height // 2 :, width // 2 :] = 0, 0, 255
    return image


def tiff(tag: int, order: str = "big") -> bytes:
    def number(value: int, length: int) -> bytes:
        return value.to_bytes(length, order)  # type: ignore[arg-type]

    entries = [(0x010F, 9), (0x0112, tag)]
    table = b"".join(number(k, 2) + number(3, 2) + number(1, 4) + number(v, 2) + b"\0\0" for k, v in entries)
    return (b"MM" if order == "big" else b"II") + number(42, 2) + number(8, 4) + number(2, 2) + table + b"\0\0\0\0"


def write(path: Path, image: np.ndarray, tag: int | None, order: str = "big") -> Path:
    """A JPEG or PNG of these pixels, with an EXIF orientation if one is given."""
    content = cv2.imencode(path.suffix, image)[1].tobytes()
    if tag is not None and path.suffix == ".jpg":
        exif = b"Exif\0\0" + tiff(tag, order)
        content = content[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + content[2:]
    elif tag is not None:
        import zlib

        data = tiff(tag, order)
        chunk = len(data).to_bytes(4, "big") + b"eXIf" + data + zlib.crc32(b"eXIf" + data).to_bytes(4, "big")
        content = content[:33] + chunk + content[33:]
    path.write_bytes(content)
    return path


def images(files: Sequence[Path], sizes: Sequence[tuple[int, int]], mode: str = "auto") -> Images:
    widths, heights = np.array(sizes).T
    return Images(np.arange(len(files)), files, widths, heights, mode)


@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("tag", [None, 1, 2, 3, 6, 8, 9])
def test_the_tag_is_read(tmp_path: Path, tag: int | None, suffix: str, order: str) -> None:
    path = write(tmp_path / f"a{suffix}", picture(), tag, order)
    assert orientation(path) == (tag if tag in range(1, 9) else 1)


def test_no_pictures_have_no_tag(tmp_path: Path) -> None:
    assert orientation(tmp_path / "absent.jpg") == 1
    for content in (b"", b"\xff\xd8", b"\xff\xd8\xff\xe1\x00\x04Exif\0\0MM", b"\x89PNG eXIf MM"):
        (tmp_path / "a.jpg").write_bytes(content)
        assert orientation(tmp_path / "a.jpg") == 1


@pytest.mark.parametrize("tag", [5, 6, 7, 8])
@pytest.mark.parametrize("upright", [True, False])
def test_the_annotated_size_tells(tmp_path: Path, tag: int, upright: bool, caplog) -> None:
    path = write(tmp_path / "a.jpg", picture(), tag)
    size = (HEIGHT, WIDTH) if upright else (WIDTH, HEIGHT)
    found = images([path], [size]).read(0)
    np.testing.assert_array_equal(found, read_image(path, apply_exif=upright))
    assert names(caplog.text, path, "data.exif")
    assert names(caplog.text.replace(str(path), ""), tag)
    assert caplog.text.count("\n") == 1


@pytest.mark.parametrize("tag", [2, 3, 4])
@pytest.mark.parametrize(("others", "turned"), [((True, True, False), True), ((False,), False), ((), False)])
def test_the_others_tell_where_the_size_does_not(
    tmp_path: Path, tag: int, others: tuple[bool, ...], turned: bool, caplog
) -> None:
    files = [write(tmp_path / "a.jpg", picture(), tag), write(tmp_path / "square.jpg", picture(32, 32), 6)]
    sizes = [(WIDTH, HEIGHT), (32, 32)]
    for number, upright in enumerate(others):
        files.append(write(tmp_path / f"{number}.jpg", picture(), 8))
        sizes.append((HEIGHT, WIDTH) if upright else (WIDTH, HEIGHT))
    read = images(files, sizes)
    for row in (0, 1):
        np.testing.assert_array_equal(read.read(row), read_image(files[row], apply_exif=turned))
    assert caplog.text.count("warning: ") == 1
    assert f"{2 + len(others)} pictures" in caplog.text


@pytest.mark.parametrize("mode", ["ignore", "apply"])
def test_the_key_settles_it(tmp_path: Path, mode: str, caplog) -> None:
    apply = mode == "apply"
    path = write(tmp_path / "a.jpg", picture(), 3)
    found = images([path], [(WIDTH, HEIGHT)], mode).read(0)
    np.testing.assert_array_equal(found, read_image(path, apply_exif=apply))
    turned = write(tmp_path / "b.jpg", picture(), 6)
    with pytest.raises(
        ImageError, match=naming(turned, "orientation 6", f"data.exif={'ignore' if apply else 'apply'}")
    ):
        images([turned], [(WIDTH, HEIGHT) if apply else (HEIGHT, WIDTH)], mode).read(0)
    assert "WARNING" not in caplog.text


def test_upright_pictures_are_not_looked_at(tmp_path: Path, caplog) -> None:
    path = write(tmp_path / "a.jpg", picture(), None)
    found = images([path, tmp_path / "absent.jpg"], [(WIDTH, HEIGHT)] * 2)
    np.testing.assert_array_equal(found.read(0), read_image(path))
    assert caplog.text == ""
