"""`mspose convert-data`: nothing is lost without a word, nothing hostile does harm, nothing foreign is replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mspose.convert_data.command import main
from mspose.convert_data.dataset import relative_name
from mspose.errors import PoseError
from tests.convert_data import files
from tests.messages import names, naming

Make = Callable[[Path], Path]


def labelme(shapes: list | None = None, **changes: Any) -> Make:
    return lambda folder: (
        files.labelme_file(folder / "data", files.person_shapes() if shapes is None else shapes, **changes).parent
    )


def cvat(inner: str) -> Make:
    return lambda folder: files.cvat_file(folder, files.cvat_skeleton() + files.cvat_box() + inner)


def yolo(lines: str, **changes: Any) -> Make:
    return lambda folder: files.yolo_files(folder / "data", lines, **changes)


def alone(*more: dict) -> list[dict]:
    return [*files.person_shapes(), *more]


def person(group: object, *more: dict) -> list[dict]:
    return [*files.person_shapes(), *files.person_shapes(group), *more]


# Case: how the annotations are made, how many people are left, what is counted as left out.
LOST: dict[str, tuple[Make, int, tuple[object, ...]]] = {
    "a circle": (
        labelme(alone(files.shape("circle", "person", [[1, 1], [2, 2]]))),
        1,
        (1, "circle"),
    ),
    "unknown points": (
        labelme(alone(files.shape("point", "tail", [[1, 1]]), files.shape("point", "tail", [[1, 2]]))),
        1,
        (2, "tail"),
    ),
    "a keypoint twice": (labelme(person(2, files.shape("point", "nose", [[1, 1]], 2))), 1, (1, "twice", "group 2")),
    "two rectangles": (
        labelme(person(2, files.shape("rectangle", "person", [[1, 1], [2, 2]], 2))),
        1,
        (1, "rectangles", "group 2"),
    ),
    "points of nobody": (labelme(person(2, files.shape("point", "nose", [[1, 1]], None))), 2, (1, "group_id")),
    "another category": (labelme(person(2, files.shape("rectangle", "car", [[1, 1], [2, 2]], 3))), 2, (1, "car")),
    "flags": (
        labelme(alone(files.shape("point", "left_foot", [[9, 9]], 1, wet=True))),
        1,
        (1, "wet"),
    ),
    "another JSON": (lambda folder: other_json(labelme()(folder)), 1, (1, "JSON", "other.json")),
    "a mask": (
        cvat('<mask label="person" rle="1" left="1" top="1" width="1" height="1"/>'),
        1,
        (1, "mask"),
    ),
    "a tag": (cvat('<tag label="night"/>'), 1, (1, "tag")),
    "a turned box": (cvat(files.cvat_box("").replace("<box", '<box rotation="30.00"')), 1, (1, "box", "turned")),
    "attributes": (
        cvat('<points label="nose" points="1,2" group_id="8"><attribute/></points>'),
        2,
        (1, "attributes"),
    ),
    "several points": (cvat('<points label="person" points="1,2;3,4"/>'), 1, (1, "points", 2)),
    "a label file without a picture": (
        lambda folder: orphan(yolo(files.yolo_line())(folder)),
        1,
        (1, "without a picture", "orphan.txt"),
    ),
}


def other_json(folder: Path) -> Path:
    (folder / "other.json").write_text("{}")
    return folder


def orphan(path: Path) -> Path:
    (path.parent / "labels" / "train" / "orphan.txt").write_text("")
    return path


@pytest.mark.parametrize("case", LOST)
def test_what_is_left_out_is_counted_and_named(case: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    make, people, things = LOST[case]
    content = files.converted(make(tmp_path), tmp_path, "--skeleton", files.skeleton_file(tmp_path))
    assert len(content["annotations"]) == people
    assert names(capsys.readouterr().out, "left out", *things)


def test_nothing_is_left_out_of_what_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    files.converted(labelme()(tmp_path), tmp_path, "--skeleton", files.skeleton_file(tmp_path))
    assert "left out" not in capsys.readouterr().out


BOMB = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10 if i else "x" * 10}">' for i in range(9))


def bomb(folder: Path) -> Path:
    path = folder / "bomb.xml"
    path.write_text(f"<?xml version='1.0'?><!DOCTYPE b [{BOMB}]><annotations>&a8;</annotations>")
    return path


def edited(make: Make, old: str, new: str) -> Make:
    def edit(folder: Path) -> Path:
        path = make(folder)
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        return path

    return edit


# Case: how the annotations are made, what the error names.
HOSTILE: dict[str, tuple[Make, tuple[object, ...]]] = {
    "an XML bomb": (bomb, ("bomb.xml", "DTD")),
    "cut XML": (edited(cvat(""), "</annotations>", ""), ("annotations.xml", "XML")),
    "a video": (edited(cvat(""), "</annotations>", "<track/></annotations>"), ("annotations.xml", "video")),
    "XML of others": (
        edited(edited(cvat(""), "<annotations>", "<x>"), "</annotations>", "</x>"),
        ("annotations.xml", "x"),
    ),
    "CVAT: outside": (edited(cvat(""), 'name="a.jpg"', 'name="../a.jpg"'), ("annotations.xml", "../a.jpg")),
    "CVAT: absolute": (edited(cvat(""), 'name="a.jpg"', 'name="/etc/a.jpg"'), ("annotations.xml", "/etc/a.jpg")),
    "CVAT: NaN": (cvat('<points label="nose" points="nan,1"/>'), ("annotations.xml", "a.jpg", "nose")),
    "CVAT: infinite": (cvat('<points label="nose" points="1e999,1"/>'), ("annotations.xml", "a.jpg", "nose")),
    "CVAT: text": (cvat('<points label="nose" points="a,1"/>'), ("annotations.xml", "nose")),
    "CVAT: size": (edited(cvat(""), 'width="200"', 'width="99999999999"'), ("annotations.xml", "width")),
    "labelme: outside": (labelme(imagePath="../../a.png"), ("a.json", "imagePath", "--images")),
    "labelme: NaN": (labelme([files.shape("point", "nose", [[float("nan"), 1]])]), ("a.json", "nose")),
    "labelme: points": (labelme([files.shape("point", "nose", [1, 1])]), ("a.json", "nose")),
    "labelme: huge number": (labelme([files.shape("point", "nose", [[10**400, 1]])]), ("a.json", "nose")),
    "labelme: size": (labelme(imageWidth=1e300), ("a.json", "width")),
    "labelme: shapes": (labelme(shapes={"a": 1}), ("a.json", "shapes")),
    "labelme: none": (lambda folder: folder, ("labelme", "shapes")),
    "YOLO: NaN": (yolo(files.yolo_line().replace("0.250000", "nan", 1)), ("a.txt", "nan")),
    "YOLO: text": (yolo(files.yolo_line().replace("0.250000", "x", 1)), ("a.txt", "x")),
    "YOLO: pixels": (yolo(files.yolo_line().replace("0.250000", "50", 1)), ("a.txt", 50)),
    "YOLO: columns": (yolo("0 0.5 0.5 0.1 0.1\n"), ("a.txt", 5, 20)),
    "YOLO: class": (yolo(files.yolo_line(number=7)), ("a.txt", 7)),
    "YOLO: huge count": (yolo(files.yolo_line(), kpt_shape=[10**12, 3]), ("data.yaml", "kpt_shape", 10**12)),
    "YOLO: shape": (yolo(files.yolo_line(), kpt_shape=[5, 4]), ("data.yaml", "kpt_shape")),
    "YOLO: names": (yolo(files.yolo_line(), names={0: "a", 2: "b"}), ("data.yaml", "names")),
    "YOLO: outside": (yolo(files.yolo_line(), train="/etc"), ("data.yaml", "train", "/etc")),
    "YOLO: picture": (lambda folder: broken(yolo(files.yolo_line())(folder)), ("a.jpg",)),
    "YOLO: others' YAML": (edited(yolo(""), "kpt_shape", "shape"), ("data.yaml", "kpt_shape")),
    "YOLO: aliases": (lambda folder: aliases(folder), ("data.yaml",)),
}


def broken(path: Path) -> Path:
    (path.parent / "images" / "train" / "a.jpg").write_bytes(b"no picture, but long enough to be looked at")
    return path


def aliases(folder: Path) -> Path:
    path = folder / "data.yaml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_in_one_line(case: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    make, things = HOSTILE[case]
    skeleton, source = files.skeleton_file(tmp_path), make(tmp_path)
    assert main([str(source), "--output", str(tmp_path / "o.json"), "--skeleton", skeleton]) in (1, 2)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert names(lines[0], "error", *things)
    assert not (tmp_path / "o.json").exists()


def refused(capsys: pytest.CaptureFixture, *arguments: object, code: int = 2) -> str:
    assert main([str(argument) for argument in arguments]) == code
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    return error


def test_a_skeleton_is_asked_for_where_annotations_have_none(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for source in (labelme()(tmp_path / "1"), yolo(files.yolo_line())(tmp_path / "2")):
        assert names(refused(capsys, source, "--output", tmp_path / "o.json"), "--skeleton")


def test_a_split_is_asked_for_where_there_are_several(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source = yolo(files.yolo_line(), val="images/train")(tmp_path)
    more = ("--output", tmp_path / "o.json", "--skeleton", files.skeleton_file(tmp_path))
    assert names(refused(capsys, source, *more), "--split", "train", "val")
    assert names(refused(capsys, source, *more, "--split", "test"), "--split", "train", "val", "test")


def test_a_missing_keypoint_is_named(coco_mini: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source = coco_mini / "annotations" / "person_keypoints_val2017.json"
    line = refused(capsys, source, "--output", tmp_path / "o.json", "--skeleton", files.skeleton_file(tmp_path))
    assert names(line, "left_hand", "figure5", source)


def test_faulty_coco_is_refused_as_everywhere(coco_mini: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    content = json.loads((coco_mini / "annotations" / "person_keypoints_val2017.json").read_text())
    content["annotations"][3]["bbox"] = [1, 2, float("nan"), 4]
    (tmp_path / "x.json").write_text(json.dumps(content))
    line = refused(capsys, tmp_path / "x.json", "--output", tmp_path / "o.json", code=1)
    assert names(line, content["annotations"][3]["id"], "bbox")


def test_a_picture_outside_is_refused_in_coco(coco_mini: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    content = json.loads((coco_mini / "annotations" / "person_keypoints_val2017.json").read_text())
    content["images"][3]["file_name"] = "../../outside.jpg"
    (tmp_path / "x.json").write_text(json.dumps(content))
    line = refused(capsys, tmp_path / "x.json", "--to", "labelme", "--output", tmp_path / "o", code=1)
    assert names(line, "x.json", "../../outside.jpg")
    assert sorted(os.listdir(tmp_path)) == ["x.json"]


@pytest.mark.parametrize("name", ["a\0b.jpg", "\ud800.jpg", " ", None, 3])
def test_a_name_that_no_file_has_is_refused(name: object) -> None:
    with pytest.raises(PoseError, match=naming("x.json", "name of a picture")):
        relative_name(name, "x.json")


def test_xml_of_others_stays_and_of_ours_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    own = cvat("")(tmp_path)
    files.converted(own, tmp_path)
    source, before = tmp_path / "out" / "coco.json", own.read_text()
    capsys.readouterr()
    assert names(refused(capsys, source, "--to", "cvat", "--output", own), own)
    assert own.read_text() == before
    for _ in range(2):
        assert main([str(source), "--to", "cvat", "--output", str(tmp_path / "new.xml")]) == 0


def test_files_of_others_stay_and_results_of_ours_are_replaced(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source, skeleton = labelme()(tmp_path), files.skeleton_file(tmp_path)
    output = tmp_path / "o.json"
    output.write_text("{}")
    assert names(refused(capsys, source, "--output", output, "--skeleton", skeleton), output)
    assert output.read_text() == "{}"
    output.unlink()
    for _ in range(2):
        assert main([str(source), "--output", str(output), "--skeleton", skeleton]) == 0


def test_what_is_read_is_never_written(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source, skeleton = labelme()(tmp_path), files.skeleton_file(tmp_path)
    files.converted(source, tmp_path, "--skeleton", skeleton)
    output = tmp_path / "out" / "coco.json"
    os.link(output, tmp_path / "same.json")
    capsys.readouterr()
    assert names(refused(capsys, output, "--output", tmp_path / "same.json"), "same.json")


@pytest.mark.parametrize("form", ["labelme", "yolo"])
def test_folders_of_others_stay(form: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    skeleton = files.skeleton_file(tmp_path)
    files.converted(labelme()(tmp_path), tmp_path, "--skeleton", skeleton)
    there = tmp_path / "there"
    there.mkdir()
    own = there / ("data.yaml" if form == "yolo" else "a.json")
    own.write_text("mine: 1")
    capsys.readouterr()
    source = tmp_path / "out" / "coco.json"
    assert names(refused(capsys, source, "--to", form, "--output", there, "--skeleton", skeleton), there)
    assert [path.name for path in there.rglob("*")] == [own.name]
    assert own.read_text() == "mine: 1"


def test_pictures_that_differ_in_their_suffix_alone_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    skeleton = files.skeleton_file(tmp_path)
    content = files.converted(labelme()(tmp_path), tmp_path, "--skeleton", skeleton)
    content["images"].append({**content["images"][0], "id": 2, "file_name": "a.png"})
    (tmp_path / "two.json").write_text(json.dumps(content))
    capsys.readouterr()
    for form in ("labelme", "yolo"):
        arguments = (tmp_path / "two.json", "--to", form, "--output", tmp_path / "there", "--skeleton", skeleton)
        assert names(refused(capsys, *arguments, code=1), "suffix")


def test_it_ends_with_what_check_data_says(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A picture of another size than annotated is an error there, and the exit code says so."""
    source = labelme(imageWidth=210)(tmp_path)
    files.converted(source, tmp_path, "--skeleton", files.skeleton_file(tmp_path), code=1)
    output = capsys.readouterr().out
    assert names(output, "error", "a.jpg", "210x100")
    assert names(output.splitlines()[-1], tmp_path / "out" / "coco.json", "1 error")


