"""People as a type: shapes, indexing, what they are converted to, files, drawing."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

import mspose.demo.run
from mspose import Poses
from mspose.errors import PoseError, UsageError
from mspose.images import ImageError
from mspose.skeleton import COCO17, load_skeleton
from mspose.visual import draw_poses
from tests.conftest import ROOT
from tests.fake_network import Sliced, config_with, install
from tests.messages import naming

SIZE = 120, 90
ARRAYS = ("keypoints", "keypoint_scores", "scores", "boxes", "ids")
OPENPOSE_ORDER = [
    "nose",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
]


@pytest.fixture
def people() -> Poses:
    triplets = np.arange(2 * 17 * 3, dtype=np.float32).reshape(2, 17, 3)
    triplets[..., 2] = np.linspace(0.3, 0.9, 17)
    boxes = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    return Poses.from_triplets(triplets, np.array([0.9, 0.5]), boxes, COCO17, SIZE)


@pytest.fixture
def crowd() -> Poses:
    """Five people; person i has score 1 − i / 10, number i + 3, and all else i."""
    i = np.arange(5)
    ones = np.ones((5, 17, 3)) * i[:, None, None]
    return replace(Poses.from_triplets(ones, 1 - i / 10, np.ones((5, 4)) * i[:, None], COCO17, SIZE), ids=i + 3)


class TestShapes:
    def test_arrays_become_the_documented_types(self, people: Poses) -> None:
        assert [getattr(people, name).dtype for name in ARRAYS] == [np.float32] * 4 + [np.int64]
        assert people.triplets.shape == (2, 17, 3)
        assert (people.size, people.skeleton) == (SIZE, COCO17)

    @pytest.mark.parametrize(
        ("name", "value", "shape"),
        [
            ("keypoints", np.zeros((2, 17, 3)), "(2, 17, 3)"),
            ("keypoints", np.zeros((2, 14, 2)), "(2, 14, 2)"),
            ("keypoints", np.zeros((3, 17, 2)), "(3, 17, 2)"),
            ("keypoint_scores", np.zeros((2, 18)), "(2, 18)"),
            ("boxes", np.zeros((2, 5)), "(2, 5)"),
            ("boxes", np.zeros(4), "(4,)"),
            ("ids", np.zeros(3, int), "(3,)"),
            ("scores", 0.5, "()"),
        ],
    )
    def test_another_shape_is_named(self, people: Poses, name: str, value: object, shape: str) -> None:
        with pytest.raises(UsageError, match=naming(f"Poses.{name}", shape, "coco17")):
            replace(people, **{name: value})

    @pytest.mark.parametrize(
        ("name", "value", "word"),
        [
            ("scores", np.array([0.5, np.nan]), "NaN"),
            ("boxes", np.full((2, 4), np.inf), "infinite"),
            ("scores", np.array([1e300, 0]), "infinite"),
            ("ids", np.array([0.5, 1]), "float64"),
            ("scores", np.array(["a", "b"]), "numbers"),
            ("boxes", [[1, 2, 3, 4], [5]], "numbers"),
        ],
    )
    def test_values_that_are_no_numbers(self, people: Poses, name: str, value: object, word: str) -> None:
        with pytest.raises(UsageError, match=naming(f"Poses.{name}", word)):
            replace(people, **{name: value})

    @pytest.mark.parametrize("size", [(0, 5), (3,), None, (2.5, 3), "ab", (4, 5, 6)])
    def test_size(self, people: Poses, size: object) -> None:
        with pytest.raises(UsageError, match=naming("Poses.size", repr(size))):
            replace(people, size=size)

    def test_triplets_without_scores(self) -> None:
        with pytest.raises(UsageError, match=naming("(2, 17, 2)")):
            Poses.from_triplets(np.zeros((2, 17, 2)), np.zeros(2), np.zeros((2, 4)), COCO17, SIZE)

    def test_nobody(self) -> None:
        nobody = Poses.empty(SIZE)
        assert [getattr(nobody, name).shape for name in ARRAYS] == [(0, 17, 2), (0, 17), (0,), (0, 4), (0,)]
        assert (len(nobody), list(nobody), bool(nobody)) == (0, [], False)
        assert nobody.to_coco(1) == nobody.to_openpose()["people"] == json.loads(nobody.to_json())["people"] == []
        assert nobody.to_csv().count("\n") == 1
        grey = np.full((90, 120, 3), 128, np.uint8)
        np.testing.assert_array_equal(nobody.draw(grey), grey)


class TestIndexing:
    @pytest.mark.parametrize(
        ("which", "rows"),
        [
            (0, [0]),
            (-1, [4]),
            (np.int64(2), [2]),
            (slice(1, 3), [1, 2]),
            (slice(None, None, -2), [4, 2, 0]),
            ([3, 0, 0], [3, 0, 0]),
            (np.array([4, -5]), [4, 0]),
            (np.array([True, False, False, True, False]), [0, 3]),
            ([False] * 5, []),
            ([], []),
        ],
        ids=str,
    )
    def test_rows_of_all_arrays(self, crowd: Poses, which: object, rows: list[int]) -> None:
        some = crowd[which]
        assert (len(some), some.size, some.skeleton) == (len(rows), SIZE, COCO17)
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(some, name), getattr(crowd, name)[rows])

    @pytest.mark.parametrize(
        ("which", "thing"),
        [
            (5, "5"),
            (-6, "5"),
            ([0, 7], "7"),
            (np.array([True, False]), "2"),
            (np.ones((5, 1), bool), "mask"),
            (1.0, "1.0"),
            ("scores", "scores"),
            ((0, 1), "(0, 1)"),
            (True, "True"),
            (None, "None"),
        ],
        ids=str,
    )
    def test_nobody_of_that_number(self, crowd: Poses, which: object, thing: str) -> None:
        with pytest.raises(IndexError, match=naming(thing)):
            crowd[which]

    def test_iteration_gives_one_person_each(self, crowd: Poses) -> None:
        assert [(len(person), person.ids.tolist()) for person in crowd] == [(1, [number]) for number in range(3, 8)]

    def test_it_says_who_it_is(self, crowd: Poses) -> None:
        assert tuple(part in repr(crowd) for part in ("5", "coco17", "120x90", "1.00, 0.90")) == (True,) * 4
        assert "120x90" in repr(Poses.empty(SIZE))


class TestCoco:
    def test_form(self, people: Poses) -> None:
        first, second = people.to_coco(139, file_name="000000000139.jpg")
        assert (first["image_id"], first["file_name"], first["category_id"]) == (139, "000000000139.jpg", 1)
        assert first["keypoints"][:4] == [0.0, 1.0, 0.3, 3.0]
        assert len(first["keypoints"]) == 51
        assert (second["box"], second["score"]) == ([5.0, 6.0, 7.0, 8.0], 0.5)
        assert not {"track_id", "frame"} & first.keys()
        assert "file_name" not in people.to_coco(139)[0]

    def test_of_a_video(self, people: Poses) -> None:
        entries = replace(people, ids=np.array([4, 0])).to_coco(12, file_name="7.mp4", frame=12)
        assert [(e["image_id"], e["frame"], e["track_id"]) for e in entries] == [(12, 12, 4), (12, 12, 0)]

    def test_category_and_a_box_that_moves_no_figure(self, people: Poses) -> None:
        """COCO's tools take the size of a person from the key bbox, where there is one."""
        entries = people.to_coco(7, 5)
        assert [entry["category_id"] for entry in entries] == [5, 5]
        coco = COCO()
        coco.dataset = {"images": [{"id": 7}], "annotations": [], "categories": [{"id": 5}]}
        coco.createIndex()
        with contextlib.redirect_stdout(io.StringIO()):
            loaded = coco.loadRes([dict(entry) for entry in entries]).dataset["annotations"]
        points = people.keypoints[0]
        assert loaded[0]["area"] == pytest.approx(float(np.prod(np.ptp(points, axis=0))), rel=1e-3)

    def test_people_come_back(self, people: Poses) -> None:
        entries = json.loads(json.dumps(people.to_coco(3)))
        triplets = np.array([entry["keypoints"] for entry in entries]).reshape(-1, 17, 3)
        again = Poses.from_triplets(
            triplets, [e["score"] for e in entries], [e["box"] for e in entries], COCO17, people.size
        )
        assert again.to_coco(3) == people.to_coco(3)
        np.testing.assert_allclose(again.triplets, people.triplets, atol=6e-4)


