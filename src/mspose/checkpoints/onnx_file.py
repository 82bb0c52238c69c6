"""What an ONNX file says of its inputs and outputs, read without ONNX Runtime and without the package onnx.

ONNX is a protocol buffer: `ModelProto {GraphProto graph = 7}`, `GraphProto {NodeProto node = 1, repeated; TensorProto
initializer = 5, repeated; ValueInfoProto input = 11, output = 12, repeated}`, `NodeProto {string input = 1, repeated;
string op_type = 4}`, `ValueInfoProto {string name = 1; TypeProto type = 2}`. Weights are passed over.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mspose.checkpoints.protobuf import as_bytes, message
from mspose.errors import PoseError, one_line

Shape = tuple[int | None, ...]

_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12


@dataclass(frozen=True)
class Graph:
    """The outside of a graph.

    Attributes:
        inputs, outputs: name → shape, in order; a side is None where the file leaves it open.
        readers: operators that read the inputs (`Conv`, `Slice`, …).
    """

    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    readers: frozenset[str]


def read_graph(model: Path | bytes, name: str | Path) -> Graph:
    """Inputs and outputs of an ONNX file, or of its content.

    Args:
        name: what the file is called in errors.

    Raises:
        PoseError: not an ONNX file, damaged or cut short.
    """
    try:
        if isinstance(model, bytes):
            return _graph(memoryview(model))
        with model.open("rb") as file:
            return _graph(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    except (OSError, ValueError, IndexError) as error:
        raise PoseError(f"not a readable ONNX model (damaged or cut short?): {name}: {one_line(error)}") from error


def _graph(data: memoryview) -> Graph:
    graph = next((as_bytes(value) for number, value in message(data) if number == 7), None)
    if graph is None:
        raise ValueError("it has no graph")
    parts: dict[int, list[memoryview]] = {_NODE: [], _INITIALIZER: [], _INPUT: [], _OUTPUT: []}
    for number, value in message(graph):
        if number in parts:
            parts[number].append(as_bytes(value))
    weights = {_text(tensor, 8) for tensor in parts[_INITIALIZER]}  # earlier versions list them as inputs too
    inputs = {name: shape for name, shape in map(_value, parts[_INPUT]) if name not in weights}
    return Graph(inputs, dict(map(_value, parts[_OUTPUT])), frozenset(_readers(parts[_NODE], inputs)))


def _readers(nodes: Iterable[memoryview], inputs: Iterable[str]) -> Iterable[str]:
    names = {name.encode() for name in inputs}
    for node in nodes:
        fields = list(message(node))
        if any(number == 1 and bytes(as_bytes(value)) in names for number, value in fields):
            yield _text(node, 4)


def _value(info: memoryview) -> tuple[str, Shape]:
    """Name and shape of an input or output; one that is no tensor has no sides."""
    part = info
    for number in (2, 1, 2):  # type, tensor_type, shape
        part = next((as_bytes(value) for n, value in message(part) if n == number), memoryview(b""))
    return _text(info, 1), tuple(_side(as_bytes(value)) for n, value in message(part) if n == 1)


def _side(dimension: memoryview) -> int | None:
    """A side, None where it has a name or nothing."""
    value = dict(message(dimension)).get(1)
    return value if isinstance(value, int) and 0 < value < 1 << 31 else None


def _text(data: memoryview, number: int) -> str:
    return next((bytes(as_bytes(value)).decode() for n, value in message(data) if n == number), "")
