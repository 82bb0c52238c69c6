"""Skeletons: the built-in one is COCO's, files are checked key by key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from mspose.errors import UsageError
from mspose.skeleton import COCO17, LEFT, MIDDLE, RIGHT, load_skeleton
from tests.messages import tells_of

THREE = {
    "name": "three",
    "keypoints": ["head", "left_hand", "right_hand"],
    "limbs": [["head", "left_hand"]],
    "flip_pairs": [["left_hand", "right_hand"]],
    "sigmas": [0.1, 0.2, 0.2],
    "upper_body": ["head"],
    "colors": [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
}


def store(tmp_path: Path, **changes: object) -> Path:
    content = {key: value for key, value in {**THREE, **changes}.items() if value != "absent"}
    path = tmp_path / "three.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


class TestCoco:
    def test_as_published(self):
        assert COCO17.num_keypoints == 17
        assert COCO17.keypoints[0] == "nose"
        assert COCO17.flip_pairs == ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))
        assert COCO17.upper_body == tuple(range(11))
        assert len(COCO17.limbs) == 19

    def test_limbs_are_those_of_the_annotation_files(self, coco_mini):
        import json

        with (coco_mini / "annotations" / "person_keypoints_val2017.json").open() as file:
            (category,) = json.load(file)["categories"]
        assert list(COCO17.keypoints) == category["keypoints"]
        assert [[a + 1, b + 1] for a, b in COCO17.limbs] == category["skeleton"]

    def test_sigmas_are_those_of_the_metric(self):
        pytest.importorskip("pycocotools")
        from pycocotools.cocoeval import Params

        np.testing.assert_allclose(COCO17.sigmas, Params("keypoints").kpt_oks_sigmas)

    def test_flip_index_exchanges_sides_and_is_its_own_inverse(self):
        index = COCO17.flip_index
        names = [COCO17.keypoints[i] for i in index]
        swap = {"left": "right", "right": "left"}
        assert names == ["_".join(swap.get(part, part) for part in name.split("_")) for name in COCO17.keypoints]
        np.testing.assert_array_equal(index[index], np.arange(17))

    def test_colours_tell_the_sides_apart(self):
        expected = [LEFT if "left" in k else RIGHT if "right" in k else MIDDLE for k in COCO17.keypoints]
        assert list(COCO17.colors) == expected


class TestFile:
    def complaint(self, path: Path) -> str:
        with pytest.raises(UsageError) as caught:
            load_skeleton(str(path))
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
        return str(caught.value)

    def test_loads(self, tmp_path):
        skeleton = load_skeleton(str(store(tmp_path)))
        assert (skeleton.name, skeleton.num_keypoints) == ("three", 3)
        assert (skeleton.limbs, skeleton.flip_pairs, skeleton.upper_body) == (((0, 1),), ((1, 2),), (0,))
        assert skeleton.colors == ((1, 2, 3), (4, 5, 6), (7, 8, 9))
        np.testing.assert_array_equal(skeleton.flip_index, [0, 2, 1])

    def test_optional_keys(self, tmp_path):
        skeleton = load_skeleton(str(store(tmp_path, upper_body="absent", colors="absent")))
        assert (skeleton.upper_body, skeleton.colors) == ((), (MIDDLE, LEFT, RIGHT))

    def test_built_in_by_name(self):
        assert load_skeleton("coco17") is COCO17

    def test_neither_name_nor_file(self):
        message = self.complaint(Path("coco18"))
        assert tells_of(message, "data.skeleton", "'coco18'", "coco17")

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"sigmas": "absent"}, ("missing", "'sigmas'")),
            ({"sigma": [1]}, ("unknown", "'sigma'")),
            ({"keypoints": []}, ("keypoints", "list")),
            ({"keypoints": "head"}, ("keypoints", "list")),
            ({"keypoints": [1, 2, 3]}, ("keypoints", "list")),
            ({"keypoints": ["a", True, "b"]}, ("keypoints", "list")),
            ({"keypoints": ["a", "b", "a"]}, ("keypoints", "distinct")),
            ({"sigmas": [0.1, 0.2]}, ("sigmas", 3)),
            ({"sigmas": 0.1}, ("sigmas", 3)),
            ({"sigmas": [0.1, 0.2, 0]}, ("sigmas", "positive")),
            ({"sigmas": [0.1, 0.2, float("nan")]}, ("sigmas", "positive")),
            ({"sigmas": ["x", 1, 1]}, ("sigmas", "numbers")),
            ({"limbs": [["head", "foot"]]}, ("'foot'", "keypoints")),
            ({"upper_body": ["foot"]}, ("'foot'", "keypoints")),
            ({"limbs": [["head"]]}, ("limbs", "flip_pairs")),
            ({"limbs": None}, ("limbs", "flip_pairs")),
            ({"upper_body": 3}, ("limbs", "flip_pairs")),
            ({"flip_pairs": [["head", "left_hand"], ["left_hand", "right_hand"]]}, ("flip_pairs", "two")),
            ({"flip_pairs": [["head", "head"]]}, ("flip_pairs", "two")),
            ({"colors": [[1, 2, 3]]}, ("colors", "RGB", 3)),
            ({"colors": 5}, ("colors", "RGB", 3)),
            ({"colors": [[1, 2], [1, 2], [1, 2]]}, ("colors", "RGB", 3)),
            ({"colors": [[1, 2, 300]] * 3}, ("colors", "RGB", 3)),
        ],
    )
    def test_mistake_is_named(self, tmp_path, changes, named):
        assert tells_of(self.complaint(store(tmp_path, **changes)), *named)

    @pytest.mark.parametrize("content", [b"name: [", b"- a\n", b"", b"\xff\xfe\x00"])
    def test_not_a_skeleton_file(self, tmp_path, content):
        (tmp_path / "three.yaml").write_bytes(content)
        self.complaint(tmp_path / "three.yaml")
