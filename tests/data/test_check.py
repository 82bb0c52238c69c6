"""What is impossible or implausible in annotation files, and the command that says all of it."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mspose.config.schema import DataConfig
from mspose.data.check import check_skeleton, left_out
from mspose.data.check_command import main
from mspose.data.coco import labelled, load_annotations, load_split
from mspose.errors import PoseError
from mspose.skeleton import COCO17
from tests.messages import names, naming

Edit = Callable[[int, dict], object]


@pytest.fixture(scope="module")
def content(sample_dir: Path) -> dict:
    return json.loads((sample_dir / "annotations" / "person_keypoints_val2017.json").read_text())


@pytest.fixture
def edited(content: dict, sample_dir: Path, tmp_path: Path) -> Callable[[Edit], DataConfig]:
    """Makes the configuration of a data set whose annotations were changed one by one."""

    def make(edit: Edit) -> DataConfig:
        changed = copy.deepcopy(content)
        for number, annotation in enumerate(changed["annotations"]):
            edit(number, annotation)
        path = tmp_path / "edited.json"
        path.write_text(json.dumps(changed))
        return DataConfig(root=str(sample_dir), val_annotations=str(path))

    return make


def corners(number: int, a: dict) -> None:
    x, y, width, height = a["bbox"]
    a["bbox"] = [x, y, x + width, y + height]


def moved(a: dict, right: float, scale: float = 1.0) -> None:
    a["keypoints"] = [v if i % 3 == 2 else v * scale + right for i, v in enumerate(a["keypoints"])]


def shrunk(number: int, a: dict) -> None:
    a["bbox"] = [v / 400 for v in a["bbox"]]


UNUSABLE: dict[str, tuple[Edit, tuple[str, ...]]] = {
    "boxes are corners": (corners, ("boxes", "x1, y1, x2, y2")),
    "boxes are fractions": (shrunk, ("boxes", "fractions")),
    "keypoints are fractions": (lambda i, a: moved(a, 0, 1 / 400), ("keypoints", "fractions")),
    "keypoints far away": (lambda i, a: moved(a, 5000), ("keypoints", "outside")),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_files_of_another_form_are_refused_and_can_be_read_nevertheless(case: str, edited: Callable) -> None:
    edit, things = UNUSABLE[case]
    data = edited(edit)
    with pytest.raises(PoseError, match=naming(*things, "data.check=false", data.val_annotations)):
        load_split(data, "val", COCO17)
    data.check = False
    assert len(load_split(data, "val", COCO17).people)


def test_corners_within_the_picture_are_noticed(tmp_path: Path) -> None:
    """Small people in the corner of a large picture: their corners, read as width and height, lie within it."""
    rng = np.random.default_rng(0)
    people = []
    for number in range(12):
        points = np.column_stack([rng.uniform(200, 300, 17), rng.uniform(150, 250, 17), np.full(17, 2)])
        low, high = points.min(axis=0)[:2] - 5, points.max(axis=0)[:2] + 5
        box = [*low.tolist(), *high.tolist()]
        people.append({"id": number, "image_id": 1, "category_id": 1, "bbox": box, "area": 6000})
        people[-1]["keypoints"] = points.ravel().tolist()
    category = {"id": 1, "name": "person", "keypoints": list(COCO17.keypoints)}
    image = {"id": 1, "file_name": "a.jpg", "width": 2000, "height": 1500}
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"images": [image], "annotations": people, "categories": [category]}))
    with pytest.raises(PoseError, match=naming("x1, y1, x2, y2", path)):
        load_annotations(path, None, COCO17)


IMPLAUSIBLE: dict[str, tuple[Callable[[dict], object], tuple[str, ...]]] = {
    "box beyond": (lambda a: a.update(bbox=[0, 0, 5000, 50]), ("box", "beyond")),
    "box without extent": (lambda a: a.update(bbox=[5, 5, 0, 10]), ("box", "extent")),
    "keypoints elsewhere": (lambda a: moved(a, 5000), ("keypoints", "picture")),
    "area of the picture": (lambda a: a.update(area=9e5), ("area", "box")),
    "area as a fraction": (lambda a: a.update(area=0.1), ("area", "box")),
    "no area": (lambda a: a.update(area=0), ("no area",)),
    "num_keypoints null": (lambda a: a.update(num_keypoints=None), ("num_keypoints",)),
    "num_keypoints wrong": (lambda a: a.update(num_keypoints=99), ("num_keypoints",)),
    "scores as visibility": (
        lambda a: a.update(keypoints=[v if i % 3 < 2 else 0.7 for i, v in enumerate(a["keypoints"])], num_keypoints=17),
        ("visibility",),
    ),
    "keypoint at 0, 0": (lambda a: a.update(keypoints=[0, 0, 2, *a["keypoints"][3:]]), ("0, 0",)),
}


@pytest.mark.parametrize("case", IMPLAUSIBLE)
def test_the_implausible_is_counted_in_one_line(case: str, edited: Callable, caplog) -> None:
    edit, things = IMPLAUSIBLE[case]

    changed: list[int] = []

    def some(number: int, annotation: dict) -> None:
        if annotation["num_keypoints"] > 9 and number % 9 == 4:
            edit(annotation)
            changed.append(annotation["id"])

    data = edited(some)
    with caplog.at_level(logging.INFO, "pose"):
        load_split(data, "val", COCO17)
    lines = [record.message for record in caplog.records if names(record.message, *things)]
    assert len(lines) == 1
    assert lines[0].startswith(f"warning: {len(changed)} of ")
    assert names(lines[0], f"annotation {changed[0]}", data.val_annotations)
    caplog.clear()
    data.check = False
    load_split(data, "val", COCO17)
    assert caplog.text == ""


def test_people_who_are_annotated_twice_are_counted(
    content: dict, sample_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    people = content["annotations"]
    again = [{**a, "id": a["id"] + 10**9} for a in people if a["num_keypoints"]][:5]
    path = tmp_path / "merged.json"
    path.write_text(json.dumps({**content, "annotations": [*again, *people]}))
    load_split(DataConfig(root=str(sample_dir), val_annotations=str(path)), "val", COCO17)
    (line,) = [record.message for record in caplog.records if names(record.message, "twice", path)]
    assert line.startswith("warning: 5 of ")


def test_real_and_drawn_people_are_plausible(coco_mini: Path, sample_dir: Path, caplog) -> None:
    for root in (coco_mini, sample_dir):
        for split in ("train", "val"):
            load_split(DataConfig(root=str(root)), split, COCO17)
    assert caplog.text == ""


def test_skeletons() -> None:
    assert check_skeleton(COCO17, flips=True) == []
    large = replace(COCO17, sigmas=(0.6, 1.0, *COCO17.sigmas[2:]))
    (line,) = check_skeleton(large, flips=False)
    assert "2 sigmas" in line
    assert "nose" in line
    unpaired = replace(COCO17, flip_pairs=COCO17.flip_pairs[1:])
    (line,) = check_skeleton(unpaired, flips=True)
    assert "left_eye" in line
    assert check_skeleton(unpaired, flips=False) == []
    short = replace(COCO17, keypoints=("l_eye", "r_eye", "RightEar", *COCO17.keypoints[3:]), flip_pairs=())
    (line,) = check_skeleton(short, flips=True)
    assert "17 keypoints" in line


def test_the_first_reason_counts() -> None:
    reasons = {"crowds": np.array([True, False, False, True]), "small": np.array([True, True, False, False])}
    keep, words = left_out(reasons, 4)
    assert (keep.tolist(), words) == ([False, False, True, False], "; left out: 2 crowds, 1 small")
    assert left_out({"crowds": np.zeros(2, bool)}, 2)[1] == ""


class TestCommand:
    def test_a_good_file(self, sample_dir: Path, capsys) -> None:
        path = sample_dir / "annotations" / "person_keypoints_val2017.json"
        assert main([str(path), "--images", str(sample_dir / "val2017")]) == 0
        count = len(labelled(load_annotations(path, None, COCO17)))
        said = capsys.readouterr().out
        assert f"10 pictures, {count} people of person (1) with keypoints" in said
        assert f"{path}: no errors, no warnings" in said

    def test_a_single_warning(self, sample_dir: Path, tmp_path: Path, capsys) -> None:
        content = json.loads((sample_dir / "annotations" / "person_keypoints_val2017.json").read_text())
        for person in content["annotations"]:
            del person["area"]
        path = tmp_path / "bare.json"
        path.write_text(json.dumps(content))
        assert main([str(path)]) == 0
        assert capsys.readouterr().out.endswith("no errors, 1 warning\n")

    def test_everything_wrong_is_said(self, edited: Callable, capsys) -> None:
        def damage(number: int, a: dict) -> None:
            if number < 4:
                a.update([{"bbox": None}, {"area": "many"}, {"keypoints": [1, 2]}, {"iscrowd": "0"}][number])

        data = edited(damage)
        assert main([data.val_annotations]) == 1
        said = capsys.readouterr().out
        for key in ("bbox", "area", "keypoints", "iscrowd"):
            assert f"{key}" in said
        assert said.count("error: annotation ") == 4
        assert "4 errors" in said

    def test_pictures_are_read(self, sample_dir: Path, tmp_path: Path, capsys) -> None:
        path = sample_dir / "annotations" / "person_keypoints_val2017.json"
        files = [image["file_name"] for image in json.loads(path.read_text())["images"]]
        for name in files:
            (tmp_path / name).write_bytes((sample_dir / "val2017" / name).read_bytes())
        (tmp_path / files[3]).write_bytes((tmp_path / files[3]).read_bytes()[:800])
        assert main([str(path), "--images", str(tmp_path)]) == 1
        assert names(capsys.readouterr().out, "truncated", tmp_path / files[3])

    def test_missing_file_and_wrong_category(self, sample_dir: Path, tmp_path: Path, capsys) -> None:
        assert main([str(tmp_path / "none.json")]) == 1
        assert names(capsys.readouterr().err, "not found", tmp_path / "none.json")
        path = sample_dir / "annotations" / "person_keypoints_val2017.json"
        assert main([str(path), "--category", "horse"]) == 2
        assert names(capsys.readouterr().err, "'horse'", "person (1)", path)

    def test_segmentations(self, edited: Callable, capsys) -> None:
        data = edited(lambda i, a: a.update(segmentation=[[1, 2, 3]]) if i in (2, 5) else None)
        assert main([data.val_annotations]) == 0
        assert names(capsys.readouterr().out, "2 segmentations")
