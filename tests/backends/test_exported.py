"""What all exported models share: batches, pixels, sizes, threads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mspose.backends import exported
from mspose.backends.exported import ExportedBackend, in_batches, to_pixels
from mspose.backends.onnx_runtime import open_onnx, open_session
from mspose.checkpoints.card import FORMAT, ModelCard, card_path, file_hash, read_card
from mspose.checkpoints.mmdeploy import read_package
from mspose.config.schema import DataConfig, RuntimeConfig
from mspose.data.topdown import Normalizer
from mspose.errors import PoseError, UsageError
from tests.messages import naming


def card_of(data: DataConfig, dtype: str = "float32") -> ModelCard:
    inputs = {
        "name": "image",
        "dtype": dtype,
        "color": data.color,
        "scale": data.scale,
        "mean": data.mean,
        "std": data.std,
        "size": None,
        "shape": [None] * 4,
    }
    config = {"model": {}, "data": {"skeleton": "coco17"}, "codec": {}, "eval": {}}
    return ModelCard({"sha256": ""}, "simplepose", inputs, [], {}, {}, {}, {}, config)


@pytest.mark.parametrize(("count", "batch", "sizes"), [(5, 2, [2, 2, 2]), (4, 4, [4]), (3, None, [3]), (1, 3, [3])])
def test_fixed_batches_are_filled_up_and_cut_again(count: int, batch: int | None, sizes: list[int]) -> None:
    seen = []

    def run(inputs: np.ndarray) -> list[np.ndarray]:
        seen.append(len(inputs))
        return [inputs * 2, inputs.sum(axis=(1, 2, 3), keepdims=True)]

    inputs = np.random.default_rng(0).random((count, 3, 4, 4), np.float32)
    double, total = in_batches(run, inputs, batch)
    np.testing.assert_array_equal(double, inputs * 2)
    assert total.shape == (count, 1, 1, 1)
    assert seen == sizes


@pytest.mark.parametrize("color", ["bgr", "rgb"])
@pytest.mark.parametrize(
    ("scale", "mean", "std"),
    [(255.0, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), (256.0, [0.5, 0.5, 0.5], [1.0, 1.0, 1.0])],
)
def test_pixels_come_back_exactly(color: str, scale: float, mean: list[float], std: list[float]) -> None:
    data = DataConfig(color=color, scale=scale, mean=mean, std=std)
    pixels = np.stack([np.arange(256), np.arange(256)[::-1], np.roll(np.arange(256), 9)], -1).astype(np.uint8)[None]
    np.testing.assert_array_equal(to_pixels(Normalizer(data)(pixels)[None], card_of(data)), pixels[None])


def test_a_model_of_pixels_is_given_pixels() -> None:
    data, seen = DataConfig(), []
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)

    def run(inputs: np.ndarray) -> list[np.ndarray]:
        seen.append(inputs)
        return [np.zeros((1, 17, 1, 1))]

    backend = ExportedBackend(Path("x.onnx"), run, (None, 4, 6, 3), card_of(data, "uint8"))
    assert [maps.dtype for maps in backend(Normalizer(data)(pixels)[None])] == [np.float32]
    np.testing.assert_array_equal(seen[0], pixels[None])


def test_another_size_is_refused_before_running() -> None:
    backend = ExportedBackend(Path("x.onnx"), lambda inputs: [], (None, 3, 64, None), None)
    with pytest.raises(UsageError, match=r"x\.onnx.*anyx3x64xany.*\b1x3x32x8\b.*data\.input_size"):
        backend(np.zeros((1, 3, 32, 8), np.float32))


def test_runtime_that_fails_is_one_line() -> None:
    def run(inputs: np.ndarray) -> list[np.ndarray]:
        raise RuntimeError("no\nsuch\nconvolution")

    with pytest.raises(PoseError, match=naming("x.mindir", "1x3x8x8", "no such convolution")):
        ExportedBackend(Path("x.mindir"), run, [None] * 4, None)(np.zeros((1, 3, 8, 8), np.float32))


def test_missing_model() -> None:
    with pytest.raises(PoseError, match=naming("not found", "nowhere.onnx")):
        open_onnx("nowhere.onnx", RuntimeConfig())


def test_device_that_onnx_runtime_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    (tmp_path / "x.onnx").touch()
    with pytest.raises(UsageError, match=naming("runtime.device=GPU", "CPU")):
        open_onnx(tmp_path / "x.onnx", RuntimeConfig(device="GPU"))


@pytest.mark.parametrize(
    ("device", "providers"),
    [
        ("auto", [("CUDAExecutionProvider", {"device_id": "3"}), "CPUExecutionProvider"]),
        ("CPU", ["CPUExecutionProvider"]),
    ],
)
def test_configured_device_is_the_one_that_computes(
    device: str, providers: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    given: list = []
    monkeypatch.setattr(
        onnxruntime,
        "get_available_providers",
        lambda: ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
    )

    class Session:
        """Remembers its providers; has neither inputs nor outputs."""

        def __init__(self, *_: object, providers: list, enable_fallback: int) -> None:
            given.extend(providers)

        def get_inputs(self) -> list:
            return []

        get_outputs = get_inputs

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    open_session(read_package(tmp_path / "x.onnx"), RuntimeConfig(device=device, device_id=3))
    assert given == providers


@pytest.mark.parametrize(
    ("cores", "beside", "calls", "threads", "spins"),
    [(8, False, 1, 8, True), (8, True, 1, 8, False), (8, True, 4, 2, False), (2, True, 4, 1, False)],
)
def test_calls_that_run_beside_others_share_the_cores(
    cores: int, beside: bool, calls: int, threads: int, spins: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    given: list = []

    class Session:
        """Remembers its options; has neither inputs nor outputs."""

        def __init__(self, _: object, options: onnxruntime.SessionOptions, **__: object) -> None:
            given.append(options)

        def get_inputs(self) -> list:
            return []

        get_outputs = get_inputs

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr("mspose.backends.onnx_runtime.cpu_threads", lambda: cores)
    open_session(read_package(tmp_path / "x.onnx"), RuntimeConfig(device="CPU"), beside, calls)
    assert given[0].intra_op_num_threads == threads
    try:
        value = given[0].get_session_config_entry("session.intra_op.allow_spinning")
    except RuntimeError:  # not set
        value = "1"
    assert (value == "1") == spins


def test_card_survives_being_written(tmp_path: Path) -> None:
    card = card_of(DataConfig())
    card.save(card_path(tmp_path / "x.onnx"))
    assert read_card(tmp_path / "x.onnx") == card
    assert json.loads(card_path(tmp_path / "x.onnx").read_text())["format"] == FORMAT
    assert read_card(tmp_path / "x.ckpt") is None


def test_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert file_hash(tmp_path / "x").startswith("ba7816bf8f01cfea414140de5dae2223")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
    ],
)
def test_threads_follow_the_container(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(exported, "CGROUP", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert exported.cpu_threads() == expected
