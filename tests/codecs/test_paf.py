"""The bottom-up codec: targets against plain loops, the channels' layout, and both directions together."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mspose.codecs.grouping import Grouping
from mspose.codecs.paf import PafCodec
from mspose.errors import PoseError, UsageError
from mspose.files import read_json
from mspose.skeleton import COCO17, OPENPOSE18, Skeleton, paf_layout
from tests.golden import make_golden_paf as golden

CODEC = PafCodec()
NECK = OPENPOSE18.joints.index("neck")


def encode_loop(keypoints: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Cell by cell, in double precision."""
    joints = OPENPOSE18.to_joints(keypoints).astype(np.float64)
    heatmaps, pafs = np.zeros((19, size[1], size[0])), np.zeros((38, size[1], size[0]))
    for row in range(size[1]):
        for column in range(size[0]):
            cell = np.array([8 * column + 3.5, 8 * row + 3.5])
            squared = ((joints[..., :2] - cell) ** 2).sum(axis=-1)
            heatmaps[:18, row, column] = (np.exp(-squared / 98) * joints[..., 2]).max(axis=0, initial=0)
            for limb, (a, b) in enumerate(OPENPOSE18.limbs):
                vectors = []
                for first, second in zip(joints[:, a], joints[:, b]):
                    vector, length = second[:2] - first[:2], np.linalg.norm(second[:2] - first[:2])
                    if first[2] and second[2] and length:
                        (dx, dy), along = cell - first[:2], (cell - first[:2]) @ vector
                        across = vector[0] * dy - vector[1] * dx
                        if -4 <= along / length <= length + 4 and abs(across / length) <= 8:
                            vectors.append(vector / length)
                if vectors:
                    pafs[2 * limb : 2 * limb + 2, row, column] = np.mean(vectors, axis=0)
    heatmaps[18] = 1 - heatmaps[:18].max(axis=0)
    return heatmaps, pafs


