"""The small network that `mspose doctor` runs everywhere: convolutions, a transposed one, and attention.

Its weights are drawn from a fixed seed. NumPy computes what its outputs must be, and its ONNX file is written here, so
that nothing needs to be installed to tell whether something else computes correctly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mspose.checkpoints.protobuf import encode

# (N, 3, H, W) of its input, and the names of its outputs.
SHAPE = (1, 3, 32, 24)
OUTPUTS = ("maps", "attention")
CELLS = SHAPE[2] // 2 * SHAPE[3] // 2
CHANNELS = 16

_FLOAT, _INT64 = 1, 7  # TensorProto.DataType
_INT, _INTS = 2, 7  # AttributeProto.AttributeType


def picture() -> np.ndarray:
    """What it is run with: float32 of `SHAPE`."""
    return np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)


def weights() -> dict[str, np.ndarray]:
    """Its parameters by the names that they have in MindSpore, float32."""
    rng = np.random.default_rng(0)
    shapes = {
        "first": (8, 3, 3, 3),
        "second": (CHANNELS, 8, 3, 3),
        "deconv": (CHANNELS, 8, 4, 4),  # inputs first, as everywhere
        "last": (17, 8, 1, 1),
    }
    values = {}
    for name, shape in shapes.items():
        inputs = CHANNELS * 4 if name == "deconv" else int(np.prod(shape[1:]))
        values[f"{name}.weight"] = rng.normal(0, np.sqrt(2 / inputs), shape).astype(np.float32)
        values[f"{name}.bias"] = rng.normal(0, 0.1, shape[1] if name == "deconv" else shape[0]).astype(np.float32)
    return values


def expected() -> tuple[np.ndarray, ...]:
    """Its outputs for `picture`, computed in float64 by NumPy: maps (1, 17, H, W), attention (1, 16, H/2 × W/2)."""
    w = {name: value.astype(np.float64) for name, value in weights().items()}
    x = np.maximum(_convolution(picture().astype(np.float64), w["first.weight"], w["first.bias"], 2), 0)
    x = np.maximum(_convolution(x, w["second.weight"], w["second.bias"], 1), 0)
    up = np.maximum(_transposed(x, w["deconv.weight"], w["deconv.bias"]), 0)
    maps = _convolution(up, w["last.weight"], w["last.bias"], 1)
    flat = x.reshape(1, CHANNELS, CELLS)
    scores = flat @ flat.transpose(0, 2, 1) / CELLS
    shares = np.exp(scores - scores.max(axis=2, keepdims=True))
    return maps, shares / shares.sum(axis=2, keepdims=True) @ flat


def _convolution(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    side = weight.shape[2]
    padded = np.pad(x, ((0, 0), (0, 0), (side // 2, side // 2), (side // 2, side // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nchwij,ocij->nohw", windows, weight) + bias[:, None, None]


def _transposed(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Kernel 4, stride 2, padding 1."""
    batch, _, height, width = x.shape
    out = np.zeros((batch, weight.shape[1], 2 * height + 2, 2 * width + 2))
    for row in range(4):
        for column in range(4):
            part = np.einsum("nchw,co->nohw", x, weight[:, :, row, column])
            out[:, :, row : row + 2 * height : 2, column : column + 2 * width : 2] += part
    return out[:, :, 1:-1, 1:-1] + bias[:, None, None]


def onnx_file() -> bytes:
    """The network as an ONNX file of opset 11, input `image`."""
    constants = {**weights(), "flat": np.array([1, CHANNELS, CELLS]), "share": np.array(1 / CELLS, np.float32)}
    padded = {"pads": [1, 1, 1, 1]}
    nodes = [
        _node("Conv", ["image", "first.weight", "first.bias"], "a", strides=[2, 2], **padded),
        _node("Relu", ["a"], "b"),
        _node("Conv", ["b", "second.weight", "second.bias"], "c", **padded),
        _node("Relu", ["c"], "d"),
        _node("ConvTranspose", ["d", "deconv.weight", "deconv.bias"], "e", strides=[2, 2], **padded),
        _node("Relu", ["e"], "f"),
        _node("Conv", ["f", "last.weight", "last.bias"], "maps"),
        _node("Reshape", ["d", "flat"], "g"),
        _node("Transpose", ["g"], "h", perm=[0, 2, 1]),
        _node("MatMul", ["g", "h"], "i"),
        _node("Mul", ["i", "share"], "j"),
        _node("Softmax", ["j"], "k", axis=2),
        _node("MatMul", ["k", "g"], "attention"),
    ]
    shapes = [(1, 17, *SHAPE[2:]), (1, CHANNELS, CELLS)]
    graph = encode(
        [
            *((1, node) for node in nodes),
            (2, "small"),
            *((5, _tensor(name, np.asarray(value))) for name, value in constants.items()),
            (11, _port("image", SHAPE)),
            *((12, _port(name, shape)) for name, shape in zip(OUTPUTS, shapes)),
        ]
    )
    return encode([(1, 6), (2, "mspose"), (7, graph), (8, encode([(1, ""), (2, 11)]))])


def _node(operator: str, inputs: Sequence[str], output: str, **attributes: int | list[int]) -> bytes:
    parts = []
    for name, value in attributes.items():
        numbers = [(3, value), (20, _INT)] if isinstance(value, int) else [*((8, i) for i in value), (20, _INTS)]
        parts.append((5, encode([(1, name), *numbers])))
    return encode([*((1, name) for name in inputs), (2, output), (3, output), (4, operator), *parts])


def _tensor(name: str, values: np.ndarray) -> bytes:
    kind = _FLOAT if values.dtype == np.float32 else _INT64
    data = values.astype("<f4" if kind == _FLOAT else "<i8").tobytes()
    return encode([*((1, side) for side in values.shape), (2, kind), (8, name), (9, data)])


def _port(name: str, shape: Sequence[int]) -> bytes:
    sides = encode([(1, encode([(1, side)])) for side in shape])
    return encode([(1, name), (2, encode([(1, encode([(1, _FLOAT), (2, sides)]))]))])
