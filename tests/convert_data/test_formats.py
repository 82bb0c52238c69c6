"""Every format means the same person, and goes back to what it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from mspose.convert_data.command import main
from mspose.data.coco import People, load_annotations
from mspose.skeleton import COCO17, load_skeleton
from tests.convert_data import files

SOURCES: dict[str, Callable[[Path], Path]] = {
    "labelme": lambda folder: files.labelme_file(folder / "data", files.person_shapes()).parent,
    "labelme, no groups": lambda folder: files.labelme_file(folder / "data", files.person_shapes(None)).parent,
    "cvat": lambda folder: files.cvat_file(folder, files.cvat_skeleton() + files.cvat_box()),
    "yolo": lambda folder: files.yolo_files(folder / "data", files.yolo_line()),
}


@pytest.mark.parametrize("source", SOURCES)
def test_all_formats_mean_the_same_person(source: str, tmp_path: Path) -> None:
    content = files.converted(SOURCES[source](tmp_path), tmp_path, "--skeleton", files.skeleton_file(tmp_path))
    (image,), (person,) = content["images"], content["annotations"]
    assert image == {"id": 1, "file_name": "a.jpg", "width": 200, "height": 100}
    assert files.keypoints(person) == files.KEYPOINTS
    assert person["bbox"] == files.BOX
    assert (person["num_keypoints"], person["iscrowd"], person["image_id"], person["category_id"]) == (4, 0, 1, 1)
    assert content["categories"] == [
        {"supercategory": "person", "id": 1, "name": "person", "keypoints": files.NAMES, "skeleton": [[1, 2], [1, 5]]}
    ]


def test_cvat_tells_keypoints_and_limbs_itself(tmp_path: Path) -> None:
    content = files.converted(files.cvat_file(tmp_path, files.cvat_skeleton()), tmp_path)
    assert content["categories"][0]["keypoints"] == files.NAMES
    assert content["categories"][0]["skeleton"] == [[1, 2]]


def test_a_box_that_nobody_drew_is_around_the_keypoints(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    content = files.converted(files.cvat_file(tmp_path, files.cvat_skeleton()), tmp_path)
    assert content["annotations"][0]["bbox"] == [25, 14.5, 60, 66]  # 30…80 and 20…75, and a tenth on each side
    assert "note: 1 people have no rectangle" in capsys.readouterr().out


def test_yolo_without_visibilities_takes_the_corner_as_not_labelled(tmp_path: Path) -> None:
    source = files.yolo_files(tmp_path / "data", files.yolo_line(2), kpt_shape=[5, 2])
    content = files.converted(source, tmp_path, "--skeleton", files.skeleton_file(tmp_path))
    assert [seen for *_, seen in files.keypoints(content["annotations"][0])] == [2, 2, 2, 0, 2]


def test_yolo_finds_folders_as_roboflow_names_them(tmp_path: Path) -> None:
    source = files.yolo_files(tmp_path / "data", files.yolo_line(), path=None, train="../images/train")
    content = files.converted(source, tmp_path, "--skeleton", files.skeleton_file(tmp_path))
    assert len(content["annotations"]) == 1


def test_yolo_picture_without_labels_is_a_picture_without_people(tmp_path: Path) -> None:
    source = files.yolo_files(tmp_path / "data", None)
    content = files.converted(source, tmp_path, "--skeleton", files.skeleton_file(tmp_path))
    assert (len(content["images"]), content["annotations"]) == (1, [])


def test_labelme_polygons_become_segmentation_area_and_box(tmp_path: Path) -> None:
    outline = files.shape("polygon", "person", [[20, 10], [100, 10], [100, 80], [20, 80]])
    folder = files.labelme_file(tmp_path / "data", [outline, *files.person_shapes()[1:]]).parent
    (person,) = files.converted(folder, tmp_path, "--skeleton", files.skeleton_file(tmp_path))["annotations"]
    assert (person["bbox"], person["area"]) == (files.BOX, 5600)
    assert person["segmentation"] == [[20, 10, 100, 10, 100, 80, 20, 80]]


def test_labelme_pictures_may_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    """As labelme writes on Windows, and moved."""
    images = tmp_path / "pictures"
    files.picture(images / "b" / "x.jpg")
    files.picture(images / "y.jpg")
    files.labelme_file(tmp_path / "data", files.person_shapes(), "x.jpg", imagePath="..\\pictures\\b\\x.jpg")
    files.labelme_file(tmp_path / "data", files.person_shapes(), "y.jpg", imagePath="C:\\Users\\me\\y.jpg")
    options = ("--skeleton", files.skeleton_file(tmp_path), "--images", str(images))
    content = files.converted(tmp_path / "data", tmp_path, *options)
    assert [image["file_name"] for image in content["images"]] == ["b/x.jpg", "y.jpg"]


def test_coco_keypoints_are_taken_by_their_names(coco_mini: Path, tmp_path: Path) -> None:
    skeleton = {**files.SKELETON, "keypoints": ["right_wrist", "nose"], "limbs": [], "flip_pairs": [], "sigmas": [1, 1]}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(skeleton))
    source = coco_mini / "annotations" / "person_keypoints_val2017.json"
    before = json.loads(source.read_text())
    after = files.converted(source, tmp_path, "--skeleton", str(tmp_path / "two.yaml"))
    expected = [[files.keypoints(a)[10], files.keypoints(a)[0]] for a in before["annotations"]]
    assert [files.keypoints(a) for a in after["annotations"]] == expected
    assert [a["area"] for a in after["annotations"]] == [a["area"] for a in before["annotations"]]
    assert [i["id"] for i in after["images"]] == [i["id"] for i in before["images"]]


def by_picture(path: Path) -> People:
    """The people of a file, in the order of the names of their pictures."""
    annotations = load_annotations(path, None, COCO17)
    names = [annotations.images.files[row].name for row in annotations.people.image_index]
    return annotations.people.select(np.argsort(names, kind="stable"))


@pytest.mark.parametrize("form", ["labelme", "yolo", "cvat"])
def test_real_people_come_back_as_they_were(form: str, coco_mini: Path, tmp_path: Path) -> None:
    source, pictures = coco_mini / "annotations" / "person_keypoints_val2017.json", coco_mini / "val2017"
    there = tmp_path / ("annotations.xml" if form == "cvat" else form)
    assert main([str(source), "--to", form, "--output", str(there), "--images", str(pictures)]) == 0
    if form == "yolo":
        files.converted(there / "data.yaml", tmp_path)  # which says where the pictures are
    else:
        files.converted(there, tmp_path, "--images", str(pictures), "--skeleton", "coco17")
    before, after = by_picture(source), by_picture(tmp_path / "out" / "coco.json")
    kept = before if form == "labelme" else before.select(~before.is_crowd)  # the others have no crowds
    assert len(after) == len(kept)
    precision = 2e-3 if form == "yolo" else 1e-3  # YOLO's six decimals of 640 pixels
    assert np.abs(after.keypoints - kept.keypoints).max() <= precision
    assert np.abs(after.boxes - kept.boxes).max() <= precision
    assert (after.is_crowd == kept.is_crowd).all()


def test_yolo_tells_what_mirrored_pictures_exchange(tmp_path: Path) -> None:
    skeleton = files.skeleton_file(tmp_path)
    files.converted(SOURCES["cvat"](tmp_path), tmp_path, "--skeleton", skeleton)
    there = tmp_path / "yolo"
    source = str(tmp_path / "out" / "coco.json")
    for split in ("train", "val"):
        assert main([source, "--to", "yolo", "--output", str(there), "--skeleton", skeleton, "--split", split]) == 0
    content = yaml.safe_load((there / "data.yaml").read_text())
    assert content["flip_idx"] == load_skeleton(skeleton).flip_index.tolist() == [0, 2, 1, 4, 3]
    assert (content["kpt_shape"], content["names"]) == ([5, 3], {0: "person"})
    assert (content["train"], content["val"]) == ("images/train", "images/val")
    assert (there / "labels" / "val" / "a.txt").read_text() == files.yolo_line()