def test_coco_without_names_of_keypoints_goes_on_to_others(tmp_path: Path) -> None:
    skeleton = files.skeleton_file(tmp_path)
    content = files.converted(labelme()(tmp_path), tmp_path, "--skeleton", skeleton)
    del content["categories"][0]["keypoints"]
    source = tmp_path / "nameless.json"
    source.write_text(json.dumps(content))
    assert main([str(source), "--to", "yolo", "--output", str(tmp_path / "yolo"), "--skeleton", skeleton]) == 0
    assert (tmp_path / "yolo" / "labels" / "train" / "a.txt").read_text() == files.yolo_line()


def test_only_coco_is_converted_to_others(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert names(refused(capsys, labelme()(tmp_path), "--to", "yolo", "--output", tmp_path / "o"), "--to", "labelme")


def test_classes_can_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    lines = files.yolo_line() + files.yolo_line(number=1)
    source = yolo(lines, names={0: "ape", 1: "person"})(tmp_path)
    options = ("--skeleton", files.skeleton_file(tmp_path), "--category", "person")
    content = files.converted(source, tmp_path, *options)
    assert [c["name"] for c in content["categories"]] == ["person"]
    assert [a["category_id"] for a in content["annotations"]] == [1]
    assert names(capsys.readouterr().out, "left out", 1, "--category")


def test_flips_of_another_order_are_noticed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source = yolo(files.yolo_line(), flip_idx=[0, 3, 4, 1, 2])(tmp_path)
    files.converted(source, tmp_path, "--skeleton", files.skeleton_file(tmp_path))
    assert names(capsys.readouterr().out, "note", "flip_idx", "flip_pairs")


def test_skeleton_files_of_the_tests_are_valid(tmp_path: Path) -> None:
    assert yaml.safe_load(Path(files.skeleton_file(tmp_path)).read_text())["keypoints"] == files.NAMES
