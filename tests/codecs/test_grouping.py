"""Peaks, limbs and people on small maps, and the AP on the maps of the reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mspose.codecs.grouping import Connections, Grouping, Peaks, assemble, find_limbs, find_peaks
from mspose.codecs.paf import PafCodec
from mspose.config.builder import default_config
from mspose.errors import UsageError
from mspose.evaluation.coco import evaluate_keypoints, to_coco_results
from mspose.files import read_json
from mspose.skeleton import COCO17, OPENPOSE18
from tests.golden import make_golden_paf as golden
from tests.messages import naming

SIGMA = 7 / 8
SIZE = (20, 16)  # columns, rows


def gaussians(points: list, sigma: float = SIGMA, height: float = 1.0) -> np.ndarray:
    """One map (1, 16, 20) with a Gaussian at each x, y."""
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    drawn = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2)) for px, py in points]
    return height * np.max(drawn, axis=0)[None].astype(np.float32)


def peaks_at(*points: tuple) -> Peaks:
    """Peaks of value 1 given as (joint, x, y)."""
    table = np.array(points, np.float32).reshape(-1, 3)
    return Peaks(table[:, 0].astype(np.int64), table[:, 1:], np.ones(len(table), np.float32))


def connections(*rows: tuple) -> Connections:
    """Connections given as (limb, first, second, score), best first."""
    limb, first, second = (np.array([row[i] for row in rows], np.int64) for i in range(3))
    return Connections(limb, first, second, np.array([row[3] for row in rows], np.float32))


class TestPeaks:
    @pytest.mark.parametrize("point", [(7, 5), (7.5, 5.5), (7.3, 5.8), (12.49, 9.01)])
    @pytest.mark.parametrize("sigma", [SIGMA, 1.4])
    def test_top_of_a_gaussian_of_any_width(self, point, sigma):
        peaks = find_peaks(gaussians([point], sigma, height=0.8), SIGMA, 0.1)
        np.testing.assert_allclose(peaks.points, [point], atol=2e-3)
        np.testing.assert_allclose(peaks.scores, 0.8, rtol=2e-3)

    @pytest.mark.parametrize("point", [(-0.3, 5.2), (19.4, 8), (4, 15.3), (0, 0)])
    def test_at_the_border(self, point):
        np.testing.assert_allclose(find_peaks(gaussians([point]), SIGMA, 0.1).points, [point], atol=2e-3)

    @pytest.mark.parametrize("offset", [(2, 0), (1.6, 1.2), (1.5, 0), (1.1, 1.1), (0, 3)])
    def test_neighbours(self, offset):
        points = np.array([(8.2, 6.3), (8.2 + offset[0], 6.3 + offset[1])])
        found = find_peaks(gaussians(points), SIGMA, 0.1)
        assert len(found) == 2
        apart = np.linalg.norm(found.points[:, None] - points, axis=-1).min(axis=0)
        assert (apart < 0.5).all()

    def test_wide_blob_is_one_joint(self):
        assert len(find_peaks(gaussians([(8.2, 6.3)], sigma=2 * SIGMA), SIGMA, 0.1)) == 1

    def test_plateau_is_one_joint(self):
        maps = np.zeros((1, 8, 8), np.float32)
        maps[0, 3:5, 3:5] = 0.4
        assert len(find_peaks(maps, SIGMA, 0.1)) == 1

    def test_threshold(self):
        maps = gaussians([(5, 5)], height=0.2)
        assert len(find_peaks(maps, SIGMA, 0.19)) == 1
        assert len(find_peaks(maps, SIGMA, 0.21)) == 0

    def test_sorted_by_joint_then_score(self):
        maps = np.concatenate(
            [np.maximum(gaussians([(3, 3)], height=0.4), gaussians([(12, 9)], height=0.9)), gaussians([(6, 6)])]
        )
        peaks = find_peaks(maps, SIGMA, 0.1)
        assert peaks.joint.tolist() == [0, 0, 1]
        np.testing.assert_allclose(peaks.scores, [0.9, 0.4, 1], atol=0.01)

    @pytest.mark.parametrize("value", [0, -1, np.nan, np.inf])
    def test_nothing_to_find(self, value):
        assert len(find_peaks(np.full((3, 5, 6), value, np.float32), SIGMA, 0.1)) == 0

    def test_map_of_one_cell(self):
        np.testing.assert_allclose(find_peaks(np.full((1, 1, 1), 0.7, np.float32), SIGMA, 0.1).points, [[0, 0]])


class TestLimbs:
    LIMBS = np.array([[0, 1]])

    def field(self, rows: slice, x: float = 1.0, y: float = 0.0) -> np.ndarray:
        pafs = np.zeros((2, SIZE[1], SIZE[0]), np.float32)
        pafs[:, rows] = np.array([x, y])[:, None, None]
        return pafs

    def test_score_is_the_mean_component_along_the_limb(self):
        peaks = peaks_at((0, 4, 5), (1, 10, 9))
        found = find_limbs(self.field(slice(None), 0.9, -0.2), self.LIMBS, peaks, Grouping())
        expected = np.array([0.9, -0.2]) @ [6, 4] / np.hypot(6, 4)
        np.testing.assert_allclose(found.scores, [expected + min(8 / np.hypot(6, 4) - 1, 0)], rtol=1e-5)

    def test_read_between_cells(self):
        pafs = np.zeros((2, SIZE[1], SIZE[0]), np.float32)
        pafs[0] = np.arange(SIZE[1])[:, None] / 20
        peaks = peaks_at((0, 4.3, 5.25), (1, 9.1, 5.25))
        np.testing.assert_allclose(find_limbs(pafs, self.LIMBS, peaks, Grouping()).scores, [5.25 / 20], rtol=1e-5)

    def test_only_along_the_field(self):
        peaks = peaks_at((0, 4, 5), (0, 4, 11), (1, 9, 5), (1, 9, 11))
        found = find_limbs(self.field(slice(4, 7)), self.LIMBS, peaks, Grouping())
        assert list(zip(found.first, found.second)) == [(0, 2)]

    def test_against_the_field(self):
        assert not len(
            find_limbs(self.field(slice(None), -1), self.LIMBS, peaks_at((0, 4, 5), (1, 9, 5)), Grouping()).scores
        )

    def test_support(self):
        pafs = self.field(slice(4, 7))
        pafs[0, :, 7:] = 0
        peaks = peaks_at((0, 2, 5), (1, 10, 5))
        assert not len(find_limbs(pafs, self.LIMBS, peaks, Grouping()).scores)
        assert len(find_limbs(pafs, self.LIMBS, peaks, Grouping(limb_support=0.6)).scores) == 1

    def test_far_longer_than_the_picture_is_high(self):
        pafs = np.ones((2, 4, 60), np.float32) * 0.5
        assert not len(find_limbs(pafs, self.LIMBS, peaks_at((0, 1, 2), (1, 58, 2)), Grouping()).scores)

    def test_no_peaks(self):
        assert not len(find_limbs(self.field(slice(None)), self.LIMBS, peaks_at(), Grouping()).scores)


class TestAssembly:
    """A chain 0-1-2-3 of limbs 0, 1, 2."""

    OPTIONS = Grouping(min_joints=2, min_score=0)

    def people(self, peaks: Peaks, found: Connections, **changes: object) -> list[list[int]]:
        return assemble(peaks, found, 4, replace(self.OPTIONS, **changes))[0].tolist()

    def test_better_limb_wins_a_joint(self):
        peaks = peaks_at((0, 0, 0), (0, 5, 0), (1, 2, 0))
        assert self.people(peaks, connections((0, 1, 2, 0.9), (0, 0, 2, 0.5))) == [[1, 2, -1, -1]]

    def test_parts_merge(self):
        peaks = peaks_at((0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0))
        assert self.people(peaks, connections((0, 0, 1, 0.9), (2, 2, 3, 0.8), (1, 1, 2, 0.7))) == [[0, 1, 2, 3]]

    def test_parts_with_a_joint_in_common_stay_apart(self):
        # Limb 3 goes from joint 1 to joint 3, of which both parts have one.
        peaks = peaks_at((0, 0, 0), (1, 0, 0), (3, 0, 0), (2, 5, 0), (3, 5, 0))
        found = connections((0, 0, 1, 0.9), (2, 3, 4, 0.8), (3, 1, 2, 0.7), (1, 1, 3, 0.6))
        assert sorted(self.people(peaks, found)) == [[-1, -1, 3, 4], [0, 1, -1, 2]]

    def test_score_is_joints_and_limbs_a_joint(self):
        peaks = peaks_at((0, 0, 0), (1, 0, 0), (2, 0, 0))
        _, scores = assemble(peaks, connections((0, 0, 1, 0.9), (1, 1, 2, 0.6)), 4, self.OPTIONS)
        np.testing.assert_allclose(scores, [(3 + 1.5) / 3], rtol=1e-6)

    def test_closing_limb_counts(self):
        peaks = peaks_at((0, 0, 0), (1, 0, 0), (2, 0, 0))
        _, scores = assemble(peaks, connections((0, 0, 1, 0.9), (1, 1, 2, 0.6), (5, 0, 2, 0.3)), 4, self.OPTIONS)
        np.testing.assert_allclose(scores, [(3 + 1.8) / 3], rtol=1e-6)

    def test_best_first(self):
        peaks = peaks_at((0, 0, 0), (0, 5, 0), (1, 0, 0), (1, 5, 0), (2, 5, 0))
        found = connections((0, 0, 2, 0.9), (0, 1, 3, 0.8), (1, 3, 4, 0.8))
        assert self.people(peaks, found) == [[1, 3, 4, -1], [0, 2, -1, -1]]

    @pytest.mark.parametrize("change", [{"min_joints": 3}, {"min_score": 1.5}])
    def test_filters(self, change):
        peaks = peaks_at((0, 0, 0), (1, 0, 0))
        found = connections((0, 0, 1, 0.9))
        assert len(self.people(peaks, found)) == 1
        assert self.people(peaks, found, **change) == []

    def test_nobody(self):
        people, scores = assemble(peaks_at(), connections(), 4, self.OPTIONS)
        assert people.shape == (0, 4)
        assert scores.shape == (0,)


class TestNobody:
    @pytest.mark.parametrize("size", [(46, 62), (23, 35), (1, 1), (2, 1)])
    def test_empty_maps(self, size):
        keypoints, scores = golden.decode(PafCodec(), np.zeros((19, *size)), np.zeros((38, *size)))
        assert keypoints.shape == (0, 17, 3)
        assert scores.shape == (0,)

    @pytest.mark.parametrize("size", [(46, 62), (23, 35)])
    def test_noise(self, size):
        rng = np.random.default_rng(0)
        for _ in range(5):
            maps = (rng.normal(0, 0.05, (n, *size)) for n in (19, 38))
            assert len(golden.decode(PafCodec(), *maps)[1]) == 0

    def test_joints_without_limbs(self):
        heatmaps, pafs = golden.encode(PafCodec(), golden.crowd(), golden.CELLS)
        assert len(golden.decode(PafCodec(), heatmaps, np.zeros_like(pafs))[1]) == 0

    def test_one_keypoint(self):
        keypoints = np.zeros((1, 17, 3))
        keypoints[0, 0] = 40, 50, 2
        assert len(golden.decode(PafCodec(), *golden.encode(PafCodec(), keypoints, (20, 20)))[1]) == 0


def noise(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Heat maps and PAFs that no network should give."""
    rng = np.random.default_rng(0)
    heatmaps, pafs = rng.random((19, 24, 32), np.float32), rng.standard_normal((38, 24, 32), np.float32)
    checked = np.zeros_like(heatmaps)
    checked[:, ::2, ::2] = 1
    broken = [np.where(maps > 0.7, value, maps) for value in (np.nan, np.inf) for maps in (heatmaps, pafs)]
    return {
        "zeros": (0 * heatmaps, 0 * pafs),
        "ones": (0 * heatmaps + 1, 0 * pafs + 1),
        "random": (heatmaps, pafs),
        "peaks everywhere": (checked, 0 * pafs + 1),
        "nan": (broken[0], broken[1]),
        "inf": (broken[2], broken[3]),
        "all nan": (np.nan * heatmaps, np.nan * pafs),
        "huge": (heatmaps * np.float32(1e30), -pafs * np.float32(1e30)),
        "small": (heatmaps[:, :1, :1], pafs[:, :1, :1]),
        "empty": (heatmaps[:, :0], pafs[:, :0]),
    }[name]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "name", ["zeros", "ones", "random", "peaks everywhere", "nan", "inf", "all nan", "huge", "small", "empty"]
)
def test_maps_of_nothing_do_no_harm(name):
    heatmaps, pafs = noise(name)
    keypoints, scores = golden.decode(PafCodec(), heatmaps, pafs)
    assert keypoints.shape == (len(scores), 17, 3)
    assert np.isfinite(keypoints).all()
    assert np.isfinite(scores).all()
    # 96 joints of a kind are the most that are looked at, and each belongs to one person.
    assert len(scores) <= 96 * 18 / 3


