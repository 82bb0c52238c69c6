"""Reading pictures: one reader for datasets, demos and servers."""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from mspose.errors import PoseError, UsageError, one_line
from mspose.files import file_fault

if TYPE_CHECKING:
    from typing import TypeAlias, TypeGuard

    from PIL.Image import Image as PilImage

    # What stands for a picture in Python.
    Picture: TypeAlias = str | os.PathLike[str] | np.ndarray | PilImage

_PNG = b"\x89PNG\r\n\x1a\n"
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_ALONE = (0x01, 0xD8)  # markers without a segment behind them
# What may follow a scan: its end, another one, tables, application data, comments.
_AFTER_SCAN = frozenset([0xC4, 0xCC, *range(0xD9, 0xDE), *range(0xE0, 0xF0), 0xFE])
# 0xFF and one of these are a marker wherever they stand; within a scan, 0xFF is followed by 0 or is a restart marker.
_IS_MARKER = np.isin(np.arange(256), [0x00, *range(0xD0, 0xD8), 0xFF], invert=True)
_VIDEO = re.compile(rb"\0\0\0.ftyp", re.DOTALL)  # how a video begins that a phone appended
_MOST_SEGMENTS = 1 << 15
# Modes of PIL whose values are 8-bit levels; of others, such as I;16 and F, nothing says what white is.
_PIL_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")


class ImageError(PoseError):
    """A picture that is missing, truncated or not a picture."""


def read_image(path: str | Path, apply_exif: bool = False) -> np.ndarray:
    """Read a picture as (H, W, 3) uint8 BGR.

    Args:
        apply_exif: turn the picture as its EXIF orientation says; of data sets, `data.exif` decides.

    Raises:
        ImageError: the file is missing, truncated or not a picture that OpenCV reads.
    """
    fault = file_fault(path)
    if fault:
        raise ImageError(f"image {fault}: {path}")
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise ImageError(f"image cannot be read ({error.strerror}): {path}") from error
    image = decode_image(data, apply_exif)
    if image is None:
        if picture_format(data[:16].tobytes()) == "HEIC":
            raise ImageError(f"image is HEIC, which OpenCV does not read; convert it to JPEG: {path}")
        raise ImageError(f"image is truncated or not a picture: {path}")
    return image


def check_picture(picture: object, color: str = "bgr", what: str = "a picture") -> None:
    """Say whether something can stand for a picture: a path, an array (H, W, 3) of uint8, or a PIL image.

    Args:
        color: order of the channels of arrays.
        what: what messages call it.

    Raises:
        UsageError: it cannot, or the order is neither "bgr" nor "rgb".
    """
    if color not in ("bgr", "rgb"):
        raise UsageError(f"color, the order of the channels of arrays, is 'bgr' or 'rgb', not {one_line(repr(color))}")
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            raise UsageError(
                f"{what} is an array (H, W, 3) of uint8, 0 to 255, in the order {color.upper()}, not of "
                f"{picture.dtype} {picture.shape}"
            )
    elif _is_pil(picture):
        if picture.mode not in _PIL_MODES or not all(picture.size):
            raise UsageError(
                f"{what} is a PIL image of 8-bit levels, not of mode {picture.mode!r} and size "
                f"{picture.size}; convert it to 'RGB'"
            )
    elif not isinstance(picture, str | os.PathLike):
        raise UsageError(
            f"{what} is a path, an array (H, W, 3) of uint8 or a PIL image, not {one_line(repr(picture), 60)}"
        )


