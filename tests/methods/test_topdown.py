"""From predicted keypoints to COCO results, with every way to deal with duplicates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mspose.codecs.base import Decoded
from mspose.config.builder import default_config
from mspose.config.describe import all_keys
from mspose.detection.boxes import Boxes
from mspose.geometry import compose, crop_matrix
from mspose.methods.evaluator import Evaluator, Outcome
from mspose.networks import method_of
from mspose.visual import write_image
from tests.messages import names


@pytest.fixture
def evaluator(sample_dir: Path, tmp_path: Path):
    """Makes an evaluator whose detections are the annotated boxes, each twice; and predictions for those.

    The second prediction of each person lies one pixel to the right.
    """
    truth = json.loads((sample_dir / "annotations" / "person_keypoints_val2017.json").read_text())
    boxes = [
        {"image_id": p["image_id"], "category_id": 1, "bbox": p["bbox"], "score": score}
        for score in (1.0, 0.9)
        for p in truth["annotations"]
        if p["num_keypoints"] > 9
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))

    def make(**options: object) -> tuple[Evaluator, np.ndarray]:
        config = default_config()
        config.data.root, config.eval.bbox_file = str(sample_dir), str(tmp_path / "boxes.json")
        for name, value in options.items():
            setattr(config.eval, name, value)
        result = Evaluator(method_of(config))
        people = result.set.instances
        by_corner = {tuple(np.round(b[:2])): k for b, k in zip(result.annotated.boxes, result.annotated.keypoints)}
        keypoints = np.stack([by_corner[tuple(np.round(b[:2]))] for b in people.boxes])
        second = people.scores < 0.95
        keypoints[..., 2] = np.where(second, 0.4, 0.8)[:, None]
        keypoints[second, :, 0] += 1
        return result, keypoints

    return make


def test_pictures_of_one_name_are_drawn_into_files_of_their_own(tmp_path: Path) -> None:
    names = ["a/x.png", "b/x.png", "a/x.jpg"]
    person = {"category_id": 1, "bbox": [2, 2, 20, 20], "area": 400, "keypoints": [9, 9, 2] * 17, "num_keypoints": 17}
    truth = {
        "images": [{"id": i, "file_name": name, "width": 32, "height": 24} for i, name in enumerate(names)],
        "annotations": [{**person, "id": i, "image_id": i, "iscrowd": 0} for i in range(3)],
        "categories": [{"id": 1, "name": "person"}],
    }
    for name in names:
        write_image(tmp_path / "in" / name, np.zeros((24, 32, 3), np.uint8))
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    config = default_config(
        overrides={
            "data.val_annotations": str(tmp_path / "truth.json"),
            "data.val_images": str(tmp_path / "in"),
            "eval.use_gt_bbox": True,
        }
    )
    evaluator = Evaluator(method_of(config))
    drawn = evaluator.draw(Outcome({}, [], {}, 3, "people"), tmp_path / "out", 3)
    assert drawn == evaluator.drawn_files(tmp_path / "out", 3)
    assert len(list((tmp_path / "out").iterdir())) == 3


def results_of(evaluator: Evaluator, keypoints: np.ndarray) -> list[dict]:
    """Results of one prediction for each box."""
    rows = np.arange(len(keypoints))
    return evaluator.to_results(Decoded(keypoints, keypoints[..., 2].mean(axis=1), rows))


@pytest.mark.parametrize(("nms", "share"), [("oks", 0.5), ("soft_oks", 1), ("parametric", 0.5), ("none", 1)])
def test_duplicates(evaluator, nms: str, share: float) -> None:
    made, keypoints = evaluator(nms=nms, oks_threshold=0.5)
    assert len(results_of(made, keypoints)) == share * len(keypoints)


def test_every_choice_is_tested() -> None:
    assert all_keys()["eval.nms"].metadata["choices"] == ("oks", "soft_oks", "parametric", "none")


def test_parametric_scores_what_it_merged(evaluator) -> None:
    made, keypoints = evaluator(nms="parametric")
    results = results_of(made, keypoints)
    first = keypoints[made.set.instances.scores > 0.95]
    merged = np.array([r["keypoints"] for r in results]).reshape(len(results), 17, 3)
    nearest = np.abs(merged[:, None, :, :2] - first[..., :2]).max(axis=(2, 3)).argmin(axis=1)
    np.testing.assert_allclose((merged - first[nearest])[..., 0], 0.4 / 1.2, atol=0.02)
    np.testing.assert_allclose(merged[..., 2], (0.64 + 0.16) / 1.2, atol=1e-3)
    np.testing.assert_allclose([r["score"] for r in results], (0.64 + 0.16) / 1.2, atol=1e-3)


def test_training_set_knows_when_proposals_begin(sample_dir: Path) -> None:
    config = default_config()
    config.data.root = str(sample_dir)
    config.data.flip = config.data.scale_factor = config.data.rotation_prob = 0.0
    config.train.proposals_epoch = 2
    dataset = method_of(config).training_set()
    samples = [tuple(np.empty(shape, np.float32) for shape in dataset.train_shapes) for _ in range(3)]
    for epoch, sample in enumerate(samples):
        dataset.train_sample(0, epoch, sample)
    np.testing.assert_array_equal(samples[0][0], samples[1][0])
    assert np.abs(samples[2][0] - samples[0][0]).max() > 0.1


def training_log(sample_dir: Path, caplog: pytest.LogCaptureFixture, **overrides: object) -> str:
    """What is said when a training set is loaded."""
    caplog.set_level("INFO", logger="pose")
    values = {"data.root": str(sample_dir), **{key.replace("__", "."): value for key, value in overrides.items()}}
    method_of(default_config(overrides=values)).training_set()
    return caplog.text


def test_stages_that_never_begin_are_named(sample_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    stages = [{"epoch": 3, "flip": 0}, {"epoch": 5, "flip": 1}]
    assert names(training_log(sample_dir, caplog, data__stages=stages, train__epochs=4), "data.stages", 5, "epochs=4")
    caplog.clear()
    assert "data.stages" not in training_log(sample_dir, caplog, data__stages=stages, train__epochs=6)


@pytest.mark.parametrize("upper", ["", "upper_body: [a, b]", "upper_body: [a]"])
def test_skeleton_without_halves_and_half_body_crops(
    sample_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, upper: str
) -> None:
    truth = json.loads((sample_dir / "annotations" / "person_keypoints_train2017.json").read_text())
    for person in truth["annotations"]:
        person["keypoints"] = person["keypoints"][:6]
    truth["categories"][0]["keypoints"] = ["a", "b"]
    (tmp_path / "two.json").write_text(json.dumps(truth))
    (tmp_path / "two.yaml").write_text(
        f"name: two\nkeypoints: [a, b]\nlimbs: []\nflip_pairs: [[a, b]]\nsigmas: [0.1, 0.1]\n{upper}\n"
    )
    options = {"data.skeleton": str(tmp_path / "two.yaml"), "data.train_annotations": str(tmp_path / "two.json")}
    options = {key.replace(".", "__"): value for key, value in options.items()}
    text = training_log(sample_dir, caplog, **options, data__half_body_prob=0.3)
    assert names(text, "two", "upper_body", "data.half_body_prob") == (upper != "upper_body: [a]")
    caplog.clear()
    assert "upper_body" not in training_log(sample_dir, caplog, **options)


@pytest.mark.parametrize("unbiased", [False, True])
def test_every_way_to_a_crop_has_one_geometry(sample_dir: Path, unbiased: bool) -> None:
    """The data set, single pictures, and the samples of an edge device."""
    config = default_config(overrides={"data.unbiased": unbiased})
    config.data.root, config.eval.use_gt_bbox = str(sample_dir), True
    method = method_of(config)
    evaluator = Evaluator(method)
    crops = evaluator.set
    for index in range(3):
        row, people = int(crops.rows[index]), crops.instances
        box = Boxes(people.boxes[index][None], people.scores[index][None])
        seen, _ = method.view(evaluator.images.read(row), box)
        sample = method.fixed_sample(people, index, evaluator.images, row)
        _, matrices = method.read_samples([sample])
        np.testing.assert_array_equal(crops.view(index).inputs[0], seen.inputs[0])
        np.testing.assert_array_equal(crops.view(index).to_image, seen.to_image)
        np.testing.assert_allclose(matrices, seen.to_image)
        there = crop_matrix(np.array(sample["center"]), np.array(sample["size"]), method.size, unbiased=unbiased)
        np.testing.assert_allclose(compose(matrices[0], there), np.eye(2, 3), atol=1e-3)
