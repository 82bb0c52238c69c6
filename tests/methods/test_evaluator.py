"""Evaluation of data sets as people have them: odd ids, several categories, test sets, pictures that cannot be read."""

from __future__ import annotations

import copy
import json
import logging
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mspose.config.builder import default_config
from mspose.config.schema import Config
from mspose.errors import PoseError, UsageError
from mspose.evaluate import evaluate_checkpoint
from mspose.files import write_json
from mspose.geometry import transform_points
from mspose.methods.evaluator import Evaluator, Outcome
from mspose.networks import method_of
from mspose.outputs import save_results
from mspose.skeleton import COCO17
from tests.disk import contents, fill
from tests.messages import naming


class Oracle:
    """Answers with the maps that the annotated people would give, crop by crop, the joints moved by two pixels."""

    def __init__(self, evaluator: Evaluator, spoil: Callable[[int, np.ndarray], None] | None = None) -> None:
        self._evaluator, self._spoil, self._next = evaluator, spoil, 0

    def __call__(self, inputs: np.ndarray) -> tuple[np.ndarray]:
        evaluator, maps = self._evaluator, []
        for row in range(self._next, min(self._next + len(inputs), len(evaluator))):
            view = evaluator.set.view(row)
            keypoints = evaluator.annotated.keypoints[row].astype(float)
            back = np.linalg.inv(np.vstack([view.to_image[0], [0, 0, 1]]))[:2]
            keypoints[:, :2] = transform_points(keypoints[:, :2] + 2, back)
            maps.append(evaluator.method.codec.encode(keypoints[None], view.size)[0])
            if self._spoil:
                self._spoil(row, maps[-1])
        self._next += len(inputs)
        return (np.stack([*maps, *[maps[-1]] * (len(inputs) - len(maps))]),)


@pytest.fixture(scope="module")
def content(sample_dir: Path) -> dict:
    return json.loads((sample_dir / "annotations" / "person_keypoints_val2017.json").read_text())


@pytest.fixture
def config(sample_dir: Path, tmp_path: Path) -> Config:
    config = default_config()
    config.data.root, config.runtime.output = str(sample_dir), str(tmp_path / "out")
    config.eval.use_gt_bbox, config.eval.flip_test = True, False
    return config


def evaluated(config: Config, content: dict, tmp_path: Path, **keys: object) -> tuple[Evaluator, Outcome]:
    config.data.val_annotations = str(write_json(tmp_path / "annotations.json", content))
    for name, value in keys.items():
        setattr(config.data, name, value)
    evaluator = Evaluator(method_of(config))
    outcome = evaluator.run(Oracle(evaluator))
    assert outcome is not None
    return evaluator, outcome


@pytest.fixture
def expected(config: Config, content: dict, tmp_path: Path) -> dict[str, float]:
    figures = dict(evaluated(config, content, tmp_path)[1].figures)
    assert 0.3 < figures["AP"] < 1
    return figures


@pytest.mark.parametrize("ids", [range(10**6), [7] * 10**6, None], ids=["from 0", "all equal", "absent"])
def test_ids_play_no_part(config: Config, content: dict, tmp_path: Path, expected: dict, ids) -> None:
    changed = copy.deepcopy(content)
    for number, annotation in enumerate(changed["annotations"]):
        del annotation["id"]
        if ids is not None:
            annotation["id"] = ids[number]
    assert evaluated(config, changed, tmp_path)[1].figures == pytest.approx(expected, abs=1e-9)


