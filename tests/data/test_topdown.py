"""Top-down samples: crops as in the reference, augmentation that keeps picture and targets together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from mspose.codecs.heatmap import HeatmapCodec
from mspose.config.topdown import TopDownData
from mspose.data.coco import Images, People, labelled, load_annotations
from mspose.data.loader import BadImages, Plan, train_batches
from mspose.data.proposals import propose
from mspose.data.topdown import Normalizer, TopDownDataset
from mspose.geometry import crop_matrix, transform_points
from mspose.images import ImageError
from mspose.skeleton import COCO17, Skeleton, load_skeleton
from tests.messages import naming

CODEC = HeatmapCodec()
STRIDE = 4
PLAIN = TopDownData(flip=0.0, scale_factor=0.0, rotation_prob=0.0)
# Pictures as they are, so that grey levels of a crop can be read off.
LEVELS = replace(PLAIN, mean=[0.0] * 3, std=[1.0] * 3, scale=1.0)


def blobs(joints: int) -> tuple[np.ndarray, np.ndarray]:
    """A black picture with a disc of its own grey level at each of `joints` keypoints (J, 3)."""
    image = np.zeros((400, 400, 3), np.uint8)
    rows, columns = np.divmod(np.arange(joints), 4)
    points = np.stack([130 + 45 * columns, 100 + 45 * rows, np.full(joints, 2)], axis=1).astype(np.float32)
    for level, (x, y, _) in zip(level_of(np.arange(joints)), points.astype(int).tolist()):
        cv2.circle(image, (x, y), 12, (int(level),) * 3, -1)
    return image, points


def level_of(joint: np.ndarray) -> np.ndarray:
    return 15 + 14 * joint


def make(
    tmp_path: Path,
    data: TopDownData,
    skeleton: Skeleton = COCO17,
    seed: int = 0,
    labels: np.ndarray | None = None,
    proposals_epoch: int = 0,
    codec: HeatmapCodec | None = None,
) -> TopDownDataset:
    """Three people, who are copies of each other, in one picture."""
    image, points = blobs(skeleton.num_keypoints)
    cv2.imwrite(str(tmp_path / "x.png"), image)
    if labels is not None:
        points[:, 2] = labels
    images = Images(np.array([1]), [tmp_path / "x.png"], np.array([400]), np.array([400]))
    people = People(
        ids=np.arange(3),
        image_index=np.zeros(3, int),
        boxes=np.array([[100.0, 70, 190, 250]] * 3),
        scores=np.ones(3, np.float32),
        keypoints=np.stack([points] * 3),
        areas=np.full(3, 100.0),
        is_crowd=np.zeros(3, bool),
    )
    return TopDownDataset(data, images, people, codec or HeatmapCodec(skeleton), seed, proposals_epoch)


def train_sample(dataset: TopDownDataset, index: int = 0, epoch: int = 0) -> tuple[np.ndarray, ...]:
    out = tuple(np.full(shape, np.nan, np.float32) for shape in dataset.train_shapes)
    dataset.train_sample(index, epoch, out)
    return out


def eval_sample(dataset: TopDownDataset, index: int = 0) -> np.ndarray:
    out = tuple(np.full(shape, np.nan, np.float32) for shape in dataset.eval_shapes)
    dataset.eval_sample(index, 0, out)
    return out[0]


def peaks(target: np.ndarray) -> np.ndarray:
    """Pixels (J, 2) of the network input where the targets have their maximum."""
    y, x = np.divmod(target.reshape(len(target), -1).argmax(axis=1), target.shape[2])
    return np.stack([x, y], axis=1) * STRIDE


class TestReference:
    @pytest.fixture
    def people(self, coco_mini):
        return load_annotations(coco_mini / "annotations/person_keypoints_val2017.json", coco_mini / "val2017", COCO17)

    @pytest.mark.parametrize("row", range(6))
    def test_crop_to_one_grey_level(self, people, parity_dir, row):
        dataset = TopDownDataset(TopDownData(), people.images, labelled(people), CODEC)
        with np.load(parity_dir / "topdown_val2017.npz") as reference:
            crop = reference["crop"][row]
        difference = np.abs(eval_sample(dataset, row) - crop) * np.array(TopDownData().std)[:, None, None] * 255
        assert difference.max() <= 1 + 1e-3

    @pytest.mark.parametrize("row", range(6))
    def test_unaugmented_training_sample(self, people, parity_dir, row):
        dataset = TopDownDataset(PLAIN, people.images, labelled(people), CODEC)
        image, target, weight = train_sample(dataset, row)
        np.testing.assert_array_equal(image, eval_sample(dataset, row))
        with np.load(parity_dir / "topdown_val2017.npz") as reference:
            np.testing.assert_array_equal(weight, reference["target_weight"][row][:, 0])
            np.testing.assert_allclose(target, reference["target"][row], atol=1e-6)


def test_picture_longer_than_opencv_warps(tmp_path):
    data = replace(LEVELS, flip=1.0)
    dataset = make(tmp_path, data)
    expected = [*train_sample(dataset), eval_sample(dataset)]
    image, _ = blobs(17)
    cv2.imwrite(str(tmp_path / "x.png"), np.pad(image, ((0, 0), (33_000, 0), (0, 0))))
    dataset.people.keypoints[..., 0] += 33_000
    dataset.people.boxes[:, 0] += 33_000
    images = Images(np.array([1]), [tmp_path / "x.png"], np.array([33_400]), np.array([400]))
    long = TopDownDataset(data, images, dataset.people, CODEC)
    for array, other in zip([*train_sample(long), eval_sample(long)], expected):
        assert np.abs(array - other).mean() < 0.01 * max(1, other.max())


class TestUnbiased:
    """UDP's geometry, in crop and targets alike."""

    UDP = HeatmapCodec(refine="dark_udp", unbiased=True)

    @pytest.mark.parametrize("row", range(6))
    def test_crop_to_one_grey_level(self, coco_mini, parity_dir, row):
        annotations = load_annotations(
            coco_mini / "annotations/person_keypoints_val2017.json", coco_mini / "val2017", COCO17
        )
        data = replace(LEVELS, unbiased=True)
        dataset = TopDownDataset(data, annotations.images, labelled(annotations), self.UDP)
        image, target, weight = train_sample(dataset, row)
        with np.load(parity_dir / "udp_simcc_val2017.npz") as reference:
            assert np.abs(image.transpose(1, 2, 0) - reference["udp_crop"][row]).max() <= 1
            np.testing.assert_array_equal(weight, reference["udp_keypoint_weights"][row, 0])
            np.testing.assert_allclose(target, reference["udp_heatmaps"][row], atol=1e-3)
        np.testing.assert_array_equal(image, eval_sample(dataset, row))

    @pytest.mark.parametrize("flip", [0.0, 1.0])
    @pytest.mark.parametrize("epoch", range(3))
    def test_keypoints_come_back_from_turned_and_mirrored_samples(self, tmp_path, flip, epoch):
        data = replace(LEVELS, unbiased=True, flip=flip, scale_factor=0.2, rotation_prob=1.0)
        dataset = make(tmp_path, data, codec=self.UDP)
        image, target, weight = train_sample(dataset, epoch=epoch)
        found = self.UDP.decode((target[None],), (192, 256)).keypoints[0, :, :2]
        inside = (weight == 1) & (target.max(axis=(1, 2)) > 0.9)
        assert inside.sum() >= 10
        joints = COCO17.flip_index if flip else np.arange(17)
        for joint, (x, y) in zip(joints[inside], found[inside]):
            if 20 < x < 172 and 20 < y < 236:  # all of the disc is in the crop
                left, top = round(x) - 13, round(y) - 13
                disc = np.abs(image[0, top : top + 27, left : left + 27] - level_of(joint)) < 0.5
                rows, columns = np.nonzero(disc)
                np.testing.assert_allclose([x, y], [left + columns.mean(), top + rows.mean()], atol=0.5)


