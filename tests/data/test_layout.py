"""Examining a dataset folder: every kind of problem is one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose.data.layout import check
from tests.messages import names

NAMES = [f"{i:012d}.jpg" for i in range(1, 5)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A sound folder in COCO's layout."""
    picture = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8))[1].tobytes()
    (tmp_path / "annotations").mkdir()
    for split in ("train2017", "val2017"):
        (tmp_path / split).mkdir()
        for name in NAMES:
            (tmp_path / split / name).write_bytes(picture)
        content = {
            "images": [{"id": i, "file_name": name} for i, name in enumerate(NAMES)],
            "annotations": [],
            "categories": [{"id": 1, "name": "person", "keypoints": ["nose"]}],
        }
        (tmp_path / "annotations" / f"person_keypoints_{split}.json").write_text(json.dumps(content))
    return tmp_path


def edit(root: Path, **changes: object) -> None:
    path = root / "annotations" / "person_keypoints_val2017.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def only(problems: list[str]) -> str:
    assert len(problems) == 1, problems
    assert "\n" not in problems[0]
    return problems[0]


def test_sound_folder_has_no_problems(root: Path) -> None:
    assert check(root) == []


def test_real_coco_has_no_problems(coco_mini: Path) -> None:
    assert check(coco_mini) == []


def test_missing_root(tmp_path: Path) -> None:
    assert names(only(check(tmp_path / "absent")), tmp_path / "absent")


def test_missing_folder(root: Path) -> None:
    shutil.rmtree(root / "train2017")
    assert names(only(check(root)), "train2017", "folder", f"mspose download {root} --parts train2017")


def test_archive_that_was_never_unzipped(root: Path) -> None:
    shutil.rmtree(root / "train2017")
    (root / "train2017.zip").touch()
    assert names(only(check(root)), "train2017.zip", f"mspose download {root} --parts train2017")


def test_folder_without_pictures(root: Path) -> None:
    shutil.rmtree(root / "val2017")
    (root / "val2017").mkdir()
    assert names(only(check(root)), "val2017", "no pictures", f"mspose download {root} --parts val2017")


def test_nested_folder(root: Path) -> None:
    (root / "train2017").rename(root / "inner")
    (root / "train2017").mkdir()
    (root / "inner").rename(root / "train2017" / "train2017")
    assert names(only(check(root)), "train2017", "deep", root / "train2017" / "train2017")


def test_folder_below_images(root: Path) -> None:
    (root / "images").mkdir()
    (root / "val2017").rename(root / "images" / "val2017")
    assert names(only(check(root)), root / "images" / "val2017", root / "val2017")


def test_unzipped_twice(root: Path) -> None:
    shutil.copytree(root / "val2017", root / "val2017" / "val2017")
    assert names(only(check(root)), "twice", "4 pictures", root / "val2017" / "val2017")


def test_copies(root: Path) -> None:
    shutil.copy(root / "val2017" / NAMES[0], root / "val2017" / "000000000001 (1).jpg")
    assert names(only(check(root)), "val2017", "copies", "1 (000000000001 (1).jpg)")


def test_missing_pictures_are_counted_and_named(root: Path) -> None:
    for name in NAMES[:2]:
        (root / "val2017" / name).unlink()
    assert names(only(check(root)), "val2017", "missing", "4", f"2 ({NAMES[0]}, {NAMES[1]})")


def test_annotations_of_other_pictures(root: Path) -> None:
    edit(root, images=[{"id": 1, "file_name": "000000999999.jpg"}])
    assert names(only(check(root)), "val2017", "person_keypoints_val2017.json", "000000999999.jpg")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"categories": [{"id": 1, "name": "person"}]}, "instances_val2017.json"),
        ({"images": None}, "categories"),
        ({"images": [{"id": 1}]}, "file_name"),
    ],
)
def test_annotation_file_of_another_kind(root: Path, changes: dict[str, object], named: str) -> None:
    edit(root, **changes)
    assert names(only(check(root)), "person_keypoints_val2017.json", named)


def test_annotation_file_cut_in_half(root: Path) -> None:
    path = root / "annotations" / "person_keypoints_train2017.json"
    path.write_text(path.read_text()[:50])
    assert names(only(check(root)), "JSON", path)


def test_annotations_absent(root: Path) -> None:
    (root / "annotations" / "person_keypoints_train2017.json").unlink()
    command = f"mspose download {root} --parts annotations"
    assert names(only(check(root)), "person_keypoints_train2017.json", command)


def test_annotations_nested(root: Path) -> None:
    (root / "annotations").rename(root / "inner")
    (root / "annotations").mkdir()
    (root / "inner").rename(root / "annotations" / "annotations")
    problems = check(root)
    assert len(problems) == 2
    for split, problem in zip(("val2017", "train2017"), problems):
        assert names(problem, f"person_keypoints_{split}.json", root / "annotations" / "annotations")


def test_annotations_not_asked_for(root: Path) -> None:
    shutil.rmtree(root / "annotations")
    assert check(root, ["val2017"]) == []


def test_empty_picture(root: Path) -> None:
    (root / "val2017" / NAMES[3]).write_bytes(b"")
    assert names(only(check(root)), "val2017", "empty", f"1 ({NAMES[3]})")


@pytest.mark.parametrize("kept", [2, 20, -1])
def test_picture_cut_short(root: Path, kept: int) -> None:
    path = root / "val2017" / NAMES[1]
    path.write_bytes(path.read_bytes()[:kept])
    assert names(only(check(root)), "val2017", "cut short", f"1 ({NAMES[1]})")


def test_bytes_after_the_picture_are_harmless(root: Path) -> None:
    path = root / "val2017" / NAMES[1]
    path.write_bytes(path.read_bytes() + b"\0\0\0")
    assert check(root) == []


def test_page_saved_as_picture(root: Path) -> None:
    (root / "val2017" / NAMES[1]).write_text("<html>please log in</html>")
    assert names(only(check(root)), "val2017", "not pictures", f"1 ({NAMES[1]})")
