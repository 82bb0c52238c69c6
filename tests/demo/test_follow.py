"""People are followed by their keypoints in frames where the detector rests."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from mspose.config.schema import Config
from mspose.demo.follow import GROWTH, Follower, boxes_of
from mspose.demo.run import run_demo
from mspose.detection import Boxes
from mspose.estimator import PoseEstimator
from mspose.poses import Poses
from mspose.skeleton import COCO17
from tests.demo.test_sources import video
from tests.fake_network import Sliced, config_with, install

WIDTH, HEIGHT = 64, 48


def people(*corners: tuple[float, float, float, float], sure: int = 17) -> Poses:
    """A person for each x1, y1, x2, y2: the first `sure` keypoints in a row from corner to corner, the others at 0."""
    ends = np.array(corners).reshape(-1, 2, 1, 2)
    keypoints = ends[:, 0] + (ends[:, 1] - ends[:, 0]) * np.linspace(0, 1, sure)[:, None]
    triplets = np.zeros((len(corners), 17, 3))
    triplets[:, :sure, :2], triplets[:, :sure, 2] = keypoints, 0.9
    boxes = np.tile([0.0, 0, 5, 5], (len(corners), 1))
    return Poses.from_triplets(triplets, [0.9] * len(corners), boxes, COCO17, (WIDTH, HEIGHT))


def test_boxes_are_those_of_sure_keypoints_grown_and_within_the_picture() -> None:
    found = boxes_of(people((20, 10, 40, 30), (50, 40, 70, 60)), 0.2)
    grown = 20 * GROWTH
    corner = 60 - grown / 2, 50 - grown / 2
    np.testing.assert_allclose(
        found, [[30 - grown / 2, 20 - grown / 2, grown, grown], [*corner, WIDTH - corner[0], HEIGHT - corner[1]]]
    )


def test_unsure_keypoints_do_not_count_and_too_few_are_nobody() -> None:
    np.testing.assert_allclose(boxes_of(people((20, 10, 40, 30), sure=3), 0.2)[:, 2:], [[20 * GROWTH] * 2])
    assert boxes_of(people((20, 10, 40, 30), sure=2), 0.2).shape == (0, 4)
    assert boxes_of(people(), 0.2).shape == (0, 4)


def test_the_detector_looks_at_every_nth_frame_and_where_nobody_is_left() -> None:
    follower = Follower(3, 0.2)
    seen = []
    frames = people((20, 10, 40, 30)), None, people((10, 10, 30, 30)), people(), people((0, 0, 9, 9)), people()
    for place, found in enumerate(frames):
        seen.append(follower.boxes(place))
        follower.found(found)
    at = [None if boxes is None else float(boxes[0, 0] + boxes[0, 2] / 2) for boxes in seen]
    # A frame that could not be looked at leaves people where they were.
    assert at == [None, 30, 30, None, None, pytest.approx(9 * (1 + GROWTH) / 4)]


def test_a_frame_waits_for_the_people_of_the_one_before() -> None:
    follower, answers = Follower(2, 0.2), []
    assert follower.boxes(0) is None
    waiting = threading.Thread(target=lambda: answers.append(follower.boxes(1)))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    follower.found(people((20, 10, 40, 30)))
    waiting.join(10)
    assert answers[0].shape == (1, 4)


class Counting:
    """A detector that finds one person and counts its pictures."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, image: np.ndarray, name: str = "") -> Boxes:
        self.calls += 1
        return Boxes(np.array([[10.0, 5.0, 30.0, 40.0]]), np.array([0.9], np.float32))


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Counting:
    install(monkeypatch, Sliced())
    detector = Counting()
    monkeypatch.setattr("mspose.estimator.build_detector", lambda config, overlap: detector)
    return detector


@pytest.mark.parametrize(("every", "calls"), [(1, 12), (5, 3)])
def test_a_video_is_whole_whoever_finds_the_people(detector: Counting, tmp_path: Path, every: int, calls: int) -> None:
    config = config_with(
        tmp_path,
        demo__input=str(video(tmp_path / "v.mp4", 12)),
        demo__detect_every=every,
        demo__keypoint_threshold=0.0,
    )
    run_demo(config)
    entries = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [entry["frame"] for entry in entries] == list(range(12))
    assert detector.calls == calls


def ends(config: Config) -> list[BaseException]:
    """What a demo that must not wait for ever raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            run_demo(config)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    return raised


@pytest.mark.usefixtures("detector")
@pytest.mark.parametrize("step", ["prepare", "run_group", "finish", "draw"])
def test_a_step_that_fails_ends_the_frames_that_wait(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: str
) -> None:
    work, calls = getattr(PoseEstimator, step), iter(range(99))

    def fail(*arguments: object, **options: object) -> object:
        if next(calls) == 4:
            raise ValueError("spoilt")
        return work(*arguments, **options)

    monkeypatch.setattr(PoseEstimator, step, fail)
    config = config_with(
        tmp_path,
        demo__input=str(video(tmp_path / "v.mp4", 12)),
        demo__detect_every=12,
        demo__keypoint_threshold=0.0,
    )
    assert [str(error) for error in ends(config)] == ["spoilt"]