@pytest.mark.parametrize(("name", "value"), [("limb_support", 1.2), ("min_joints", 1), ("upsample", 0)])
def test_values_out_of_range(name, value):
    with pytest.raises(UsageError, match=naming(f"codec.{name}", value)):
        default_config("openpose", {f"codec.{name}": value})


def test_finds_more_than_the_reference(parity_dir, coco_mini):
    truth = read_json(coco_mini / "annotations/person_keypoints_val2017.json", "annotations")
    fixture = read_json(parity_dir / "grouping_val2017.json", "fixture")
    heights = {image["id"]: image["height"] for image in truth["images"]}
    results = []
    with np.load(parity_dir / "grouping_val2017.npz") as stored:
        for image in fixture["image_ids"]:
            keypoints, scores = golden.decode(PafCodec(), stored[f"heatmaps_{image}"], stored[f"pafs_{image}"])
            scale = 184 / heights[image]
            results += to_coco_results(keypoints / (scale, scale, 1), scores, np.full(len(scores), image))
    figures = evaluate_keypoints(truth, results, COCO17.sigmas, fixture["image_ids"])
    assert figures["AP"] > fixture["reference_AP"] + 0.01
    assert figures["AR"] > fixture["reference_AR"] + 0.01


def test_all_limbs_are_scored_together_as_one_by_one():
    peaks = find_peaks(golden.noisy_maps()[0][:-1], SIGMA, 0.1)
    limbs, pafs = np.array(OPENPOSE18.limbs), golden.noisy_maps()[1]
    together = find_limbs(pafs, limbs, peaks, Grouping())
    for limb in range(len(limbs)):
        rows = together.limb == limb
        alone = find_limbs(pafs[2 * limb : 2 * limb + 2], limbs[limb : limb + 1], peaks, Grouping())
        assert (together.first[rows].tolist(), together.second[rows].tolist()) == (
            alone.first.tolist(),
            alone.second.tolist(),
        )