class TestOpenPose:
    def test_form(self, people: Poses) -> None:
        content = people.to_openpose()
        assert content["version"] == 1.3
        rows = np.array(content["people"][1]["pose_keypoints_2d"]).reshape(18, 3)
        place = {name: i for i, name in enumerate(OPENPOSE_ORDER)}
        for j, name in enumerate(COCO17.keypoints):
            np.testing.assert_allclose(rows[place[name]], people.triplets[1, j], atol=1e-3)
        shoulders = people.triplets[1, [5, 6]]
        np.testing.assert_allclose(rows[1], [*shoulders[:, :2].mean(axis=0), shoulders[:, 2].min()], atol=1e-3)
        assert content["people"][0]["person_id"] == [-1]
        assert content["people"][0]["face_keypoints_2d"] == []

    def test_unsure_joints_are_left_out(self, people: Poses) -> None:
        """The right shoulder is unsure, and with it the neck."""
        unsure = people.keypoint_scores.copy()
        unsure[0, 6] = 0.1
        unsure_people = replace(people, keypoint_scores=unsure)
        rows = np.array(unsure_people.to_openpose()["people"][0]["pose_keypoints_2d"]).reshape(18, 3)
        assert np.flatnonzero((rows == 0).all(axis=1)).tolist() == [1, 2]
        rows = np.array(unsure_people.to_openpose(0.05)["people"][0]["pose_keypoints_2d"]).reshape(18, 3)
        assert (rows[:, 2] > 0).all()

    def test_other_keypoints_keep_their_order(self) -> None:
        skeleton = load_skeleton(str(ROOT / "configs" / "skeletons" / "body14.yaml"))
        triplets = np.ones((1, 14, 3), np.float32)
        triplets[0, :, 0] = np.arange(14)
        people = Poses.from_triplets(triplets, np.ones(1), np.ones((1, 4)), skeleton, SIZE)
        assert people.to_openpose()["people"][0]["pose_keypoints_2d"][::3] == list(range(14))


