"""The wire format of protocol buffers, as far as checkpoints of MindSpore and ONNX files need it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def message(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Number and content of each field of a message: a number, or bytes, which are a view of `data`.

    Raises:
        ValueError, IndexError: the bytes are no such message, or end too early.
    """
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


def encode(fields: Iterable[tuple[int, int | str | bytes]]) -> bytes:
    """A message of fields, each with its number: not negative numbers, texts, or bytes such as those of a message."""
    data = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            data += _as_varint(number << 3) + _as_varint(value)
        else:
            content = value.encode() if isinstance(value, str) else value
            data += _as_varint(number << 3 | 2) + _as_varint(len(content)) + content
    return bytes(data)


def as_bytes(field: memoryview | int) -> memoryview:
    """A field that must hold bytes.

    Raises:
        ValueError: it holds a number.
    """
    if isinstance(field, int):
        raise ValueError("it holds a number where bytes belong")
    return field


def packed(data: memoryview) -> Iterator[int]:
    """Numbers that were packed into one field."""
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("it is no protocol buffer")


def _as_varint(value: int) -> bytes:
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    data.append(value)
    return bytes(data)
