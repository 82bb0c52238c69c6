"""Reading pictures: formats, EXIF orientation and every way in which a file can be damaged."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose.data.exif import orientation
from mspose.images import ImageError, decode_image, is_truncated_jpeg, read_image
from tests.messages import naming, tells_of

START_OF_SCAN = b"\xff\xda"


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def jpeg(*options: int) -> bytes:
    return cv2.imencode(".jpg", picture(), options)[1].tobytes()


def with_exif(content: bytes, orientation: int, thumbnail: bytes = b"") -> bytes:
    """The JPEG with an EXIF block: big-endian TIFF whose only entry is tag 0x0112, the orientation."""
    entry = b"\x01\x12" + b"\x00\x03" + b"\x00\x00\x00\x01" + orientation.to_bytes(2, "big") + b"\x00\x00"
    block = b"Exif\x00\x00" + b"MM\x00\x2a\x00\x00\x00\x08" + b"\x00\x01" + entry + b"\x00" * 4 + thumbnail
    return content[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + content[2:]


def store(tmp_path: Path, content: bytes, name: str = "x.jpg") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_never_ends_is_not_read(tmp_path, kind):
    path = tmp_path / "x.jpg"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(ImageError, match=naming(path)):
        read_image(path)
    assert orientation(path) == 1


class TestFormats:
    def test_png_is_read_exactly(self, tmp_path):
        path = store(tmp_path, cv2.imencode(".png", picture())[1].tobytes(), "x.png")
        np.testing.assert_array_equal(read_image(path), picture())

    def test_16_bit_png(self, tmp_path):
        deep = picture().astype(np.uint16) * 257
        image = read_image(store(tmp_path, cv2.imencode(".png", deep)[1].tobytes(), "x.png"))
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, picture())

    @pytest.mark.parametrize("factor", [1, 257])
    def test_grey_png_gets_three_equal_channels(self, tmp_path, factor):
        grey = picture()[:, :, 0]
        content = cv2.imencode(".png", grey.astype(np.uint16) * factor if factor > 1 else grey)[1].tobytes()
        np.testing.assert_array_equal(read_image(store(tmp_path, content, "x.png")), np.dstack([grey] * 3))

    def test_alpha_png_loses_its_alpha(self, tmp_path):
        content = cv2.imencode(".png", np.dstack([picture(), np.full((48, 64), 100, np.uint8)]))[1].tobytes()
        np.testing.assert_array_equal(read_image(store(tmp_path, content, "x.png")), picture())

    def test_png_that_is_called_jpg(self, tmp_path):
        path = store(tmp_path, cv2.imencode(".png", picture())[1].tobytes(), "x.jpg")
        np.testing.assert_array_equal(read_image(path), picture())

    def test_name_that_is_not_ascii(self, tmp_path):
        assert read_image(store(tmp_path, jpeg(), "große 写真.jpg")).shape == (48, 64, 3)

    @pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)])
    def test_jpeg(self, tmp_path, options):
        image = read_image(store(tmp_path, jpeg(*options)))
        assert np.abs(image.astype(int) - picture()).mean() < 3

    def test_bytes_behind_the_end_do_no_harm(self, tmp_path):
        image = read_image(store(tmp_path, jpeg() + b"\x00" * 100))
        np.testing.assert_array_equal(image, read_image(store(tmp_path, jpeg())))


KINDS = {
    "baseline": (),
    "progressive": (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restarts": (cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
}


def video() -> bytes:
    """The beginning of an MP4 file, and bytes that look like markers of a JPEG: a start of scan, an end."""
    noise = np.random.default_rng(0).integers(0, 256, 4000, np.uint8).tobytes()
    return b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + START_OF_SCAN + noise + b"\xff\xd9" + START_OF_SCAN + noise


# What cameras and phones put behind the end of a picture.
APPENDED = {
    "motion photo": video(),
    "Samsung's": b"\0\0\x30\x0a\x10\0\0\0MotionPhoto_Data" + video() + b"SEFHk\0\0\0SEFT",
    "gain map": jpeg(),
    "multi-picture cut short": jpeg()[:-900],
    "zeros": bytes(512),
    "one byte": b"\0",
}


class TestAppended:
    @pytest.mark.parametrize("appended", APPENDED)
    @pytest.mark.parametrize("kind", KINDS)
    def test_the_picture_is_read(self, kind, appended):
        content = with_exif(jpeg(*KINDS[kind]), 1, thumbnail=jpeg())
        image = decode_image(np.frombuffer(content + APPENDED[appended], np.uint8), False)
        np.testing.assert_array_equal(image, decode_image(np.frombuffer(content, np.uint8), False))

    @pytest.mark.parametrize("appended", APPENDED)
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_cut_picture_before_it_is_noticed(self, kind, appended):
        content = with_exif(jpeg(*KINDS[kind]), 1, thumbnail=jpeg())
        scan = content.rindex(START_OF_SCAN)
        for cut in (scan + 12, scan + 40, (scan + len(content)) // 2, len(content) - 20):
            cut -= content[cut - 1] == 0xFF
            assert is_truncated_jpeg(np.frombuffer(content[:cut] + APPENDED[appended], np.uint8)), cut

    def test_far_too_many_segments_end(self):
        content = jpeg()
        comments = b"\xff\xfe\0\2" * 500_000
        assert is_truncated_jpeg(np.frombuffer(content[:2] + comments + content[2:], np.uint8))


# What each EXIF orientation asks for.
TURNS = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: np.rot90(p, 2),
    6: lambda p: np.rot90(p, -1),
    8: np.rot90,
}


class TestExif:
    @pytest.mark.parametrize("orientation", TURNS)
    def test_applied_when_asked_for(self, tmp_path, orientation):
        plain = read_image(store(tmp_path, jpeg()))
        image = read_image(store(tmp_path, with_exif(jpeg(), orientation)), apply_exif=True)
        np.testing.assert_array_equal(image, TURNS[orientation](plain))

    @pytest.mark.parametrize("orientation", TURNS)
    def test_ignored_for_datasets(self, tmp_path, orientation):
        plain = read_image(store(tmp_path, jpeg()))
        np.testing.assert_array_equal(read_image(store(tmp_path, with_exif(jpeg(), orientation))), plain)


class TestDamaged:
    def message(self, path: Path) -> str:
        with pytest.raises(ImageError) as caught:
            read_image(path)
        assert caught.value.exit_code == 1
        return str(caught.value)

    @pytest.mark.parametrize(
        "options",
        [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)],
        ids=["baseline", "progressive", "restarts"],
    )
    def test_jpeg_cut_anywhere(self, options):
        whole = np.frombuffer(jpeg(*options), np.uint8)
        assert decode_image(whole, False) is not None
        cuts = [*range(len(whole) - 8, len(whole)), *range(16, len(whole), 23)]
        assert [cut for cut in cuts if decode_image(whole[:cut], False) is not None] == []
        # Known before OpenCV is asked, which in some versions fills what is missing with grey.
        assert [cut for cut in cuts if not is_truncated_jpeg(whole[:cut])] == []

    def test_message_of_a_cut_jpeg(self, tmp_path):
        path = store(tmp_path, jpeg()[:-2])
        assert tells_of(self.message(path), path, "truncated")

    @pytest.mark.parametrize("offset", [-300, -1, 0, 1, 2, 5, 12])
    def test_cut_around_the_start_of_the_scan_counts_as_truncated(self, offset):
        content = jpeg()
        cut = content[: content.index(START_OF_SCAN) + offset]
        assert is_truncated_jpeg(np.frombuffer(cut, np.uint8))

    def test_end_marker_of_a_thumbnail_is_not_the_end(self, tmp_path):
        content = with_exif(jpeg(), 1, thumbnail=jpeg())
        read_image(store(tmp_path, content))
        scan = content.rindex(START_OF_SCAN)
        for cut in (scan - 1, scan + 40, len(content) - 1):
            self.message(store(tmp_path, content[:cut]))

    def test_whole_jpeg_is_not_truncated(self):
        assert not is_truncated_jpeg(np.frombuffer(jpeg(), np.uint8))
        assert not is_truncated_jpeg(np.frombuffer(jpeg() + b"tail", np.uint8))

    def test_other_formats_are_not_truncated_jpegs(self):
        assert not is_truncated_jpeg(np.frombuffer(cv2.imencode(".png", picture())[1].tobytes()[:500], np.uint8))

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
    def test_cut_png(self, tmp_path, share):
        content = cv2.imencode(".png", picture())[1].tobytes()
        assert "truncated" in self.message(store(tmp_path, content[: int(len(content) * share)], "x.png"))

    @pytest.mark.parametrize("part", [b"IDAT", b"tEXt"])
    def test_png_whose_part_would_take_gigabytes(self, tmp_path, part):
        """OpenCV makes room before it reads."""
        content = cv2.imencode(".png", picture())[1].tobytes()
        huge = content[:33] + (0xF0000000).to_bytes(4, "big") + part + content[33:]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert "truncated" in self.message(store(tmp_path, huge, "x.png"))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes

    def test_png_with_something_behind_it_is_whole(self, tmp_path):
        content = cv2.imencode(".png", picture())[1].tobytes()
        np.testing.assert_array_equal(read_image(store(tmp_path, content + b"tail", "x.png")), picture())

    def test_download_that_was_never_filled_in(self, tmp_path):
        content = jpeg()
        half = len(content) // 2
        assert "truncated" in self.message(store(tmp_path, content[:half] + bytes(len(content) - half)))

    @pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"a" * 15, b"This is not a picture at all.\n" * 9])
    def test_not_a_picture(self, tmp_path, content):
        path = store(tmp_path, content)
        assert tells_of(self.message(path), path, "truncated")

    def test_header_that_promises_too_many_pixels(self, tmp_path):
        content = bytearray(jpeg())
        frame = content.index(b"\xff\xc0")
        content[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
        assert "truncated" in self.message(store(tmp_path, bytes(content)))

    def test_missing(self, tmp_path):
        assert tells_of(self.message(tmp_path / "x.jpg"), tmp_path / "x.jpg", "found")

    def test_folder(self, tmp_path):
        assert tells_of(self.message(tmp_path), tmp_path, "folder")


@pytest.mark.parametrize("kind", ["tiff", "jp2", "webp"])
def test_our_line_alone_tells_of_a_damaged_picture(tmp_path: Path, kind: str, capfd) -> None:
    content = cv2.imencode(f".{kind}", picture())[1].tobytes()
    path = store(tmp_path, content[: len(content) // 2], f"x.{kind}")
    with pytest.raises(ImageError, match=naming(path)):
        read_image(path)
    assert capfd.readouterr().err == ""
