"""OpenVINO beside ONNX Runtime: the same maps, its precisions, and what a processor lacks."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mspose.backends.onnx_runtime import open_onnx
from mspose.backends.open import backend_name, open_backend
from mspose.backends.openvino import open_openvino
from mspose.config.schema import RuntimeConfig
from mspose.errors import PoseError, UsageError
from mspose.resolve import resolve
from tests.conftest import ROOT
from tests.messages import names, naming

openvino = pytest.importorskip("openvino")
onnx = pytest.importorskip("onnx")

INPUTS = np.random.default_rng(1).normal(size=(3, 3, 64, 48)).astype(np.float32)
CAN = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def write_model(path: Path, outputs: int = 17, batch: int | str = "N") -> Path:
    """Two convolutions: (N, 3, 64, 48) → (N, `outputs`, 16, 12)."""
    helper, rng = onnx.helper, np.random.default_rng(0)
    weights = {
        "first": rng.normal(size=(32, 3, 7, 7)) / 12,
        "second": rng.normal(size=(outputs, 32, 1, 1)) / 6,
    }
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["inner"], strides=[4, 4], pads=[3, 3, 2, 2]),
        helper.make_node("Relu", ["inner"], ["positive"]),
        helper.make_node("Conv", ["positive", "second"], ["maps"]),
    ]
    ports = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("image", [batch, 3, 64, 48]), ("maps", [batch, outputs, 16, 12]))
    ]
    constants = [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "small", ports[:1], ports[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "small.onnx")


@pytest.fixture(scope="module")
def expected(model: Path) -> np.ndarray:
    return open_onnx(model, RuntimeConfig(device="CPU"))(INPUTS)[0]


def furthest(maps: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference as a share of the largest value."""
    return float(np.abs(maps - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("batch", ["N", 1, 2])
def test_float32_gives_what_onnx_runtime_gives(batch: int | str, expected: np.ndarray, tmp_path: Path) -> None:
    path = write_model(tmp_path / "näme.onnx", batch=batch)
    (maps,) = open_openvino(path, RuntimeConfig(precision="f32"))(INPUTS)
    assert maps.dtype == np.float32
    assert furthest(maps, expected) < 1e-5


def test_results_of_a_call_outlive_the_next(model: Path) -> None:
    backend = open_openvino(model, RuntimeConfig(precision="f32"))
    (first,) = backend(INPUTS)
    kept = first.copy()
    backend(INPUTS[::-1])
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("precision", ["bf16", "f16"])
def test_a_processor_without_it_computes_in_float32_and_says_so(
    precision: str, model: Path, expected: np.ndarray, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Core(openvino.Core):
        def get_property(self, *_: object) -> list[str]:
            return ["FP32", "INT8"]

    monkeypatch.setattr(openvino, "Core", Core)
    with caplog.at_level(logging.INFO, "pose"):
        (maps,) = open_openvino(model, RuntimeConfig(precision=precision))(INPUTS)
    assert names(caplog.text, f"runtime.precision={precision}", "f32")
    assert furthest(maps, expected) < 1e-5


# MindSpore's limit of instructions, as `prepare_environment` sets it, and as a user does.
BESIDE = """
import logging, sys
import numpy as np
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
from mspose.backends.openvino import open_openvino
from mspose.config.schema import RuntimeConfig
if {mindspore}:
    from mspose.runtime.device import prepare_environment
    prepare_environment()
    import mindspore as ms
    convolution = ms.nn.Conv2d(3, 8, 3)
    convolution(ms.Tensor(np.ones((1, 3, 32, 32), np.float32))).asnumpy()
(maps,) = open_openvino(sys.argv[1], RuntimeConfig())(np.load(sys.argv[2]))
np.save(sys.argv[3], maps)
"""


ALONE = """
import sys
seen = []
sys.addaudithook(lambda event, _: event.startswith(("socket.", "subprocess.", "os.system")) and seen.append(event))
import numpy as np
from mspose.backends.openvino import open_openvino
from mspose.config.schema import RuntimeConfig
open_openvino(sys.argv[1], RuntimeConfig())(np.load(sys.argv[2]))
print([event for event in seen if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system")])
"""


def test_nothing_is_told_to_anybody(model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", INPUTS)
    home = {**os.environ, "HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT / "src")}
    (tmp_path / "home").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(model), str(tmp_path / "in.npy")], env=home, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr
    assert list((tmp_path / "home").rglob("*")) == []


@pytest.mark.skipif("BF16" not in CAN, reason="this processor has no bfloat16")
@pytest.mark.parametrize(
    ("mindspore", "limit", "says"), [(False, "", "bf16"), (True, "", "bf16"), (False, "AVX2", "f32")]
)
def test_auto_takes_bfloat16_where_instructions_are_not_limited(
    mindspore: bool, limit: str, says: str, model: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    if mindspore:
        pytest.importorskip("mindspore")
    np.save(tmp_path / "inputs.npy", INPUTS)
    environment = {k: v for k, v in os.environ.items() if k != "ONEDNN_MAX_CPU_ISA"}
    if limit:
        environment["ONEDNN_MAX_CPU_ISA"] = limit
    files = [str(model), str(tmp_path / "inputs.npy"), str(tmp_path / "maps.npy")]
    code = BESIDE.format(mindspore=mindspore)
    done = subprocess.run([sys.executable, "-c", code, *files], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert names(done.stdout, "OpenVINO computes in", says)
    difference = furthest(np.load(tmp_path / "maps.npy"), expected)
    assert difference < 0.02
    assert (difference > 1e-5) == (says == "bf16")


def test_files_that_are_no_network(tmp_path: Path) -> None:
    broken, detector = tmp_path / "broken.onnx", write_model(tmp_path / "boxes.onnx")
    broken.write_bytes(detector.read_bytes()[:900])
    with pytest.raises(PoseError, match=naming("broken.onnx")):
        open_openvino(broken, RuntimeConfig())
    graph = onnx.load(detector)
    graph.graph.node.append(onnx.helper.make_node("Flatten", ["maps"], ["flat"], axis=2))
    graph.graph.node.append(onnx.helper.make_node("Unsqueeze", ["flat"], ["boxes"], axes=[0]))
    graph.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("boxes", onnx.TensorProto.FLOAT, [1, "A", 192]))
    onnx.save(graph, detector)
    with pytest.raises(UsageError, match=naming("demo.detector_file", "boxes.onnx")):
        open_openvino(detector, RuntimeConfig())
    with pytest.raises(PoseError, match=naming("not found", "nowhere.onnx")):
        open_openvino(tmp_path / "nowhere.onnx", RuntimeConfig())


def test_other_devices_are_refused(model: Path) -> None:
    with pytest.raises(UsageError, match=naming("runtime.device=GPU", "openvino")):
        open_openvino(model, RuntimeConfig(device="GPU"))


@pytest.mark.parametrize("backend", ["auto", "onnx"])
def test_precision_is_openvinos(backend: str, model: Path) -> None:
    config = resolve("simplepose_r50_256x192", {"runtime.backend": backend, "runtime.precision": "bf16"})
    config.runtime.ckpt = str(model)
    with pytest.raises(UsageError, match=naming("runtime.precision=bf16", "openvino")):
        open_backend(config)


def test_only_onnx_files_are_taken() -> None:
    config = resolve("simplepose_r50_256x192", {"runtime.backend": "openvino"})
    config.runtime.ckpt = "x.ckpt"
    with pytest.raises(UsageError, match=naming("runtime.backend=openvino", "x.ckpt", ".onnx")):
        backend_name(config)


def test_without_the_package(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(PoseError, match=naming("openvino", "pip install", "mspose[openvino]")):
        open_openvino(model, RuntimeConfig())
