"""Which crops training draws: exactly as before for older recipes, and as published for those of MMPose and ViTPose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest, truncnorm

from mspose.config.builder import load_config
from mspose.config.topdown import TopDownData
from mspose.data.crops import Crop, Frame, half_body, random_crop, truncated_normal
from mspose.skeleton import COCO17

PLAIN = TopDownData(flip=0.0, scale_factor=0.0, rotation_prob=0.0)
UPPER = np.isin(np.arange(17), COCO17.upper_body)
# A narrow box: its crop is wider than itself.
FRAME = Frame(np.array([50, 60], np.float32), np.array([150, 200], np.float32), np.array([80.0, 200.0]))
NOBODY = np.zeros((17, 3), np.float32)
MMPOSE = TopDownData(crop_draws="truncated", scale_factor=0.5, rotation_factor=80.0, shift_prob=0.3)


def grid() -> np.ndarray:
    """Keypoints (17, 3), all labelled, in rows of four."""
    rows, columns = np.divmod(np.arange(17), 4)
    return np.stack([130 + 45 * columns, 100 + 45 * rows, np.full(17, 2)], axis=1).astype(np.float32)


def draws(data: TopDownData, keypoints: np.ndarray = NOBODY, count: int = 4000) -> list[Crop]:
    rng = np.random.default_rng(0)
    return [random_crop(rng, FRAME, keypoints, UPPER, data) for _ in range(count)]


# Made by the code from before there were other draws: data, seed → centre and size, rotation, mirrored.
GOLDEN = [
    ("simple", 0, [50.0, 60.0, 187.1380974464748, 249.5174632619664], 25.472133959883255, False),
    ("simple", 1, [50.0, 60.0, 127.28298836821602, 169.71065115762136], -54.65093704648772, True),
    ("simple", 4, [50.0, 60.0, 128.30248538306324, 171.06998051075098], 0.0, False),
    ("hrnet", 0, [50.0, 60.0, 193.3277803542206, 257.77037380562746], 28.65615070486866, False),
    ("hrnet", 1, [50.0, 60.0, 123.49681976291869, 164.66242635055826], -61.48230417729868, True),
    ("hrnet", 4, [197.5, 235.0, 261.40696513968777, 348.5425545277575], 0.0, True),
    ("half", 0, [191.36363220214844, 140.90908813476562, 241.18582162541617, 321.5810349210767], 0.0, True),
    (
        "half",
        1,
        [191.36363220214844, 140.90908813476562, 141.75001068115233, 188.9999786376953],
        53.618691623019494,
        True,
    ),
    ("half", 4, [197.5, 235.0, 252.99168658527367, 337.3221852355667], 0.0, True),
]
FORMER = {
    "simple": TopDownData(),
    "hrnet": TopDownData(scale_factor=0.35, rotation_factor=45.0, half_body_prob=0.3),
    "half": TopDownData(half_body_prob=1.0),
}


@pytest.mark.parametrize(("name", "seed", "place", "rotation", "flip"), GOLDEN)
def test_older_recipes_draw_what_they_drew(name, seed, place, rotation, flip):
    crop = random_crop(np.random.default_rng((1, 2, seed)), FRAME, grid(), UPPER, FORMER[name])
    np.testing.assert_allclose(
        [*crop.center, *crop.size, crop.rotation], [*place, rotation], rtol=1e-6
    )  # NumPy 1 promotes single precision otherwise
    assert crop.flip == flip


def test_recipe_of_hrnet_has_its_authors_augmentation():
    data = load_config("hrnet_w48_256x192").data
    assert data == replace(
        data,
        crop_draws="clipped",
        flip=0.5,
        scale_factor=0.35,
        rotation_factor=45.0,
        rotation_prob=0.6,
        half_body_prob=0.3,
        half_body_joints=8,
        shift_prob=0.0,
        stages=[],
    )


class TestClipped:
    @pytest.fixture
    def crops(self):
        return draws(TopDownData())

    def test_scale(self, crops):
        ratios = np.array([crop.size / FRAME.size for crop in crops])
        np.testing.assert_allclose(ratios[:, 0], ratios[:, 1], rtol=1e-6)
        assert (ratios.min(), ratios.max()) == (pytest.approx(0.7), pytest.approx(1.3))
        # One standard deviation lies on either bound: 15.9 % of a normal distribution beyond each.
        assert np.mean(ratios[:, 0] > 1.2999) == pytest.approx(0.159, abs=0.02)
        assert np.mean(ratios[:, 0] < 0.7001) == pytest.approx(0.159, abs=0.02)

    def test_rotation(self, crops):
        degrees = np.array([crop.rotation for crop in crops])
        assert (degrees.min(), degrees.max()) == (-80, 80)
        turned = degrees[degrees != 0]
        assert len(turned) / len(degrees) == pytest.approx(0.6, abs=0.025)
        assert np.mean(np.abs(turned) < 40) == pytest.approx(0.683, abs=0.03)
        assert np.mean(turned) == pytest.approx(0, abs=3)

    def test_flip(self, crops):
        assert np.mean([crop.flip for crop in crops]) == pytest.approx(0.5, abs=0.025)

    def test_centre_stays(self, crops):
        assert all(np.array_equal(crop.center, FRAME.center) for crop in crops)

    def test_nothing_to_draw(self):
        (crop,) = draws(PLAIN, count=1)
        assert (crop.size.tolist(), crop.rotation, crop.flip) == ([150, 200], 0.0, False)

    def test_shift_is_uniform_within_a_share_of_the_padded_box(self):
        moved = shifts(draws(replace(PLAIN, shift_prob=0.3)))
        assert len(moved) / 4000 == pytest.approx(0.3, abs=0.025)
        for share in (moved / FRAME.extent).T:
            assert kstest(share, "uniform", (-0.16, 0.32)).pvalue > 0.001

    def test_half_bodies_are_not_shifted(self):
        data = replace(PLAIN, shift_prob=1.0, half_body_prob=1.0)
        centers = {tuple(crop.center) for crop in draws(data, grid(), 200)}
        assert len(centers) == 2


def shifts(crops: list[Crop]) -> np.ndarray:
    """Offsets (N, 2) of the crops that were moved."""
    offsets = np.array([crop.center for crop in crops]) - FRAME.center
    return offsets[(offsets != 0).any(axis=1)]


def is_truncated_normal(values: np.ndarray) -> bool:
    return kstest(values, truncnorm(-1, 1).cdf).pvalue > 0.001


class TestTruncated:
    """MMPose 1.x: a normal distribution within one standard deviation, for everything."""

    @pytest.fixture
    def crops(self):
        return draws(MMPOSE)

    def test_normal_distribution_within_one_deviation(self):
        assert is_truncated_normal(truncated_normal(np.random.default_rng(1), 4000))

    def test_scale(self, crops):
        ratios = np.array([crop.size / FRAME.size for crop in crops])
        np.testing.assert_allclose(ratios[:, 0], ratios[:, 1], rtol=1e-6)
        assert is_truncated_normal((ratios[:, 0] - 1) / 0.5)

    def test_rotation(self, crops):
        degrees = np.array([crop.rotation for crop in crops])
        turned = degrees[degrees != 0]
        assert len(turned) / len(degrees) == pytest.approx(0.6, abs=0.025)
        assert is_truncated_normal(turned / 80)

    def test_shift_is_a_share_of_the_padded_box(self, crops):
        moved = shifts(crops)
        assert len(moved) / len(crops) == pytest.approx(0.3, abs=0.025)
        assert is_truncated_normal(moved[:, 0] / (0.16 * 80))
        assert is_truncated_normal(moved[:, 1] / (0.16 * 200))

    def test_all_are_drawn_by_themselves(self, crops):
        values = [(*(crop.center - FRAME.center), crop.size[0], crop.rotation, crop.flip) for crop in crops]
        both = [row for row in values if row[0] and row[3]]
        assert np.abs(np.corrcoef(np.array(both, float).T)[np.triu_indices(5, 1)]).max() < 0.15

    def test_half_bodies_are_shifted_by_shares_of_their_own(self):
        data = replace(PLAIN, crop_draws="truncated", shift_prob=1.0, half_body_prob=1.0, half_body_upper=0.0)
        offsets = np.array([crop.center for crop in draws(data, grid(), 2000)]) - grid()[~UPPER, :2].mean(axis=0)
        extent = 1.5 * np.ptp(grid()[~UPPER, :2], axis=0)
        assert is_truncated_normal(offsets[:, 0] / (0.16 * extent[0]))
        assert is_truncated_normal(offsets[:, 1] / (0.16 * extent[1]))


class TestHalfBody:
    POINTS = grid()[:, :2].astype(np.float64)

    def crop(self, labelled_joints: int, **changes: object) -> Crop:
        keypoints = grid()
        keypoints[labelled_joints:, 2] = 0
        (crop,) = draws(replace(PLAIN, half_body_prob=1.0, **changes), keypoints, 1)
        return crop

    @pytest.mark.parametrize("kind", ["clipped", "truncated"])
    def test_only_with_more_labelled_joints_than_asked_for(self, kind):
        assert self.crop(8, crop_draws=kind).center.tolist() == [50, 60]
        assert self.crop(9, crop_draws=kind).center.tolist() != [50, 60]
        assert self.crop(9, crop_draws=kind, half_body_joints=9).center.tolist() == [50, 60]

    def test_never_by_default(self):
        assert {tuple(crop.center) for crop in draws(PLAIN, grid(), 50)} == {(50, 60)}

    def halves(self, visible: np.ndarray, upper_prob: float = 0.7, upper: np.ndarray = UPPER) -> list:
        rngs = map(np.random.default_rng, range(400))
        found = [half_body(rng, self.POINTS, visible, upper, 0.75, upper_prob) for rng in rngs]
        return [half and tuple(half.center) for half in found]

    @pytest.mark.parametrize("prob", [0.0, 0.4, 0.6915, 1.0])
    def test_upper_or_lower_half_as_often_as_asked_for(self, prob):
        centers = np.array(self.halves(np.ones(17, bool), prob))
        upper, lower = self.POINTS[UPPER].mean(axis=0), self.POINTS[~UPPER].mean(axis=0)
        is_upper = np.isclose(centers, upper, atol=1e-3).all(axis=1)
        assert (is_upper | np.isclose(centers, lower, atol=1e-3).all(axis=1)).all()
        assert is_upper.mean() == pytest.approx(prob, abs=0.07)

    def test_crops_prefer_the_half_that_the_key_says(self):
        lower = self.POINTS[~UPPER].mean(axis=0)
        data = replace(PLAIN, half_body_prob=1.0, half_body_upper=0.0)
        assert all(np.allclose(crop.center, lower, atol=1e-3) for crop in draws(data, grid(), 50))

    def test_size_is_half_again_that_of_the_joints(self):
        half = half_body(np.random.default_rng(0), self.POINTS, np.ones(17, bool), UPPER, 0.75, 0.0)
        extent = np.ptp(self.POINTS[~UPPER], axis=0)
        width = max(extent[0], extent[1] * 0.75)
        np.testing.assert_allclose(half.size, [1.5 * width, 1.5 * width / 0.75], rtol=1e-5)
        np.testing.assert_allclose(half.extent, 1.5 * extent)
        assert half.center.dtype == np.float32

    def test_half_with_too_few_joints_gives_way_to_the_other(self):
        visible = UPPER.copy()
        visible[-2:] = True
        expected = self.POINTS[UPPER].mean(axis=0)
        assert all(np.allclose(center, expected, atol=1e-3) for center in self.halves(visible, 0.0))

    def test_neither_half(self):
        assert set(self.halves(np.isin(np.arange(17), [0, 1, 15, 16]))) == {None}

    def test_joints_on_one_spot(self):
        spot = np.full((17, 2), 50.0)
        assert half_body(np.random.default_rng(0), spot, np.ones(17, bool), UPPER, 0.75, 0.5) is None

    @pytest.mark.parametrize("upper", [np.zeros(17, bool), np.ones(17, bool)])
    def test_skeleton_without_halves_is_seen_whole(self, upper):
        assert set(self.halves(np.ones(17, bool), upper=upper)) == {None}