def test_categories_that_are_not_chosen_play_no_part(
    config: Config, content: dict, tmp_path: Path, expected: dict, caplog
) -> None:
    changed = copy.deepcopy(content)
    names = list(COCO17.keypoints)
    changed["categories"] += [{"id": 5, "name": "dog", "keypoints": names}, {"id": 6, "name": "bird"}]
    extra = [copy.deepcopy(a) for a in content["annotations"] for _ in (1, 2)]
    for number, annotation in enumerate(extra):
        annotation.update(
            category_id=5 if number % 2 else 6, keypoints=annotation["keypoints"][: 51 if number % 2 else 9]
        )
    changed["annotations"] += extra
    with caplog.at_level(logging.INFO, "pose"):
        evaluator, outcome = evaluated(config, changed, tmp_path, category=["person"])
    assert outcome.figures == pytest.approx(expected, abs=1e-9)
    count = len(content["annotations"])
    assert re.search(rf"\b{count} \D*bird \(6\)\D*\b{count} \D*dog \(5\)", caplog.text)
    assert evaluator.annotations.category_id == 1
    with pytest.raises(UsageError, match=naming("person (1)", "dog (5)", "data.category")):
        evaluated(config, changed, tmp_path, category=[])


def test_chosen_categories_count_as_one(config: Config, content: dict, tmp_path: Path, expected: dict) -> None:
    changed = copy.deepcopy(content)
    changed["categories"] = [{**content["categories"][0], "id": n, "name": f"species {n}"} for n in (3, 4, 8)]
    for number, annotation in enumerate(changed["annotations"]):
        annotation["category_id"] = (3, 4, 8)[number % 3]
    config.data.category = ["species 4", "3", "8"]
    _, outcome = evaluated(config, changed, tmp_path)
    assert outcome.figures == pytest.approx(expected, abs=1e-9)
    assert {result["category_id"] for result in outcome.results} == {4}


@pytest.mark.parametrize("area", [0, None])
def test_estimated_areas_are_marked(config: Config, content: dict, tmp_path: Path, area: object) -> None:
    changed = copy.deepcopy(content)
    for annotation in changed["annotations"]:
        annotation["area"] = area
    evaluator, outcome = evaluated(config, changed, tmp_path)
    metrics = evaluator.metrics(outcome)
    assert metrics["comparable"] is False
    assert metrics["estimated_areas"] == len(evaluator.annotated)


def test_comparable_otherwise(config: Config, content: dict, tmp_path: Path) -> None:
    evaluator, outcome = evaluated(config, content, tmp_path)
    assert evaluator.metrics(outcome)["comparable"] is True


class TestTestSets:
    @pytest.fixture
    def bare(self, config: Config, content: dict, tmp_path: Path) -> Config:
        images = {"images": content["images"], "categories": [{"id": 1, "name": "person"}]}
        config.data.val_annotations = str(write_json(tmp_path / "image_info.json", images))
        return config

    def test_results_without_figures(self, bare: Config, content: dict, tmp_path: Path) -> None:
        boxes = [
            {k: a[k] for k in ("image_id", "category_id", "bbox")} | {"score": 0.5} for a in content["annotations"]
        ]
        bare.eval.use_gt_bbox, bare.eval.bbox_file = False, str(write_json(tmp_path / "boxes.json", boxes))
        evaluator = Evaluator(method_of(bare))
        outcome = evaluator.run(lambda inputs: (np.ones((len(inputs), 17, 64, 48), np.float32),))
        assert outcome is not None
        assert len(outcome.results) > 0
        assert "AP" not in evaluator.metrics(outcome)
        assert len(evaluator.draw(outcome, tmp_path / "drawn", 2)) == 2

    def test_there_are_no_annotated_boxes(self, bare: Config) -> None:
        with pytest.raises(UsageError, match=naming("image_info.json", "eval.bbox_file")):
            Evaluator(method_of(bare))

    def test_nobody_of_the_category_is_another_matter(self, config: Config, content: dict, tmp_path: Path) -> None:
        with pytest.raises(PoseError, match=naming("nobody", "person (1)")):
            evaluated(config, {**content, "annotations": []}, tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_values_that_are_no_numbers_are_counted_and_make_valid_json(
    config: Config, tmp_path: Path, caplog, value: float
) -> None:
    evaluator = Evaluator(method_of(config))

    def spoil(row: int, maps: np.ndarray) -> None:
        if row in (1, 4):
            maps[3] = value
        if row == 7:
            maps[...] = value

    outcome = evaluator.run(Oracle(evaluator, spoil))
    assert outcome is not None
    save_results(config, tmp_path, "eval_config.yaml", outcome.results, evaluator.metrics(outcome))
    text = (tmp_path / "keypoints_results.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert caplog.text.count("NaN") == 1
    assert re.search(rf"\b3\D+{len(evaluator)}\b", caplog.text)
    assert np.isfinite([result["score"] for result in outcome.results]).all()


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_one_picture_that_cannot_be_read_is_left_out_and_counted(
    config: Config, sample_dir: Path, tmp_path: Path, caplog, damage: str
) -> None:
    root = tmp_path / "data"
    shutil.copytree(sample_dir, root)
    config.data.root = str(root)
    config.eval.batch_size = 4
    evaluator = Evaluator(method_of(config))
    row = int(np.bincount(evaluator.annotated.image_index).argmax())
    path = evaluator.images.files[row]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2]) if damage == "cut" else path.unlink()
    constant = np.ones((4, 17, 64, 48), np.float32)
    outcome = evaluator.run(lambda inputs: (constant,))
    assert outcome is not None
    assert outcome.skipped_images == 1
    others = set(evaluator.set.instances.image_ids.tolist()) - {int(evaluator.images.ids[row])}
    assert {result["image_id"] for result in outcome.results} == others
    assert str(path) in caplog.text
    assert evaluator.metrics(outcome)["skipped_images"] == 1
    second = next(file for file in evaluator.images.files if file != path)
    second.write_text("no picture")
    with pytest.raises(PoseError, match=naming(2, "evaluation set")):
        evaluator.run(lambda inputs: (constant,))


