"""Reading weights of Darknet, the framework of YOLO's authors (`yolov3.weights`).

The file is a header (three int32: major, minor, revision; then the number of training images seen, int64 since
version 0.2, int32 before) and float32 numbers without names or shapes, little-endian. Each convolution stores its
biases, or its batch norm's shift, scale, mean and variance, then its kernel (C', C, k, k).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mspose.errors import PoseError

# Bytes of well-known files, so that the error for a wrong one can name it.
KNOWN_SIZES = {
    35434956: "yolov3-tiny",
    252209544: "yolov3-spp",
    257717640: "yolov4",
    24251276: "yolov4-tiny",
    248007048: "yolov3",
}


def read_darknet(path: str | Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Read a Darknet weights file into arrays named as a network's parameters.

    Args:
        shapes: parameter name → shape; the convolutions in Darknet's order. A kernel `X.weight` has a bias `X.bias`, or
            is `X.0.weight` with the batch norm `X.1.gamma`, `.beta`, `.moving_mean` and `.moving_variance`.

    Returns:
        A value of its shape for each name, float32.

    Raises:
        PoseError: the file is missing, cut short, of another network, or not of Darknet.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head, size = file.read(16), os.fstat(file.fileno()).st_size
            header = _header_size(head, size, path)
            expected = header + 4 * sum(math.prod(shape) for shape in shapes.values())
            # Not read before its size is known to be right: any file may be named by mistake.
            numbers = np.fromfile(file, "<f4", offset=header - 16) if size == expected else None
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise PoseError(
            f"Darknet weights {'not found' if missing else f'cannot be read ({error.strerror})'}: {path}"
        ) from error
    if numbers is None:
        known = KNOWN_SIZES.get(size)
        reason = (
            f"it is {known}"
            if known
            else ("cut short, or of another network" if size < expected else "of another network")
        )
        raise PoseError(
            f"Darknet weights do not fit the network: {path} has {size} bytes, {expected} are needed: {reason}"
        )
    values, begin = {}, 0
    for name in _file_order(shapes):
        count = math.prod(shapes[name])
        value = numbers[begin : begin + count].reshape(shapes[name])
        if not np.isfinite(value).all() or (name.endswith("moving_variance") and value.min() < 0):
            raise PoseError(
                f"Darknet weights are damaged, or of another network: {path}: {name} has values that are "
                "not finite, or a negative variance"
            )
        values[name] = value
        begin += count
    return values


def _header_size(head: bytes, size: int, path: Path) -> int:
    """Bytes before the numbers, by the first 16."""
    if len(head) < 16:
        raise PoseError(f"not a Darknet weights file (cut short?): {path} has {size} bytes")
    major, minor, _ = (int(n) for n in np.frombuffer(head, "<i4", 3))
    if not (0 <= major < 1000 and 0 <= minor < 1000):
        raise PoseError(f"not a Darknet weights file (its version would be {major}.{minor}): {path}")
    return 20 if major * 10 + minor >= 2 else 16


def _file_order(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """All names in the order of the file."""
    order = []
    for name in shapes:
        layer, _, last = name.rpartition(".")
        if last != "weight":
            continue
        if f"{layer}.bias" in shapes:
            order.append(f"{layer}.bias")
        else:
            norm = f"{layer.rpartition('.')[0]}.1"
            order += [f"{norm}.{part}" for part in ("beta", "gamma", "moving_mean", "moving_variance")]
        order.append(name)
    return order
