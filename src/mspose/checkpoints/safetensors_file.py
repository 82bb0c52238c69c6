"""Safetensors files: eight bytes with the length of a JSON header, the header, the numbers.

Read here rather than through the `safetensors` package, which gives NumPy no bfloat16.
"""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mspose.checkpoints.torch_file import bfloat16
from mspose.errors import PoseError, one_line
from mspose.files import atomic_path, distinct

_LARGEST_HEADER = 100 << 20  # the format's own limit
_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}
_NAMES = {np.dtype(np.float32): "F32", np.dtype(np.int64): "I64"}


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Read all tensors of a file as views into it; bfloat16 as float32.

    Raises:
        PoseError: not a safetensors file, damaged, or cut short.
    """
    try:
        with path.open("rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        length = struct.unpack_from("<Q", mapped)[0]
        if length > min(_LARGEST_HEADER, len(mapped) - 8):
            raise ValueError("its header is longer than the file")
        header = json.loads(bytes(mapped[8 : 8 + length]), object_pairs_hook=distinct)
        header.pop("__metadata__", None)
        data = mapped[8 + length :]
        spans = sorted(tuple(entry["data_offsets"]) for entry in header.values())
        if any(start < end for (_, end), (start, _) in pairwise(spans)):
            raise ValueError("two tensors overlap")
        return {name: _array(name, entry, data) for name, entry in header.items()}
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
        RecursionError,
        struct.error,
    ) as error:
        raise PoseError(f"not a readable safetensors file (cut short?): {path}: {one_line(error)}") from error


def _array(name: str, entry: dict[str, Any], data: memoryview) -> np.ndarray:
    kind, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if kind not in _DTYPES:
        raise ValueError(f"{name} holds numbers of type {kind}")
    dtype = np.dtype(_DTYPES[kind])
    numbers = [start, end, *shape]
    if len(shape) > 16 or not all(type(n) is int and n >= 0 for n in numbers) or end > len(data):
        raise ValueError(f"{name} reaches beyond the file")
    flat = np.frombuffer(data[start:end], dtype).reshape(shape)
    return bfloat16(flat) if kind == "BF16" else flat


def write_safetensors(values: Mapping[str, np.ndarray], path: Path) -> None:
    """Write float32 and int64 arrays, named and shaped as PyTorch's.

    Raises:
        PoseError: the file cannot be written.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # without it, transformers refuses the file
    position = 0
    for name, value in values.items():
        header[name] = {
            "dtype": _NAMES[value.dtype],
            "shape": value.shape,
            "data_offsets": [position, position + value.nbytes],
        }
        position += value.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers are aligned
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for value in values.values():
            file.write(np.require(value, requirements="C").reshape(-1).data.cast("B"))
