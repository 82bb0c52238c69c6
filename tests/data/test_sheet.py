"""The contact sheet of annotated people: who is on it, what is drawn, what it replaces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose.data.check import Report
from mspose.data.check_command import main
from mspose.data.coco import Annotations, load_annotations
from mspose.data.sheet import CELLS, ODD, choose
from mspose.skeleton import COCO17
from tests.messages import names

Sheet = Callable[..., int]


@pytest.fixture
def edited(sample_dir: Path, tmp_path: Path) -> Path:
    """Annotations of the sample data, of which the third, fourth and fifth people with keypoints are odd: the fourth
    in two ways."""
    content = json.loads((sample_dir / "annotations" / "person_keypoints_train2017.json").read_text())
    people = [a for a in content["annotations"] if a["num_keypoints"] > 2 and not a["iscrowd"]]
    people[2]["num_keypoints"] += 1
    people[3]["num_keypoints"] += 1
    people[3]["area"] = 1
    people[4]["area"] = 1
    # Not in the order of pictures: the file's order is not that of the people read.
    content["annotations"].reverse()
    path = tmp_path / "edited.json"
    path.write_text(json.dumps({**content, "odd": [people[row]["id"] for row in (3, 2, 4)]}))
    return path


def read(path: Path, images: Path) -> tuple[Annotations, Report]:
    report = Report(path)
    return load_annotations(path, images, COCO17, report=report), report


def test_those_with_most_warnings_come_first(edited: Path, sample_dir: Path) -> None:
    annotations, report = read(edited, sample_dir / "train2017")
    chosen = choose(annotations, report.odd, [], 0)
    first, *others = json.loads(edited.read_text())["odd"]
    ids = annotations.people.ids[chosen].tolist()
    assert ids[0] == first
    assert set(ids[1:3]) == set(others)
    assert len(set(ids)) == len(ids) == CELLS


def test_the_others_are_drawn_by_the_seed(edited: Path, sample_dir: Path) -> None:
    annotations, report = read(edited, sample_dir / "train2017")
    first, again, other = (choose(annotations, report.odd, [], seed).tolist() for seed in (1, 1, 2))
    assert first == again != other
    assert set(first[:3]) == set(other[:3])


def test_pictures_that_cannot_be_read_are_not_drawn(edited: Path, sample_dir: Path) -> None:
    annotations, report = read(edited, sample_dir / "train2017")
    unread = annotations.people.image_index[np.argsort(-report.odd, kind="stable")[:1]].tolist()
    chosen = choose(annotations, report.odd, unread, 0)
    assert not np.isin(annotations.people.image_index[chosen], unread).any()


@pytest.fixture
def draw(edited: Path, sample_dir: Path) -> Sheet:
    def run(path: Path, *options: str) -> int:
        return main([str(edited), "--images", str(sample_dir / "train2017"), "--draw", str(path), *options])

    return run


def test_people_with_warnings_have_boxes_of_their_own_colour(draw: Sheet, tmp_path: Path) -> None:
    assert draw(tmp_path / "sheet.png") == 0
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    cells = [sheet[4:304, 4 + 244 * column : 244 + 244 * column] for column in range(6)]
    red = [bool((cell == ODD).all(axis=2).any()) for cell in cells]
    assert red == [True, True, True, False, False, False]
    assert all(cell.std() > 10 for cell in cells)


def test_an_area_that_the_file_lacks_marks_nobody(edited: Path, sample_dir: Path) -> None:
    """No picture shows it, and files of many programs have none at all: everybody would be red."""
    content = json.loads(edited.read_text())
    for person in content["annotations"]:
        del person["area"]
    edited.write_text(json.dumps(content))
    _, report = read(edited, sample_dir / "train2017")
    assert any("no area" in line for line in report.warnings)
    assert (report.odd > 0).sum() == 2  # those whose keypoints are miscounted


def test_a_sheet_is_replaced_and_other_pictures_are_not(
    draw: Sheet, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert [draw(tmp_path / "sheet.png"), draw(tmp_path / "sheet.png", "--seed", "3")] == [0, 0]
    own = tmp_path / "own.png"
    cv2.imwrite(str(own), np.zeros((9, 9, 3), np.uint8))
    before = own.read_bytes()
    for path in (own, tmp_path / "sheet.jpg"):
        assert draw(path) == 2
        assert names(capsys.readouterr().err, path)
    assert own.read_bytes() == before


def test_pictures_are_needed(edited: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(edited), "--draw", str(tmp_path / "sheet.png")]) == 2
    assert names(capsys.readouterr().err, "--draw", "--images")