class TestFiles:
    def test_json_says_all(self, crowd: Poses, tmp_path: Path) -> None:
        said = json.loads(crowd.save(tmp_path / "a.json").read_text())
        assert (said["skeleton"], said["width"], said["height"]) == ("coco17", *SIZE)
        assert tuple(said["keypoints"]) == COCO17.keypoints
        columns = {key: [person[key] for person in said["people"]] for key in ("keypoints", "score", "box", "id")}
        again = Poses.from_triplets(columns["keypoints"], columns["score"], columns["box"], COCO17, SIZE)
        for name in ARRAYS[:4]:
            np.testing.assert_allclose(getattr(again, name), getattr(crowd, name), atol=1e-7)
        assert columns["id"] == crowd.ids.tolist()

    def test_ids_are_those_of_people_who_are_tracked(self, people: Poses) -> None:
        assert all("id" not in person for person in json.loads(people.to_json())["people"])

    def test_csv_names_its_columns(self, crowd: Poses, tmp_path: Path) -> None:
        rows = list(csv.DictReader(crowd.save(tmp_path / "a.CSV").read_text().splitlines()))
        assert len(rows[0]) == 2 + 4 + 3 * 17
        for row, person in zip(rows, crowd, strict=True):
            assert (int(row["id"]), float(row["score"])) == (person.ids[0], pytest.approx(person.scores[0]))
            assert [float(row[f"box_{part}"]) for part in ("x", "y", "width", "height")] == person.boxes[0].tolist()
            for j, name in enumerate(COCO17.keypoints):
                read = [float(row[f"{name}_{part}"]) for part in ("x", "y", "score")]
                assert read == person.triplets[0, j].tolist()

    @pytest.mark.parametrize("suffix", [".json", ".csv"])
    def test_saved_poses_are_replaced_and_other_files_stay(self, crowd: Poses, tmp_path: Path, suffix: str) -> None:
        path = crowd.save(tmp_path / f"a{suffix}")
        Poses.empty(SIZE).save(path)
        assert path.read_text() == (Poses.empty(SIZE).to_json() if suffix == ".json" else Poses.empty(SIZE).to_csv())
        path.write_text('{"shapes": [], "version": "of somebody else"}')
        with pytest.raises(UsageError, match=naming(path)):
            crowd.save(path)
        assert path.read_text().startswith('{"shapes"')
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("name", ["a.jpg", "a", "a.yaml"])
    def test_other_suffixes(self, crowd: Poses, tmp_path: Path, name: str) -> None:
        with pytest.raises(UsageError, match=naming(tmp_path / name, ".json", ".csv")):
            crowd.save(tmp_path / name)

    def test_a_folder_in_the_way(self, crowd: Poses, tmp_path: Path) -> None:
        (tmp_path / "a.json").mkdir()
        with pytest.raises(PoseError, match=naming(tmp_path / "a.json")):
            crowd.save(tmp_path / "a.json")


