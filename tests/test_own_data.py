"""docs/own_data.md: its commands are run, in its order, on real people."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml

from mspose.commands import main
from tests.conftest import ROOT
from tests.test_readme import blocks

# The page trains ResNet-50 for 60 epochs; here its recipe is the base of one for a small network.
SMALL = """\
format: 2
base: page.yaml
model: {depth: 18, base_width: 8, deconv_filters: [16, 16, 16]}
data: {input_size: [64, 64]}
train: {epochs: 1, schedule: cosine}
"""


@cache
def text() -> str:
    return (ROOT / "docs" / "own_data.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return re.split(rf"^## .*{title}$", text(), flags=re.MULTILINE)[1].split("\n## ")[0]


def code(title: str, language: str) -> list[str]:
    """The blocks of a language below a heading."""
    start = f"```{language}\n"
    return [
        block.removeprefix(start).removesuffix("```") for block in blocks(section(title)) if block.startswith(start)
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the page, with the files that it tells to save, and the program mspose."""
    (tmp_path / "skeleton.yaml").write_text(code("The skeleton", "yaml")[0])
    (tmp_path / "page.yaml").write_text(code("Train and evaluate", "yaml")[0])
    (tmp_path / "mine.yaml").write_text(SMALL)
    program = tmp_path / "bin" / "mspose"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mspose "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def label(coco_mini: Path, folder: Path) -> None:
    """Pictures of COCO and their labels, as if somebody had labelled them with labelme: 24 and 6 with people."""
    for split, count in (("train", 24), ("val", 6)):
        content = json.loads((coco_mini / "annotations" / f"person_keypoints_{split}2017.json").read_text())
        people = [a["image_id"] for a in content["annotations"] if sum(a["keypoints"][2 : 3 * 13 : 3]) > 6]
        chosen = list(dict.fromkeys(people))[:count]
        content["images"] = [image for image in content["images"] if image["id"] in chosen]
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] in chosen and not a["iscrowd"]]
        Path(f"{split}.json").write_text(json.dumps(content))
        pictures = folder / "pictures" / split
        arguments = ["--to", "labelme", "--skeleton", "skeleton.yaml", "--output", str(pictures)]
        assert main(["convert-data", f"{split}.json", *arguments]) == 0
        for image in content["images"]:
            (pictures / image["file_name"]).symlink_to(coco_mini / f"{split}2017" / image["file_name"])
    first = min((folder / "pictures" / "val").glob("*.jpg"))
    (folder / "pictures" / "val" / "1.jpg").write_bytes(first.read_bytes())  # the picture of the page's Python


def bash(lines: str) -> str:
    done = subprocess.run(["bash", "-ec", lines], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def python(lines: str) -> str:
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_commands_lead_from_labels_to_an_onnx_file(coco_mini: Path, folder: Path) -> None:
    label(coco_mini, folder)
    done = ["Convert and check", "Train and evaluate", "Export and use", "Back to other programs"]
    for title in done:
        for lines in code(title, "bash"):
            bash(lines)
    shown = python(code("Export and use", "python")[0])
    assert "left_hip" in shown
    for name in ("sheet.png", "outputs/mine/curves.png", "outputs/mine/pose.onnx", "outputs/mine/pose.onnx.json"):
        assert (folder / name).is_file(), name
    assert len(list((folder / "outputs" / "drawn" / "pictures").iterdir())) == 7
    before, *others = (
        json.loads((folder / "annotations" / f"{name}.json").read_text())["annotations"]
        for name in ("train", "from_yolo", "from_cvat")
    )
    for after in others:
        assert np.abs(boxes_and_keypoints(after) - boxes_and_keypoints(before)).max() < 0.002
    check_sigmas(folder)


def boxes_and_keypoints(people: list[dict]) -> np.ndarray:
    return np.array([[*person["bbox"], *person["keypoints"]] for person in people])


def check_sigmas(folder: Path) -> None:
    """Somebody who is off by 2 pixels in x, relative to the square root of the area."""
    content = json.loads((folder / "annotations" / "train.json").read_text())
    people = [person for person in content["annotations"] if person["num_keypoints"] == 5]
    for person in people:
        person["area"] = 400
    for name in ("first", "second"):
        Path(f"annotations/{name}.json").write_text(json.dumps({"annotations": people}))
        for person in people:
            person["keypoints"][0::3] = [x + 2 for x in person["keypoints"][0::3]]
    assert json.loads(python(code("The skeleton", "python")[0])) == [0.1] * 5


def test_drawn_people_take_the_place_of_labelled_ones(folder: Path) -> None:
    (lines,) = code("Label", "bash")
    bash(lines)
    arguments = ["--skeleton", "skeleton.yaml", "--images", "drawn/val2017", "--output", "annotations/val.json"]
    assert main(["convert-data", "pictures/val", *arguments]) == 0
    content = json.loads((folder / "annotations" / "val.json").read_text())
    assert len(content["images"]) == 6
    assert content["categories"][0]["keypoints"] == yaml.safe_load((folder / "skeleton.yaml").read_text())["keypoints"]
