"""The heat map codec against plain loops, golden numbers and the parity fixture."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from mspose.codecs.heatmap import TARGETS, HeatmapCodec
from mspose.codecs.refine import REFINEMENTS, UDP_FORMS
from mspose.errors import PoseError, UsageError
from mspose.files import read_json
from mspose.geometry import crop_matrix, crop_to_image, to_images, transform_points
from mspose.skeleton import COCO17, Skeleton
from tests.golden import make_golden_eval as golden
from tests.messages import naming

INPUT, MAP = (192, 256), (48, 64)


def skeleton_of(joints: int) -> Skeleton:
    return replace(COCO17, keypoints=tuple(f"k{i}" for i in range(joints)), flip_pairs=(), sigmas=(0.1,) * joints)


def codec_of(refine: str = "quarter", **options: object) -> HeatmapCodec:
    """A codec in the geometry that goes with a refinement."""
    return HeatmapCodec(refine=refine, unbiased=refine in UDP_FORMS, **options)


def visible_points(points: np.ndarray, visible: np.ndarray) -> np.ndarray:
    return np.concatenate([points, visible[..., None]], axis=-1)


def encode_loop(codec: HeatmapCodec, keypoints: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    (width, height), reach = MAP, int(3 * codec.sigma)
    targets, weights = np.zeros((len(keypoints), height, width)), (visible > 0).astype(float)
    for joint, point in enumerate(keypoints):
        x, y = (int(p / (i / m) + 0.5) for p, i, m in zip(point, INPUT, MAP))
        if x - reach >= width or y - reach >= height or x + reach + 1 < 0 or y + reach + 1 < 0:
            weights[joint] = 0
        if weights[joint]:
            for row in range(max(0, y - reach), min(height, y + reach + 1)):
                for column in range(max(0, x - reach), min(width, x + reach + 1)):
                    squared = (column - x) ** 2 + (row - y) ** 2
                    targets[joint, row, column] = np.exp(-squared / (2 * codec.sigma**2))
    return targets, weights


def quarter_loop(heatmap: np.ndarray) -> list[float]:
    height, width = heatmap.shape
    y, x = divmod(int(heatmap.argmax()), width)
    if heatmap.max() <= 0:
        return [0, 0]
    if not (1 < x < width - 1 and 1 < y < height - 1):
        return [x, y]
    return [
        x + 0.25 * np.sign(heatmap[y, x + 1] - heatmap[y, x - 1]),
        y + 0.25 * np.sign(heatmap[y + 1, x] - heatmap[y - 1, x]),
    ]


def dark_full_map(heatmap: np.ndarray, length: int) -> list[float]:
    """DARK as the paper states it, on the whole smoothed map."""
    height, width = heatmap.shape
    y, x = divmod(int(heatmap.argmax()), width)
    if heatmap.max() <= 0:
        return [0, 0]
    if not (1 < x < width - 2 and 1 < y < height - 2):
        return [x, y]
    padded = np.pad(heatmap.astype(np.float64), length)
    smooth = cv2.GaussianBlur(padded, (length, length), 0)[length:-length, length:-length]
    log = np.log(np.maximum(smooth * (heatmap.max() / smooth.max()), 1e-10))
    first_y, first_x = np.gradient(log)
    (yy, yx), (_, xx) = np.gradient(first_y), np.gradient(first_x)
    hessian = np.array([[xx[y, x], yx[y, x]], [yx[y, x], yy[y, x]]])
    return np.array([x, y]) - np.linalg.solve(hessian, [first_x[y, x], first_y[y, x]])


def gaussian_maps(people: int = 4, joints: int = 17, floor: float = 0.02, seed: int = 0) -> np.ndarray:
    """Random Gaussians, many of them at the border or beyond, over a noise floor."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform((-3, -3), (MAP[0] + 2, MAP[1] + 2), (people, joints, 1, 1, 2))
    squared = (np.arange(MAP[0]) - centres[..., 0]) ** 2 + (np.arange(MAP[1])[:, None] - centres[..., 1]) ** 2
    maps = rng.uniform(0.3, 1, (people, joints, 1, 1)) * np.exp(-squared / 8)
    return (maps + floor * rng.random(maps.shape)).astype(np.float32)


