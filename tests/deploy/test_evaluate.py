"""postprocess.py refuses records of results that it cannot trust."""

from __future__ import annotations

from pathlib import Path

import pytest

from mspose.config.builder import load_config
from mspose.deploy import bins
from mspose.deploy.bins import Manifest, write_manifest
from mspose.deploy.evaluate import evaluate_results
from mspose.errors import PoseError
from mspose.files import write_json
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"run": "b", "inputs": "another", "outputs": [[17, 8, 8]], "model": "x.onnx"}, "are of other inputs"),
        ({"run": "b", "inputs": "a", "model": "x.onnx"}, r"damaged: .*run\.json"),
        ({"run": "b", "inputs": "a", "outputs": [[17, 8, 8]]}, r"damaged: .*run\.json"),
        ([], "are of other inputs"),
        ({"run": "b", "inputs": "a", "outputs": [[38, 8, 8], [19, 8, 8]], "model": "x.onnx"}, "another network"),
    ],
)
def test_untrustworthy_record(tmp_path: Path, record: object, message: str) -> None:
    config = load_config(ROOT / "configs/quickstart/simplepose.yaml", {"runtime.output": str(tmp_path)})
    write_manifest(tmp_path, Manifest("a", [3, 4, 4], "float32", bins.input_settings(config), 1, []))
    (tmp_path / "results").mkdir()
    write_json(tmp_path / "results/run.json", record)
    with pytest.raises(PoseError, match=message):
        evaluate_results(config)
