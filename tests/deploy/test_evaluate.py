"""postprocess.py refuses records of results that it cannot trust."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from mspose.config.builder import load_config
from mspose.config.schema import Config
from mspose.deploy import bins, evaluate
from mspose.deploy.bins import Manifest, write_bin, write_manifest
from mspose.deploy.evaluate import evaluate_results
from mspose.deploy.prepare import write_inputs
from mspose.errors import PoseError
from mspose.files import write_json
from mspose.networks import method_of
from tests.conftest import ROOT
from tests.disk import contents, fill
from tests.messages import names, naming
from tests.test_commands import copy_of, cut_picture


@pytest.mark.parametrize(
    ("record", "things"),
    [
        ({"run": "b", "inputs": "another", "outputs": [[17, 8, 8]], "model": "x.onnx"}, ("results", "inputs")),
        ({"run": "b", "inputs": "a", "model": "x.onnx"}, ("damaged", "results/run.json")),
        ({"run": "b", "inputs": "a", "outputs": [[17, 8, 8]]}, ("damaged", "results/run.json")),
        ([], ("results", "inputs")),
        (
            {"run": "b", "inputs": "a", "outputs": [[38, 8, 8], [19, 8, 8]], "model": "x.onnx"},
            ("x.onnx", "model.name=simplepose", "data.skeleton=coco17"),
        ),
    ],
)
def test_untrustworthy_record(tmp_path: Path, record: object, things: tuple[str, ...]) -> None:
    config = load_config(ROOT / "configs/quickstart/simplepose.yaml", {"runtime.output": str(tmp_path)})
    write_manifest(tmp_path, Manifest("a", [3, 4, 4], "float32", bins.input_settings(config), 1, []))
    (tmp_path / "results").mkdir()
    write_json(tmp_path / "results/run.json", record)
    with pytest.raises(PoseError, match=naming(*things)):
        evaluate_results(config)


@pytest.fixture
def finished(sample_dir: Path, tmp_path: Path):
    """Makes a folder of results of all the drawn people's maps, and the configuration that they are of."""

    def make(spoil: bool = False, root: Path = sample_dir) -> Config:
        config = load_config(
            ROOT / "configs/quickstart/simplepose.yaml",
            {
                "runtime.output": str(tmp_path / "run"),
                "data.root": str(root),
                "eval.use_gt_bbox": True,
                "eval.flip_test": False,
            },
        )
        manifest = write_inputs(config)
        results = tmp_path / "run" / "results"
        (spec,) = method_of(config).codec.outputs(method_of(config).size)
        record = {"run": "b", "inputs": manifest.run, "outputs": [list(spec.shape)], "model": "x.onnx"}
        write_json(results / "run.json", record)
        for number in range(len(manifest.samples)):
            maps = np.random.default_rng(number).random(spec.shape, np.float32)
            if spoil and number in (2, 3):
                maps[4] = np.nan
            write_bin(results / f"{number:06d}_0.bin", maps)
        return config

    return make


def test_values_that_are_no_numbers_make_valid_json(finished, tmp_path: Path, caplog) -> None:
    figures = evaluate_results(finished(spoil=True))
    text = (tmp_path / "run" / "keypoints_results.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert "AP" in figures
    assert caplog.text.count("NaN") == 1
    assert names(caplog.text, "NaN", "2 of")


@pytest.mark.parametrize("full", ["postprocess_config.yaml", "keypoints_results.json", "metrics.json"])
def test_figures_that_cannot_be_written_leave_all_of_the_earlier_ones(
    finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    evaluate_results(finished())
    before = contents(tmp_path / "run")
    assert full in before
    config = finished(spoil=True)
    config.data.workers = 1
    fill(monkeypatch, full)
    with pytest.raises(PoseError, match=naming(tmp_path / "run" / full, os.strerror(28))):
        evaluate_results(config)
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize(
    "change",
    [
        {"image_id": 10**30},
        {"image_id": 1.5},
        {"box": [1, 2]},
        {"box": [1, 2, 3, math.inf]},
        {"center": None},
        {"center": [math.nan, 1]},
        {"center": [1e20, 1]},
        {"size": [-10, 10]},
        {"score": "x"},
        {"score": math.nan},
    ],
    ids=str,
)
def test_samples_that_a_manifest_cannot_have_are_named(finished, tmp_path: Path, change: dict) -> None:
    config, path = finished(), tmp_path / "run" / "manifest.json"
    content = json.loads(path.read_text())
    for sample in content["samples"]:
        sample.update(change)
    write_json(path, content)
    with pytest.raises(PoseError, match=naming(path)):
        evaluate_results(config)


def test_results_of_two_models_are_not_mixed(finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another inference begins while they are read."""
    config, path, read = finished(), tmp_path / "run" / "results" / "run.json", evaluate.read_bin

    def replaced(*args: object) -> np.ndarray:
        write_json(path, {**json.loads(path.read_text()), "run": "of another model"})
        return read(*args)

    monkeypatch.setattr(evaluate, "read_bin", replaced)
    with pytest.raises(PoseError, match=naming(path.parent, "replaced")):
        evaluate_results(config)
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_picture_that_cannot_be_read_is_left_out_and_more_are_refused(
    finished, sample_dir: Path, tmp_path: Path, caplog
) -> None:
    """As in evaluation: the manifest does not list it, and whoever is annotated in it is missed."""
    all_ids = {sample["image_id"] for sample in bins.read_manifest(tmp_path / "run", finished()).samples}
    data = copy_of(sample_dir, tmp_path / "data")
    cut = cut_picture(data, 0, "val2017")
    config = finished(root=data)
    manifest = bins.read_manifest(tmp_path / "run", config)
    assert {sample["image_id"] for sample in manifest.samples} == all_ids - {int(cut.stem)}
    assert len(list((tmp_path / "run" / "inputs").iterdir())) == len(manifest.samples)
    assert names(caplog.text, cut, "1 of")
    assert "AP" in evaluate_results(config)
    second = cut_picture(data, 1, "val2017")
    with pytest.raises(PoseError, match=naming(cut, second, "2 of")):
        write_inputs(config)


def test_a_test_set_has_results_and_no_figures(finished, sample_dir: Path, tmp_path: Path) -> None:
    config = finished()
    content = json.loads((sample_dir / "annotations" / "person_keypoints_val2017.json").read_text())
    del content["annotations"]
    config.data.val_annotations = str(write_json(tmp_path / "image_info.json", content))
    assert evaluate_results(config) == {}
    assert len(json.loads((tmp_path / "run" / "keypoints_results.json").read_text())) > 0
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == {}
