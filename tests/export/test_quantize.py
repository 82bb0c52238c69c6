"""Int8 files: which layers stay in float32, what they are calibrated on, and that what loses its AP is refused."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mspose.backends import exported
from mspose.backends.onnx_runtime import open_onnx
from mspose.checkpoints.card import ModelCard, card_path, file_hash
from mspose.config.builder import load_config
from mspose.config.schema import Config, RuntimeConfig
from mspose.errors import PoseError, UsageError
from mspose.export.quantize import calibration, layers_in_float, open_evaluator, quantize
from mspose.methods.evaluator import Evaluator
from mspose.networks import method_of
from tests.conftest import ROOT
from tests.messages import names, naming

onnx = pytest.importorskip("onnx")

SIZE = (32, 32)
CPU = RuntimeConfig(device="CPU")
PATH = Path("person_keypoints_val2017.json")
INPUTS = np.random.default_rng(1).uniform(0.5, 1, (3, 3, *SIZE)).astype(np.float32)
NODES = (("first", "image", "a"), ("second", "a+", "b"), ("third", "b+", "c"), ("last", "c+", "heatmaps"))


def write_model(path: Path, bad: float = 1.0, batch: int | str = "N") -> Path:
    """Four convolutions of positive weights: sums of their products are as large as they can be.

    Args:
        bad: factor of the first channel that the second one gives, which the third takes back.
    """
    helper, rng = onnx.helper, np.random.default_rng(0)
    channels = {"first": (16, 3), "second": (16, 16), "third": (16, 16), "last": (17, 16)}
    weights = {name: rng.uniform(0.8, 1, (*shape, 3, 3)) / shape[1] / 9 for name, shape in channels.items()}
    weights["second"][0] *= bad
    weights["third"][:, 0] /= bad
    nodes = []
    for name, given, made in NODES:
        nodes.append(helper.make_node("Conv", [given, f"{name}.weight"], [made], name, pads=[1] * 4))
        nodes += [helper.make_node("Relu", [made], [f"{made}+"])] if name != "last" else []
    ports = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [batch, channels, *SIZE])
        for name, channels in (("image", 3), ("heatmaps", 17))
    ]
    constants = [onnx.numpy_helper.from_array(v.astype(np.float32), f"{name}.weight") for name, v in weights.items()]
    graph = helper.make_graph(nodes, "small", ports[:1], ports[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 6
    onnx.save(model, path)
    return path


def card_of(path: Path, batch: int | None = None) -> ModelCard:
    return ModelCard(
        model={"file": path.name, "format": "ONNX", "sha256": file_hash(path)},
        network="simplepose",
        input={
            "name": "image",
            "dtype": "float32",
            "shape": [batch, 3, *SIZE],
            "size": list(SIZE),
            "color": "bgr",
            "scale": 255.0,
            "mean": [0.0] * 3,
            "std": [1.0] * 3,
        },
        outputs=[],
        skeleton={},
        decode={},
        source={},
        versions={},
        config={section: {} for section in ("model", "codec", "eval")} | {"data": {"skeleton": "coco17"}},
    )


@dataclass
class Agreement:
    """Instead of an evaluator: AP is 1 less the largest difference from what the first backend gave."""

    expected: np.ndarray | None = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        views = [SimpleNamespace(inputs=[one[None]]) for one in INPUTS]
        self.set = SimpleNamespace(rows=np.arange(len(INPUTS)), view=views.__getitem__)
        self.annotations = SimpleNamespace(path=PATH)
        self.method = SimpleNamespace(codec=None, unit="people")

    def run(self, forward) -> SimpleNamespace:
        (maps,) = forward(INPUTS)
        self.expected = maps if self.expected is None else self.expected
        difference = np.abs(maps - self.expected).max() / np.abs(self.expected).max()
        return SimpleNamespace(figures={"AP": self.scale * (1 - float(difference))})


def config_of(**keys: object) -> Config:
    overrides = {key.replace("__", "."): value for key, value in keys.items()}
    export = {"export.file_format": "ONNX", "export.quantize": "int8"}
    return load_config(ROOT / "configs/quickstart/simplepose.yaml", {**export, **overrides})


def types_of(path: Path) -> dict[str, int]:
    return {constant.name: constant.data_type for constant in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("batch", [None, 2])
def test_layers_between_the_first_and_the_last_become_int8(batch: int | None, tmp_path: Path) -> None:
    path = write_model(tmp_path / "small.onnx", batch=batch or "N")
    (expected,) = open_onnx(path, CPU)(INPUTS)
    facts = quantize(path, card_of(path, batch), config_of(export__max_ap_drop=0.02), Agreement())
    assert facts["float_layers"] == ["first", "last"]
    assert facts["AP"]["float32"] == 1
    types, wanted = types_of(path), onnx.TensorProto
    assert [types[f"{name}.weight"] for name in ("first", "last")] == [wanted.FLOAT] * 2
    assert [types[f"{name}.weight_quantized"] for name in ("second", "third")] == [wanted.INT8] * 2
    (maps,) = open_onnx(path, CPU)(INPUTS)
    assert 0 < np.abs(maps - expected).max() < 0.02 * expected.max()


@pytest.mark.parametrize(("bad", "scale"), [(1e4, 1), (1, 0)])
def test_what_loses_its_ap_or_has_none_is_refused(bad: float, scale: float, tmp_path: Path) -> None:
    path = write_model(tmp_path / "small.onnx", bad)
    before, key = path.read_bytes(), "export.max_ap_drop" if scale else "data.val_set"
    with pytest.raises(PoseError, match=naming(key, PATH, "float32")):
        quantize(path, card_of(path), config_of(), Agreement(scale=scale))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"export__file_format": "MINDIR"}, ("export.quantize=int8", "MINDIR", "export.file_format=ONNX")),
        ({"export__file_format": "AIR"}, ("export.quantize=int8", "AIR", "export.file_format=ONNX")),
        ({"export__half": True}, ("export.quantize=int8", "export.half")),
    ],
)
def test_what_does_not_go_with_it(keys: dict, named: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=naming(*named)):
        open_evaluator(config_of(**keys))


@pytest.mark.parametrize("count", [0, 2001])
def test_pictures_are_bounded(count: int) -> None:
    with pytest.raises(UsageError, match=naming("export.calibration", count)):
        config_of(export__calibration=count)


def test_calibration_pictures_are_spread_over_the_set(sample_dir: Path) -> None:
    config = config_of(data__root=str(sample_dir), eval__use_gt_bbox=True)
    evaluator = Evaluator(method_of(config))
    pictures, indices = calibration(evaluator, 3)
    rows = np.unique(evaluator.set.rows)
    chosen = rows[[0, round((len(rows) - 1) / 2), -1]]
    assert pictures == 3
    assert [evaluator.set.rows[i] for i in indices] == [row for row in evaluator.set.rows if row in chosen]
    assert calibration(evaluator, 500)[0] == len(rows)


def test_products_of_activations_and_named_layers_stay() -> None:
    helper = onnx.helper
    nodes = [
        helper.make_node("Gemm", ["image", "in.weight"], ["a"], "1"),
        helper.make_node("Gemm", ["a", "body.weight"], ["b"], "2"),
        helper.make_node("MatMul", ["b", "a"], ["c"], "attention"),
        helper.make_node("Gemm", ["c", "head.weight"], ["d"], "4"),
        helper.make_node("Gemm", ["d", "out_x.weight"], ["x"], "5"),
        helper.make_node("Gemm", ["d", "out_y.weight"], ["y"], "6"),
    ]
    port = {name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [4, 4]) for name in ("image", "x", "y")}
    constants = [
        onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32), f"{name}.weight")
        for name in ("in", "body", "head", "out_x", "out_y")
    ]
    graph = helper.make_graph(nodes, "g", [port["image"]], [port["x"], port["y"]], constants)
    kept = ["in", "attention", "out_x", "out_y"]
    assert list(layers_in_float(graph, ()).values()) == kept
    assert list(layers_in_float(graph, ("head.",)).values()) == [*kept[:2], "head", *kept[2:]]


RUN = """
import logging, sys
from pathlib import Path
import numpy as np
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
from mspose.backends.openvino import open_openvino
from mspose.config.schema import RuntimeConfig
(maps,) = open_openvino(Path(sys.argv[1]), RuntimeConfig())(np.load(sys.argv[2]))
np.save(sys.argv[3], maps)
"""


def test_a_processor_without_vnni_is_told_of_and_gives_the_same(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    path = write_model(tmp_path / "small.onnx")
    (expected,) = open_onnx(path, CPU)(INPUTS)
    facts = quantize(path, card_of(path), config_of(export__max_ap_drop=0.02), Agreement())
    replace(card_of(path), source={"int8": facts}).save(card_path(path))
    np.save(tmp_path / "inputs.npy", INPUTS)
    files = [str(path), str(tmp_path / "inputs.npy"), str(tmp_path / "maps.npy")]
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", RUN, *files], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert names(done.stdout, "small.onnx", "int8", "VNNI")
    assert names(done.stdout, "OpenVINO", "int8", "f32")
    assert np.abs(np.load(tmp_path / "maps.npy") - expected).max() < 0.02 * expected.max()


@pytest.mark.parametrize(("flags", "told"), [("fpu avx2 fma", True), ("fpu avx2 avx512_vnni", False)])
def test_onnx_runtime_goes_by_the_processor(
    flags: str, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_model(tmp_path / "small.onnx")
    replace(card_of(path), source={"int8": {}}).save(card_path(path))
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    monkeypatch.setattr(exported, "CPU_INFO", tmp_path / "cpuinfo")
    with caplog.at_level(logging.INFO, "pose"):
        open_onnx(path, CPU)
    assert names(caplog.text, "small.onnx", "VNNI") == told
