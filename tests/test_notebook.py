"""examples/first_steps.ipynb: its cells run in their order, with a small network in the published one's place."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

from mspose import Poses
from mspose.hub.cache import place_of
from mspose.hub.table import DETECTOR, NETWORK, published
from tests.checkpoints.mmpose_graph import pipeline, write_vectors
from tests.conftest import ROOT
from tests.detection.mmdet_graph import pipeline as feed
from tests.detection.mmdet_graph import write_detector, write_zip
from tests.test_readme import missing_keys, missing_links, named_keys

NOTEBOOK = ROOT / "examples" / "first_steps.ipynb"


@cache
def cells(kind: str) -> list[str]:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and a cache that holds stand-ins for the published network and detector."""
    monkeypatch.setenv("MSPOSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MSPOSE_OFFLINE", "1")
    model = write_vectors(tmp_path / "end2end.onnx", names=("simcc_x", "simcc_y"), cell=1)
    places = [place_of(published()[name]) for name in (NETWORK, DETECTOR)]
    places[0].parent.mkdir(parents=True)
    write_zip(places[0], model, pipeline("SimCCLabelDecode", type="SimCCLabel", sigma=[4.9, 5.66]))
    write_zip(places[1], write_detector(tmp_path / "d.onnx", (0.9, 0.8, 0.7, 0.6)), feed())
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_cells_run(folder: Path) -> None:
    names: dict[str, object] = {}
    for number, cell in enumerate(cells("code")):
        exec(compile(cell, f"{NOTEBOOK.name}, code cell {number}", "exec"), names)
        if number == 0:
            assert names["NETWORK"] == NETWORK
            names.update(PICTURES=16, EPOCHS=1)
    assert isinstance(names["people"], Poses)
    made = {path.name for path in folder.iterdir()}
    assert made >= {"drawn", "people.json", "evaluated", "mine", "pose.onnx", "pose.onnx.json"}


def test_outputs_are_stripped() -> None:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert [(cell["outputs"], cell["execution_count"]) for cell in code] == [([], None)] * len(code)


def test_what_the_notebook_names_is_there() -> None:
    assert missing_links("\n\n".join(cells("markdown")), NOTEBOOK.parent) == []
    code = "\n".join(cells("code"))
    assert named_keys(code)
    assert missing_keys(re.sub(r"\w+\.\w+\(", "", code)) == []
