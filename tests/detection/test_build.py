"""Which detector a configuration means, and what it says where a file is missing or wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mspose.config.builder import load_config
from mspose.config.schema import Config
from mspose.detection import build_detector, detector_kind
from mspose.errors import PoseError, UsageError
from mspose.files import write_json
from tests.conftest import ROOT
from tests.messages import naming


def config(**demo: object) -> Config:
    return load_config(ROOT / "configs" / "simplepose_r50_256x192.yaml", {f"demo.{k}": v for k, v in demo.items()})


@pytest.mark.parametrize(
    ("demo", "kind"),
    [
        ({}, "hog"),
        ({"detector": "whole"}, "whole"),
        ({"boxes": "b.json"}, "boxes"),
        ({"boxes": "b.json", "detector_file": "x.onnx"}, "boxes"),
        ({"detector_file": "yolo.ckpt"}, "yolov3"),
        ({"detector_file": "YOLOv3.WEIGHTS"}, "yolov3"),
        ({"detector_file": "x.onnx"}, "onnx"),
        ({"detector": "hog", "detector_file": "x.onnx"}, "hog"),
    ],
)
def test_kind_follows_from_the_files(demo: dict, kind: str) -> None:
    assert detector_kind(config(**demo)) == kind


@pytest.mark.parametrize(
    ("demo", "things"),
    [
        ({"detector_file": "yolo.pt"}, ("demo.detector_file", ".ckpt", ".weights", ".onnx", "'yolo.pt'")),
        ({"detector": "boxes"}, ("demo.detector=boxes", "demo.boxes=FILE")),
        ({"detector": "yolov3"}, ("demo.detector=yolov3", ".ckpt", ".weights", "demo.detector_file=FILE")),
        ({"detector": "yolov3", "detector_file": "x.onnx"}, ("demo.detector=yolov3", "'x.onnx'")),
        ({"detector": "onnx", "detector_file": "x.ckpt"}, ("demo.detector=onnx", ".onnx", "'x.ckpt'")),
    ],
)
def test_files_that_do_not_go_with_the_detector(demo: dict, things: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=naming(*things)):
        build_detector(config(**demo))


@pytest.mark.parametrize("file", ["nowhere/yolo.ckpt", "nowhere/yolov3.weights", "nowhere/x.onnx"])
def test_a_missing_file_is_named(file: str) -> None:
    with pytest.raises(PoseError, match=naming("not found", file, "demo.detector_file")):
        build_detector(config(detector_file=file))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("detector_size", [400, 416]),
        ("detector_size", [416]),
        ("detector_size", [0, 0]),
        ("detector_threshold", 1.0),
        ("detector_threshold", -0.1),
        ("detector_nms", 0.0),
        ("detector_nms", 1.1),
    ],
)
def test_impossible_values_are_usage_errors(key: str, value: object) -> None:
    with pytest.raises(UsageError, match=naming(f"demo.{key}", value)):
        config(**{key: value})


def test_the_whole_picture_is_one_person() -> None:
    found = build_detector(config(detector="whole"))(np.zeros((30, 40, 3), np.uint8))
    np.testing.assert_array_equal(found.boxes, [[0, 0, 40, 30]])
    np.testing.assert_array_equal(found.scores, [1])


def test_listed_boxes_obey_the_threshold(tmp_path: Path) -> None:
    entries = [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5], "score": score} for score in (0.9, 0.5)]
    path = str(write_json(tmp_path / "boxes.json", entries))
    detector = build_detector(config(boxes=path, detector_threshold=0.6))
    assert len(detector(np.zeros((9, 9, 3), np.uint8), "1.jpg")) == 1


def test_detectors_without_mindspore_do_not_import_it() -> None:
    code = (
        "import sys\nimport mspose.detection, mspose.detection.hog, mspose.detection.listed, mspose.detection.onnx\n"
        "import mspose.detection.yolov3, mspose.detection.command, mspose.checkpoints.darknet\n"
        "assert not {'mindspore', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
