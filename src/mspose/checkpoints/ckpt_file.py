"""MindSpore's checkpoint format without MindSpore: names can be looked at before anything heavy is imported.

A checkpoint is a protocol buffer: `Checkpoint {Value value = 1, repeated}`, `Value {string tag = 1; TensorProto
tensor = 2}`, `TensorProto {int64 dims = 1, repeated; string tensor_type = 2; bytes tensor_content = 3}`. A tensor
above half a gigabyte comes as several values of the same tag.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from mspose.checkpoints.torch_file import bfloat16
from mspose.errors import PoseError, one_line
from mspose.files import atomic_path

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


def read_ckpt(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a MindSpore checkpoint as views into the file; bfloat16 as float32.

    Raises:
        PoseError: not a MindSpore checkpoint, damaged, cut short, or encrypted.
    """
    try:
        with path.open("rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        parts: dict[str, list[tuple[tuple[int, ...], str, memoryview]]] = {}
        last = ""
        for number, value in _fields(mapped):
            if number != 1:
                raise ValueError("it holds something other than values")
            name, tensor = _value(_content(value))
            if name in parts and name != last:
                raise ValueError(f"it holds {name} twice")
            if tensor is not None:
                parts.setdefault(name, []).append(tensor)
            last = name
        return {name: _array(name, pieces) for name, pieces in parts.items()}
    except (OSError, ValueError, TypeError, IndexError, OverflowError) as error:
        raise PoseError(f"not a readable MindSpore checkpoint (cut short?): {path}: {one_line(error)}") from error


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Number and content of each field of a message: a number, or bytes."""
    at = 0
    while at < len(data):
        value: memoryview | int
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            value, at = _varint(data, at)
        elif tag & 7 == 2:
            size, at = _varint(data, at)
            if size > len(data) - at:
                raise ValueError("a value reaches beyond the file")
            value, at = data[at : at + size], at + size
        else:
            raise ValueError("it is no such protocol buffer")
        yield tag >> 3, value


def _content(field: memoryview | int) -> memoryview:
    if isinstance(field, int):
        raise ValueError("it holds a number where bytes belong")
    return field


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("it is no protocol buffer")


def _value(value: memoryview) -> tuple[str, tuple[tuple[int, ...], str, memoryview] | None]:
    """Name and tensor (shape, type, numbers) of a value; None for a string or a hash table."""
    fields = dict(_fields(value))
    name = bytes(fields[1]).decode() if isinstance(fields.get(1), memoryview) else ""
    if not name:
        raise ValueError("it holds a value without a name")
    if 2 not in fields:
        return name, None
    shape, kind, content = [], "", memoryview(b"")
    for number, field in _fields(_content(fields[2])):
        if number == 1:
            shape += [field] if isinstance(field, int) else [n for n, _ in islice(_packed(field), _MOST_DIMENSIONS + 1)]
        elif number == 2:
            kind = bytes(_content(field)).decode()
        elif number == 3:
            content = _content(field)
    return name, None if kind == "str" else (tuple(shape), kind, content)


def _packed(data: memoryview) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value, at


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