class TestTogether:
    """The targets' maxima lie on the joints that the crop shows, whatever the augmentation."""

    @pytest.mark.parametrize("flip", [0.0, 1.0])
    @pytest.mark.parametrize("epoch", range(4))
    def test_each_target_is_on_its_joint(self, tmp_path, flip, epoch):
        data = replace(LEVELS, flip=flip, scale_factor=0.3, rotation_factor=40.0, rotation_prob=1.0)
        image, target, weight = train_sample(make(tmp_path, data), epoch=epoch)
        inside = (target.max(axis=(1, 2)) == 1) & (weight == 1)
        assert inside.sum() >= 10
        x, y = peaks(target)[inside].T
        # In a mirrored picture the left hand is where the right one was: the channel must say so.
        joints = COCO17.flip_index if flip else np.arange(17)
        np.testing.assert_allclose(image[0, y, x], level_of(joints)[inside], atol=1)

    def test_flip_puts_the_left_hand_where_the_mirrored_right_hand_is(self, tmp_path):
        plain, mirrored = make(tmp_path, LEVELS), make(tmp_path, replace(LEVELS, flip=1.0))
        before, after = peaks(train_sample(plain)[1]), peaks(train_sample(mirrored)[1])
        expected = before[COCO17.flip_index] * [-1, 1] + [192, 0]
        assert np.abs(after - expected).max() <= STRIDE

    @pytest.mark.parametrize("flip", [0.0, 1.0])
    def test_maxima_lead_back_to_the_keypoints(self, tmp_path, flip):
        dataset = make(tmp_path, replace(LEVELS, flip=flip))
        target = train_sample(dataset)[1]
        matrix = crop_matrix(dataset.centers[0], dataset.sizes[0], (192, 256), 0.0, bool(flip))
        inverse = cv2.invertAffineTransform(matrix)
        joints = COCO17.flip_index if flip else np.arange(17)
        found = transform_points(peaks(target), inverse)
        cell = STRIDE * dataset.sizes[0][0] / 192
        assert np.abs(found - dataset.people.keypoints[0][joints, :2]).max() <= cell / 2 + 0.01

    @pytest.mark.parametrize("flip", [0.0, 1.0])
    def test_unlabelled_joints_have_no_weight_on_the_right_side(self, tmp_path, flip):
        labels = np.full(17, 2)
        labels[[9, 2]] = 0  # left wrist, right eye
        labels[11] = 1  # hidden, but labelled
        _, target, weight = train_sample(make(tmp_path, replace(LEVELS, flip=flip), labels=labels))
        missing = COCO17.flip_index[[9, 2]] if flip else np.array([9, 2])
        assert set(np.flatnonzero(weight == 0)) == set(missing)
        assert not target[missing].any()

    def test_own_skeleton_of_three_joints(self, tmp_path):
        path = tmp_path / "three.yaml"
        path.write_text(
            "{name: t, keypoints: [head, left, right], limbs: [], flip_pairs: [[left, right]], sigmas: [0.1, 0.1, 0.1]}"
        )
        dataset = make(
            tmp_path, replace(LEVELS, flip=1.0, half_body_prob=1.0, half_body_joints=0), load_skeleton(str(path))
        )
        assert dataset.train_shapes == ((3, 256, 192), (3, 64, 48), (3,))
        image, target, weight = train_sample(dataset)
        assert weight.tolist() == [1, 1, 1]
        x, y = peaks(target).T
        np.testing.assert_allclose(image[0, y, x], level_of(np.array([0, 2, 1])), atol=1)


