"""docs/api.md: its examples run in their order, and every attribute is explained."""

from __future__ import annotations

import dataclasses
import re
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose import Poses
from mspose.export.command import export_checkpoint
from tests.conftest import ROOT
from tests.export.networks import small_config
from tests.test_readme import blocks


@cache
def text() -> str:
    return (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the page: a small network as pose.onnx, and photo.jpg."""
    monkeypatch.chdir(tmp_path)
    keys = {"export__file_format": "ONNX", "export__file_name": "pose", "export__batch_size": None}
    export_checkpoint(small_config("simplepose", tmp_path, **keys))
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    cv2.imwrite("photo.jpg", cv2.resize(noise, (320, 240)))
    return tmp_path


def test_examples_run(folder: Path) -> None:
    names: dict[str, object] = {}
    for block in blocks(text()):
        assert block.startswith("```python\n")
        exec(compile(block.removeprefix("```python\n").removesuffix("```"), "docs/api.md", "exec"), names)
    assert isinstance(names["people"], Poses)
    assert {path.name for path in folder.iterdir()} >= {"drawn.jpg", "people.json"}
    assert np.abs(names["decoded"].keypoints[..., :2] - names["keypoints"][..., :2]).max() < 4  # type: ignore[attr-defined, index]


def test_every_attribute_of_poses_is_explained() -> None:
    explained = re.findall(r"^\| `(\w+)` \|", text(), flags=re.MULTILINE)
    assert explained == [*(field.name for field in dataclasses.fields(Poses)), "triplets"]
