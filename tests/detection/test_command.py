"""mspose detect: boxes for a whole data set, which evaluation reads."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mspose.config.builder import load_config
from mspose.config.schema import Config
from mspose.data.coco import load_split
from mspose.data.detections import load_detections
from mspose.detection.command import detect_people
from mspose.errors import PoseError, UsageError
from mspose.skeleton import COCO17
from tests.conftest import ROOT
from tests.disk import contents, fill
from tests.messages import names, naming


def config(root: Path, output: Path, **demo: object) -> Config:
    return load_config(
        ROOT / "configs" / "quickstart" / "simplepose.yaml",
        {
            "data.root": str(root),
            "runtime.output": str(output),
            **{f"demo.{key}": value for key, value in demo.items()},
        },
    )


def test_evaluation_reads_what_was_found(sample_dir: Path, tmp_path: Path) -> None:
    settings = config(sample_dir, tmp_path, detector="whole")
    path = detect_people(settings)
    assert path == tmp_path / "person_boxes.json"
    annotations = load_split(settings.data, "val", COCO17)
    people = load_detections(path, annotations)
    np.testing.assert_array_equal(annotations.images.ids[people.image_index], annotations.images.ids)
    np.testing.assert_array_equal(people.boxes[:, 2], annotations.images.widths)
    assert json.loads(path.read_text())[0].keys() == {"image_id", "file_name", "category_id", "bbox", "score"}
    assert load_config(tmp_path / "person_boxes.yaml").demo.detector == "whole"


def test_annotated_boxes_come_back(sample_dir: Path, tmp_path: Path) -> None:
    settings = config(sample_dir, tmp_path)
    annotations = load_split(settings.data, "val", COCO17)
    settings.demo.boxes = str(annotations.path)
    people = load_detections(detect_people(settings), annotations)
    annotated = annotations.people.select(~annotations.people.is_crowd)
    assert len(people) == len(annotated) > 0
    np.testing.assert_allclose(np.sort(people.boxes, axis=0), np.sort(annotated.boxes, axis=0), atol=0.01)


def test_unreadable_pictures_are_skipped_and_named(
    sample_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "data"
    shutil.copytree(sample_dir, root)
    settings = config(root, tmp_path / "out", detector="whole")
    first, second, *others = load_split(settings.data, "val", COCO17).images.files
    first.write_text("not a picture")
    second.write_bytes(second.read_bytes()[:500])
    with caplog.at_level(logging.INFO, "pose"):
        path = detect_people(settings)
    assert len(json.loads(path.read_text())) == len(others)
    said = caplog.text.replace(f"{root}/", "")
    for count, file in ((1, first), (2, second)):
        assert names(said, count, "truncated", file.relative_to(root))
    for picture in others:
        picture.write_text("not a picture")
    with pytest.raises(PoseError, match=naming("10 pictures", first)):
        detect_people(settings)


@pytest.mark.parametrize("full", ["person_boxes.json", "person_boxes.yaml"])
def test_boxes_that_cannot_be_written_leave_the_earlier_ones(
    sample_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    detect_people(config(sample_dir, tmp_path, detector="whole"))
    before = contents(tmp_path)
    settings = config(sample_dir, tmp_path, detector="whole")
    settings.data.workers = 1
    fill(monkeypatch, full)
    with pytest.raises(PoseError, match=naming(tmp_path / full, os.strerror(28))):
        detect_people(settings)
    assert contents(tmp_path) == before


def test_wrong_detectors_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"demo\.boxes=FILE"):
        detect_people(config(tmp_path / "no data", tmp_path / "out", detector="boxes"))
    assert not (tmp_path / "out").exists()


def test_the_command_runs(sample_dir: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mspose",
        "detect",
        "--config",
        "configs/quickstart/simplepose.yaml",
        f"data.root={sample_dir}",
        f"output={tmp_path}",
        "demo.detector=whole",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "10 boxes in 10 pictures" in done.stdout
    assert f"eval.bbox_file={tmp_path}/person_boxes.json" in done.stdout
    usage = subprocess.run([*command[:4], "--help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "usage: mspose detect --config RECIPE" in usage
