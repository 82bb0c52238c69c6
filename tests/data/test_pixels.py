"""Colours, blur and holes of training crops, as RTMPose has them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mspose.config.topdown import TopDownData
from mspose.data.pixels import change_pixels, cut_out, jitter, shift_color

PICTURE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8), (0, 0), 2)
OFF = TopDownData()


def changed(data: TopDownData, seed: int = 0) -> np.ndarray:
    return change_pixels(np.random.default_rng(seed), PICTURE.copy(), data)


class TestOff:
    def test_nothing_is_changed_or_drawn_by_default(self):
        rng, untouched = np.random.default_rng(0), np.random.default_rng(0)
        np.testing.assert_array_equal(change_pixels(rng, PICTURE.copy(), OFF), PICTURE)
        assert rng.random() == untouched.random()


class TestShiftColor:
    def test_no_shift_changes_next_to_nothing(self):
        difference = shift_color(PICTURE, np.zeros(3, int)).astype(int) - PICTURE
        assert np.abs(difference).max() <= 4

    def test_value_is_brightness_and_bounded(self):
        grey = np.array([[[0, 0, 0], [100, 100, 100], [250, 250, 250]]], np.uint8)
        assert shift_color(grey, np.array([0, 0, 20]))[0, :, 0].tolist() == [20, 120, 255]
        assert shift_color(grey, np.array([0, 0, -20]))[0, :, 0].tolist() == [0, 80, 230]

    def test_saturation(self):
        blue = np.array([[[200, 100, 100]]], np.uint8)
        pale, none = (shift_color(blue, np.array([0, shift, 0]))[0, 0] for shift in (-64, -255))
        assert pale[0] == 200
        assert 140 <= pale[1] == pale[2] <= 160
        assert none.tolist() == [200, 200, 200]

    def test_hue_goes_round_the_circle(self):
        red = np.array([[[0, 0, 200]]], np.uint8)
        assert shift_color(red, np.array([-10, 0, 0]))[0, 0].tolist() == pytest.approx([67, 0, 200], abs=2)
        assert shift_color(red, np.array([60, 0, 0]))[0, 0].tolist() == pytest.approx([0, 200, 0], abs=2)

    @pytest.mark.parametrize("shifts", [(4, -29, 17), (-4, 29, -29), (0, 0, 5)])
    def test_plain_arithmetic(self, shifts):
        hsv = cv2.cvtColor(PICTURE, cv2.COLOR_BGR2HSV).astype(int) + shifts
        hsv = np.dstack([hsv[..., 0] % 180, hsv[..., 1:].clip(0, 255)]).astype(np.uint8)
        expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        np.testing.assert_array_equal(shift_color(PICTURE, np.array(shifts)), expected)


class TestJitter:
    def test_each_value_every_other_time_within_its_bound(self):
        rng = np.random.default_rng(0)
        shifts = np.array([jitter(rng, [5, 30, 30]) for _ in range(4000)])
        assert shifts.min(axis=0).tolist() == [-4, -29, -29]
        assert shifts.max(axis=0).tolist() == [4, 29, 29]
        # Zero where it is not made, or rounds to zero: of 5 one in five, of 30 one in thirty.
        expected = [0.5 + 0.5 / 5, 0.5 + 0.5 / 30, 0.5 + 0.5 / 30]
        np.testing.assert_allclose((shifts == 0).mean(axis=0), expected, atol=0.03)
        together = np.corrcoef((shifts != 0).T)
        assert np.abs(together[np.triu_indices(3, 1)]).max() < 0.06

    def test_crop_is_shifted_by_what_is_drawn(self):
        expected = shift_color(PICTURE, jitter(np.random.default_rng(3), [5, 30, 30]))
        assert np.abs(expected.astype(int) - PICTURE).max() > 4
        np.testing.assert_array_equal(changed(replace(OFF, hsv_jitter=[5, 30, 30]), 3), expected)


class TestBlur:
    @pytest.mark.parametrize(
        ("name", "blurred"),
        [
            ("blur_prob", lambda side: cv2.blur(PICTURE, (side, side))),
            ("median_blur_prob", lambda side: cv2.medianBlur(PICTURE, side)),
        ],
    )
    def test_three_sizes_alike_often_and_as_often_as_asked_for(self, name, blurred):
        known = [PICTURE, *(blurred(side) for side in (3, 5, 7))]
        results = [changed(replace(OFF, **{name: 0.6}), seed) for seed in range(600)]
        counts = np.array([sum(np.array_equal(result, one) for result in results) for one in known])
        np.testing.assert_allclose(counts / 600, [0.4, 0.2, 0.2, 0.2], atol=0.06)


class TestCutOut:
    def test_one_black_rectangle_anywhere_of_a_fifth_to_two_fifths_each_way(self):
        rng, corners, sides = np.random.default_rng(0), [], []
        for _ in range(2000):
            crop = np.full((100, 50, 3), 9, np.uint8)
            cut_out(rng, crop)
            assert set(np.unique(crop)) == {0, 9}
            rows, columns = np.nonzero(crop[..., 0] == 0)
            low, high = np.array([rows.min(), columns.min()]), np.array([rows.max(), columns.max()])
            assert len(rows) == np.prod(high - low + 1)
            corners.append((low, high))
            sides.append(high - low + 1)
        low, high = np.array(corners).min(axis=0)[0], np.array(corners).max(axis=0)[1]
        assert (low.tolist(), high.tolist()) == ([0, 0], [99, 49])
        sides = np.array(sides)
        assert (sides.min(axis=0).tolist(), sides.max(axis=0).tolist()) == ([20, 10], [39, 19])
        np.testing.assert_allclose(sides.mean(axis=0), [29.5, 14.5], atol=0.4)
        assert abs(np.corrcoef(sides.T)[0, 1]) < 0.06

    def test_as_often_as_asked_for(self):
        whole = [np.array_equal(changed(replace(OFF, cutout_prob=0.5), seed), PICTURE) for seed in range(600)]
        assert np.mean(whole) == pytest.approx(0.5, abs=0.06)


def test_the_hole_is_made_last_and_stays_black():
    data = replace(OFF, hsv_jitter=[5, 30, 30], blur_prob=1.0, median_blur_prob=1.0, cutout_prob=1.0)
    for seed in range(20):
        rows, columns = np.nonzero((changed(data, seed) == 0).all(axis=2))
        assert np.ptp(rows) + 1 >= 12
        assert len(rows) >= (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