def decode_cells(maps: np.ndarray, **options: object) -> np.ndarray:
    """Keypoints in cells."""
    codec = codec_of(skeleton=skeleton_of(maps.shape[1]), **options)
    keypoints = codec.decode((maps,), INPUT).keypoints
    return keypoints / ([191 / 47, 255 / 63, 1] if codec.unbiased else [codec.stride, codec.stride, 1])


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_encode_equals_the_loop(sigma: float) -> None:
    codec, rng = HeatmapCodec(sigma=sigma), np.random.default_rng(1)
    keypoints = rng.uniform((-80, -80), (280, 340), (400, 2))
    visible = rng.integers(0, 3, 400)
    targets, weights = codec.gaussians(visible_points(keypoints, visible), INPUT)
    expected, expected_weights = encode_loop(codec, keypoints, visible)
    np.testing.assert_array_equal(weights, expected_weights)
    np.testing.assert_allclose(targets, expected, atol=1e-6)


@pytest.mark.parametrize("x", [-36, -34, -32, -30, -6, -2.5, -0.1, 189, 190, 210, 214, 216])
def test_encode_equals_the_loop_where_squares_leave_the_map(x: float) -> None:
    codec = HeatmapCodec()
    keypoints, visible = np.array([[x, 100], [100, x], [100, x + 64], [x, x]]), np.ones(4)
    targets, weights = codec.gaussians(visible_points(keypoints, visible), INPUT)
    expected, expected_weights = encode_loop(codec, keypoints, visible)
    np.testing.assert_array_equal(weights, expected_weights)
    np.testing.assert_allclose(targets, expected, atol=1e-6)


def test_encode_of_a_batch_is_encode_of_each() -> None:
    codec, rng = HeatmapCodec(), np.random.default_rng(2)
    keypoints, visible = rng.uniform(-10, 200, (3, 17, 2)), rng.integers(0, 2, (3, 17))
    targets, weights = codec.gaussians(visible_points(keypoints, visible), INPUT)
    assert targets.shape == (3, 17, 64, 48)
    assert targets.dtype == weights.dtype == np.float32
    for person in range(3):
        one = visible_points(keypoints, visible)[person][None]
        single_targets, single_weights = codec.encode(one, INPUT)
        np.testing.assert_array_equal(targets[person], single_targets)
        np.testing.assert_array_equal(weights[person], single_weights)


def test_decode_quarter_equals_the_loop() -> None:
    maps = gaussian_maps()
    expected = [[quarter_loop(heatmap) for heatmap in person] for person in maps]
    decoded = decode_cells(maps)
    np.testing.assert_allclose(decoded[..., :2], expected, atol=1e-4)
    np.testing.assert_array_equal(decoded[..., 2], maps.max(axis=(2, 3)))


@pytest.mark.parametrize(("sigma", "length"), [(2.0, 11), (3.0, 17)])
def test_decode_dark_equals_smoothing_the_whole_map(sigma: float, length: int) -> None:
    maps = gaussian_maps(seed=3)
    expected = [[dark_full_map(heatmap, length) for heatmap in person] for person in maps]
    np.testing.assert_allclose(decode_cells(maps, refine="dark", sigma=sigma)[..., :2], expected, atol=1e-3)


def test_decode_dark_recovers_the_centre_of_a_gaussian() -> None:
    x, y = 20.37, 31.81
    heatmap = np.exp(-((np.arange(48) - x) ** 2 + (np.arange(64)[:, None] - y) ** 2) / 8)
    np.testing.assert_allclose(decode_cells(heatmap[None, None], refine="dark")[0, 0, :2], [x, y], atol=0.01)


def test_decode_dark_leaves_a_maximum_among_negative_values() -> None:
    maps = np.full((1, 1, 64, 48), -1, np.float32)
    maps[0, 0, 30, 20] = 0.5
    np.testing.assert_allclose(decode_cells(maps, refine="dark"), [[[20, 30, 0.5]]])


@pytest.mark.parametrize("refine", REFINEMENTS)
@pytest.mark.parametrize("value", [0.0, -0.25])
def test_decode_of_a_map_without_positive_values(refine: str, value: float) -> None:
    maps = np.full((1, 2, 64, 48), value, np.float32)
    maps[0, 0, 30, 20] += value / 2
    np.testing.assert_allclose(decode_cells(maps, refine=refine)[0], [[0, 0, value]] * 2, atol=1e-6)


@pytest.mark.parametrize("refine", REFINEMENTS)
def test_decode_of_nobody(refine: str) -> None:
    found = codec_of(refine).decode((np.zeros((0, 17, 64, 48)),), INPUT)
    assert (found.keypoints.shape, found.scores.shape, found.source.shape) == ((0, 17, 3), (0,), (0,))


@pytest.mark.parametrize("refine", REFINEMENTS)
def test_decode_of_maps_smaller_than_the_smoothing_kernel(refine: str) -> None:
    codec = codec_of(refine, skeleton=skeleton_of(1))
    maps, _ = codec.gaussians(np.array([[[14.0, 18.0, 1]]]), (32, 32))
    expected = [14, 18] if codec.unbiased else [16, 20]
    limit = 2.5 if refine == "dark_udp_0x" else 1  # on so small a map, what is reflected at the border weighs in
    assert np.abs(codec.decode((maps,), (32, 32)).keypoints[0, 0, :2] - expected).max() <= limit