def stand_in(monkeypatch: pytest.MonkeyPatch, level: float = 1) -> None:
    """Let the command run a network whose heat maps are flat."""
    monkeypatch.setattr("mspose.evaluate.check_checkpoint", lambda *_: None)
    network = lambda inputs: (np.full((len(inputs), 17, 64, 48), level, np.float32),)  # noqa: E731
    monkeypatch.setattr("mspose.evaluate.open_backend", lambda *_, **__: network)


@pytest.mark.parametrize("full", ["eval_config.yaml", "keypoints_results.json", "metrics.json"])
def test_an_evaluation_that_cannot_be_written_leaves_all_of_the_earlier_one(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    stand_in(monkeypatch)
    evaluate_checkpoint(config)
    before = contents(tmp_path / "out")
    assert full in before
    stand_in(monkeypatch, 0.5)
    config.eval.batch_size = 3
    fill(monkeypatch, full)
    with pytest.raises(PoseError, match=naming(tmp_path / "out" / full, os.strerror(28))):
        evaluate_checkpoint(config)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize(("edit", "words"), [("areas", "comparable"), ("test set", "no figures")])
def test_the_command_says_what_figures_are_worth(
    config: Config, content: dict, tmp_path: Path, caplog, monkeypatch: pytest.MonkeyPatch, edit: str, words: str
) -> None:
    changed = copy.deepcopy(content)
    boxes = [{**a, "score": 0.5} for a in changed["annotations"]]
    config.eval.use_gt_bbox, config.eval.bbox_file = False, str(write_json(tmp_path / "boxes.json", boxes))
    if edit == "areas":
        for annotation in changed["annotations"]:
            del annotation["area"]
    else:
        del changed["annotations"]
    config.data.val_annotations = str(write_json(tmp_path / "annotations.json", changed))
    stand_in(monkeypatch)
    with caplog.at_level(logging.INFO, "pose"):
        outcome = evaluate_checkpoint(config)
    assert outcome is not None
    assert words in caplog.text
    assert ("AP: " in caplog.text) == (edit == "areas")
    assert len(json.loads((tmp_path / "out" / "keypoints_results.json").read_text())) > 0
