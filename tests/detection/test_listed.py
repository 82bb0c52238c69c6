"""Boxes from a COCO JSON."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mspose.detection.listed import ListedBoxes
from mspose.errors import PoseError
from mspose.files import write_json

IMAGE = np.zeros((100, 200, 3), np.uint8)
DETECTIONS = [
    {"image_id": 785, "category_id": 1, "bbox": [10, 10, 20, 30], "score": 0.4},
    {"image_id": 785, "category_id": 1, "bbox": [190, 50, 20, 30], "score": 0.9},
    {"image_id": 785, "category_id": 3, "bbox": [0, 0, 9, 9], "score": 0.9},
    {"image_id": 785, "category_id": 1, "bbox": [0, 0, 5, 5], "score": 0.1},
    {"image_id": 12, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5},
]
ANNOTATIONS = {
    "images": [{"id": 7, "file_name": "train2017/a photo.jpg"}, {"id": 8, "file_name": "0008.jpg"}],
    "annotations": [
        {"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0},
        {"image_id": 7, "category_id": 1, "bbox": [5, 6, 7, 8], "iscrowd": 1},
    ],
}


def listed(folder: Path, content: object, threshold: float = 0.3) -> ListedBoxes:
    return ListedBoxes(write_json(folder / "boxes.json", content), threshold)


@pytest.mark.parametrize("name", ["000000000785.jpg", "785", "some/folder/785.png"])
def test_detections_by_number(tmp_path: Path, name: str) -> None:
    found = listed(tmp_path, DETECTIONS)(IMAGE, name)
    np.testing.assert_array_equal(found.boxes, [[190, 50, 10, 30], [10, 10, 20, 30]])
    np.testing.assert_allclose(found.scores, [0.9, 0.4])


def test_a_picture_without_detections_is_empty(tmp_path: Path) -> None:
    assert len(listed(tmp_path, DETECTIONS)(IMAGE, "99.jpg")) == 0


def test_detections_by_file_name(tmp_path: Path) -> None:
    detector = listed(tmp_path, [{**DETECTIONS[0], "image_id": "street.jpg"}])
    np.testing.assert_array_equal(detector(IMAGE, "x/street.jpg").boxes, [[10, 10, 20, 30]])
    assert len(detector(IMAGE, "other.jpg")) == 0


def test_annotations_by_file_name(tmp_path: Path) -> None:
    detector = listed(tmp_path, ANNOTATIONS)
    found = detector(IMAGE, "elsewhere/a photo.jpg")
    np.testing.assert_array_equal(found.boxes, [[1, 2, 3, 4]])
    np.testing.assert_array_equal(found.scores, [1])
    assert len(detector(IMAGE, "0008.jpg")) == 0


@pytest.mark.parametrize(("content", "name"), [(DETECTIONS, "street.jpg"), (ANNOTATIONS, "b.jpg"), (DETECTIONS, "")])
def test_a_picture_that_is_not_in_the_file_is_an_error(tmp_path: Path, content: object, name: str) -> None:
    with pytest.raises(PoseError, match="which knows pictures by file name"):
        listed(tmp_path, content)(IMAGE, name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "no boxes of people"),
        ([{"image_id": 1, "bbox": [1, 2, 3]}], "must be COCO"),
        ([{"image_id": [], "bbox": [1, 2, 3, 4]}], "must be COCO"),
        ({"annotations": []}, "must be COCO"),
        (5, "must be COCO"),
        ([5], "must be COCO"),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(PoseError, match=rf"{message}.*boxes\.json"):
        listed(tmp_path, content)
