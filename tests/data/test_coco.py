"""Annotation and detection files: what is read, in which order, and one clear line for every kind of damage."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose.config.schema import DataConfig
from mspose.data.coco import (
    Annotations,
    annotation_file,
    image_folder,
    labelled,
    load_annotations,
    load_split,
)
from mspose.data.detections import detection_file, load_detections
from mspose.errors import PoseError
from mspose.images import ImageError
from mspose.skeleton import COCO17, load_skeleton
from tests.conftest import ROOT
from tests.messages import names, naming

KEYPOINTS = [10.0, 20.0, 2.0] * 17
NOTHING = [0] * 51


def person(number: int, image: int, **changes: object) -> dict:
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "bbox": [5, 6, 30, 40],
        "area": 700.0,
        "iscrowd": 0,
        "num_keypoints": 17,
        "keypoints": KEYPOINTS,
        **changes,
    }


def detection(image: int, score: float = 0.5, **changes: object) -> dict:
    return {"image_id": image, "category_id": 1, "bbox": [1, 2, 30, 40], "score": score, **changes}


class Folder:
    """A data set of two (empty) pictures, 30 before 20, that a test damages before it is read."""

    def __init__(self, root: Path) -> None:
        self.path, self.images = root / "annotations.json", root / "images"
        self.images.mkdir()
        entries = [{"id": i, "file_name": f"{i}.jpg", "width": 100, "height": 80} for i in (30, 20)]
        for entry in entries:
            (self.images / entry["file_name"]).touch()
        self.content: dict = {
            "images": entries,
            "annotations": [person(1, 20), person(2, 30), person(3, 20)],
            "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.keypoints)}],
        }

    def load(self) -> Annotations:
        self.path.write_text(json.dumps(self.content))
        return load_annotations(self.path, self.images, COCO17)

    def complaint(self) -> str:
        with pytest.raises(PoseError) as caught:
            self.load()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def file_complaint(self) -> str:
        """What is said besides the name of the file."""
        message = self.complaint()
        assert str(self.path) in message
        return message.replace(str(self.path), "")

    def detections(self, entries: object, threshold: float = 0.0):
        path = self.path.with_name("detections.json")
        path.write_text(json.dumps(entries))
        return load_detections(path, self.load(), threshold)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


class TestPaths:
    def test_standard_layout(self):
        data = DataConfig(root="r")
        assert annotation_file(data, "train") == Path("r/annotations/person_keypoints_train2017.json")
        assert annotation_file(data, "val") == Path("r/annotations/person_keypoints_val2017.json")
        assert image_folder(data, "train") == Path("r/train2017")

    def test_explicit_paths(self):
        data = DataConfig(root="r", val_annotations="a.json", train_images="pictures")
        assert annotation_file(data, "val") == Path("a.json")
        assert image_folder(data, "train") == Path("pictures")
        assert image_folder(data, "val") == Path("r/val2017")


class TestReading:
    def test_image_by_image_then_in_file_order(self, folder):
        annotations = folder.load()
        assert annotations.images.ids.tolist() == [30, 20]
        assert annotations.people.ids.tolist() == [2, 1, 3]
        assert annotations.people.image_index.tolist() == [0, 1, 1]

    def test_values_and_types(self, folder):
        annotations = folder.load()
        images, people = annotations.images, annotations.people
        assert (len(images), images.files[0], images.widths.tolist()) == (2, folder.images / "30.jpg", [100, 100])
        assert people.boxes.tolist() == [[5, 6, 30, 40]] * 3
        assert people.keypoints.shape == (3, 17, 3)
        assert (people.keypoints.dtype, people.boxes.dtype, people.is_crowd.dtype) == (np.float32, np.float64, bool)
        assert people.areas.tolist() == [700] * 3
        assert people.scores.tolist() == [1] * 3
        assert annotations.category_id == 1

    def test_other_categories_are_left_out(self, folder):
        folder.content["annotations"].append(person(4, 20, category_id=3, keypoints=[1, 2]))
        assert folder.load().people.ids.tolist() == [2, 1, 3]

    def test_category_called_person_may_have_another_id(self, folder):
        folder.content["categories"] = [{"id": 3, "name": "dog"}, {"id": 7, "name": "person"}]
        folder.content["annotations"][0]["category_id"] = 7
        annotations = folder.load()
        assert (annotations.category_id, annotations.people.ids.tolist()) == (7, [1])

    def test_category_with_keypoints_need_not_be_a_person(self, folder):
        folder.content["categories"][0]["name"] = "mouse"
        assert len(folder.load().people) == 3

    def test_pictures_in_folders_below(self, folder):
        (folder.images / "sub").mkdir()
        (folder.images / "30.jpg").rename(folder.images / "sub" / "30.jpg")
        folder.content["images"][0]["file_name"] = "sub/30.jpg"
        assert folder.load().images.files[0] == folder.images / "sub" / "30.jpg"

    @pytest.mark.parametrize("area", [0, None, "absent"])
    @pytest.mark.parametrize(
        ("segmentation", "expected"),
        [
            (None, 0.53 * 1200),
            ([], 0.53 * 1200),
            ([[0, 0, 10, 0, 10, 20, 0, 20], [0, 0, 6, 0, 0, 6]], 218),
            ({"counts": [5, 100, 7], "size": [80, 100]}, 100),
            ({"counts": "54>", "size": [80, 100]}, 4),
            ({"counts": "~~", "size": [80, 100]}, 0.53 * 1200),
        ],
        ids=["none", "empty", "polygons", "run lengths", "compressed", "damaged"],
    )
    def test_area_that_is_missing_is_estimated(self, folder, caplog, area, segmentation, expected):
        folder.content["annotations"][1] |= {"area": area, "segmentation": segmentation}
        if area == "absent":
            del folder.content["annotations"][1]["area"]
        annotations = folder.load()
        assert annotations.people.areas.tolist() == [np.float32(expected), 700, 700]
        assert annotations.estimated == 1
        assert names(caplog.text, "1 of 3", "area", "annotation 2", folder.path)

    @pytest.mark.parametrize("ids", [[0, 1, 2], [7, 7, 7], ["a", "b", "c"], [1.5, None, 10**30], None], ids=str)
    def test_ids_play_no_part(self, folder, ids):
        expected = folder.load().people
        for entry, number in zip(folder.content["annotations"], ids or [0] * 3):
            entry["id"] = number
            if ids is None:
                del entry["id"]
        people = folder.load().people
        assert people.ids.shape == (3,)
        for name in ("image_index", "boxes", "keypoints", "areas"):
            np.testing.assert_array_equal(getattr(people, name), getattr(expected, name))

    def test_nobody_annotated(self, folder):
        folder.content["annotations"] = []
        annotations = folder.load()
        assert (len(annotations.people), len(labelled(annotations))) == (0, 0)
        assert annotations.people.keypoints.shape == (0, 17, 3)

    def test_select_by_mask_and_by_rows(self, folder):
        people = folder.load().people
        assert people.select(np.array([True, False, True])).ids.tolist() == [2, 3]
        assert people.select(np.array([2, 0])).ids.tolist() == [3, 2]

    def test_counts_of_real_annotations(self, coco_mini):
        counts = {}
        for split in ("train", "val"):
            data = DataConfig(root=str(coco_mini))
            annotations = load_annotations(annotation_file(data, split), image_folder(data, split), COCO17)
            counts[split] = (len(annotations.images), len(labelled(annotations)))
        assert counts == {"train": (80, 86), "val": (79, 68)}


class TestLabelled:
    """As the SimpleBaselines loader: no crowds, somebody to learn from, a box that clipping leaves something of."""

    def kept(self, folder: Folder, **changes: object) -> bool:
        folder.content["annotations"][1].update(changes)
        return 2 in labelled(folder.load()).ids

    def test_everybody_else_stays(self, folder):
        assert self.kept(folder)
        assert labelled(folder.load()).ids.tolist() == [2, 1, 3]

    def test_crowds_are_no_people(self, folder):
        assert not self.kept(folder, iscrowd=1)

    @pytest.mark.parametrize("keypoints", [NOTHING, [], None])
    def test_people_without_keypoints(self, folder, keypoints):
        assert not self.kept(folder, keypoints=keypoints)

    def test_people_whose_annotation_has_no_keypoints_at_all(self, folder):
        del folder.content["annotations"][1]["keypoints"]
        assert not self.kept(folder)

    def test_people_without_area_have_that_of_their_box(self, folder):
        assert self.kept(folder, area=0)

    def test_one_labelled_keypoint_is_enough(self, folder):
        assert self.kept(folder, keypoints=[9, 9, 1] + [0] * 48)

    @pytest.mark.parametrize("bbox", [[100.5, 5, 20, 20], [5, 90, 20, 20], [200, 200, 5, 5]])
    def test_boxes_outside_the_picture(self, folder, bbox):
        assert not self.kept(folder, bbox=bbox)

    def test_a_box_without_extent(self, folder):
        assert not self.kept(folder, bbox=[5, 5, 0, 0])

    def test_boxes_are_clipped(self, folder):
        folder.content["annotations"][1]["bbox"] = [-3, 70, 50, 50]
        assert labelled(folder.load()).boxes[0].tolist() == [0, 70, 49, 9]


class TestDamagedAnnotations:
    def test_missing(self, folder):
        with pytest.raises(PoseError, match=naming("not found", folder.path)):
            load_annotations(folder.path, folder.images, COCO17)

    def test_missing_data_set_names_its_key(self, tmp_path):
        root = tmp_path / "absent"
        path = root / "annotations" / "person_keypoints_val2017.json"
        with pytest.raises(PoseError, match=naming(path, f"data.root={root}")):
            load_split(DataConfig(root=str(root)), "val", COCO17)

    @pytest.mark.parametrize(("root", "command"), [("data/coco", "download data/coco"), ("data/sample", "sample")])
    def test_missing_data_is_answered_by_the_command_that_brings_it(self, root, command, tmp_path, monkeypatch):
        """Nobody draws people where COCO belongs, or downloads COCO into the drawn ones."""
        monkeypatch.chdir(tmp_path)
        with pytest.raises(PoseError) as error:
            load_split(DataConfig(root=root), "val", COCO17)
        other = "mspose sample" if "download" in command else "mspose download"
        assert f"mspose {command}" in str(error.value)
        assert other not in str(error.value)

    def test_cut_in_half(self, folder):
        folder.load()
        text = folder.path.read_text()
        folder.path.write_text(text[: len(text) // 2])
        with pytest.raises(PoseError, match=naming("JSON", folder.path)):
            load_annotations(folder.path, folder.images, COCO17)

    @pytest.mark.parametrize("content", [[], [{"id": 1}], {}, {"images": {}, "annotations": []}, 5])
    def test_another_kind_of_file(self, folder, content):
        folder.content = content
        assert names(folder.file_complaint(), "images", "COCO")

    @pytest.mark.parametrize("annotations", [{}, 5, "none"])
    def test_annotations_that_are_no_list(self, folder, annotations):
        folder.content["annotations"] = annotations
        assert names(folder.file_complaint(), "annotations", "COCO")

    def test_empty_set(self, folder):
        folder.content["images"] = folder.content["annotations"] = []
        assert names(folder.file_complaint(), "no images")

    @pytest.mark.parametrize("categories", [None, [], {}, ["person"], [{"name": "person"}]])
    def test_no_category_of_people(self, folder, categories):
        folder.content["categories"] = categories
        assert names(folder.file_complaint(), "person", "data.category")

    def test_sixteen_keypoints(self, folder):
        folder.content["annotations"][1]["keypoints"] = KEYPOINTS[3:]
        things = "annotation 2", "image 30", "16 keypoints", "'coco17'", "17", "data.skeleton"
        assert names(folder.file_complaint(), *things)

    @pytest.mark.parametrize("keypoints", ["nose", {"nose": [1, 2, 2]}, 17])
    def test_keypoints_that_are_no_list(self, folder, keypoints):
        folder.content["annotations"][1]["keypoints"] = keypoints
        assert names(folder.file_complaint(), "annotation 2", "image 30", repr(keypoints), "keypoints")

    def test_names_of_another_skeleton(self, folder):
        folder.content["categories"][0]["keypoints"] = ["a", "b", "c", "d"]
        things = "data.skeleton", "'coco17'", "person (1)", "4 keypoints", "a, b, c", "17", "nose"
        assert names(folder.file_complaint(), *things)

    def test_same_names_in_another_order(self, folder):
        folder.content["categories"][0]["keypoints"].reverse()
        assert names(folder.file_complaint(), "data.skeleton", "'coco17'", "person (1)")

    @pytest.mark.parametrize("keypoints", [17, "nose", {"nose": 0}])
    def test_names_that_are_no_list(self, folder, keypoints):
        folder.content["categories"][0]["keypoints"] = keypoints
        assert names(folder.file_complaint(), "data.skeleton", "'coco17'", "person (1)")

    def test_shipped_skeleton_does_not_match(self, folder):
        folder.load()
        body14 = load_skeleton(str(ROOT / "configs" / "skeletons" / "body14.yaml"))
        with pytest.raises(PoseError, match=naming("data.skeleton", "'body14'", "person (1)", "17 keypoints")):
            load_annotations(folder.path, folder.images, body14)

    @pytest.mark.parametrize(
        "changes",
        [
            {"bbox": [1, 2, 3]},
            {"bbox": None},
            {"bbox": 5},
            {"bbox": [1, 2, 3, None]},
            {"bbox": ["5", "6", "30", "40"]},
            {"bbox": {}},
            {"bbox": [[5, 6, 30, 40]]},
            {"bbox": [5, 6, -30, 40]},
            {"area": "700"},
            {"area": [700]},
            {"area": -700},
            {"area": 1e300},
            {"iscrowd": "0"},
            {"iscrowd": [0]},
            {"keypoints": ["1"] * 51},
            {"keypoints": [None] * 51},
            {"keypoints": [[1, 2, 2]] * 17},
            {"keypoints": [1, 2] * 17},
            {"keypoints": [1e300] * 51},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("row", [1, 0])
    def test_wrong_values_name_the_annotation_and_the_key(self, folder, changes, row):
        folder.content["annotations"][row].update(changes)
        things = f"annotation {row + 1}", f"image {[20, 30][row]}", *changes
        assert names(folder.file_complaint(), *things)

    def test_missing_box(self, folder):
        del folder.content["annotations"][1]["bbox"]
        assert names(folder.file_complaint(), "annotation 2", "image 30", "bbox")

    @pytest.mark.parametrize("value", ["1", None, 1.5])
    def test_category_that_is_no_number(self, folder, value):
        folder.content["annotations"][1]["category_id"] = value
        assert names(folder.file_complaint(), "annotation 2", "image 30", "category_id", repr(value))

    def test_category_that_is_not_listed(self, folder, caplog):
        folder.content["annotations"][1]["category_id"] = 9
        assert folder.load().people.ids.tolist() == [1, 3]
        assert names(caplog.text, "1 of 3", "categories", "annotation 2", folder.path)

    def test_every_bbox_of_three_numbers(self, folder):
        for annotation in folder.content["annotations"]:
            annotation["bbox"] = [1, 2, 3]
        assert names(folder.file_complaint(), "annotation 2", "image 30", "2 more", "bbox", "3")

    @pytest.mark.parametrize("number", [float("nan"), float("inf")])
    @pytest.mark.parametrize("key", ["bbox", "keypoints", "area"])
    def test_numbers_that_are_not_finite(self, folder, key, number):
        value = {"bbox": [1, number, 3, 4], "keypoints": [number, *KEYPOINTS[1:]], "area": number}[key]
        folder.content["annotations"][1][key] = value
        assert names(folder.file_complaint(), "annotation 2", "image 30", key, "finite")

    def test_unknown_image(self, folder):
        folder.content["annotations"][1]["image_id"] = 25
        assert names(folder.file_complaint(), "annotation 2", "image 25", "listed")

    @pytest.mark.parametrize("value", ["30", None, 30.5, 10**30, [30]], ids=str)
    def test_image_id_that_is_no_number(self, folder, value):
        folder.content["annotations"][1]["image_id"] = value
        assert names(folder.file_complaint(), "annotation 2", "image_id")

    @pytest.mark.parametrize("key", ["image_id", "category_id"])
    def test_missing_keys_of_an_annotation(self, folder, key):
        del folder.content["annotations"][1][key]
        assert names(folder.file_complaint(), "annotation 2", f"'{key}'")

    def test_annotation_that_is_no_mapping(self, folder):
        folder.content["annotations"].append([1, 2])
        assert names(folder.file_complaint(), "annotation number 3", "image_id")

    @pytest.mark.parametrize("key", ["id", "file_name", "width", "height"])
    def test_missing_keys_of_an_image(self, folder, key):
        del folder.content["images"][1][key]
        assert names(folder.file_complaint(), "image", f"'{key}'")

    @pytest.mark.parametrize(
        "changes",
        [
            {"id": "20"},
            {"id": None},
            {"width": "100"},
            {"height": float("nan")},
            {"width": float("inf")},
            {"id": 10**30},
            {"file_name": 20},
            {"file_name": None},
        ],
        ids=str,
    )
    def test_wrong_values_of_an_image(self, folder, changes):
        folder.content["images"][1].update(changes)
        assert names(folder.file_complaint(), "image", "id", "file_name", "width", "height")

    @pytest.mark.parametrize("size", [(0, 80), (100, -1), (2**21, 1), (40000, 40000), (2**33, 2**33)], ids=str)
    def test_image_of_an_impossible_size(self, folder, size):
        """Its mask would take all memory."""
        folder.content["images"][1].update(width=size[0], height=size[1])
        assert names(folder.file_complaint(), "image 20", f"{size[0]}x{size[1]} pixels")

    def test_image_listed_twice(self, folder):
        folder.content["images"].append(folder.content["images"][0])
        assert names(folder.file_complaint(), "image id", "twice")

    def test_missing_picture(self, folder):
        (folder.images / "20.jpg").unlink()
        assert names(folder.complaint(), "1 of 2", folder.images, "20.jpg")

    def test_missing_folder(self, folder):
        folder.images = folder.images.with_name("elsewhere")
        assert names(folder.complaint(), folder.images, "data.root")


class TestDetections:
    def test_values(self, folder):
        people = folder.detections([detection(20, 0.25), detection(30, 0.75, bbox=[-4.5, 0, 9, 200])])
        assert people.image_index.tolist() == [1, 0]
        assert people.scores.tolist() == [0.25, 0.75]
        assert people.boxes.tolist() == [[1, 2, 30, 40], [-4.5, 0, 9, 200]]  # as given: the reference does not clip
        assert people.areas.tolist() == [1200, 1800]
        assert (people.keypoints.shape, people.keypoints.any()) == ((2, 17, 3), False)
        assert (people.ids.tolist(), people.is_crowd.tolist()) == ([0, 0], [False, False])

    def test_other_categories_are_left_out(self, folder):
        entries = [detection(20, category_id=2, bbox=None), detection(20, 0.7), detection(30, category_id=90)]
        assert folder.detections(entries).scores.tolist() == [np.float32(0.7)]

    def test_the_category_is_that_of_the_annotations(self, folder):
        folder.content["categories"][0]["id"] = 7
        assert len(folder.detections([detection(20), detection(20, category_id=7)])) == 1

    def test_unknown_pictures_are_left_out(self, folder):
        people = folder.detections([detection(1), detection(30), detection(25), detection(99)])
        assert people.image_index.tolist() == [0]

    def test_threshold_keeps_what_equals_it(self, folder):
        entries = [detection(20, score) for score in (0.25, 0.5, 0.75)]
        assert folder.detections(entries, 0.5).scores.tolist() == [0.5, 0.75]

    @pytest.mark.parametrize("bbox", [[1, 2, 0, 40], [1, 2, 30, -1]])
    def test_boxes_without_extent_are_left_out(self, folder, bbox):
        assert len(folder.detections([detection(20, bbox=bbox), detection(30)])) == 1

    def test_none(self, folder):
        with pytest.raises(PoseError, match=naming("person (1)", folder.path.with_name("detections.json"))):
            folder.detections([])

    def test_nobody_left_names_what_left_them_out(self, folder):
        with pytest.raises(PoseError, match=naming("person (1)", "2 of category 3", "data.category")):
            folder.detections([detection(20, category_id=3), detection(30, category_id=3)])
        with pytest.raises(PoseError, match=r"person \(1\).*\b1 [^()]*\b0\.9\b.*eval\.image_threshold"):
            folder.detections([detection(20)], 0.9)

    def test_of_other_pictures(self, folder):
        with pytest.raises(PoseError, match=naming("annotation file", folder.path.with_name("detections.json"))):
            folder.detections([detection(1), detection(2)])

    def test_path_from_here_or_from_the_root(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        data = DataConfig(root="coco")
        with pytest.raises(PoseError, match=naming("boxes.json", "data.root", "coco", "eval.use_gt_bbox")):
            detection_file("boxes.json", data)
        (tmp_path / "coco").mkdir()
        (tmp_path / "coco" / "boxes.json").touch()
        assert detection_file("boxes.json", data) == Path("coco/boxes.json")
        (tmp_path / "boxes.json").touch()
        assert detection_file("boxes.json", data) == Path("boxes.json")

    def test_missing(self, folder):
        path = folder.path.with_name("absent.json")
        with pytest.raises(PoseError, match=naming("eval.bbox_file", "not found", path)):
            load_detections(path, folder.load())

    def test_cut_in_half(self, folder):
        path = folder.path.with_name("d.json")
        path.write_text(json.dumps([detection(20)])[:-20])
        with pytest.raises(PoseError, match=naming("eval.bbox_file", "JSON", path)):
            load_detections(path, folder.load())

    @pytest.mark.parametrize("content", [{}, {"annotations": []}, 5, None])
    def test_no_list(self, folder, content):
        things = "list", "image_id", "category_id", "bbox", "score", folder.path.with_name("detections.json")
        with pytest.raises(PoseError, match=naming(*things)):
            folder.detections(content)

    @pytest.mark.parametrize(
        "changes",
        [
            {"bbox": [1, 2, 3]},
            {"bbox": ["1", "2", "3", "4"]},
            {"bbox": None},
            {"bbox": [float("nan"), 2, 30, 40]},
            {"score": "high"},
            {"score": None},
            {"score": float("inf")},
            {"image_id": "20"},
            {"image_id": 20.5},
        ],
        ids=str,
    )
    def test_wrong_values(self, folder, changes):
        with pytest.raises(PoseError, match=naming("detection number 1", *changes, "detections.json")):
            folder.detections([detection(30), detection(20) | changes])

    @pytest.mark.parametrize("key", ["image_id", "bbox", "score"])
    def test_missing_keys(self, folder, key):
        entry = detection(20)
        del entry[key]
        with pytest.raises(PoseError, match=naming("detection number 1", f"no {key}", "detections.json")):
            folder.detections([detection(30), entry])

    def test_missing_category(self, folder):
        entry = detection(20)
        del entry["category_id"]
        with pytest.raises(PoseError, match=naming("'category_id'", "detections.json")):
            folder.detections([detection(30), entry])

    def test_corners_are_no_boxes(self, folder):
        corners = [detection(20, bbox=[60, 30, 90, 70]), detection(30, bbox=[50, 10, 80, 60]), detection(30)]
        with pytest.raises(PoseError, match=naming("x1, y1, x2, y2", "2 of 3", "data.check=false")):
            folder.detections(corners)


class TestSegmentations:
    def test_in_the_order_of_the_people(self, folder):
        first, second = folder.content["annotations"][:2]
        first["segmentation"], second["segmentation"] = [[1, 2, 3, 4, 5, 6]], {"size": [80, 100], "counts": [8000]}
        folder.load()
        annotations = load_annotations(folder.path, folder.images, COCO17, segmentations=True)
        assert annotations.people.ids.tolist() == [2, 1, 3]
        assert annotations.segmentations == [second["segmentation"], first["segmentation"], None]

    def test_not_kept_unless_asked_for(self, folder):
        assert folder.load().segmentations is None


class TestRead:
    def test_picture(self, folder):
        picture = np.random.default_rng(0).integers(0, 256, (80, 100, 3), np.uint8)
        cv2.imwrite(str(folder.images / "x.png"), picture)
        folder.content["images"][1]["file_name"] = "x.png"
        np.testing.assert_array_equal(folder.load().images.read(1), picture)

    def test_another_size_than_annotated(self, folder):
        cv2.imwrite(str(folder.images / "30.jpg"), np.zeros((100, 80, 3), np.uint8))
        with pytest.raises(ImageError, match=r"80x100.*100x80.*30\.jpg"):
            folder.load().images.read(0)

    def test_no_picture(self, folder):
        with pytest.raises(ImageError, match=naming("truncated", folder.images / "30.jpg")):
            folder.load().images.read(0)
