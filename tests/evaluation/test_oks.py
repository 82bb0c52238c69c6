"""OKS and the suppression of duplicates against plain loops, golden numbers and the parity fixture."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mspose.evaluation.oks import NMS, SOFT_NMS_MAX_PEOPLE, keep_all, oks, oks_nms, rescore_visible_mean, soft_oks_nms
from mspose.files import read_json
from mspose.skeleton import COCO17
from tests.golden import make_golden_eval as golden

SIGMAS = np.array(COCO17.sigmas)


def oks_loop(first, second, area, sigmas, visible=None) -> float:
    terms = []
    for joint, sigma in enumerate(sigmas):
        if visible is None or visible[joint]:
            squared = float((first[joint][0] - second[joint][0]) ** 2 + (first[joint][1] - second[joint][1]) ** 2)
            terms.append(np.exp(-squared / (2 * area * (2 * sigma) ** 2)))
    return float(np.mean(terms)) if terms else 0.0


def by_image(image_ids) -> dict:
    groups: dict = {}
    for person, image_id in enumerate(image_ids.tolist()):
        groups.setdefault(image_id, []).append(person)
    return groups


def pair_loop(people: dict, a: int, b: int, sigmas: np.ndarray) -> float:
    keypoints, areas = people["keypoints"].astype(np.float64), people["areas"]
    return oks_loop(keypoints[a], keypoints[b], (areas[a] + areas[b]) / 2, sigmas)


def oks_nms_loop(people: dict, sigmas: np.ndarray, threshold: float) -> list[int]:
    kept = []
    for group in by_image(people["image_ids"]).values():
        rest = sorted(group, key=lambda person: -people["scores"][person])
        while rest:
            leader, *others = rest
            kept.append(leader)
            rest = [other for other in others if pair_loop(people, leader, other, sigmas) <= threshold]
    return kept


def soft_oks_nms_loop(people: dict, sigmas: np.ndarray, threshold: float) -> tuple[list[int], list[float]]:
    kept, kept_scores = [], []
    for group in by_image(people["image_ids"]).values():
        scores = {person: float(people["scores"][person]) for person in group}
        for _ in range(min(SOFT_NMS_MAX_PEOPLE, len(group))):
            leader = max(scores, key=scores.__getitem__)
            kept.append(leader)
            kept_scores.append(scores.pop(leader))
            for other in scores:
                scores[other] *= np.exp(-(pair_loop(people, leader, other, sigmas) ** 2) / threshold)
    return kept, kept_scores


def crowd(seed: int = 0, people: int = 150, images: int = 5) -> dict:
    """People of mixed images, half of them near copies of another one; an image of one person; tied scores."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 400, (people, 1, 2)) + rng.normal(0, 40, (people, 17, 2))
    areas = rng.uniform(50, 200, people) ** 2
    image_ids = rng.integers(0, images, people) * 7 + 3
    half = people // 2
    xy[half:] = xy[:half] + rng.normal(0, 1, (half, 17, 2)) * rng.uniform(0, 12, (half, 1, 1))
    areas[half:], image_ids[half:] = areas[:half], image_ids[:half]
    image_ids[0] = 1
    return {
        "keypoints": np.concatenate([xy, rng.random((people, 17, 1))], axis=2).astype(np.float32),
        "scores": rng.integers(1, 30, people) / 30,
        "areas": areas,
        "image_ids": image_ids,
    }


def test_oks_equals_the_loop() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.uniform(0, 100, (4, 17, 3)), rng.uniform(0, 100, (6, 17, 3))
    areas, visible = rng.uniform(50, 300, 4) ** 2, rng.random((4, 17)) > 0.4
    visible[3] = False
    matrix = oks(first[:, None], second, areas[:, None], SIGMAS, visible[:, None])
    expected = [[oks_loop(a, b, area, SIGMAS, v) for b in second] for a, area, v in zip(first, areas, visible)]
    np.testing.assert_allclose(matrix, expected, rtol=1e-10)


def test_oks_of_a_person_with_itself_is_one() -> None:
    person = np.random.default_rng(2).random((17, 2))
    assert oks(person, person, np.float64(10.0), SIGMAS) == 1


def test_rescore_counts_only_scores_above_the_threshold() -> None:
    scores = np.array([[0.2, 0.4, 0.8], [0.1, 0.2, 0.0], [0.9, 0.9, -0.5]])
    np.testing.assert_allclose(rescore_visible_mean(scores, np.array([0.5, 0.5, 1.0])), [0.3, 0, 0.9])