class TestDrawing:
    def test_it_is_drawn_as_everywhere(self, people: Poses) -> None:
        image = np.full((90, 120, 3), 128, np.uint8)
        drawn = people.draw(image, 0.5, 3)
        np.testing.assert_array_equal(drawn, draw_poses(image, people.triplets, COCO17, 0.5, line_width=3))
        assert (image == 128).all()
        tracked = replace(people, ids=np.array([4, -1])).draw(image)
        np.testing.assert_array_equal(tracked, draw_poses(image, people.triplets, COCO17, labels=["#4", ""]))

    def test_channels_stay_in_order(self, people: Poses, tmp_path: Path) -> None:
        image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "a.png"), image)
        drawn = people.draw(image)
        np.testing.assert_array_equal(people.draw(image[..., ::-1], color="rgb"), drawn[..., ::-1])
        np.testing.assert_array_equal(people.draw(tmp_path / "a.png"), drawn)
        np.testing.assert_array_equal(people.draw(tmp_path / "a.png", color="rgb"), drawn[..., ::-1])

    def test_another_picture(self, people: Poses, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=naming("120x90", "90x120")):
            people.draw(np.zeros((120, 90, 3), np.uint8))
        with pytest.raises(UsageError, match=naming("float64")):
            people.draw(np.zeros((90, 120, 3)))
        with pytest.raises(ImageError, match=naming(tmp_path / "none.jpg")):
            people.draw(tmp_path / "none.jpg")


def test_the_demo_writes_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, Sliced())
    image = np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "000000000012.png"), image)
    config = config_with(tmp_path, demo__input=str(tmp_path / "000000000012.png"))
    mspose.demo.run.run_demo(config)
    people = mspose.PoseEstimator(config)(tmp_path / "000000000012.png")
    assert len(people) == 1
    written = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert written == people.to_coco(12, file_name="000000000012.png")
    written = json.loads((tmp_path / "out" / "openpose" / "000000000012_keypoints.json").read_text())
    assert written == people.to_openpose()
    drawn = cv2.imread(str(tmp_path / "out" / "pictures" / "000000000012.png"))
    np.testing.assert_array_equal(drawn, people.draw(tmp_path / "000000000012.png"))


def test_importing_needs_little() -> None:
    heavy = "mindspore", "onnxruntime", "pycocotools", "omegaconf", "PIL", "matplotlib"
    code = f"import sys; from mspose import Poses; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
