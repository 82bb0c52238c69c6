"""Boxes from a COCO JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mspose.detection.listed import ListedBoxes
from mspose.errors import PoseError, UsageError
from mspose.files import write_json
from mspose.skeleton import COCO17
from tests.messages import names, naming

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


def listed(folder: Path, content: object, threshold: float = 0.3, category: Sequence[str] = ()) -> ListedBoxes:
    return ListedBoxes(write_json(folder / "boxes.json", content), threshold, COCO17, category)


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
    found = detector(IMAGE, "/elsewhere/train2017/a photo.jpg")
    np.testing.assert_array_equal(found.boxes, [[1, 2, 3, 4]])
    np.testing.assert_array_equal(found.scores, [1])
    assert len(detector(IMAGE, "0008.jpg")) == 0


TWO = [  # of one name in two folders, and as detections were found in them
    {"image_id": 1, "file_name": "a/x.jpg", "category_id": 1, "bbox": [1, 1, 10, 10], "score": 0.9},
    {"image_id": 2, "file_name": "b/x.jpg", "category_id": 1, "bbox": [2, 2, 20, 20], "score": 0.9},
]
TWO_ANNOTATED = {
    "images": [{"id": one["image_id"], "file_name": one["file_name"]} for one in TWO],
    "annotations": [{key: one[key] for key in ("image_id", "bbox")} for one in TWO],
}


@pytest.mark.parametrize("content", [TWO, TWO_ANNOTATED])
def test_folders_tell_pictures_of_one_name_apart(tmp_path: Path, content: object) -> None:
    detector = listed(tmp_path, content)
    for folder, side in (("a", 10), ("b", 20)):
        assert detector(IMAGE, f"/somewhere/{folder}/x.jpg").boxes[0, 2] == side
    with pytest.raises(PoseError, match=naming(tmp_path / "boxes.json", "demo.boxes", "folder")):
        detector(IMAGE, "/somewhere/c/x.jpg")


@pytest.mark.parametrize(
    ("content", "one", "other"),
    [
        ([{"image_id": 1, "file_name": "x.jpg", "bbox": [1, 1, 10, 10]}], "/p/a/x.jpg", "/p/b/x.jpg"),
        ([{"image_id": 7, "bbox": [1, 1, 10, 10]}], "/p/a/7.jpg", "/p/b/7.jpg"),
        ([{"image_id": 7, "bbox": [1, 1, 10, 10]}], "/p/7.jpg", "/p/7.png"),
        ([{"image_id": "x", "bbox": [1, 1, 10, 10]}], "/p/x.jpg", "/p/x.png"),
        ([{"image_id": "x.jpg", "bbox": [1, 1, 10, 10]}], "/p/a/x.jpg", "/p/b/x.jpg"),
    ],
)
def test_pictures_that_cannot_be_told_apart_get_nobodys_boxes(
    tmp_path: Path, content: object, one: str, other: str
) -> None:
    detector = listed(tmp_path, content)
    detector.expect({name: name.removeprefix("/p/") for name in (one, other)})
    for name in (one, other):
        with pytest.raises(PoseError, match=naming("demo.boxes", other if name == one else one)):
            detector(IMAGE, name)
    alone = listed(tmp_path, content)  # one after the other, as the Python API sees them
    assert len(alone(IMAGE, one)) == 1
    with pytest.raises(PoseError, match=naming("demo.boxes", one)):
        alone(IMAGE, other)


def test_the_picture_of_the_very_name_gets_the_boxes(tmp_path: Path) -> None:
    detector = listed(tmp_path, [{"image_id": 1, "file_name": "x.jpg", "bbox": [1, 1, 10, 10]}])
    detector.expect({"/p/x.jpg": "x.jpg", "/p/b/x.jpg": "b/x.jpg"})
    assert len(detector(IMAGE, "/p/x.jpg")) == 1
    with pytest.raises(PoseError, match=r"/p/x\.jpg"):
        detector(IMAGE, "/p/b/x.jpg")
    found = listed(tmp_path, TWO[:1])
    found.expect({"/p/a/x.jpg": "a/x.jpg", "/p/b/x.jpg": "b/x.jpg"})
    assert [len(found(IMAGE, f"/p/{folder}/x.jpg")) for folder in "ab"] == [1, 0]  # nobody was found in b/x.jpg


def test_a_number_is_no_name_where_names_are_given(tmp_path: Path) -> None:
    with pytest.raises(PoseError, match=naming(tmp_path / "boxes.json", "demo.boxes", "file name")):
        listed(tmp_path, ANNOTATIONS)(IMAGE, "7.jpg")  # the id of another picture


def test_frames_of_a_video_are_numbers(tmp_path: Path) -> None:
    people = [{**DETECTIONS[0], "image_id": n, "frame": n, "file_name": "v.mp4"} for n in (3, 4)]
    detector = listed(tmp_path, people)
    assert [len(detector(IMAGE, str(number))) for number in (3, 4, 5)] == [1, 1, 0]


def test_a_name_that_two_pictures_have_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PoseError, match=naming(tmp_path / "boxes.json", "demo.boxes", "two", "a/x.jpg")):
        listed(tmp_path, {**TWO_ANNOTATED, "images": [{"id": n, "file_name": "a/x.jpg"} for n in (1, 2)]})


@pytest.mark.parametrize(("content", "name"), [(DETECTIONS, "street.jpg"), (ANNOTATIONS, "b.jpg"), (DETECTIONS, "")])
def test_a_picture_that_is_not_in_the_file_is_an_error(tmp_path: Path, content: object, name: str) -> None:
    with pytest.raises(PoseError, match=naming(tmp_path / "boxes.json", "demo.boxes", "file name")):
        listed(tmp_path, content)(IMAGE, name)


@pytest.mark.parametrize(
    ("content", "things"),
    [
        ([], ("demo.boxes", "category 1")),
        ([{"image_id": 1, "bbox": [1, 2, 3]}], ("detection number 0", "bbox")),
        ([{"image_id": 1, "bbox": [1, 2, 3, float("nan")]}], ("detection number 0", "bbox")),
        ([{"image_id": 1, "bbox": [1, 2, 3, 4], "score": "high"}], ("detection number 0", "score")),
        ([{"image_id": [], "bbox": [1, 2, 3, 4]}], ("demo.boxes", "COCO")),
        ({"annotations": []}, ("demo.boxes", "COCO")),
        (
            {
                "images": [],
                "categories": [{"id": 1, "name": "person"}],
                "annotations": [{"image_id": 1, "category_id": number, "bbox": [1, 2, 3, 4]} for number in (1, [1])],
            },
            ("demo.boxes", "COCO"),
        ),
        (5, ("demo.boxes", "COCO")),
        ([5], ("demo.boxes", "COCO")),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, content: object, things: tuple[str, ...]) -> None:
    with pytest.raises(PoseError, match=naming(*things, tmp_path / "boxes.json")):
        listed(tmp_path, content)


NAMES = list(COCO17.keypoints)
DOG_AND_CAT = [{"id": 3, "name": "dog", "keypoints": NAMES}, {"id": 7, "name": "cat", "keypoints": NAMES}]


@pytest.mark.parametrize(
    ("categories", "category", "kept", "other"),
    [
        ([{"id": 7, "name": "mouse", "keypoints": NAMES}], [], 7, "category 3"),
        ([{"id": 3, "name": "dog"}, {"id": 7, "name": "person"}], [], 7, "dog (3)"),
        (DOG_AND_CAT, ["dog"], 3, "cat (7)"),
        (DOG_AND_CAT, ["7"], 7, "dog (3)"),
    ],
)
def test_categories_of_annotations(
    tmp_path: Path, categories: list, category: list[str], kept: int, other: str, caplog
) -> None:
    boxes = [{"image_id": 7, "category_id": n, "bbox": [n, 2, 3, 4]} for n in (3, 7)]
    content = {**ANNOTATIONS, "annotations": boxes, "categories": categories}
    with caplog.at_level("INFO", "pose"):
        detector = listed(tmp_path, content, category=category)
    assert detector(IMAGE, "train2017/a photo.jpg").boxes[:, 0].tolist() == [kept]
    assert detector.category_id == kept
    assert names(caplog.text, f"1 of {other}", "data.category", tmp_path / "boxes.json")


def test_categories_of_a_list(tmp_path: Path) -> None:
    mice = [{**entry, "category_id": 7} for entry in DETECTIONS]
    detector = listed(tmp_path, mice)
    assert (detector.category_id, len(detector(IMAGE, "12.jpg"))) == (7, 1)
    assert listed(tmp_path, DETECTIONS, category=["3"])(IMAGE, "785.jpg").boxes.tolist() == [[0, 0, 9, 9]]
    with pytest.raises(UsageError, match=naming("1, 3", "mouse", "data.category=ID", tmp_path / "boxes.json")):
        listed(tmp_path, DETECTIONS, category=["mouse"])


def test_annotations_of_another_skeleton_have_boxes_too(tmp_path: Path) -> None:
    content = {**ANNOTATIONS, "categories": [{"id": 1, "name": "person", "keypoints": ["head", "tail"]}]}
    assert len(listed(tmp_path, content)(IMAGE, "train2017/a photo.jpg")) == 1


def test_what_is_left_out_is_counted(tmp_path: Path, caplog) -> None:
    with caplog.at_level("INFO", "pose"):
        listed(tmp_path, DETECTIONS, 0.45)
    assert names(caplog.text, "2 boxes", "category 1", tmp_path / "boxes.json")
    assert re.search(r"\b2 [^(),;]*\b0\.45 \(demo\.detector_threshold\)", caplog.text)
    assert names(caplog.text, "1 of category 3", "data.category")


def test_corners_are_no_boxes(tmp_path: Path) -> None:
    image = {"id": 7, "file_name": "a.jpg", "width": 200, "height": 100}
    corners = [{"image_id": 7, "category_id": 1, "bbox": [150, 60, 190, 90]}]
    with pytest.raises(PoseError, match=naming("x1, y1, x2, y2", "data.check=false", tmp_path / "boxes.json")):
        listed(tmp_path, {"images": [image], "annotations": corners})
    assert len(ListedBoxes(tmp_path / "boxes.json", 0.3, COCO17, check=False)(IMAGE, "a.jpg")) == 1
