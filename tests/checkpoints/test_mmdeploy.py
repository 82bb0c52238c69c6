"""Archives and graphs of others: whatever they hold is read, or refused in one line."""

from __future__ import annotations

import contextlib
import json
import random
import zipfile
from pathlib import Path

import pytest

from mspose.checkpoints import mmdeploy
from mspose.checkpoints.mmdeploy import parse_pipeline, read_package
from mspose.checkpoints.onnx_file import read_graph
from mspose.errors import PoseError
from tests.checkpoints.mmpose_graph import FOLDER, HEIGHT, JOINTS, WIDTH, pipeline, write_heatmaps, write_vectors
from tests.detection.mmdet_graph import write_zip
from tests.messages import naming


def test_a_graph_tells_its_inputs_outputs_and_first_operators(tmp_path: Path) -> None:
    graph = read_graph(write_heatmaps(tmp_path / "m.onnx"), "m.onnx")
    assert graph.inputs == {"input": (None, 3, HEIGHT, WIDTH)}
    assert graph.outputs == {"output": (None, JOINTS, HEIGHT // 4, WIDTH // 4)}
    assert graph.readers == {"Gather"}
    assert read_graph((tmp_path / "m.onnx").read_bytes(), "m.onnx") == graph


def test_weights_that_are_listed_as_inputs_are_none(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(write_heatmaps(tmp_path / "m.onnx")))
    model.graph.input.append(onnx.helper.make_tensor_value_info("times", onnx.TensorProto.INT64, [4]))
    onnx.save(model, str(tmp_path / "m.onnx"))
    assert list(read_graph(tmp_path / "m.onnx", "m.onnx").inputs) == ["input"]


def test_an_archive_is_its_model_and_its_pipeline(tmp_path: Path) -> None:
    model = write_vectors(tmp_path / "m.onnx")
    package = read_package(write_zip(tmp_path / "x.zip", model, pipeline(sigma=3), FOLDER))
    assert package.model == model.read_bytes()
    assert package.pipeline is not None
    assert package.pipeline.decoder == "AlongDecode"
    assert package.pipeline.parameters["sigma"] == 3
    assert read_package(write_zip(tmp_path / "y.zip", model, folder=FOLDER)).pipeline is None


def test_a_pipeline_of_another_folder_does_not_count(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", write_vectors(tmp_path / "m.onnx"), None, FOLDER, **{"pipeline.json": b"{"})
    assert read_package(path).pipeline is None


def test_a_model_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "x.zip", write_vectors(tmp_path / "m.onnx"), pipeline(), FOLDER)
    monkeypatch.setattr(mmdeploy, "LARGEST_MODEL", 100)
    with pytest.raises(PoseError, match=naming(path, "end2end.onnx", "larger", "100")):
        read_package(path)


@pytest.mark.parametrize("name", ["", "/a", "../a", "a\\b"])
def test_a_path_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "x.zip", write_vectors(tmp_path / "m.onnx"), pipeline(), FOLDER)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(zipfile.ZipInfo(name), b"")
    with pytest.raises(PoseError, match=naming(path, repr(name))):
        read_package(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", write_vectors(tmp_path / "m.onnx"), pipeline(), FOLDER)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(f"{FOLDER}/end2end.onnx", b"another")
    with pytest.raises(PoseError, match=naming(path, f"'{FOLDER}/end2end.onnx'", "2 times")):
        read_package(path)


def test_any_change_is_read_or_one_line(tmp_path: Path) -> None:
    model = write_vectors(tmp_path / "m.onnx").read_bytes()
    whole = write_zip(tmp_path / "x.zip", tmp_path / "m.onnx", pipeline(), FOLDER).read_bytes()
    said, chance = json.dumps(pipeline()).encode(), random.Random(0)

    def changed(data: bytes) -> bytes:
        values = bytearray(data)
        for _ in range(chance.choice([1, 3])):
            values[chance.randrange(len(values))] = chance.choice([0, 1, 127, 255, chance.randrange(256)])
        return bytes(values)[: chance.choice([None, chance.randrange(len(values))])]

    for _ in range(300):
        with contextlib.suppress(PoseError):
            read_graph(changed(model), "m.onnx")
        with contextlib.suppress(PoseError):
            parse_pipeline(changed(said), "pipeline.json")
        (tmp_path / "y.zip").write_bytes(changed(whole))
        with contextlib.suppress(PoseError):
            read_package(tmp_path / "y.zip")


def test_an_archive_without_folders_is_one_too(tmp_path: Path) -> None:
    model = write_vectors(tmp_path / "end2end.onnx")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.write(model, "end2end.onnx")
        file.writestr("pipeline.json", json.dumps(pipeline()))
    package = read_package(tmp_path / "x.zip")
    assert package.pipeline is not None
    assert package.model == model.read_bytes()
