"""COCO results and figures: golden numbers, the parity fixture and input that cannot be evaluated."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest

from mspose.errors import PoseError
from mspose.evaluation.coco import evaluate_keypoints, format_table, mean_keypoint_error, to_coco_results
from mspose.evaluation.oks import oks_nms, rescore_visible_mean
from mspose.files import read_json, write_json
from mspose.skeleton import COCO17
from tests.golden import make_golden_eval as golden
from tests.messages import naming, tells_of

SIGMAS = COCO17.sigmas


def person(image_id: int, keypoints: np.ndarray, number: int = 1, **more: object) -> dict:
    keypoints = np.asarray(keypoints, float)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "area": 10000.0,
        "bbox": [0, 0, 100, 100],
        "num_keypoints": int((keypoints[:, 2] > 0).sum()),
        "keypoints": keypoints.ravel().tolist(),
        **more,
    }


def dataset(*people: dict, images: tuple[int, ...] = (1, 2)) -> dict:
    return {"images": [{"id": i} for i in images], "annotations": list(people), "categories": [{"id": 1}]}


def standing(joints: int = 17, right: float = 0, down: float = 0) -> np.ndarray:
    points = np.random.default_rng(0).uniform(0, 100, (joints, 2)) + np.array([right, down])
    return np.concatenate([points, np.full((joints, 1), 2)], axis=1)


def results_for(keypoints: np.ndarray, image_id: int = 1) -> list[dict]:
    return to_coco_results(keypoints[None], np.array([0.9]), np.array([image_id]))


def test_results_hold_plain_rounded_numbers() -> None:
    keypoints = np.full((1, 2, 3), np.float32(1 / 3))
    results = to_coco_results(keypoints, np.array([0.123456789]), np.array([42]), category_id=3)
    assert results == [{"image_id": 42, "category_id": 3, "keypoints": [0.333] * 6, "score": 0.12345679}]
    assert json.loads(json.dumps(results)) == results


def test_perfect_results_score_one() -> None:
    figures = evaluate_keypoints(dataset(person(1, standing())), results_for(standing()), SIGMAS)
    assert [figures[key] for key in ("AP", "Ap .5", "AP .75", "AP (L)", "AR")] == pytest.approx([1] * 5)
    assert figures["AP (M)"] == -1


def test_another_number_of_keypoints_is_scored_with_its_sigmas() -> None:
    moved = standing(14, right=4)
    annotated = dataset(person(1, standing(14)))
    strict = evaluate_keypoints(annotated, results_for(moved), [0.02] * 14)
    lenient = evaluate_keypoints(annotated, results_for(moved), [0.2] * 14)
    assert strict["AP"] < lenient["AP"] == pytest.approx(1)


def test_only_chosen_images_count() -> None:
    annotated = dataset(person(1, standing()), person(2, standing(), number=2))
    assert evaluate_keypoints(annotated, results_for(standing()), SIGMAS)["AR"] == pytest.approx(0.5)
    assert evaluate_keypoints(annotated, results_for(standing()), SIGMAS, image_ids=[1])["AR"] == pytest.approx(1)
    assert evaluate_keypoints(annotated, results_for(standing()), SIGMAS, image_ids=[2])["AR"] == 0


def test_no_results_give_zeros_and_a_note(caplog) -> None:
    figures = evaluate_keypoints(dataset(person(1, standing())), [], SIGMAS)
    assert set(figures.values()) == {0.0}
    assert len(figures) == 10
    assert tells_of(caplog.messages[0], "results", 1)


def test_evaluation_prints_nothing(capsys) -> None:
    evaluate_keypoints(dataset(person(1, standing())), results_for(standing()), SIGMAS)
    assert capsys.readouterr() == ("", "")


def test_evaluation_leaves_its_arguments_alone() -> None:
    annotated, results = dataset(person(1, standing())), results_for(standing())
    before = copy.deepcopy((annotated, results))
    evaluate_keypoints(annotated, results, SIGMAS)
    assert (annotated, results) == before


def test_crowds_without_keypoints_are_ignored() -> None:
    crowd = {"id": 2, "image_id": 1, "category_id": 1, "iscrowd": 1, "area": 900.0, "bbox": [200, 200, 30, 30]}
    figures = evaluate_keypoints(dataset(person(1, standing()), crowd), results_for(standing()), SIGMAS)
    assert figures["AR"] == pytest.approx(1)


def test_annotations_can_be_a_file(tmp_path) -> None:
    path = write_json(tmp_path / "annotated.json", dataset(person(1, standing())))
    assert evaluate_keypoints(path, results_for(standing()), SIGMAS)["AP"] == pytest.approx(1)


UNLABELLED = standing() * [1, 1, 0]
BAD_INPUT = {
    "nobody annotated": (dataset(person(1, UNLABELLED)), results_for(standing()), ("nobody", 2)),
    "only crowds": (dataset(person(1, standing(), iscrowd=1)), [], ("nobody",)),
    "not annotations": ({"info": {}}, [], ("images", "annotations", "categories")),
    "other skeleton": (dataset(person(1, standing(16))), [], ("annotation 1", 16, 17, "data.skeleton")),
    "other results": (dataset(person(1, standing())), results_for(standing(5)), ("results", "image 1", 5, 17)),
    "unknown image": (dataset(person(1, standing())), results_for(standing(), 9), ("image 9",)),
    "unknown category": (
        dataset(person(1, standing())),
        [{**results_for(standing())[0], "category_id": 5}],
        ("category 5",),
    ),
    "no bbox": (
        dataset({k: v for k, v in person(1, standing()).items() if k != "bbox"}),
        [],
        ("annotation 1", "'bbox'"),
    ),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_what_cannot_be_evaluated_is_said_in_one_line(case: str) -> None:
    annotated, results, named = BAD_INPUT[case]
    with pytest.raises(PoseError, match=naming(*named)) as caught:
        evaluate_keypoints(annotated, results, SIGMAS)
    assert "\n" not in str(caught.value)


def test_table_has_the_ten_lines_of_coco() -> None:
    names = ["AP", "Ap .5", "AP .75", "AP (M)", "AP (L)", "AR", "AR .5", "AR .75", "AR (M)", "AR (L)"]
    lines = format_table({name: i / 10 for i, name in enumerate(names)}).split("\n")
    assert len(lines) == 10
    assert lines[0] == " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets= 20 ] = 0.000"
    assert lines[7] == " Average Recall     (AR) @[ IoU=0.75      | area=   all | maxDets= 20 ] = 0.700"
    assert lines[8] == " Average Recall     (AR) @[ IoU=0.50:0.95 | area=medium | maxDets= 20 ] = 0.800"


def test_mean_error_is_the_distance_to_the_best_fitting_prediction() -> None:
    annotated = standing()
    annotated[3] = 0
    near, far = standing(right=3, down=4), standing(right=30)
    results = to_coco_results(np.stack([far, near, standing()]), np.array([0.9, 0.1, 0.9]), np.array([1, 1, 2]))
    error = mean_keypoint_error(dataset(person(1, annotated)), results, COCO17)
    assert (error["people"], error["matched"]) == (1, 1)
    assert error["pixels"].pop("left_ear") is None
    assert list(error["pixels"].values()) == pytest.approx([5] * 16, abs=1e-3)
    assert error["relative"]["nose"] == pytest.approx(0.05, abs=1e-5)


def test_mean_error_leaves_out_people_that_were_missed() -> None:
    annotated = dataset(person(1, standing()), person(2, standing(), number=2), person(2, standing(right=900), 3))
    results = results_for(standing(), 1) + results_for(standing(right=1), 2)
    error = mean_keypoint_error(annotated, results, COCO17)
    assert (error["people"], error["matched"]) == (3, 2)
    assert error["pixels"]["nose"] == pytest.approx(0.5, abs=1e-3)


def test_mean_error_without_results_is_none() -> None:
    error = mean_keypoint_error(dataset(person(1, standing())), [], COCO17)
    assert (error["matched"], set(error["pixels"].values())) == (0, {None})


def test_mean_error_takes_other_skeletons() -> None:
    skeleton = replace(COCO17, keypoints=("head", "tail"), sigmas=(0.1, 0.1), flip_pairs=())
    error = mean_keypoint_error(dataset(person(1, standing(2))), results_for(standing(2)), skeleton)
    assert error["pixels"] == pytest.approx({"head": 0, "tail": 0}, abs=1e-3)


def test_figures_golden() -> None:
    expected = read_json(golden.PATH, "golden numbers")["figures"]
    figures = evaluate_keypoints(golden.annotations(), golden.evaluated_people(), SIGMAS)
    assert figures == pytest.approx(expected, abs=1e-6)


def test_figures_agree_with_the_reference(parity_dir, coco_mini) -> None:
    fixture = np.load(parity_dir / "topdown_val2017.npz")
    expected = json.loads((parity_dir / "topdown_val2017.ap.json").read_text())["stats"]
    keypoints, image_ids = fixture["keypoints"], fixture["image_id"]
    scores = rescore_visible_mean(keypoints[..., 2], fixture["box_score"])
    kept, scores = oks_nms(keypoints, scores, fixture["box_area"], image_ids, np.array(SIGMAS))
    results = to_coco_results(keypoints[kept], scores, image_ids[kept])
    figures = evaluate_keypoints(coco_mini / "annotations" / "person_keypoints_val2017.json", results, SIGMAS)
    assert figures == pytest.approx(expected, abs=1e-6)
    assert list(figures) == list(expected)


def test_area_and_count_of_keypoints_follow_from_the_rest() -> None:
    whole = person(1, standing())
    bare = {k: v for k, v in whole.items() if k not in ("area", "num_keypoints", "iscrowd")}
    whole["area"] = 0.53 * whole["bbox"][2] * whole["bbox"][3]
    results = results_for(standing() + 3)
    assert evaluate_keypoints(dataset(bare), results, COCO17.sigmas) == evaluate_keypoints(
        dataset(whole), results, COCO17.sigmas
    )


@pytest.mark.parametrize("ids", [[0, 1], [5, 5], [None, None], ["a", "b"]], ids=str)
def test_ids_of_annotations_play_no_part(ids: list) -> None:
    people = [person(1, standing(), number) for number in ids]
    people[1].update(image_id=2, keypoints=standing(right=3).ravel().tolist())
    for annotation in people:
        if annotation["id"] is None:
            del annotation["id"]
    results = results_for(standing(), 1) + results_for(standing(right=3), 2)
    assert evaluate_keypoints(dataset(*people), results, SIGMAS)["AP"] == pytest.approx(1)


def test_people_of_other_categories_play_no_part() -> None:
    dog = person(1, standing(3), 2, category_id=2)
    mannequin = person(2, standing(), 3, category_id=3)
    truth = dataset(person(1, standing()), dog, mannequin)
    truth["categories"] += [{"id": 2}, {"id": 3}]
    assert evaluate_keypoints(truth, results_for(standing()), SIGMAS)["AP"] == pytest.approx(1)
    assert mean_keypoint_error(truth, results_for(standing()), COCO17)["people"] == 1


def test_num_keypoints_null_is_counted() -> None:
    annotated = dataset(person(1, standing(), num_keypoints=None))
    assert evaluate_keypoints(annotated, results_for(standing()), SIGMAS)["AP"] == pytest.approx(1)