def to_bgr(picture: Picture, color: str = "bgr") -> np.ndarray:
    """Pixels (H, W, 3) uint8 BGR of what `check_picture` accepts.

    Files are turned as their EXIF orientation says; arrays and PIL images are taken as they are. Grey, palette and
    other PIL images become RGB, and what they say about transparency does not count, as in files.

    Raises:
        ImageError: the file is missing, truncated or not a picture.
    """
    if isinstance(picture, np.ndarray):
        return np.ascontiguousarray(picture if color == "bgr" else picture[..., ::-1])
    if _is_pil(picture):
        try:
            pixels = np.asarray(picture.convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:  # PIL reads a file when its pixels are asked for
            name = getattr(picture, "filename", "")
            raise ImageError(
                f"image is truncated or not a picture: {name or 'a PIL image'}: {one_line(error)}"
            ) from error
        return np.ascontiguousarray(pixels[..., ::-1])
    return read_image(Path(picture), apply_exif=True)


def _is_pil(picture: object) -> TypeGuard[PilImage]:
    """Whether it is a PIL image; there are none where PIL was not imported."""
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(picture, pil.Image)


_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    _PNG: "PNG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\x76\x2f\x31\x01": "EXR",
    b"#?RADIANCE": "HDR",
    **{b"P%d" % n: "PNM" for n in range(1, 8)},
}
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"mif1": "HEIC", b"msf1": "HEIC"}
_BRANDS |= dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis"), "HEIC")


def picture_format(head: bytes) -> str:
    """Format of a picture by its first 16 bytes; empty: none of those known here."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":  # HEIC and AVIF begin as videos do
        return _BRANDS.get(head[8:12], "")
    kind = next((kind for signature, kind in _SIGNATURES.items() if head.startswith(signature)), "")
    return "" if kind == "PNM" and head[2:3] not in (b"\n", b" ", b"\r", b"\t") else kind


@cache
def silence_opencv() -> None:
    """Keep what OpenCV says of damaged files from standard error: our own messages name the file."""
    # The function has moved from one release of OpenCV 4 to another.
    set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    set_level(0)


def decode_image(data: np.ndarray, apply_exif: bool) -> np.ndarray | None:
    """Decode the bytes (N,) uint8 of a picture file to (H, W, 3) uint8 BGR; None where they are damaged."""
    if data.size < 16 or is_truncated_jpeg(data) or is_truncated_png(data):
        return None
    silence_opencv()
    flags = cv2.IMREAD_COLOR if apply_exif else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        return cv2.imdecode(data, flags)
    except cv2.error:  # such as a header that promises more pixels than OpenCV accepts
        return None


def is_truncated_jpeg(data: np.ndarray) -> bool:
    """Whether the bytes are a JPEG that ends before the end marker of its first image; OpenCV would fill the rest grey.

    Segments are followed from one to the next, so that neither a thumbnail within them nor what phones and cameras
    append, such as a video or more pictures, is taken for the image.
    """
    if not (data[0] == 0xFF and data[1] == 0xD8):
        return False
    places = np.flatnonzero(data[:-1] == 0xFF)
    places = places[_IS_MARKER[data[places + 1]]]
    at, in_scans = 2, False
    for _ in range(_MOST_SEGMENTS):
        found = int(np.searchsorted(places, at))
        if found == len(places):
            break
        scan, at = data[at : places[found]], int(places[found]) + 2
        marker = int(data[at - 1])
        if in_scans and (marker not in _AFTER_SCAN or _holds_video(scan)):
            return True  # the scan stops amid other data
        if marker == _END_OF_IMAGE:
            return not in_scans
        if marker not in _ALONE:
            at += int.from_bytes(data[at : at + 2].tobytes(), "big")
        in_scans |= marker == _START_OF_SCAN
    return True


def _holds_video(scan: np.ndarray) -> bool:
    """Whether a video begins amid the bytes of a scan."""
    zero = scan == 0  # three in a row are rare there: the slower search, which holds the interpreter lock, is as well
    return bool((zero[:-2] & zero[1:-1] & zero[2:]).any()) and _VIDEO.search(scan.tobytes()) is not None


def is_truncated_png(data: np.ndarray) -> bool:
    """Whether the bytes are a PNG with a part that reaches beyond them; OpenCV would take gigabytes for one."""
    if data[: len(_PNG)].tobytes() != _PNG:
        return False
    at = len(_PNG)
    for _ in range(_MOST_SEGMENTS):
        head = data[at : at + 8].tobytes()  # length and kind; a checksum follows the content
        at += 12 + int.from_bytes(head[:4], "big")
        if len(head) < 8 or at > data.size:
            return True
        if head[4:] == b"IEND":
            return False
    return True
