"""The MindSpore Lite backend against a stand-in that behaves as Lite's documentation says."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mspose.backends.lite import open_lite
from mspose.checkpoints.card import card_path, read_card
from mspose.config.schema import DataConfig, RuntimeConfig
from mspose.errors import PoseError, UsageError
from tests.backends.test_exported import card_of
from tests.messages import names, naming


class StandIn:
    """`mindspore_lite` with one model that doubles its input; its memory is reused by the next run."""

    class ModelType(Enum):
        MINDIR = 0

    def __init__(self, shape: list[int]) -> None:
        self.shape, self.calls, lite = shape, [], self

        class Context:
            def __init__(self) -> None:
                self.target: list[str] = []
                self.cpu, self.ascend = SimpleNamespace(thread_num=None), SimpleNamespace(device_id=None)

        class Model:
            def build_from_file(self, path: str, kind: object, context: object) -> None:
                if "broken" in path:
                    raise RuntimeError("build_from_file failed! Error is Common error code.\nmore")
                lite.calls.append(("build", Path(path).suffix, kind, context))

            def get_inputs(self) -> list:
                return [SimpleNamespace(shape=lite.shape, set_data_from_numpy=self._set)]

            def _set(self, values: np.ndarray) -> None:
                assert list(values.shape) == lite.shape, "set_data_from_numpy: another shape"
                assert values.flags.c_contiguous
                self.values = values

            def resize(self, inputs: list, shapes: list[list[int]]) -> None:
                lite.shape = shapes[0]
                lite.calls.append(("resize", shapes))

            def predict(self, inputs: list) -> list:
                memory = lite.__dict__.setdefault("memory", {})
                buffer = memory.setdefault(self.values.shape, np.zeros_like(self.values))
                buffer[...] = self.values * 2
                return [SimpleNamespace(get_data_to_numpy=lambda: buffer)]

        self.Context, self.Model = Context, Model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "pose.mindir"
    path.write_bytes(b"model")
    return path


def opened(monkeypatch: pytest.MonkeyPatch, shape: list[int], path: Path, **runtime: object) -> tuple[StandIn, object]:
    lite = StandIn(shape)
    monkeypatch.setitem(sys.modules, "mindspore_lite", lite)
    return lite, open_lite(path, RuntimeConfig(**runtime))


def test_ascend_is_the_default_with_the_given_card(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lite, _ = opened(monkeypatch, [1, 3, 8, 8], model, device_id=3)
    (_, _, kind, context), *_ = lite.calls
    assert (context.target, context.ascend.device_id, kind) == (["ascend"], 3, lite.ModelType.MINDIR)


def test_cpu_gets_threads(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lite, _ = opened(monkeypatch, [1, 3, 8, 8], model, device="CPU")
    context = lite.calls[0][3]
    assert context.target == ["cpu"]
    assert context.cpu.thread_num >= 1


def test_fixed_batch_needs_no_resize_and_results_are_copies(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lite, backend = opened(monkeypatch, [1, 3, 8, 8], model)
    inputs = np.random.default_rng(0).random((3, 3, 8, 8), np.float32)
    np.testing.assert_array_equal(backend(inputs)[0], inputs * 2)
    assert [call for call in lite.calls if call[0] == "resize"] == []


def test_any_batch_is_resized_once_a_size(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lite, backend = opened(monkeypatch, [-1, 3, 8, 8], model)
    for count in (2, 2, 1):
        inputs = np.random.default_rng(count).random((count, 3, 8, 8), np.float32)
        np.testing.assert_array_equal(backend(inputs)[0], inputs * 2)
    assert [call[1][0][0] for call in lite.calls if call[0] == "resize"] == [2, 1]


def test_converted_model_keeps_its_card(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    card_of(DataConfig()).save(card_path(model))
    with caplog.at_level("WARNING", "pose"):
        _, backend = opened(monkeypatch, [1, 3, 8, 8], model)
    assert backend.card == read_card(model)
    assert names(caplog.text, model, "export.py")


def test_broken_model_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "broken.mindir"
    path.write_bytes(b"model")
    with pytest.raises(PoseError, match=naming("MindSpore Lite", path)) as error:
        opened(monkeypatch, [1, 3, 8, 8], path)
    assert "\n" not in str(error.value)


def test_without_lite_the_error_says_where_it_comes_from(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mindspore_lite", None)
    with pytest.raises(PoseError, match=naming("mindspore_lite", "runtime.backend=mindir")):
        open_lite(model, RuntimeConfig())


def test_gpu_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=naming("runtime.backend=lite", "runtime.device=Ascend", "GPU")):
        opened(monkeypatch, [1, 3, 8, 8], model, device="GPU")
