"""Bottom-up samples: picture, targets and mask stay together under OpenPose's augmentation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose.codecs.paf import cells_touched
from mspose.config.bottomup import BottomUpData
from mspose.data.bottomup import (
    BottomUpAugmentation,
    BottomUpDataset,
    random_color,
    random_view,
)
from mspose.data.coco import Annotations, Images, People
from mspose.data.ignore_mask import usable, write_masks
from mspose.errors import PoseError, UsageError
from mspose.geometry import resize_canvas, transform_points
from mspose.images import ImageError
from mspose.skeleton import COCO17
from tests.messages import naming

SIZE, STRIDE = 368, 8
# Pictures as they are, so that grey levels can be read off.
DATA = BottomUpData(input_size=[SIZE, SIZE], mean=[0.0] * 3, std=[1.0] * 3, scale=1.0)
STILL = BottomUpAugmentation(min_scale=1.0, max_scale=1.0, rotation=0.0, shift=0.0, flip=0.0, color=0.0)
MOVING = BottomUpAugmentation(color=0.0)
LIMITS = BottomUpAugmentation()


class Recorder:
    """A codec that keeps the keypoints it was given and marks one cell for each labelled one."""

    stride = STRIDE
    skeleton = COCO17

    def targets(self, size: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
        width, height = size[0] // STRIDE, size[1] // STRIDE
        return (19, height, width), (38, height, width), (1, height, width)

    def encode(
        self, keypoints: np.ndarray, size: tuple[int, int], mask: np.ndarray | None = None
    ) -> tuple[np.ndarray, ...]:
        self.keypoints = keypoints
        heatmaps, pafs, counted = (np.zeros(shape, np.float32) for shape in self.targets(size))
        heatmaps[0, 0, 0] = (keypoints[..., 2] > 0).sum()
        return heatmaps, pafs + 0.5, 1 - counted if mask is None else 1 - cells_touched(mask, STRIDE)[None]


def discs() -> tuple[np.ndarray, np.ndarray]:
    """A black picture (400, 500) with a disc of its own grey level at each of 17 keypoints (17, 3)."""
    image = np.zeros((400, 500, 3), np.uint8)
    rows, columns = np.divmod(np.arange(17), 4)
    points = np.stack([200 + 30 * columns, 120 + 30 * rows, np.full(17, 2)], axis=1).astype(np.float32)
    for level, (x, y, _) in zip(LEVELS.tolist(), points.astype(int).tolist()):
        cv2.circle(image, (x, y), 9, (level,) * 3, -1)
    return image, points


LEVELS = 15 + 14 * np.arange(17)


def annotate(
    folder: Path,
    image: np.ndarray,
    keypoints: np.ndarray,
    segmentations: list | None = None,
    image_index: list[int] | None = None,
) -> Annotations:
    """Pictures that are copies of `image` and people (N, 17, 3) of area 5000, by default all in one picture."""
    image_index = image_index or [0] * len(keypoints)
    count, (height, width) = max(image_index) + 1, image.shape[:2]
    files = [folder / f"{i}.png" for i in range(count)]
    for file in files:
        cv2.imwrite(str(file), image)
    images = Images(np.arange(1, count + 1), files, np.full(count, width), np.full(count, height))
    n = len(keypoints)
    people = People(
        np.arange(n),
        np.array(image_index),
        np.tile([1.0, 1.0, 9.0, 9.0], (n, 1)),
        np.ones(n, np.float32),
        keypoints.astype(np.float32),
        np.full(n, 5000, np.float32),
        np.zeros(n, bool),
    )
    return Annotations(images, people, 1, folder / "people.json", segmentations or [None] * n)


def make(
    folder: Path,
    augmentation: BottomUpAugmentation = STILL,
    data: BottomUpData = DATA,
    seed: int = 0,
    labels: np.ndarray | None = None,
    pictures: int = 1,
) -> BottomUpDataset:
    """Pictures that are copies of one another, each with one person."""
    image, points = discs()
    if labels is not None:
        points[:, 2] = labels
    annotations = annotate(folder, image, np.stack([points] * pictures), image_index=list(range(pictures)))
    return BottomUpDataset(data, augmentation, annotations, Recorder(), seed)


def sample(dataset: BottomUpDataset, index: int = 0, epoch: int = 0) -> tuple[np.ndarray, ...]:
    out = tuple(np.full(shape, np.nan, np.float32) for shape in dataset.train_shapes)
    dataset.train_sample(index, epoch, out)
    return out


def given(dataset: BottomUpDataset) -> np.ndarray:
    """Keypoints (P, 17, 3) of the last sample."""
    return dataset._codec.keypoints


class TestWholePicture:
    DATA = replace(DATA, crop="picture")

    def test_without_augmentation_it_is_what_evaluation_sees(self, tmp_path):
        dataset = make(tmp_path, data=self.DATA)
        canvas, to_image = resize_canvas(discs()[0], (SIZE, SIZE))
        np.testing.assert_array_equal(sample(dataset)[0], canvas.transpose(2, 0, 1))
        np.testing.assert_allclose(transform_points(given(dataset)[0, :, :2], to_image), discs()[1][:, :2], atol=1e-3)

    @pytest.mark.parametrize("flip", [0.0, 1.0])
    @pytest.mark.parametrize("epoch", range(4))
    def test_keypoints_lie_on_what_they_name(self, tmp_path, flip, epoch):
        dataset = make(tmp_path, replace(MOVING, flip=flip), self.DATA)
        image = sample(dataset, 0, epoch)[0]
        x, y = np.round(given(dataset)[0, :, :2]).astype(int).T
        inside = (np.minimum(x, y) > 2) & (np.maximum(x, y) < SIZE - 3)
        expected = LEVELS[COCO17.flip_index] if flip else LEVELS
        assert inside.sum() >= 8
        np.testing.assert_allclose(image[0, y[inside], x[inside]], expected[inside], atol=3)

    def test_mask_moves_with_the_picture(self, tmp_path):
        image, points = discs()
        people, right_half = np.stack([points, points * (1, 1, 0)]), [[250.0, 0, 500, 0, 500, 400, 250, 400]]
        annotations = annotate(tmp_path, image, people, [None, right_half])
        mask = sample(BottomUpDataset(self.DATA, STILL, annotations, Recorder()))[3][0]
        # 500 x 400 pixels become 368 x 294; the right half is ignored, what lies below the picture is not.
        assert (mask[:37, 24:] == 0).all()
        assert (mask[:, :21] == 1).all()
        assert (mask[39:] == 1).all()


@pytest.mark.parametrize("crop", ["person", "picture"])
def test_picture_longer_than_opencv_warps(tmp_path, crop):
    image, points = discs()
    image, points = np.pad(image, ((0, 0), (33_000, 0), (0, 0))), points + np.float32([33_000, 0, 0])
    people, right_half = np.stack([points, points * (1, 1, 0)]), [[33_250.0, 0, 33_500, 0, 33_500, 400, 33_250, 400]]
    annotations = annotate(tmp_path, image, people, [None, right_half])
    dataset = BottomUpDataset(replace(DATA, crop=crop), STILL, annotations, Recorder())
    shown, *_, counted = sample(dataset)
    if crop == "person":
        x, y = np.round(given(dataset)[0, :, :2]).astype(int).T
        np.testing.assert_allclose(shown[0, y, x], LEVELS, atol=3)
    assert 0 < (counted == 0).mean() <= 0.5


class TestSample:
    def test_shapes(self, tmp_path):
        dataset = make(tmp_path, data=replace(DATA, input_size=[192, 96]))
        assert dataset.train_shapes == ((3, 96, 192), (19, 12, 24), (38, 12, 24), (1, 12, 24))
        image, heatmaps, pafs, mask = sample(dataset)
        assert np.isfinite(image).all()
        assert heatmaps[0, 0, 0] == 17
        assert (pafs == 0.5).all()
        assert (mask == 1).all()

    @pytest.mark.parametrize("flip", [0.0, 1.0])
    @pytest.mark.parametrize("epoch", range(6))
    def test_keypoints_lie_on_what_they_name(self, tmp_path, flip, epoch):
        dataset = make(tmp_path, replace(MOVING, flip=flip))
        image = sample(dataset, 0, epoch)[0]
        x, y = np.round(given(dataset)[0, :, :2]).astype(int).T
        inside = (np.minimum(x, y) > 2) & (np.maximum(x, y) < SIZE - 3)
        expected = LEVELS[COCO17.flip_index] if flip else LEVELS
        assert inside.sum() >= 8
        np.testing.assert_allclose(image[0, y[inside], x[inside]], expected[inside], atol=2)

    @pytest.mark.parametrize("flip", [0.0, 1.0])
    def test_place_to_a_fraction_of_a_pixel(self, tmp_path, flip):
        dataset = make(tmp_path, replace(STILL, max_scale=2.0, rotation=40.0, flip=flip))
        rows, columns = np.mgrid[:SIZE, :SIZE]
        for epoch in range(5):
            image = sample(dataset, 0, epoch)[0][0]
            for (x, y), level in zip(given(dataset)[0, :, :2], LEVELS[COCO17.flip_index] if flip else LEVELS):
                if min(x, y) < 20 or max(x, y) > SIZE - 21:
                    continue
                near = np.hypot(columns - x, rows - y) < 20
                middle = np.argwhere(near & (np.abs(image - level) < 3)).mean(axis=0)[::-1]
                np.testing.assert_allclose(middle, [x, y], atol=0.3)

    def test_unlabelled_keypoints_stay_so_on_the_right_side(self, tmp_path):
        labels = np.full(17, 2)
        labels[[9, 2]] = 0  # left wrist, right eye
        labels[11] = 1  # hidden, but labelled
        for flip, missing in ((0.0, [9, 2]), (1.0, COCO17.flip_index[[9, 2]].tolist())):
            dataset = make(tmp_path, replace(STILL, flip=flip), labels=labels)
            sample(dataset)
            assert set(np.flatnonzero(given(dataset)[0, :, 2] == 0)) == set(missing)

    def test_annotations_are_not_changed(self, tmp_path):
        dataset = make(tmp_path, MOVING)
        before = dataset.people.keypoints.copy()
        sample(dataset)
        np.testing.assert_array_equal(dataset.people.keypoints, before)

    def test_outside_of_the_picture_is_grey_and_counts(self, tmp_path):
        image, _, _, mask = sample(make(tmp_path, replace(STILL, min_scale=0.5, max_scale=0.5, max_box=1.0)))
        assert (image[:, 0, 0] == 128).all()
        assert (mask == 1).all()

    def test_normalisation(self, tmp_path):
        plain = sample(make(tmp_path))[0]
        openpose = sample(make(tmp_path, data=replace(DATA, scale=255.0, mean=[0.5] * 3)))[0]
        np.testing.assert_allclose(openpose, plain / 255 - 0.5, atol=1e-6)

    def test_color_changes_the_picture_only(self, tmp_path):
        plain = sample(make(tmp_path))
        colored = sample(make(tmp_path, replace(STILL, color=1.0, value=100)))
        assert np.abs(plain[0] - colored[0]).max() > 5
        for a, b in zip(plain[1:], colored[1:]):
            np.testing.assert_array_equal(a, b)


class TestWho:
    def people(self, tmp_path, joints: list[int], image_index: list[int]) -> Annotations:
        image, points = discs()
        keypoints = np.stack([points] * len(joints))
        for person, count in zip(keypoints, joints):
            person[count:, 2] = 0
        return annotate(tmp_path, image, keypoints, image_index=image_index)

    def test_pictures_with_somebody_usable(self, tmp_path):
        annotations = self.people(tmp_path, [17, 4, 5, 0, 6], [0, 1, 2, 2, 4])
        dataset = BottomUpDataset(DATA, STILL, annotations, Recorder())
        assert len(dataset) == 3
        assert dataset.rows.tolist() == [0, 2, 4]

    def test_targets_show_usable_people_only(self, tmp_path):
        annotations = self.people(tmp_path, [17, 4, 5, 0, 6], [0, 0, 0, 0, 1])
        dataset = BottomUpDataset(DATA, STILL, annotations, Recorder())
        sample(dataset, 0)
        assert (given(dataset)[..., 2] > 0).sum(axis=1).tolist() == [17, 5]
        sample(dataset, 1)
        assert (given(dataset)[..., 2] > 0).sum(axis=1).tolist() == [6]

    def test_nobody(self, tmp_path):
        with pytest.raises(PoseError, match=r"\b2 [^,;:]*\b5 [^,;:]*keypoints.*people\.json"):
            BottomUpDataset(DATA, STILL, self.people(tmp_path, [4, 4], [0, 0]), Recorder())

    def test_own_limits(self, tmp_path):
        annotations = self.people(tmp_path, [2], [0])
        assert len(BottomUpDataset(DATA, replace(STILL, min_keypoints=2), annotations, Recorder())) == 1
        with pytest.raises(PoseError, match=r"\b1 [^,;:]*\b6000\b.*people\.json"):
            BottomUpDataset(DATA, replace(STILL, min_keypoints=2, min_area=6000), annotations, Recorder())

    def test_input_size_of_no_whole_cells(self, tmp_path):
        with pytest.raises(UsageError, match=naming("data.input_size", "[368, 364]", "8")):
            make(tmp_path, data=replace(DATA, input_size=[368, 364]))


class TestMask:
    """A white area in a black picture is what is ignored."""

    AREA = (60.0, 40.0, 300.0, 60.0, 280.0, 200.0, 120.0, 320.0)

    def annotations(self, tmp_path) -> Annotations:
        image, points = np.zeros((400, 500, 3), np.uint8), discs()[1]
        cv2.fillPoly(image, [np.array(self.AREA).reshape(-1, 2).astype(int)], (255,) * 3)
        people = np.stack([points, points])
        people[1, :, 2] = 0
        return annotate(tmp_path, image, people, [None, [list(self.AREA)]])

    @pytest.mark.parametrize("epoch", range(6))
    def test_covers_what_the_picture_shows(self, tmp_path, epoch):
        dataset = BottomUpDataset(DATA, MOVING, self.annotations(tmp_path), Recorder())
        image, _, _, mask = sample(dataset, 0, epoch)
        assert set(np.unique(mask)) == {0, 1}
        white = (image[0] > 200).astype(np.uint8)
        surely = cells_touched(cv2.erode(white, np.ones((5, 5))), STRIDE)
        possibly = cells_touched(cv2.dilate(white, np.ones((5, 5))), STRIDE)
        assert not mask[0][surely == 1].any()
        assert mask[0][possibly == 0].all()

    def test_folder_gives_the_same(self, tmp_path):
        annotations = self.annotations(tmp_path)
        write_masks(annotations, tmp_path / "masks")
        computed = BottomUpDataset(DATA, MOVING, annotations, Recorder())
        written = BottomUpDataset(
            DATA, MOVING, replace(annotations, segmentations=None), Recorder(), mask_dir=str(tmp_path / "masks")
        )
        for epoch in range(3):
            mask = sample(computed, 0, epoch)[3]
            np.testing.assert_array_equal(sample(written, 0, epoch)[3], mask)
            assert not mask.all()

    @pytest.mark.parametrize(
        ("x", "cells"),
        [(0, [0]), (3, [0]), (4, [0, 1]), (11, [0, 1]), (12, [1, 2]), (35, [3, 4]), (36, [4]), (39, [4])],
    )
    def test_cells_touched_is_the_window_of_two_strides(self, x, cells):
        # Cell i has its centre at 8 i + 3.5: its window goes from 8 i - 4 to 8 i + 11.
        mask = np.zeros((56, 40), np.uint8)
        mask[28, x] = 1
        expected = np.zeros((7, 5))
        expected[3:5, cells] = 1
        np.testing.assert_array_equal(cells_touched(mask, 8), expected)
        np.testing.assert_array_equal(cells_touched(mask.T, 8), expected.T)


class TestRandomness:
    AUGMENTED = BottomUpAugmentation(color=1.0)

    def test_same_seed_epoch_and_index_give_the_same_sample_in_any_order(self, tmp_path):
        one, other = make(tmp_path, self.AUGMENTED, pictures=2), make(tmp_path, self.AUGMENTED, pictures=2)
        first = sample(one, 1, 5)
        sample(other, 0, 0)
        for a, b in zip(first, sample(other, 1, 5)):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize(("seed", "index", "epoch"), [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
    def test_another_seed_index_or_epoch_gives_another(self, tmp_path, seed, index, epoch):
        reference = sample(make(tmp_path, self.AUGMENTED, pictures=2))
        other = sample(make(tmp_path, self.AUGMENTED, seed=seed, pictures=2), index, epoch)
        assert np.abs(reference[0] - other[0]).max() > 1

    def test_missing_picture(self, tmp_path):
        dataset = make(tmp_path)
        (tmp_path / "0.png").unlink()
        with pytest.raises(ImageError, match=naming("not found", tmp_path / "0.png")):
            sample(dataset)

    def test_picture_of_another_size(self, tmp_path):
        dataset = make(tmp_path)
        cv2.imwrite(str(tmp_path / "0.png"), np.zeros((10, 20, 3), np.uint8))
        with pytest.raises(ImageError, match=r"20x10.*500x400.*0\.png"):
            sample(dataset)


class TestRandomView:
    """Draws for people 100 and 200 pixels large in an input of 368 × 368."""

    @staticmethod
    def person(x: float, y: float, diagonal: float) -> np.ndarray:
        side = diagonal / np.sqrt(2) - 1
        keypoints = np.zeros((17, 3), np.float32)
        keypoints[:3] = [x, y, 2], [x + side, y + side, 1], [x + side, y, 2]
        return keypoints

    @pytest.fixture
    def people(self):
        return np.stack([self.person(50, 60, 100), self.person(400, 300, 200)])

    @pytest.fixture
    def views(self, people):
        rng = np.random.default_rng(0)
        return [random_view(rng, people, (SIZE, SIZE), LIMITS) for _ in range(2500)]

    def scales(self, people: np.ndarray, **changes: float) -> tuple[float, float]:
        rng = np.random.default_rng(0)
        limits = replace(LIMITS, **changes)
        scales = [
            np.sqrt(abs(np.linalg.det(random_view(rng, people, (SIZE, SIZE), limits)[0][:, :2]))) for _ in range(500)
        ]
        return min(scales), max(scales)

    def test_scale_is_bounded_by_smallest_and_largest_person(self, people):
        assert self.scales(people) == (pytest.approx(0.64, abs=0.02), pytest.approx(2.0, abs=0.02))
        assert self.scales(people, max_box=300) == (pytest.approx(0.64, abs=0.02), pytest.approx(1.5, abs=0.02))

    def test_small_people_are_not_reduced_and_large_ones_not_enlarged(self):
        assert self.scales(self.person(0, 0, 40)[None])[0] == pytest.approx(1, abs=0.02)
        assert self.scales(self.person(0, 0, 900)[None]) == (pytest.approx(0.5, abs=0.02), pytest.approx(1, abs=0.02))

    def test_scale_is_uniform(self, views):
        scales = np.array([np.sqrt(abs(np.linalg.det(matrix[:, :2]))) for matrix, _ in views])
        assert scales.mean() == pytest.approx((0.64 + 2) / 2, abs=0.02)
        assert np.quantile(scales, 0.25) == pytest.approx(0.64 + 1.36 / 4, abs=0.04)

    def test_rotation_is_uniform(self, views):
        degrees = np.array([np.rad2deg(np.arctan2(m[1, 0], m[1, 1])) for m, _ in views])
        assert (degrees.min(), degrees.max()) == (pytest.approx(-40, abs=0.2), pytest.approx(40, abs=0.2))
        assert np.mean(np.abs(degrees) < 20) == pytest.approx(0.5, abs=0.03)

    def test_mirrors_half_of_the_time(self, views):
        assert np.mean([flip for _, flip in views]) == pytest.approx(0.5, abs=0.03)
        assert all((np.linalg.det(matrix[:, :2]) < 0) == flip for matrix, flip in views)

    def test_one_of_the_people_is_near_the_middle(self, people, views):
        chosen, offsets = [], []
        for matrix, _ in views:
            points = transform_points(people[:, :3, :2], matrix)
            offset = (points.min(axis=1) + points.max(axis=1)) / 2 - (SIZE - 1) / 2
            chosen.append(np.abs(offset).max(axis=1).argmin())
            offsets.append(offset[chosen[-1]])
        assert np.mean(chosen) == pytest.approx(0.5, abs=0.03)
        offsets = np.array(offsets)
        assert offsets.min(axis=0) == pytest.approx([-40, -40], abs=0.2)
        assert offsets.max(axis=0) == pytest.approx([40, 40], abs=0.2)
        assert np.abs(offsets).mean() == pytest.approx(20, abs=0.7)

    def test_unlabelled_keypoints_do_not_count(self, people):
        shifted = people.copy()
        shifted[:, 3:, :2] = -1000
        for seed in range(5):
            views = [random_view(np.random.default_rng(seed), p, (SIZE, SIZE), LIMITS)[0] for p in (people, shifted)]
            np.testing.assert_array_equal(*views)

    def test_nothing_to_draw(self, people):
        matrix, flip = random_view(np.random.default_rng(0), people[:1], (100, 60), STILL)
        middle = 50 + (100 / np.sqrt(2) - 1) / 2
        np.testing.assert_allclose(matrix, [[1, 0, 49.5 - middle], [0, 1, 29.5 - middle - 10]], atol=1e-4)
        assert not flip


class TestColor:
    def test_half_of_the_time_within_bounds(self):
        rng = np.random.default_rng(0)
        draws = [random_color(rng, LIMITS) for _ in range(4000)]
        shifts = np.array([draw for draw in draws if draw is not None])
        assert len(shifts) / len(draws) == pytest.approx(0.5, abs=0.03)
        assert shifts.min(axis=0).tolist() == [-10, -40, -30]
        assert shifts.max(axis=0).tolist() == [10, 40, 30]
        np.testing.assert_allclose(np.abs(shifts).mean(axis=0), [5, 20, 15], rtol=0.1)


def test_real_pictures(coco_mini):
    from mspose.data.coco import load_split

    data = replace(DATA, root=str(coco_mini))
    annotations = load_split(data, "train", COCO17, segmentations=True)
    dataset = BottomUpDataset(data, LIMITS, annotations, Recorder())
    assert len(dataset.people) == usable(annotations.people).sum() == 72
    counted = []
    for index in range(len(dataset)):
        image, _, _, mask = sample(dataset, index)
        assert (image.min(), image.max()) >= (0, 0)
        assert image.max() <= 255
        counted.append(mask.mean())
    assert 0.5 < np.mean(counted) < 1