class TestRandomness:
    AUGMENTED = replace(LEVELS, flip=0.5, scale_factor=0.3, rotation_prob=0.6)

    def test_same_seed_epoch_and_index_give_the_same_sample_in_any_order(self, tmp_path):
        one, other = make(tmp_path, self.AUGMENTED), make(tmp_path, self.AUGMENTED)
        first = train_sample(one, 1, 5)
        train_sample(other, 0, 0)
        train_sample(other, 2, 5)
        for a, b in zip(first, train_sample(other, 1, 5)):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize(("seed", "index", "epoch"), [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
    def test_another_seed_index_or_epoch_gives_another(self, tmp_path, seed, index, epoch):
        # The people are copies of each other: only the draws differ.
        reference = train_sample(make(tmp_path, self.AUGMENTED))
        other = train_sample(make(tmp_path, self.AUGMENTED, seed=seed), index, epoch)
        assert np.abs(reference[0] - other[0]).max() > 1

    def test_evaluation_draws_nothing(self, tmp_path):
        augmented, plain = make(tmp_path, self.AUGMENTED, seed=3), make(tmp_path, LEVELS)
        np.testing.assert_array_equal(eval_sample(augmented), eval_sample(plain))

    def test_missing_picture(self, tmp_path):
        dataset = make(tmp_path, LEVELS)
        (tmp_path / "x.png").unlink()
        with pytest.raises(ImageError, match=naming("not found", tmp_path / "x.png")):
            train_sample(dataset)
        with pytest.raises(ImageError, match=naming("not found", tmp_path / "x.png")):
            eval_sample(dataset)


class TestProposals:
    """Nothing else is random here: crops differ by the proposal alone."""

    @pytest.mark.parametrize(("epoch", "moves"), [(0, False), (1, False), (2, True), (7, True)])
    def test_begin_after_so_many_epochs(self, tmp_path, epoch, moves):
        plain, proposed = make(tmp_path, LEVELS), make(tmp_path, LEVELS, proposals_epoch=2)
        difference = np.abs(train_sample(plain, 0, epoch)[0] - train_sample(proposed, 0, epoch)[0]).max()
        assert (difference > 1) == moves

    def test_crop_is_that_of_the_proposed_box(self, tmp_path):
        dataset = make(tmp_path, LEVELS, seed=3, proposals_epoch=1)
        box = propose(np.random.default_rng((3, 4, 1)), dataset.people.boxes[1], 400, 400)
        people = replace(dataset.people, boxes=np.stack([box] * 3))
        expected = TopDownDataset(LEVELS, dataset.images, people, CODEC)
        for found, wanted in zip(train_sample(dataset, 1, 4), train_sample(expected, 1)):
            np.testing.assert_array_equal(found, wanted)

    @pytest.mark.parametrize("epoch", range(1, 5))
    def test_each_target_is_on_its_joint(self, tmp_path, epoch):
        data = replace(LEVELS, flip=0.5, rotation_prob=1.0)
        image, target, weight = train_sample(make(tmp_path, data, proposals_epoch=1), epoch=epoch)
        inside = (target.max(axis=(1, 2)) == 1) & (weight == 1)
        assert inside.sum() >= 10
        x, y = peaks(target)[inside].T
        levels = {tuple(level_of(joints)[inside]) for joints in (np.arange(17), COCO17.flip_index)}
        assert any(np.abs(image[0, y, x] - level).max() <= 1 for level in levels)

    def test_evaluation_never_moves_boxes(self, tmp_path):
        np.testing.assert_array_equal(
            eval_sample(make(tmp_path, LEVELS, proposals_epoch=1)), eval_sample(make(tmp_path, LEVELS))
        )


class TestStages:
    STAGES: ClassVar = [{"epoch": 2, "rotation_prob": 1.0, "cutout_prob": 1.0}, {"epoch": 5, "cutout_prob": 0.0}]
    DATA = replace(LEVELS, crop_draws="truncated", scale_factor=0.3, stages=STAGES)

    @pytest.mark.parametrize(
        ("epoch", "rotation", "cutout"), [(0, 0, 0), (1, 0, 0), (2, 1, 1), (4, 1, 1), (5, 1, 0), (9, 1, 0)]
    )
    def test_samples_are_those_of_a_recipe_with_these_values(self, tmp_path, epoch, rotation, cutout):
        same = replace(self.DATA, stages=[], rotation_prob=float(rotation), cutout_prob=float(cutout))
        for index in range(3):
            expected = train_sample(make(tmp_path, same), index, epoch)
            for found, wanted in zip(train_sample(make(tmp_path, self.DATA), index, epoch), expected):
                np.testing.assert_array_equal(found, wanted)

    @pytest.mark.parametrize("workers", [1, 3])
    @pytest.mark.parametrize("world", [1, 3])
    def test_batches_of_a_run_that_continues_are_those_of_the_whole_run(self, tmp_path, world, workers):
        """Steps are read ahead across the beginning of a stage; each sample follows its own epoch."""
        dataset = make(tmp_path, self.DATA)
        for rank in range(world):
            plan = Plan(len(dataset), 3 // world, seed=4, rank=rank, world=world)

            def run(begin: int, plan: Plan = plan) -> list[tuple[np.ndarray, ...]]:
                options = (dataset.train_sample, dataset.train_shapes, plan, begin, 6, workers, 4, BadImages(1))
                return list(train_batches(*options))

            whole = run(0)
            for begin in (1, 2, 3, 5):
                for batch, expected in zip(run(begin), whole[begin:], strict=True):
                    for found, wanted in zip(batch, expected):
                        np.testing.assert_array_equal(found, wanted)
            for epoch, (images, *_) in enumerate(whole):
                for image, index in zip(images, plan.epoch_indices(epoch)[0]):
                    np.testing.assert_array_equal(image, train_sample(dataset, int(index), epoch)[0])

    def test_evaluation_knows_no_stages(self, tmp_path):
        np.testing.assert_array_equal(eval_sample(make(tmp_path, self.DATA)), eval_sample(make(tmp_path, LEVELS)))


class TestRecipesOfOthers:
    """Everything that RTMPose and MMPose draw, at once."""

    DATA = replace(
        LEVELS,
        flip=0.5,
        crop_draws="truncated",
        scale_factor=0.4,
        rotation_factor=80.0,
        rotation_prob=0.6,
        shift_prob=1.0,
        half_body_prob=0.3,
    )

    @pytest.mark.parametrize("epoch", range(6))
    def test_each_target_is_on_its_joint(self, tmp_path, epoch):
        image, target, weight = train_sample(make(tmp_path, self.DATA), epoch=epoch)
        inside = (target.max(axis=(1, 2)) == 1) & (weight == 1)
        assert inside.sum() >= 4
        x, y = peaks(target)[inside].T
        levels = [level_of(joints)[inside] for joints in (np.arange(17), COCO17.flip_index)]
        assert any(np.abs(image[0, y, x] - level).max() <= 1 for level in levels)

    def test_keypoints_out_of_the_crop_have_no_weight(self, tmp_path):
        dataset = make(tmp_path, replace(LEVELS, half_body_prob=1.0, half_body_upper=1.0))
        dataset.people.keypoints[:, -1, 1] = 399  # far below the upper body
        _, target, weight = train_sample(dataset)
        upper = np.isin(np.arange(17), COCO17.upper_body)
        assert weight[upper].all()
        assert not weight[-1]
        assert not target[weight == 0].any()

    def test_pixels_change_and_targets_stay(self, tmp_path):
        plain = replace(LEVELS, half_body_prob=0.3)
        changed = replace(plain, hsv_jitter=[5, 30, 30], blur_prob=1.0, median_blur_prob=1.0, cutout_prob=1.0)
        before, after = train_sample(make(tmp_path, plain)), train_sample(make(tmp_path, changed))
        for found, wanted in zip(after[1:], before[1:]):
            np.testing.assert_array_equal(found, wanted)
        assert np.abs(after[0] - before[0]).max() > 10

    def test_shift_beside_the_picture_shows_black(self, tmp_path):
        data = replace(LEVELS, crop_draws="truncated", shift_prob=1.0, shift_factor=1.0)
        dataset = make(tmp_path, data)
        cv2.imwrite(str(tmp_path / "x.png"), np.full((400, 400, 3), 90, np.uint8))
        shares = [(train_sample(dataset, 0, epoch)[0] == 0).mean() for epoch in range(20)]
        assert min(shares) < 0.1
        assert max(shares) > 0.3


class TestNormalizer:
    @pytest.mark.parametrize(
        "data",
        [
            TopDownData(),
            TopDownData(color="rgb", mean=[0.406, 0.457, 0.480], std=[1.0] * 3),
            TopDownData(scale=256.0, mean=[0.5] * 3, std=[1.0] * 3),
            TopDownData(color="rgb", mean=[0.1, 0.2, 0.3], std=[0.5, 2.0, 4.0], scale=1.0),
        ],
        ids=["imagenet", "alphapose", "openpose", "own"],
    )
    def test_plain_arithmetic(self, data):
        crop = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
        ordered = crop[:, :, ::-1] if data.color == "rgb" else crop
        expected = ((ordered / data.scale - data.mean) / data.std).transpose(2, 0, 1)
        result = Normalizer(data)(crop)
        assert (result.shape, result.dtype) == ((3, 7, 5), np.float32)
        assert result.flags.c_contiguous
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)

    def test_into_a_row_of_a_batch(self):
        crop = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
        batch = np.zeros((2, 3, 7, 5), np.float32)
        normalizer = Normalizer(TopDownData(color="rgb"))
        assert normalizer(crop, batch[1]) is not None
        np.testing.assert_array_equal(batch[1], normalizer(crop))
        assert not batch[0].any()

    def test_dataset_uses_it(self, tmp_path):
        # A blue-free picture tells the orders apart.
        dataset = make(tmp_path, replace(LEVELS, color="rgb"))
        image = cv2.imread(str(tmp_path / "x.png"))
        image[:, :, 0] = 0
        cv2.imwrite(str(tmp_path / "x.png"), image)
        sample = eval_sample(dataset)
        assert sample[0].any()
        assert not sample[2].any()
