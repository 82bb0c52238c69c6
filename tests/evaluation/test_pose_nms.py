"""Parametric pose NMS against a plain loop written from the paper."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from mspose.data.coco import labelled, load_annotations
from mspose.evaluation.pose_nms import parametric_pose_nms
from mspose.skeleton import COCO17

FLOOR = 1e-5


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return math.hypot(a[0] - b[0], a[1] - b[1])


def is_same(kept: np.ndarray, other: np.ndarray, extent: float) -> bool:
    joints, similarity, matches = len(kept), 0.0, 0
    for a, b in zip(kept, other):
        apart = distance(a, b)
        matches += apart <= min(0.1 * extent, 7)
        similarity += 1.7 * math.exp(-apart / 2.65)
        if apart <= 1:
            similarity += math.tanh(max(a[2], FLOOR)) * math.tanh(max(b[2], FLOOR))
    return similarity > 22.48 / 17 * joints or matches >= 5 / 17 * joints


def merge(kept: np.ndarray, cluster: list[np.ndarray], extent: float) -> list[list[float]]:
    result = []
    for joint, here in enumerate(kept):
        near = [p[joint] for p in cluster if distance(here, p[joint]) <= min(0.1 * extent, 15)]
        scores = [max(float(n[2]), FLOOR) for n in near]
        mean = [sum(s * float(n[i]) for s, n in zip(scores, near)) / sum(scores) for i in (0, 1)]
        result.append([*mean, sum(s * s for s in scores) / sum(scores)])
    return result


def loop(keypoints: np.ndarray, boxes: np.ndarray, image_ids: np.ndarray) -> tuple[list[int], list]:
    keypoints, kept, merged = keypoints.astype(np.float64), [], []
    for image_id in dict.fromkeys(image_ids.tolist()):
        group = [i for i in range(len(keypoints)) if image_ids[i] == image_id]
        rest = sorted(group, key=lambda i: -np.maximum(keypoints[i, :, 2], FLOOR).mean())
        while rest:
            leader, extent = rest[0], max(boxes[rest[0]][2:])
            same = [i for i in rest if i == leader or is_same(keypoints[leader], keypoints[i], extent)]
            rest = [i for i in rest if i not in same]
            pose = merge(keypoints[leader], [keypoints[i] for i in same], extent)
            if keypoints[leader, :, 2].max() >= 0.3 and max(joint[2] for joint in pose) >= 0.3:
                kept.append(leader)
                merged.append(pose)
    return kept, merged


def crowd(joints: int, seed: int = 0, people: int = 120, images: int = 6) -> dict[str, np.ndarray]:
    """People of mixed images; half of them are copies of another one, from exact to far moved; some hardly visible."""
    rng = np.random.default_rng(seed)
    half = people // 2
    extents = rng.uniform(20, 300, (people, 1))
    xy = rng.uniform(0, 400, (people, 1, 2)) + extents[:, None] * rng.uniform(-0.5, 0.5, (people, joints, 2))
    image_ids = rng.integers(0, images, people) * 7 + 3
    xy[half:] = xy[:half] + rng.normal(0, 1, (half, joints, 2)) * rng.uniform(0, 12, (half, 1, 1))
    extents[half:], image_ids[half:] = extents[:half], image_ids[:half]
    image_ids[0] = 1
    scores = rng.random((people, joints, 1)) * rng.choice([0.28, 0.5, 1], (people, 1, 1))
    scores[::7, ::5] = 0
    boxes = np.concatenate([xy[:, 0], extents, extents * rng.uniform(0.3, 1, (people, 1))], axis=1)
    boxes[1::2, 2:] = boxes[1::2, :1:-1]  # the longer side is the height of every second one
    return {
        "keypoints": np.concatenate([xy, scores], axis=2).astype(np.float32),
        "boxes": boxes,
        "image_ids": image_ids,
    }


def one(x: float = 0.0, score: float = 0.8, joints: int = 17) -> np.ndarray:
    """A pose (1, J, 3) whose joints lie 20 pixels apart, moved by x."""
    across = np.arange(joints) * 20.0
    return np.stack([across + x, np.zeros(joints), np.full(joints, score)], axis=1)[None]


def nms(*poses: np.ndarray, extent: float = 200.0) -> tuple[np.ndarray, np.ndarray]:
    keypoints = np.concatenate(poses)
    return parametric_pose_nms(
        keypoints, np.tile([0, 0, extent / 2, extent], (len(keypoints), 1)), np.zeros(len(keypoints))
    )


@pytest.mark.parametrize("joints", [17, 14, 26, 3])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_loop(joints: int, seed: int) -> None:
    people = crowd(joints, seed)
    indices, merged = parametric_pose_nms(**people)
    expected, expected_merged = loop(**people)
    assert indices.tolist() == expected
    assert 0.2 < len(indices) / len(people["keypoints"]) < 0.95
    np.testing.assert_allclose(merged, expected_merged, rtol=1e-5, atol=1e-4)


def test_equals_the_loop_on_real_people(parity_dir: Path, coco_mini: Path) -> None:
    annotations = coco_mini / "annotations" / "person_keypoints_val2017.json"
    boxes = labelled(load_annotations(annotations, coco_mini / "val2017", COCO17)).boxes
    with np.load(parity_dir / "topdown_val2017.npz") as fixture:
        people = {"keypoints": fixture["keypoints"], "boxes": np.tile(boxes, (2, 1)), "image_ids": fixture["image_id"]}
    indices, merged = parametric_pose_nms(**people)
    expected, expected_merged = loop(**people)
    assert indices.tolist() == expected
    np.testing.assert_allclose(merged, expected_merged, rtol=1e-5, atol=1e-3)


def test_more_pairs_than_a_block_holds() -> None:
    people = crowd(17, seed=5, people=2400, images=600)
    assert parametric_pose_nms(**people)[0].tolist() == loop(**people)[0]


def test_merged_joints_are_weighted_by_score() -> None:
    indices, merged = nms(one(4, 0.6), one(0, 0.9))
    assert indices.tolist() == [1]
    np.testing.assert_allclose(merged[0, :, 0] - one()[0, :, 0], 4 * 0.6 / 1.5)
    np.testing.assert_allclose(merged[0, :, 2], (0.36 + 0.81) / 1.5)


def test_far_joints_of_a_duplicate_are_not_merged() -> None:
    other = one(0, 0.5)
    other[0, 8:, 0] += 16
    indices, merged = nms(one(), other, extent=1000)
    assert indices.tolist() == [0]
    np.testing.assert_allclose(merged[0, 8:], one()[0, 8:], rtol=1e-12)


@pytest.mark.parametrize(("matching", "people"), [(4, 2), (5, 1)])
def test_five_matching_joints_make_a_duplicate(matching: int, people: int) -> None:
    other = one(6.9, 0.5)
    other[0, matching:, 1] = 100
    assert len(nms(one(), other)[0]) == people


def test_matching_reaches_less_far_for_small_boxes() -> None:
    assert len(nms(one(), one(5, 0.5), extent=200)[0]) == 1
    assert len(nms(one(), one(5, 0.5), extent=40)[0]) == 2


def test_similarity_counts_confident_joints_that_lie_close() -> None:
    """With a box too small for any joint to match, sum tanh² + 1.7 sum exp(-d/2.65) has to exceed 22.48."""
    confident, unsure = (nms(one(0, score), one(0.9, score), extent=0.0)[0] for score in (0.9, 0.32))
    assert (len(confident), len(unsure)) == (1, 2)


@pytest.mark.parametrize(("score", "people"), [(0.29, 0), (0.31, 1)])
def test_people_without_a_sure_joint_are_dropped(score: float, people: int) -> None:
    assert len(nms(one(score=score))[0]) == people


def test_people_of_other_images_stay() -> None:
    keypoints = np.concatenate([one(), one()])
    indices, merged = parametric_pose_nms(keypoints, np.full((2, 4), 100.0), np.array([8, 2]))
    assert indices.tolist() == [0, 1]
    np.testing.assert_allclose(merged, keypoints, rtol=1e-12)


def test_nobody() -> None:
    indices, merged = parametric_pose_nms(np.zeros((0, 17, 3)), np.zeros((0, 4)), np.zeros(0))
    assert (indices.shape, merged.shape) == ((0,), (0, 17, 3))


def test_the_given_arrays_and_their_type_stay() -> None:
    people = crowd(17)
    before = people["keypoints"].copy()
    assert parametric_pose_nms(**people)[1].dtype == np.float32
    np.testing.assert_array_equal(people["keypoints"], before)