def test_decode_names_both_sizes_of_mismatched_maps() -> None:
    with pytest.raises(PoseError, match=r"17x40x32.* 17x64x48"):
        HeatmapCodec().decode((np.zeros((1, 17, 40, 32)),), INPUT)


def test_decode_inverts_encode_to_half_a_cell() -> None:
    codec, rng = HeatmapCodec(), np.random.default_rng(4)
    keypoints = rng.uniform((8, 8), (180, 244), (3, 17, 2))
    targets, _ = codec.gaussians(visible_points(keypoints, np.ones((3, 17))), INPUT)
    assert np.abs(codec.decode((targets,), INPUT).keypoints[..., :2] - keypoints).max() <= 2 + 1e-3


def test_unknown_refinement_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=naming("codec.refine", "'drak'", "quarter, dark, none")):
        HeatmapCodec(refine="drak")


@pytest.mark.parametrize("shift", [True, False])
def test_flip_back_equals_the_definition(shift: bool) -> None:
    maps = np.random.default_rng(5).random((2, 17, 8, 6), np.float32)
    expected = maps[:, :, :, ::-1].copy()
    for left, right in COCO17.flip_pairs:
        expected[:, [left, right]] = expected[:, [right, left]]
    if shift:
        expected[:, :, :, 1:] = expected[:, :, :, :-1].copy()
    np.testing.assert_array_equal(HeatmapCodec(shift=shift).flip_back((maps,))[0], expected)


@pytest.mark.parametrize("people", [0, 1, 9])
def test_merge_is_the_mean(people: int) -> None:
    maps, flipped = np.random.default_rng(6).random((2, people, 17, 8, 6), np.float32)
    before = maps.copy()
    np.testing.assert_array_equal(HeatmapCodec().merge([(maps,), (flipped,)], INPUT)[0], (maps + flipped) * 0.5)
    np.testing.assert_array_equal(maps, before)


@pytest.mark.parametrize("gaussian", TARGETS)
def test_encode_golden(gaussian: str) -> None:
    expected = read_json(golden.PATH, "golden numbers")["encode"][gaussian]
    targets, weights = golden.encoded(gaussian)
    np.testing.assert_array_equal(weights, expected["weights"])
    np.testing.assert_allclose(targets.sum(axis=(2, 3)), expected["sums"], atol=1e-4)
    np.testing.assert_allclose(targets[0, :, ::8, 20], expected["samples"], atol=2e-6)


@pytest.mark.parametrize("refine", REFINEMENTS)
def test_decode_golden(refine: str) -> None:
    expected = read_json(golden.PATH, "golden numbers")["decode"][refine]
    np.testing.assert_allclose(golden.decoded(refine), expected, atol=1e-3)


def test_targets_agree_with_the_reference(parity_dir, coco_mini) -> None:
    fixture = np.load(parity_dir / "topdown_val2017.npz")
    truth = json.loads((coco_mini / "annotations" / "person_keypoints_val2017.json").read_text())
    labelled = [person for person in truth["annotations"] if person["num_keypoints"] > 0 and not person["iscrowd"]]
    people = [person for image in truth["images"] for person in labelled if person["image_id"] == image["id"]]
    for person, center, scale, target, weight in zip(
        people, fixture["center"], fixture["scale"], fixture["target"], fixture["target_weight"]
    ):
        keypoints = np.array(person["keypoints"]).reshape(17, 3)
        points = transform_points(keypoints[:, :2], crop_matrix(center, scale * 200, INPUT))
        targets, weights = HeatmapCodec().encode(visible_points(points, keypoints[:, 2])[None], INPUT)
        np.testing.assert_array_equal(weights, weight[:, 0])
        np.testing.assert_allclose(targets, target, atol=1e-6)


def test_keypoints_agree_with_the_reference(parity_dir) -> None:
    fixture = np.load(parity_dir / "topdown_val2017.npz")
    heatmaps = fixture["heatmaps"].astype(np.float32)
    found = HeatmapCodec().decode((heatmaps,), INPUT)
    centers, sizes = (fixture[name][: len(heatmaps)] for name in ("center", "scale"))
    decoded = to_images(found.keypoints, crop_to_image(centers, sizes * 200, INPUT))
    np.testing.assert_allclose(decoded, fixture["keypoints"][: len(heatmaps)], atol=1e-3)
