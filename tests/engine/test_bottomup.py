"""Bottom-up evaluation around a network that knows the answer: geometry, mirroring, scales and results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from src.config import load_config
from src.engine.bottomup import BottomUpEvaluator, merge_maps
from src.geometry import transform_points

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "openpose_vgg19_368.yaml"


class Oracle:
    """Answers with the maps that the annotated people of each picture would give, picture by picture."""

    def __init__(self, evaluator: BottomUpEvaluator) -> None:
        self._evaluator, self._calls = evaluator, 0

    def __call__(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        evaluator, options = self._evaluator, self._evaluator.config.eval
        row, call = divmod(self._calls, len(options.scales) * (2 if options.flip_test else 1))
        self._calls += 1
        view = evaluator.viewer(evaluator.images.read(row))
        keypoints = evaluator.annotated.keypoints[evaluator.annotated.image_index == row].copy()
        back = np.linalg.inv(np.vstack([view.to_image, [0, 0, 1]]))[:2]
        height, width = inputs.shape[2:]
        scale = np.array([width, height]) / view.size
        keypoints[..., :2] = transform_points(keypoints[..., :2], back) * scale + (scale - 1) / 2
        if options.flip_test and call % 2:
            keypoints = keypoints[:, evaluator.skeleton.flip_index]
            keypoints[..., 0] = width - 1 - keypoints[..., 0]
        heatmaps, pafs = evaluator.codec.encode(keypoints, (width // 8, height // 8))
        return pafs[None], heatmaps[None]


@pytest.mark.parametrize("options", [
    {},
    {"eval.resize": "canvas", "data.input_size": [488, 368]},
    {"eval.flip_test": True},
    {"eval.scales": [0.5, 1.0, 1.5]},
    {"eval.scales": [1.5]},
    {"eval.short_side": 480},
], ids=["short_side", "canvas", "flip", "scales", "one scale", "larger"])  # fmt: skip
def test_annotated_people_are_found_again(sample_dir: Path, options: dict) -> None:
    config = load_config(CONFIG, {"data.root": str(sample_dir), **options})
    evaluator = BottomUpEvaluator(config, use_gt_bbox=False)
    outcome = evaluator.run(Oracle(evaluator))
    # Overlapping and partly labelled people keep even perfect maps from giving 1.
    assert outcome.figures["AP"] > (0.7 if "eval.scales" not in options else 0.6)
    assert outcome.instances == len(evaluator.images)


def test_nobody_found_gives_no_results(sample_dir: Path) -> None:
    config = load_config(CONFIG, {"data.root": str(sample_dir)})
    evaluator = BottomUpEvaluator(config, use_gt_bbox=False)

    def blind(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = (side // 8 for side in inputs.shape[2:])
        return np.zeros((1, 38, height, width), np.float32), np.zeros((1, 19, height, width), np.float32)

    outcome = evaluator.run(blind)
    assert outcome.results == []
    assert outcome.figures["AP"] == 0


def test_maps_of_several_scales_are_averaged_at_the_base_size() -> None:
    small, large = np.full((19, 4, 6), 1.0, np.float32), np.full((19, 8, 12), 3.0, np.float32)
    heatmaps, pafs = merge_maps([(small, small[:2]), (large, large[:2])], (48, 32))
    np.testing.assert_allclose(heatmaps, np.full((19, 4, 6), 2.0))
    assert pafs.shape == (2, 4, 6)