@pytest.mark.parametrize("threshold", [0.3, 0.9])
def test_oks_nms_equals_the_loop(threshold: float) -> None:
    people = crowd()
    indices, scores = oks_nms(**people, sigmas=SIGMAS, threshold=threshold)
    assert indices.tolist() == oks_nms_loop(people, SIGMAS, threshold)
    assert 0 < len(indices) < len(people["scores"])
    np.testing.assert_array_equal(scores, people["scores"][indices])


def test_oks_nms_keeps_the_earlier_of_equal_people() -> None:
    people = {
        "keypoints": np.ones((3, 17, 3)),
        "scores": np.full(3, 0.5),
        "areas": np.full(3, 100.0),
        "image_ids": np.array([4, 4, 4]),
    }
    assert oks_nms(**people, sigmas=SIGMAS)[0].tolist() == [0]


def test_oks_nms_keeps_people_exactly_at_the_threshold() -> None:
    people = {
        "keypoints": np.ones((2, 17, 3)),
        "scores": np.array([0.4, 0.5]),
        "areas": np.full(2, 100.0),
        "image_ids": np.array([4, 4]),
    }
    assert oks_nms(**people, sigmas=SIGMAS, threshold=1.0)[0].tolist() == [1, 0]


def test_oks_nms_compares_more_pairs_than_a_block_holds() -> None:
    people = crowd(seed=3, people=3000, images=700)
    few = {key: value.copy() for key, value in people.items()}
    assert oks_nms(**few, sigmas=SIGMAS)[0].tolist() == oks_nms_loop(people, SIGMAS, 0.9)


@pytest.mark.parametrize("threshold", [0.5, 0.9])
def test_soft_oks_nms_equals_the_loop(threshold: float) -> None:
    people = crowd(seed=4)
    indices, scores = soft_oks_nms(**people, sigmas=SIGMAS, threshold=threshold)
    expected, expected_scores = soft_oks_nms_loop(people, SIGMAS, threshold)
    assert indices.tolist() == expected
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-9)


def test_soft_oks_nms_leaves_the_given_scores_alone() -> None:
    people = crowd()
    before = people["scores"].copy()
    soft_oks_nms(**people, sigmas=SIGMAS)
    np.testing.assert_array_equal(people["scores"], before)


def test_keep_all_only_sorts() -> None:
    people = crowd()
    indices, scores = keep_all(**people, sigmas=SIGMAS)
    groups = by_image(people["image_ids"]).values()
    assert indices.tolist() == [i for group in groups for i in sorted(group, key=lambda j: -people["scores"][j])]
    np.testing.assert_array_equal(scores, people["scores"][indices])


@pytest.mark.parametrize("name", NMS)
def test_every_nms_takes_nobody(name: str) -> None:
    indices, scores = NMS[name](np.zeros((0, 17, 3)), np.zeros(0), np.zeros(0), np.zeros(0, int), SIGMAS)
    assert indices.shape == scores.shape == (0,)


@pytest.mark.parametrize("name", NMS)
def test_every_nms_keeps_the_only_person(name: str) -> None:
    indices, scores = NMS[name](np.zeros((1, 17, 3)), np.array([0.3]), np.array([9.0]), np.array([5]), SIGMAS, 0.5)
    assert (indices.tolist(), scores.tolist()) == ([0], [0.3])


def test_oks_nms_golden() -> None:
    indices, _ = oks_nms(**golden.people(), sigmas=SIGMAS)
    assert indices.tolist() == read_json(golden.PATH, "golden numbers")["oks_nms"]


def test_soft_oks_nms_golden() -> None:
    expected = read_json(golden.PATH, "golden numbers")["soft_oks_nms"]
    indices, scores = soft_oks_nms(**golden.people(), sigmas=SIGMAS)
    assert indices.tolist() == expected["kept"]
    np.testing.assert_allclose(scores, expected["scores"], atol=1e-6)


def test_kept_people_agree_with_the_reference(parity_dir) -> None:
    fixture = np.load(parity_dir / "topdown_val2017.npz")
    expected = json.loads((parity_dir / "topdown_val2017.ap.json").read_text())
    scores = rescore_visible_mean(fixture["keypoints"][..., 2], fixture["box_score"])
    indices, kept_scores = oks_nms(fixture["keypoints"], scores, fixture["box_area"], fixture["image_id"], SIGMAS)
    assert len(indices) == expected["results"]
    assert fixture["image_id"][indices].tolist() == [image_id for image_id, _ in expected["kept"]]
    np.testing.assert_allclose(kept_scores, [score for _, score in expected["kept"]], atol=1e-6)