def distances(keypoints: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Pixels (G,) from each person's joints to those of the person found nearest, infinite where joints are missing."""
    labelled = keypoints[:, None, :, 2] > 0
    both = labelled & (found[None, ..., 2] > 0)
    apart = np.linalg.norm(keypoints[:, None, :, :2] - found[None, ..., :2], axis=-1)
    mean = np.where(both, apart, 0).sum(axis=-1) / np.maximum(both.sum(axis=-1), 1)
    return np.where(both.sum(axis=-1) >= 0.7 * labelled.sum(axis=-1), mean, np.inf).min(axis=1)


def flip_back(codec: PafCodec, heatmaps: np.ndarray, pafs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return codec.flip_back((pafs, heatmaps))[::-1]


class TestEncode:
    @pytest.mark.parametrize("count", [1, 3, 11])
    def test_equals_plain_loops(self, count):
        people = golden.people(count, (150, 110), (40, 130))
        heatmaps, pafs = golden.encode(CODEC, people, (18, 13))
        expected = encode_loop(people, (18, 13))
        np.testing.assert_allclose(heatmaps, expected[0], atol=2e-6)
        np.testing.assert_allclose(pafs, expected[1], atol=2e-6)
        assert heatmaps.dtype == pafs.dtype == np.float32

    def test_peak_is_at_the_centre_of_a_cell(self):
        keypoints = np.zeros((1, 17, 3))
        keypoints[0, 0] = 8 * 5 + 3.5, 8 * 2 + 3.5, 2
        heatmaps, _ = golden.encode(CODEC, keypoints, (10, 6))
        assert heatmaps[0, 2, 5] == 1
        assert heatmaps[18, 2, 5] == 0

    def test_nobody_is_background(self):
        heatmaps, pafs = golden.encode(CODEC, np.zeros((0, 17, 3)), (7, 5))
        assert heatmaps.shape == (19, 5, 7)
        assert pafs.shape == (38, 5, 7)
        assert not heatmaps[:18].any()
        assert not pafs.any()
        assert (heatmaps[18] == 1).all()

    def test_neck_needs_both_shoulders(self):
        keypoints = np.zeros((1, 17, 3))
        keypoints[0, 5] = 40, 20, 2
        assert not golden.encode(CODEC, keypoints, (10, 6))[0][NECK].any()
        keypoints[0, 6] = 24, 20, 1
        assert OPENPOSE18.to_joints(keypoints)[0, NECK].tolist() == [32, 20, 1]

    def test_limb_without_length_is_not_drawn(self):
        keypoints = np.zeros((1, 17, 3))
        keypoints[0, [7, 9]] = 30, 30, 2
        _, pafs = golden.encode(CODEC, keypoints, (10, 6))
        assert not pafs.any()

    def test_joints_far_outside_leave_nothing(self):
        keypoints = np.full((1, 17, 3), 2.0)
        keypoints[..., :2] = 5000 + 100 * np.arange(17)[:, None]
        heatmaps, pafs = golden.encode(CODEC, keypoints, (10, 6))
        assert heatmaps[:18].max() < 1e-12
        assert not pafs.any()

    def test_equals_the_maps_of_the_reference_up_to_its_noise(self, parity_dir, coco_mini):
        truth = json.loads((coco_mini / "annotations/person_keypoints_val2017.json").read_text())
        heights = {image["id"]: image["height"] for image in truth["images"]}
        with np.load(parity_dir / "grouping_val2017.npz") as stored:
            for image in read_json(parity_dir / "grouping_val2017.json", "fixture")["image_ids"]:
                expected = [stored[f"{name}_{image}"].astype(np.float32) for name in ("heatmaps", "pafs")]
                # The reference leaves out people of one or two keypoints.
                people = [
                    p["keypoints"] for p in truth["annotations"] if p["image_id"] == image and p["num_keypoints"] > 2
                ]
                scale = 184 / heights[image]
                keypoints = np.reshape(people, (-1, 17, 3)) * (scale, scale, 1)
                maps = golden.encode(CODEC, keypoints, expected[0].shape[:0:-1])
                assert (maps[0] - expected[0])[:18].std() == pytest.approx(0.02, abs=0.001)
                assert (maps[1] - expected[1]).std() == pytest.approx(0.03, abs=0.001)
                assert abs(maps[0] - expected[0])[:18].max() < 0.13


class TestRoundTrip:
    def test_crowd_of_golden_numbers(self):
        numbers, expected = golden.golden_numbers(), read_json(golden.PATH, "golden numbers")
        assert len(numbers["scores"]) == len(expected["scores"])
        for name, tolerance in (("heatmaps", 1e-5), ("pafs", 1e-5), ("keypoints", 2e-3), ("scores", 2e-4)):
            np.testing.assert_allclose(numbers[name], expected[name], atol=tolerance, err_msg=name)

    def test_one_person_exactly(self):
        person = golden.people(1, (300, 220), (180, 200), unlabelled=0)
        person[0, [3, 15]] = 0
        found, scores = golden.decode(CODEC, *golden.encode(CODEC, person, (40, 30)))
        labelled = person[0, :, 2] > 0
        assert len(scores) == 1
        np.testing.assert_allclose(found[0, labelled, :2], person[0, labelled, :2], atol=0.01)
        assert not found[0, ~labelled].any()

    def test_thirty_people(self):
        people = golden.people(30, (90, 130), (110, 125), unlabelled=0)
        people[..., :2] += (np.stack(np.divmod(np.arange(30), 6)[::-1], axis=-1) * (100, 140))[:, None]
        found, scores = golden.decode(CODEC, *golden.encode(CODEC, people, (76, 90)))
        assert len(scores) == 30
        assert np.median(distances(people, found)) < 0.5

    def test_annotated_people(self, coco_mini):
        truth = json.loads((coco_mini / "annotations/person_keypoints_val2017.json").read_text())
        errors = []
        for image in truth["images"]:
            people = [
                p["keypoints"] for p in truth["annotations"] if p["image_id"] == image["id"] and p["num_keypoints"]
            ]
            if len(people) != 1:
                continue
            person, scale = np.reshape(people, (1, 17, 3)), 368 / min(image["width"], image["height"])
            size = [-(-round(image[side] * scale) // 8) for side in ("width", "height")]
            found, _ = golden.decode(CODEC, *golden.encode(CODEC, person * (scale, scale, 1), size))
            for joints in found:
                both = (person[0, :, 2] > 0) & (joints[:, 2] > 0)
                errors += np.linalg.norm(joints[both, :2] / scale - person[0, both, :2], axis=1).tolist()
        assert len(errors) > 100
        assert np.median(errors) < 0.1
        assert np.percentile(errors, 95) < 1

    def test_mirrored_maps_turned_back(self):
        people = golden.people(3, (200, 120), (80, 110))
        mirrored = people[:, COCO17.flip_index].copy()
        mirrored[..., 0] = np.where(mirrored[..., 2] > 0, 26 * 8 - 1 - mirrored[..., 0], 0)
        turned = flip_back(CODEC, *golden.encode(CODEC, mirrored, (26, 16)))
        for maps, expected in zip(turned, golden.encode(CODEC, people, (26, 16))):
            np.testing.assert_allclose(maps, expected, atol=1e-5)


class TestLayout:
    def test_channels_as_the_reference_lists_them(self, parity_dir):
        fixture = read_json(parity_dir / "grouping_val2017.json", "fixture")
        assert [2 * OPENPOSE18.limbs.index(tuple(limb)) for limb in fixture["limbs"]] == fixture["paf_first_channel"]
        assert [s[0] if len(s) == 1 else None for s in OPENPOSE18.sources] == fixture["openpose_to_coco"]

    def test_published_channels(self):
        assert OPENPOSE18.num_heatmaps == 19
        assert OPENPOSE18.num_pafs == 38
        assert OPENPOSE18.joints[:3] == ("nose", "neck", "right_shoulder")
        assert OPENPOSE18.limbs[:2] == ((1, 8), (8, 9))
        assert OPENPOSE18.limbs[14] == (1, 0)

    def test_keypoints_survive(self):
        keypoints = golden.crowd().astype(np.float32)
        keypoints[..., 2] = keypoints[..., 2] > 0
        np.testing.assert_array_equal(OPENPOSE18.to_keypoints(OPENPOSE18.to_joints(keypoints)), keypoints)

    def test_other_skeletons_use_their_own_keypoints_and_limbs(self):
        cross = Skeleton(
            "cross", ("top", "left", "right"), ((0, 1), (0, 2), (1, 2)), ((1, 2),), (0.1,) * 3, (), ((0, 0, 0),) * 3
        )
        codec = PafCodec(paf_layout(cross))
        people = np.array([[[100, 20, 2], [140, 90, 2], [60, 90, 2]], [[220, 30, 2], [250, 80, 2], [180, 80, 2]]])
        maps = golden.encode(codec, people, (36, 16))
        found, _ = golden.decode(codec, *maps)
        found = found[found[:, 0, 0].argsort()]
        np.testing.assert_allclose(found[..., :2], people[..., :2], atol=0.1)
        # The limb from left to right turns round when mirrored.
        mirrored = people[:, cross.flip_index] * (-1, 1, 1) + (36 * 8 - 1, 0, 0)
        for turned, expected in zip(flip_back(codec, *golden.encode(codec, mirrored, (36, 16))), maps):
            np.testing.assert_allclose(turned, expected, atol=1e-5)

    def test_limb_on_one_side_only_cannot_be_mirrored(self):
        layout = replace(paf_layout(COCO17), limbs=((2, 3), (5, 6), (3, 4)))
        with pytest.raises(UsageError, match="right_elbow-right_wrist"):
            flip_back(PafCodec(layout), np.zeros((19, 4, 4)), np.zeros((6, 4, 4)))


def test_maps_of_another_network_are_refused():
    with pytest.raises(PoseError, match=r"38x4x4\b.*\b18x4x4\b.*38x4x4\b.*\b19x4x4"):
        golden.decode(CODEC, np.zeros((18, 4, 4)), np.zeros((38, 4, 4)))


def test_upsampled_maps_give_the_same_people():
    person = golden.people(1, (300, 220), (180, 200), unlabelled=0)
    maps = golden.encode(CODEC, person, (40, 30))
    plain, _ = golden.decode(CODEC, *maps)
    large, _ = golden.decode(PafCodec(grouping=Grouping(upsample=8)), *maps)
    assert len(large) == 1
    np.testing.assert_allclose(large[..., :2], plain[..., :2], atol=1)
