"""SimCC's vectors: targets and keypoints against loops and the parity fixture, mirroring, pictures."""

from __future__ import annotations

import numpy as np
import pytest

from mspose.codecs.simcc import SimCCCodec
from mspose.config.builder import default_config
from mspose.errors import PoseError, UsageError
from mspose.geometry import crop_to_image, to_images, transform_points
from mspose.networks import method_of
from mspose.skeleton import COCO17

INPUT = (192, 256)


def person(points: np.ndarray, visible: float = 1.0) -> np.ndarray:
    """One person (1, 17, 3) of some points (P, 2), the last one repeated."""
    rows = np.minimum(np.arange(17), len(points) - 1)
    return np.concatenate([np.asarray(points, np.float64)[rows], np.full((17, 1), visible)], axis=1)[None]


def vectors(seed: int = 0, people: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, y = (rng.normal(0, 0.1, (people, 17, 2 * side)).astype(np.float32) for side in INPUT)
    return x, y


def decode_loop(x: np.ndarray, y: np.ndarray) -> list[float]:
    """x, y in pixels and score of one keypoint's vectors, as published."""
    (i, j), score = (int(np.argmax(x)), int(np.argmax(y))), min(x.max(), y.max())
    return [i / 2, j / 2, score] if score > 0 else [-0.5, -0.5, score]


@pytest.mark.parametrize(
    ("size", "split", "expected"),
    [((192, 256), 2, (4.9, 5.66)), ((288, 384), 2, (6.0, 6.93)), ((192, 256), 3, (7.35, 8.49))],
)
def test_spreads_follow_the_input_as_published(size: tuple, split: int, expected: tuple) -> None:
    assert SimCCCodec(split=split).spreads(size) == pytest.approx(expected)


def test_targets_are_gaussians_around_the_nearest_place() -> None:
    point = np.array([100.3, 17.6])
    x, y, weights = SimCCCodec(sigma=(3.0, 4.0)).encode(person(point[None]), INPUT)
    assert (x.shape, y.shape, weights.shape) == ((17, 384), (17, 512), (17,))
    assert (x.dtype, y.dtype, weights.dtype) == (np.float32,) * 3
    np.testing.assert_allclose(x[0], np.exp(-((np.arange(384) - 201) ** 2) / 18), atol=1e-6)
    np.testing.assert_allclose(y[0], np.exp(-((np.arange(512) - 35) ** 2) / 32), atol=1e-6)


@pytest.mark.parametrize(
    ("x", "visible", "weight"),
    [
        (100, 1, 1),
        (100, 2, 1),
        (100, 0, 0),
        (100, 0.4, 0),
        (-7.5, 1, 1),  # 3 sigma are 14.7 places, and the place itself counts
        (-8, 1, 0),
        (199, 1, 1),
        (199.5, 1, 0),
    ],
)
def test_keypoints_count_while_three_sigma_reach_the_input(x: float, visible: float, weight: int) -> None:
    along_x, along_y, weights = SimCCCodec().encode(person(np.array([[x, 100.0]]), visible), INPUT)
    assert weights[0] == weight
    assert along_x[0].any() == along_y[0].any() == bool(weight)


def test_decoding_equals_the_loop_and_takes_the_first_maximum() -> None:
    x, y = vectors()
    x[0, 0, [30, 90]] = 5
    x[1, 1] -= 10  # no positive value
    found = SimCCCodec().decode((x, y), INPUT)
    expected = [[decode_loop(x[n, j], y[n, j]) for j in range(17)] for n in range(3)]
    np.testing.assert_allclose(found.keypoints, expected, atol=1e-6)
    assert found.keypoints[0, 0, 0] == 15
    assert found.keypoints.dtype == np.float32
    np.testing.assert_allclose(found.scores, found.keypoints[..., 2].mean(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(found.source, [0, 1, 2])


def test_scores_above_one_stay_as_they_are() -> None:
    x, y = vectors()
    x[:, :, 40], y[:, :, 60] = 7.5, 9
    assert (SimCCCodec().decode((x, y), INPUT).keypoints[..., 2] == 7.5).all()


def test_targets_decode_to_the_keypoints() -> None:
    points = np.random.default_rng(3).uniform((1, 1), (190, 254), (17, 2))
    x, y, _ = SimCCCodec().encode(person(points), INPUT)
    found = SimCCCodec().decode((x[None], y[None]), INPUT)
    assert np.abs(found.keypoints[0, :, :2] - points).max() <= 0.25 + 1e-6


def test_mirrored_vectors_are_turned_back() -> None:
    codec = SimCCCodec()
    points = np.random.default_rng(4).uniform((10, 10), (180, 240), (17, 2))
    mirrored = np.stack([191.5 - points[:, 0], points[:, 1]], axis=1)[COCO17.flip_index]
    x, y, _ = codec.encode(person(points), INPUT)
    back = codec.flip_back(tuple(v[None] for v in codec.encode(person(mirrored), INPUT)[:2]))
    assert np.abs(back[0][0].argmax(axis=1) - x.argmax(axis=1)).max() <= 1  # halves may be rounded to either side
    np.testing.assert_array_equal(back[1][0], y)


def test_merging_takes_the_mean() -> None:
    first, second = vectors(0), vectors(1)
    for merged, a, b in zip(SimCCCodec().merge([first, second], INPUT), first, second):
        np.testing.assert_allclose(merged, (a + b) / 2, rtol=1e-5, atol=1e-7)


def test_heat_shows_where_a_keypoint_lies() -> None:
    codec, point = SimCCCodec(), np.array([[101.75, 57.75]])
    x, y, _ = codec.encode(person(point), INPUT)
    values, matrices = codec.heat((x[None], y[None]))
    assert values.shape == (1, 64, 48)
    row, column = np.unravel_index(values[0].argmax(), values[0].shape)
    assert values.max() == pytest.approx(1)
    np.testing.assert_allclose(transform_points(np.array([[column, row]]), matrices[0]), point)


def test_a_picture_shows_the_vectors_of_everybody_in_it() -> None:
    codec, image = SimCCCodec(), np.full((140, 220, 3), 128, np.uint8)
    (x, y), (u, v) = (codec.encode(person(np.array([p])), INPUT)[:2] for p in ([50.0, 70.0], [150.0, 20.0]))
    matrices = np.array([[[0.5, 0, 4], [0, 0.5, 2]], [[0.5, 0, 104], [0, 0.5, 2]]])
    drawn = codec.draw((np.stack([3 * x, u]), np.stack([y, v])), image, matrices)
    heat, curves = drawn[-140:, :220].astype(int), drawn[-140:, -220:]
    for column, row in ((29, 37), (179, 12)):
        assert np.abs(heat[row, column] - 128).max() > 50
        assert np.abs(heat[row + 60, column] - 128).max() < 10
    for half in (curves[:, :104], curves[:, 110:]):
        assert (half != 128).any(axis=2).sum() > 100
    assert (image == 128).all()


def test_maps_of_another_size_are_refused() -> None:
    x, y = vectors()
    with pytest.raises(PoseError, match="17x384"):
        SimCCCodec().decode((x[..., :-2], y), INPUT)


def test_keys_reach_the_codec() -> None:
    codec = method_of(default_config("rtmpose", {"codec.split": 3, "codec.sigma": [5.0, 6.0]})).codec
    assert codec == SimCCCodec(split=3, sigma=(5.0, 6.0))


@pytest.mark.parametrize(
    ("key", "value"),
    [("codec.split", 0), ("codec.sigma", [4.9]), ("codec.sigma", [0.0, 5.0]), ("codec.refine", "none")],
)
def test_keys_that_no_run_can_have(key: str, value: object) -> None:
    with pytest.raises(UsageError, match=key.replace(".", r"\.")):
        default_config("rtmpose", {key: value})


def test_weights_are_for_one_input() -> None:
    with pytest.raises(UsageError, match=r"export\.size.*data\.input_size"):
        default_config("rtmpose", {"export.size": [288, 384]})
    assert default_config("rtmpose", {"export.size": [192, 256]}).export.size == [192, 256]


def test_no_shift_of_mirrored_maps_can_be_asked_for() -> None:
    with pytest.raises(UsageError, match=r"eval\.shift_heatmap"):
        default_config("rtmpose", {"eval.shift_heatmap": True})


def test_the_input_is_a_multiple_of_32() -> None:
    with pytest.raises(UsageError, match=r"data\.input_size.*32"):
        default_config("rtmpose", {"data.input_size": [200, 256]})


class TestReference:
    @pytest.fixture
    def fixture(self, parity_dir):
        return np.load(parity_dir / "udp_simcc_val2017.npz")

    def test_targets(self, fixture) -> None:
        parts = [
            SimCCCodec().encode(np.column_stack([transform_points(p[:, :2], matrix), p[:, 2]])[None], INPUT)
            for p, matrix in zip(fixture["keypoints"][:6], fixture["plain_matrix"])
        ]
        for found, name in zip(zip(*parts), ("x_labels", "y_labels", "weights"), strict=True):
            np.testing.assert_allclose(found, fixture[f"simcc_keypoint_{name}"][:, 0], atol=1e-5)

    def test_keypoints(self, fixture) -> None:
        maps = tuple(fixture[f"simcc_{axis}"].astype(np.float32) for axis in "xy")
        found = SimCCCodec().decode(maps, INPUT)
        decoded = to_images(found.keypoints, crop_to_image(fixture["center"], fixture["size"], INPUT, False))
        np.testing.assert_allclose(decoded, fixture["simcc_decoded"], atol=1e-3)
