"""From predicted keypoints to COCO results, with every way to deal with duplicates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mspose.codecs.base import Decoded
from mspose.config.builder import default_config
from mspose.config.describe import all_keys
from mspose.methods.evaluator import Evaluator
from mspose.networks import method_of


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
