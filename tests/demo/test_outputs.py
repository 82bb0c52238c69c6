"""Predictions in COCO's and OpenPose's form, and drawn videos."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from mspose.demo.outputs import coco_entries, openpose_layout, openpose_people, video_file
from mspose.demo.sources import Frame
from mspose.errors import PoseError
from mspose.poses import Poses, make_poses
from mspose.skeleton import COCO17, load_skeleton
from tests.conftest import ROOT
from tests.messages import naming

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
    return make_poses(triplets, np.array([0.9, 0.5]), np.array([[1, 2, 3, 4], [5, 6, 7, 8]]))


def frame(name: str = "a.jpg", number: int = 0, image_id: int = 0) -> Frame:
    return Frame(number, image_id, name, Path(name).stem, None)


def test_coco_form(people: Poses) -> None:
    first, second = coco_entries(people, frame("000000000139.jpg", 5, 139), is_video=False)
    assert (first["image_id"], first["file_name"], first["category_id"]) == (139, "000000000139.jpg", 1)
    assert first["keypoints"][:4] == [0.0, 1.0, 0.3, 3.0]
    assert len(first["keypoints"]) == 51
    assert (second["box"], second["score"]) == ([5.0, 6.0, 7.0, 8.0], 0.5)
    assert "track_id" not in first
    assert "frame" not in first


def test_coco_form_of_a_video(people: Poses) -> None:
    tracked = Poses(**{**vars(people), "ids": np.array([4, 2])})
    entries = coco_entries(tracked, frame("7.mp4", 12, 12), is_video=True)
    assert [(e["image_id"], e["frame"], e["track_id"]) for e in entries] == [(12, 12, 4), (12, 12, 2)]


def test_openpose_form(people: Poses) -> None:
    content = openpose_people(people, openpose_layout(COCO17), 0.2)
    assert content["version"] == 1.3
    rows = np.array(content["people"][1]["pose_keypoints_2d"]).reshape(18, 3)
    place = {name: i for i, name in enumerate(OPENPOSE_ORDER)}
    for j, name in enumerate(COCO17.keypoints):
        np.testing.assert_allclose(rows[place[name]], people.triplets[1, j], atol=1e-3)
    shoulders = people.triplets[1, [5, 6]]
    np.testing.assert_allclose(rows[1], [*shoulders[:, :2].mean(axis=0), shoulders[:, 2].min()], atol=1e-3)
    assert content["people"][0]["person_id"] == [-1]
    assert content["people"][0]["face_keypoints_2d"] == []


def test_openpose_form_leaves_unsure_joints_out(people: Poses) -> None:
    """The right shoulder is unsure, and with it the neck."""
    unsure = people.keypoint_scores.copy()
    unsure[0, 6] = 0.1
    rows = openpose_people(Poses(**{**vars(people), "keypoint_scores": unsure}), openpose_layout(COCO17), 0.2)
    rows = np.array(rows["people"][0]["pose_keypoints_2d"]).reshape(18, 3)
    assert np.flatnonzero((rows == 0).all(axis=1)).tolist() == [1, 2]


def test_openpose_form_of_other_keypoints_keeps_their_order() -> None:
    skeleton = load_skeleton(str(ROOT / "configs" / "skeletons" / "body14.yaml"))
    triplets = np.ones((1, 14, 3), np.float32)
    triplets[0, :, 0] = np.arange(14)
    content = openpose_people(make_poses(triplets, np.ones(1), np.ones((1, 4))), openpose_layout(skeleton), 0.2)
    assert content["people"][0]["pose_keypoints_2d"][::3] == list(range(14))


def test_nobody(people: Poses) -> None:
    nobody = people.select(np.zeros(2, bool))
    assert coco_entries(nobody, frame(), is_video=False) == []
    assert openpose_people(nobody, openpose_layout(COCO17), 0.2)["people"] == []


def frames(path: Path) -> list[np.ndarray]:
    capture, result = cv2.VideoCapture(str(path)), []
    while (image := capture.read()[1]) is not None:
        result.append(image)
    return result


def test_video_of_odd_size(tmp_path: Path) -> None:
    with video_file(tmp_path / "v.mp4", 12.5) as writer:
        for number, level in enumerate((40, 120, 200)):
            writer.write(np.full((49, 65, 3), level, np.uint8), number)
    read = frames(tmp_path / "v.mp4")
    assert [image.shape for image in read] == [(48, 64, 3)] * 3
    np.testing.assert_allclose([image.mean() for image in read], [40, 120, 200], atol=6)
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]


@pytest.mark.parametrize(
    "fps",
    [
        0.01,
        0.1,
        0.5,
        0.337,
        1,
        12.34,
        23.976,
        29.97,
        30,
        59.94,
        65.5351,
        66.667,
        70.123,
        118.347,
        165.002,
        655.355,
        999.9,
    ],
)
def test_any_rate(tmp_path: Path, fps: float) -> None:
    with video_file(tmp_path / "v.mp4", fps) as writer:
        for number in range(3):
            writer.write(np.zeros((48, 64, 3), np.uint8), number)
    capture = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    assert abs(capture.get(cv2.CAP_PROP_FPS) - fps) <= max(1e-3, 1e-4 * fps)
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3


def test_missing_frames_leave_the_others_their_time(tmp_path: Path) -> None:
    with video_file(tmp_path / "v.mp4", 10) as writer:
        for number, level in ((0, 40), (3, 200)):
            writer.write(np.full((48, 64, 3), level, np.uint8), number)
    np.testing.assert_allclose([image.mean() for image in frames(tmp_path / "v.mp4")], [40, 40, 40, 200], atol=6)


def test_a_folder_whose_name_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff") / os.fsdecode(b"caf\xe9.mp4")
    with video_file(path, 10) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8), 0)
    path = path.rename(tmp_path / "v.mp4")
    assert len(frames(path)) == 1


def test_an_interrupted_video_keeps_what_was_written(tmp_path: Path) -> None:
    def interrupt() -> None:
        with video_file(tmp_path / "v.mp4", 10) as writer:
            writer.write(np.zeros((48, 64, 3), np.uint8), 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert len(frames(tmp_path / "v.mp4")) == 1


def test_a_failed_video_leaves_no_file(tmp_path: Path) -> None:
    def fail() -> None:
        with video_file(tmp_path / "v.mp4", 10) as writer:
            writer.write(np.zeros((48, 64, 3), np.uint8), 0)
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fail()
    assert list(tmp_path.iterdir()) == []


def test_frames_that_did_not_reach_the_disk_are_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_too_few() -> None:
        with video_file(tmp_path / "v.mp4", 10) as writer:
            writer.write(np.zeros((48, 64, 3), np.uint8), 0)
            writer.count += 1

    with pytest.raises(PoseError, match=naming(tmp_path / "v.mp4", "frames")):
        write_too_few()
    assert list(tmp_path.iterdir()) == []


def test_category_and_a_box_that_moves_no_figure(people: Poses) -> None:
    """COCO's tools take the size of a person from the key bbox, where there is one."""
    entries = coco_entries(people, frame("7.jpg", 0, 7), is_video=False, category_id=5)
    assert [entry["category_id"] for entry in entries] == [5, 5]
    coco = COCO()
    coco.dataset = {"images": [{"id": 7}], "annotations": [], "categories": [{"id": 5}]}
    coco.createIndex()
    with contextlib.redirect_stdout(io.StringIO()):
        loaded = coco.loadRes([dict(entry) for entry in entries]).dataset["annotations"]
    points = people.keypoints[0]
    assert loaded[0]["area"] == pytest.approx(float(np.prod(np.ptp(points, axis=0))), rel=1e-3)
