"""Reading pictures: one reader for datasets, demos and servers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mspose.errors import PoseError


class ImageError(PoseError):
    """A picture that is missing, truncated or not a picture."""


def read_image(path: str | Path, apply_exif: bool = False) -> np.ndarray:
    """Read a picture as (H, W, 3) uint8 BGR.

    Args:
        apply_exif: turn the picture as its EXIF orientation says. Datasets must not: COCO annotates unrotated pixels.

    Raises:
        ImageError: the file is missing, truncated or not a picture that OpenCV reads.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise ImageError(f"image {'not found' if missing else f'cannot be read ({error.strerror})'}: {path}") from error
    image = decode_image(data, apply_exif)
    if image is None:
        raise ImageError(f"image is truncated or not a picture: {path}")
    return image


def decode_image(data: np.ndarray, apply_exif: bool) -> np.ndarray | None:
    """Decode the bytes (N,) uint8 of a picture file to (H, W, 3) uint8 BGR; None where they are damaged."""
    if data.size < 16 or is_truncated_jpeg(data):
        return None
    flags = cv2.IMREAD_COLOR if apply_exif else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        return cv2.imdecode(data, flags)
    except cv2.error:  # such as a header that promises more pixels than OpenCV accepts
        return None


def is_truncated_jpeg(data: np.ndarray) -> bool:
    """Whether the bytes are a JPEG that ends before its end marker; OpenCV would fill the rest with grey.

    Inside JPEG image data 0xFF is always followed by 0x00 or a restart marker, so an end marker (FF D9) behind the
    last start of scan (FF DA) is real, also when other bytes follow it. Without a start of scan, the file ends within
    its header.
    """
    if not (data[0] == 0xFF and data[1] == 0xD8):
        return False
    if data[-2] == 0xFF and data[-1] == 0xD9:
        return False
    content = data.tobytes()
    scan = content.rfind(b"\xff\xda")
    return scan < 0 or content.find(b"\xff\xd9", scan) < 0
