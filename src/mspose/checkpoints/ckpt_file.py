"""MindSpore's checkpoint format without MindSpore: names can be looked at before anything heavy is imported.

A checkpoint is a protocol buffer: `Checkpoint {Value value = 1, repeated}`, `Value {string tag = 1; TensorProto
tensor = 2}`, `TensorProto {int64 dims = 1, repeated; string tensor_type = 2; bytes tensor_content = 3}`. A tensor
above half a gigabyte comes as several values of the same tag. `save_checkpoint(crc_check=True)` puts a checksum behind
all that.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from mspose.checkpoints.protobuf import as_bytes, message, packed
from mspose.checkpoints.torch_file import bfloat16
from mspose.errors import PoseError, one_line
from mspose.files import atomic_path, file_fault

_DTYPES = {
    "Float64": "<f8",
    "Float32": "<f4",
    "Float16": "<f2",
    "BFloat16": "<u2",
    "Int64": "<i8",
    "Int32": "<i4",
    "Int16": "<i2",
    "Int8": "i1",
    "UInt64": "<u8",
    "UInt32": "<u4",
    "UInt16": "<u2",
    "UInt8": "u1",
    "Bool": "?",
}
_MOST_DIMENSIONS = 16
_SEAL, _CHECKSUM = b"crc_num", 10  # what stands before the checksum, and its bytes


def read_ckpt(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a MindSpore checkpoint as views into the file; bfloat16 as float32.

    Raises:
        PoseError: not a MindSpore checkpoint, damaged, cut short, or encrypted.
    """
    fault = file_fault(path)
    if fault:
        raise PoseError(f"checkpoint {fault}: {path}")
    try:
        with path.open("rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        parts: dict[str, list[tuple[tuple[int, ...], str, memoryview]]] = {}
        last = ""
        for number, value in message(_content(mapped)):
            if number != 1:
                raise ValueError("it holds something other than values")
            name, tensor = _value(as_bytes(value))
            if name in parts and name != last:
                raise ValueError(f"it holds {name} twice")
            if tensor is not None:
                parts.setdefault(name, []).append(tensor)
            last = name
        return {name: _array(name, pieces) for name, pieces in parts.items()}
    except (OSError, ValueError, TypeError, IndexError, OverflowError) as error:
        raise PoseError(f"not a readable MindSpore checkpoint (cut short?): {path}: {one_line(error)}") from error


def _content(data: memoryview) -> memoryview:
    """A file without its checksum.

    Raises:
        ValueError: the checksum is of something else.
    """
    end = len(data) - _CHECKSUM - len(_SEAL)
    if bytes(data[max(end, 0) : -_CHECKSUM]) != _SEAL:
        return data
    if zlib.crc32(data[:end]) != int.from_bytes(data[-_CHECKSUM:], "big"):
        raise ValueError("its checksum is of another content")
    return data[:end]


def _value(value: memoryview) -> tuple[str, tuple[tuple[int, ...], str, memoryview] | None]:
    """Name and tensor (shape, type, numbers) of a value; None for a string or a hash table."""
    fields = dict(message(value))
    name = bytes(fields[1]).decode() if isinstance(fields.get(1), memoryview) else ""
    if not name:
        raise ValueError("it holds a value without a name")
    if 2 not in fields:
        return name, None
    shape, kind, content = [], "", memoryview(b"")
    for number, field in message(as_bytes(fields[2])):
        if number == 1:
            shape += [field] if isinstance(field, int) else list(islice(packed(field), _MOST_DIMENSIONS + 1))
        elif number == 2:
            kind = bytes(as_bytes(field)).decode()
        elif number == 3:
            content = as_bytes(field)
    return name, None if kind == "str" else (tuple(shape), kind, content)


def _array(name: str, pieces: list[tuple[tuple[int, ...], str, memoryview]]) -> np.ndarray:
    shape, kind, content = pieces[0]
    if len(pieces) > 1:
        content = memoryview(b"".join(piece[2] for piece in pieces))
    if kind not in _DTYPES or len(shape) > _MOST_DIMENSIONS:
        raise ValueError(f"{name} holds numbers of type {kind[:40]!r}")
    flat = np.frombuffer(content, _DTYPES[kind])
    flat = bfloat16(flat) if kind == "BFloat16" else flat
    return flat.reshape(() if shape == (0,) and flat.size == 1 else shape)  # (0,): a scalar of MindSpore 1


def write_ckpt(values: Mapping[str, np.ndarray], path: Path) -> None:
    """Write float32 arrays as a MindSpore checkpoint, one after the other.

    Raises:
        PoseError: the file cannot be written.
    """
    with atomic_path(path, durable=True) as temporary, temporary.open("wb") as file:
        for name, value in values.items():
            value = np.require(value, np.float32, "C")
            dims = b"".join(b"\x08" + _to_varint(n) for n in value.shape)
            head = dims + _bytes_field(2, b"Float32") + b"\x1a" + _to_varint(value.nbytes)
            tag = _bytes_field(1, name.encode()) + b"\x12" + _to_varint(len(head) + value.nbytes)
            file.write(b"\x0a" + _to_varint(len(tag) + len(head) + value.nbytes) + tag + head)
            file.write(value.reshape(-1).data.cast("B"))


def _to_varint(number: int) -> bytes:
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def _bytes_field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _to_varint(len(data)) + data
