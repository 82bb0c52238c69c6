"""The Python API: the same poses as evaluation, whatever the number of people, and errors that say what is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import mspose
from mspose import PoseEstimator
from mspose.errors import PoseError, UsageError
from mspose.images import ImageError
from mspose.methods.evaluator import Evaluator
from mspose.networks import method_of
from tests.conftest import ROOT
from tests.fake_network import BOTTOM_UP, TOP_DOWN, Sliced, config_with, install
from tests.messages import naming

IMAGE = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
BOXES = np.array([[20, 30, 80, 150], [150, 20, 60, 200], [200.5, 60, 90, 140], [5, 5, 300, 230], [100, 100, 40, 80]])


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Sliced:
    network = Sliced()
    install(monkeypatch, network)
    return network


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"eval__flip_test": False},
        {"eval__nms": "none"},
        {"eval__nms": "parametric"},
        {"eval__rescore": "alphapose"},
    ],
    ids=str,
)
def test_poses_are_those_of_evaluation(network: Sliced, sample_dir: Path, tmp_path: Path, options: dict) -> None:
    mirrored = options.get("eval__flip_test", True)
    config = config_with(tmp_path, data__root=str(sample_dir), demo__flip_test=mirrored, **options)
    evaluator = Evaluator(method_of(config), annotated_boxes=True)
    results = evaluator.run(network).results
    estimator = PoseEstimator(config)
    for row, image_id in enumerate(evaluator.images.ids):
        expected = sorted((r for r in results if r["image_id"] == image_id), key=lambda r: -r["score"])
        boxes = evaluator.annotated.boxes[evaluator.annotated.image_index == row]
        people = estimator(evaluator.images.read(row), boxes)
        assert len(people) == len(expected)
        keypoints = np.array([r["keypoints"] for r in expected]).reshape(-1, 17, 3)
        np.testing.assert_allclose(people.triplets, keypoints, atol=6e-4)  # results are rounded to 3 decimals
        np.testing.assert_allclose(people.scores, [r["score"] for r in expected], rtol=1e-6)


def test_bottom_up_poses_are_those_of_evaluation(
    monkeypatch: pytest.MonkeyPatch, sample_dir: Path, tmp_path: Path
) -> None:
    config = config_with(tmp_path, BOTTOM_UP, data__root=str(sample_dir))
    evaluator = Evaluator(method_of(config))

    def perfect(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # The sample's pictures have the size of the network's input, so annotations need no scaling.
        height, width = inputs.shape[2:]
        heatmaps, pafs, _ = evaluator.method.codec.encode(evaluator.annotated.keypoints[:2], (width, height))
        return pafs[None], heatmaps[None]

    install(monkeypatch, perfect)
    results = evaluator.run(perfect).results
    people = PoseEstimator(config)(evaluator.images.read(0))
    first = [r for r in results if r["image_id"] == evaluator.images.ids[0]]
    assert len(people) == len(first) > 0
    expected = np.array([r["keypoints"] for r in first]).reshape(-1, 17, 3)
    order = np.argsort([-r["score"] for r in first], kind="stable")
    np.testing.assert_allclose(people.triplets, expected[order], atol=6e-4)
    found = people.keypoints[0][people.keypoint_scores[0] > 0]
    np.testing.assert_allclose(people.boxes[0], [*found.min(axis=0), *np.ptp(found, axis=0)], rtol=1e-6)


def test_the_network_is_compiled_for_two_batches_only(network: Sliced, tmp_path: Path) -> None:
    estimator = PoseEstimator(config_with(tmp_path, eval__nms="none"))
    for count in range(len(BOXES) + 1):
        assert len(estimator(IMAGE, BOXES[:count])) == count
    assert {shape[0] for shape in network.shapes} <= set(network.batches)


def test_people_do_not_depend_on_each_other(network: Sliced, tmp_path: Path) -> None:
    estimator = PoseEstimator(config_with(tmp_path, eval__nms="none"))
    together = estimator(IMAGE, BOXES)
    for box in BOXES:
        alone = estimator(IMAGE, box)
        (row,) = np.flatnonzero((together.boxes == alone.boxes).all(axis=1))
        np.testing.assert_array_equal(together[[row]].triplets, alone.triplets)


def test_nobody_found(network: Sliced, tmp_path: Path) -> None:
    people = PoseEstimator(config_with(tmp_path))(IMAGE, np.zeros((0, 4)))
    shapes = [getattr(people, name).shape for name in ("keypoints", "keypoint_scores", "scores", "boxes", "ids")]
    assert shapes == [(0, 17, 2), (0, 17), (0,), (0, 4), (0,)]
    assert network.shapes == []


def test_best_first_and_none_below_the_threshold(network: Sliced, tmp_path: Path) -> None:
    everybody = PoseEstimator(config_with(tmp_path, eval__nms="none"))(IMAGE, BOXES).scores
    assert (np.diff(everybody) <= 0).all()
    threshold = float(everybody[1:3].mean())
    some = PoseEstimator(config_with(tmp_path, eval__nms="none", demo__person_threshold=threshold))(IMAGE, BOXES)
    np.testing.assert_array_equal(some.scores, everybody[:2])


def test_boxes_without_extent_are_left_out(network: Sliced, tmp_path: Path) -> None:
    boxes = np.array([[0, 0, 50, 90], [10, 10, 0, 5], [np.nan, 0, 5, 5]])
    assert len(PoseEstimator(config_with(tmp_path))(IMAGE, boxes)) == 1


def test_a_file_is_turned_as_its_exif_says(network: Sliced, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), IMAGE)
    data = (tmp_path / "a.jpg").read_bytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    (tmp_path / "b.jpg").write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    estimator = PoseEstimator(config_with(tmp_path))
    assert estimator(tmp_path / "a.jpg").boxes[0].tolist() == [0, 0, 320, 240]
    assert estimator(tmp_path / "b.jpg").boxes[0].tolist() == [0, 0, 240, 320]


def test_numbers_across_pictures(network: Sliced, tmp_path: Path) -> None:
    estimator = PoseEstimator(config_with(tmp_path, demo__track=True, eval__nms="none", demo__keypoint_threshold=0.0))
    first = estimator(IMAGE, BOXES[:2])
    second = estimator(IMAGE, BOXES[[1, 0]])
    assert sorted(first.ids.tolist()) == [0, 1]
    assert {tuple(b): i for b, i in zip(first.boxes.tolist(), first.ids)} == {
        tuple(b): i for b, i in zip(second.boxes.tolist(), second.ids)
    }
    assert (PoseEstimator(config_with(tmp_path))(IMAGE, BOXES).ids == -1).all()


@pytest.mark.parametrize("image", [IMAGE[..., 0], IMAGE / 255, IMAGE[:0]], ids=["grey", "float", "empty"])
def test_something_else_than_a_picture(network: Sliced, tmp_path: Path, image: np.ndarray) -> None:
    with pytest.raises(UsageError, match="uint8"):
        PoseEstimator(config_with(tmp_path))(image)


def test_a_file_that_is_no_picture(network: Sliced, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture at all")
    with pytest.raises(ImageError, match=r"text\.jpg"):
        PoseEstimator(config_with(tmp_path))(tmp_path / "text.jpg")


def test_a_picture_wider_than_opencv_warps(network: Sliced, tmp_path: Path) -> None:
    people = PoseEstimator(config_with(tmp_path, TOP_DOWN))(np.zeros((200, 40000, 3), np.uint8), [[39000, 20, 60, 150]])
    assert people.boxes.tolist() == [[39000, 20, 60, 150]]
    assert np.isfinite(people.keypoints).all()


def test_boxes_for_a_network_that_needs_none(network: Sliced, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=naming("boxes")):
        PoseEstimator(config_with(tmp_path, BOTTOM_UP))(IMAGE, BOXES)


def test_conventions_beside_the_checkpoint_are_obeyed_and_overrides_win(network: Sliced, tmp_path: Path) -> None:
    (tmp_path / "w.ckpt").touch()
    (tmp_path / "w.yaml").write_text("data: {color: rgb, scale: 256}\n")
    estimator = PoseEstimator(TOP_DOWN, tmp_path / "w.ckpt", {"data.scale": 255, "demo.detector": "whole"})
    assert (estimator.config.data.color, estimator.config.data.scale) == ("rgb", 255)


@pytest.mark.parametrize(
    ("ckpt", "overrides", "error", "words"),
    [
        (None, {}, UsageError, "--ckpt"),
        ("absent.ckpt", {}, PoseError, r"absent\.ckpt"),
        (None, {"demo.detctor": "hog"}, UsageError, r"demo\.detector"),
    ],
)
def test_what_is_wrong_is_said(ckpt: str | None, overrides: dict, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        PoseEstimator(TOP_DOWN, ckpt, overrides)


def test_importing_needs_no_mindspore() -> None:
    code = "import sys; sys.modules['mindspore'] = None; from mspose import PoseEstimator; import mspose.demo.run"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_package_has_nothing_else_to_offer() -> None:
    with pytest.raises(AttributeError, match="Nothing"):
        _ = mspose.Nothing


class Spoiled(Sliced):
    """Gives a value that is no number for the first input of each batch."""

    def __call__(self, inputs: np.ndarray) -> tuple[np.ndarray]:
        (maps,) = super().__call__(inputs)
        maps[0, 5, 3, 3] = np.nan
        return (maps,)


def test_values_that_are_no_numbers_are_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog) -> None:
    install(monkeypatch, Spoiled())
    people = PoseEstimator(config_with(tmp_path, TOP_DOWN))(IMAGE, np.array([[10.0, 10, 60, 90]] * 2))
    assert np.isfinite(people.triplets).all()
    assert np.isfinite(people.scores).all()
    (message,) = (message for message in caplog.messages if "NaN" in message)
    assert re.search(r"\b2\D+2\b", message)


@pytest.mark.parametrize(("category", "expected"), [([], 1), (["7"], 7), (["mouse"], 1), (["mouse", "4"], 4)])
def test_category_of_results(network: Sliced, tmp_path: Path, category: list[str], expected: int) -> None:
    assert PoseEstimator(config_with(tmp_path, TOP_DOWN, data__category=category)).category_id == expected


@pytest.mark.parametrize(("keys", "looks"), [({}, 1), ({"demo__flip_test": True}, 2)], ids=str)
def test_the_mirrored_picture_is_looked_at_only_on_request(
    network: Sliced, tmp_path: Path, keys: dict, looks: int
) -> None:
    config = config_with(tmp_path, eval__flip_test=True, **keys)  # as recipes and model cards say for evaluation
    PoseEstimator(config)(IMAGE, BOXES[:1])
    assert len(network.shapes) == looks
    assert config.eval.flip_test


def test_evaluations_key_for_it_names_the_demos(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=naming("eval.flip_test", "demo.flip_test")):
        PoseEstimator(config_with(tmp_path), overrides={"eval.flip_test": True})


def test_other_options_share_the_network(network: Sliced, tmp_path: Path) -> None:
    first = PoseEstimator(config_with(tmp_path))
    hog = first.with_options(replace(first.config.demo, detector="hog", track=True))
    assert (first.detector, hog.detector) == ("whole", "hog")
    whole = first.with_options(replace(first.config.demo, track=True, person_threshold=0.0))
    assert whole(IMAGE).ids.tolist() == [0]
    assert first(IMAGE).ids.tolist() == [-1]
    assert len(network.shapes) == 2


def test_faults_are_counted_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, lambda inputs: (np.full((len(inputs), 17, 32, 24), np.nan, np.float32),))
    first = PoseEstimator(config_with(tmp_path))
    other = first.with_options(first.config.demo)
    other(IMAGE)
    assert (first.faults, other.faults) == (0, 1)
