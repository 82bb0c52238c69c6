"""ONNX detectors: tiny graphs whose scores are pixels of their input, so that they show what they were given."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mspose.backends.onnx_runtime import open_onnx
from mspose.config.schema import RuntimeConfig
from mspose.detection.onnx import OnnxDetector
from mspose.errors import PoseError, UsageError
from tests.messages import naming

SIDE = 32
CELLS = 16 + 4 + 1
LEVEL = 114 / 255
BLUE, RED = 0, 2  # channels of a picture
# A picture of 64×32: half as large in the input, 32×16. Its colour is 0.8 blue and 0.4 red.
PICTURE = np.zeros((32, 64, 3), np.uint8)
PICTURE[:] = (204, 0, 102)


def write_graph(
    path: Path,
    values: np.ndarray,
    probes: dict[tuple[int, int], tuple[int, int, int]],
    scale: float = 1,
    sides: tuple = (SIDE, SIDE),
    dtype: int = TensorProto.FLOAT,
) -> Path:
    """A graph with the output `values` (1, a, b), plus input[channel, y, x] × scale at (a, b) for each probe."""
    weights = np.zeros((3 * SIDE * SIDE, values.size), np.float32)
    for (a, b), (channel, y, x) in probes.items():
        weights[(channel * SIDE + y) * SIDE + x, a * values.shape[2] + b] = scale
    kind = np.float16 if dtype == TensorProto.FLOAT16 else np.float32
    constants = {
        "flat": np.array([1, -1], np.int64),
        "weights": weights.astype(kind),
        "values": values.reshape(1, -1).astype(kind),
        "shape": np.array(values.shape, np.int64),
    }
    nodes = [
        helper.make_node("Reshape", ["images", "flat"], ["pixels"]),
        helper.make_node("MatMul", ["pixels", "weights"], ["probed"]),
        helper.make_node("Add", ["probed", "values"], ["sum"]),
        helper.make_node("Reshape", ["sum", "shape"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("images", dtype, [1, 3, *sides])],
        [helper.make_tensor_value_info("output", dtype, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def yolox(path: Path, decoded: bool, **options: object) -> Path:
    """Two people: cell (0, 0) and cell (3, 3) of stride 8; scores are blue at the top left and at the bottom right."""
    values = np.zeros((1, CELLS, 7))
    cells = np.concatenate([np.stack(np.meshgrid(np.arange(n), np.arange(n)), -1).reshape(-1, 2) for n in (4, 2, 1)])
    strides = np.repeat([8, 16, 32], [16, 4, 1])[:, None]
    values[0, [0, 15], :4] = [[0.5, 0.5, 0, np.log(2)], [0, 0, np.log(0.5), 0]]
    if decoded:
        values[0, :, :2] = (values[0, :, :2] + cells) * strides
        values[0, :, 2:4] = np.exp(values[0, :, 2:4]) * strides
    values[0, :, 4] = 1
    probes = {(0, 5): (0, 0, 0), (15, 5): (0, 31, 31)}
    return write_graph(path, values, probes, 1 / 255, **options)


def yolov8(path: Path) -> Path:
    """Two people; scores are red in the middle of the picture, and that of the border above."""
    values = np.zeros((1, 6, CELLS))
    values[0, :4, 0] = [10, 14, 8, 4]
    values[0, :4, 7] = [24, 24, 2, 4]
    return write_graph(path, values, {(4, 0): (0, 16, 16), (4, 7): (0, 0, 0)})


@pytest.mark.parametrize("decoded", [False, True])
def test_yolox(tmp_path: Path, decoded: bool) -> None:
    detector = OnnxDetector(yolox(tmp_path / "x.onnx", decoded), (416, 416), 0.2, 0.5, RuntimeConfig())
    assert (detector.form, detector.size) == ("yolox", (SIDE, SIDE))
    found = detector(PICTURE)
    # Centre (4, 4), 8×16 in the input; the other, centre (24, 24), lies below the picture.
    np.testing.assert_allclose(found.boxes, [[0, 0, 16, 24]], atol=1e-4)
    np.testing.assert_allclose(found.scores, [0.8], atol=1e-5)


def test_yolox_border_is_below_and_right(tmp_path: Path) -> None:
    detector = OnnxDetector(yolox(tmp_path / "x.onnx", False), (416, 416), 0.2, 0.5, RuntimeConfig())
    tall = np.zeros((64, 48, 3), np.uint8)  # 24×32 in the input, where the bottom right is border
    found = detector(tall)
    np.testing.assert_allclose(found.boxes, [[44, 40, 4, 16]], atol=1e-4)
    np.testing.assert_allclose(found.scores, [LEVEL], atol=1e-5)


def test_yolov8(tmp_path: Path) -> None:
    detector = OnnxDetector(yolov8(tmp_path / "x.onnx"), (416, 416), 0.2, 0.5, RuntimeConfig())
    assert detector.form == "yolov8"
    found = detector(PICTURE)  # in rows 8 to 23 of the input
    np.testing.assert_allclose(found.boxes, [[46, 28, 4, 4], [12, 8, 16, 8]], atol=1e-4)
    np.testing.assert_allclose(found.scores, [LEVEL, 0.4], atol=1e-5)


def test_float16(tmp_path: Path) -> None:
    path = yolox(tmp_path / "x.onnx", False, dtype=TensorProto.FLOAT16)
    detector = OnnxDetector(path, (416, 416), 0.2, 0.5, RuntimeConfig())
    np.testing.assert_allclose(detector(PICTURE).boxes, [[0, 0, 16, 24]], atol=0.1)


def test_an_open_size_is_that_of_the_configuration(tmp_path: Path) -> None:
    path = yolox(tmp_path / "x.onnx", False, sides=("height", "width"))
    assert OnnxDetector(path, (SIDE, SIDE), 0.2, 0.5, RuntimeConfig()).size == (SIDE, SIDE)
    with pytest.raises(PoseError, match=naming(path, "64x64")):
        OnnxDetector(path, (64, 64), 0.2, 0.5, RuntimeConfig())


@pytest.mark.parametrize("shape", [(1, 300, 6), (1, 3 * CELLS, 85), (1, CELLS, 5), (1, 4, CELLS)])
def test_other_forms_are_refused(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    path = write_graph(tmp_path / "x.onnx", np.zeros(shape), {})
    with pytest.raises(PoseError, match=naming(path, " x ".join(map(str, shape)))):
        OnnxDetector(path, (416, 416), 0.2, 0.5, RuntimeConfig())


def test_an_input_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "x.onnx", np.zeros((1, CELLS, 7)), {}, sides=(SIDE, SIDE, 1))
    with pytest.raises(PoseError, match=naming(path, "images: 1 x 3 x 32 x 32 x 1")):
        OnnxDetector(path, (416, 416), 0.2, 0.5, RuntimeConfig())


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(PoseError, match=naming("readable", path)):
        OnnxDetector(path, (416, 416), 0.2, 0.5, RuntimeConfig())


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.onnx").touch()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(PoseError, match=r"pip install .*onnxruntime"):
        OnnxDetector(tmp_path / "x.onnx", (416, 416), 0.2, 0.5, RuntimeConfig())


@pytest.mark.parametrize("make", [lambda path: yolox(path, False), yolov8])
def test_a_detector_is_no_pose_network(tmp_path: Path, make) -> None:
    with pytest.raises(UsageError, match=r"demo\.detector_file=.*x\.onnx"):
        open_onnx(make(tmp_path / "x.onnx"), RuntimeConfig(device="CPU"))
