"""UDP's geometry of heat maps, its refinements, and targets between cells, against loops and the parity fixture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mspose.codecs.heatmap import HeatmapCodec
from mspose.codecs.refine import UDP_FORMS
from mspose.config.builder import default_config
from mspose.errors import UsageError
from mspose.geometry import crop_to_image, to_images, transform_points
from mspose.networks import method_of
from tests.codecs.test_heatmap import INPUT, MAP, decode_cells, gaussian_maps, visible_points

CELL = np.array([191 / 47, 255 / 63])


def unbiased(**options: object) -> HeatmapCodec:
    return HeatmapCodec(unbiased=True, **{"refine": "dark_udp", **options})


def smoothed(heatmap: np.ndarray, refine: str, length: int) -> np.ndarray:
    """The smoothing of one form, on the whole map."""
    if refine == "dark_udp_hf":
        return gaussian_filter(heatmap, sigma=0.8, radius=length // 2, mode="reflect")
    if refine == "dark_udp_0x":
        return cv2.GaussianBlur(heatmap, (length, length), 0)
    padded = cv2.GaussianBlur(np.pad(heatmap, length), (length, length), 0)[length:-length, length:-length]
    return padded * (heatmap.max() / padded.max()) if refine == "dark_udp" else padded


def udp_full_map(heatmap: np.ndarray, refine: str, length: int = 11) -> np.ndarray:
    """UDP's refinement as its published implementations state it, on the whole map."""
    y, x = divmod(int(heatmap.argmax()), heatmap.shape[1])
    log = np.log(np.clip(smoothed(heatmap.astype(np.float64), refine, length), 1e-3, 50))
    f = np.pad(log, 1, mode="constant" if refine == "dark_udp_mindpose" else "edge")[y : y + 3, x : x + 3]
    gradient = np.array([f[1, 2] - f[1, 0], f[2, 1] - f[0, 1]]) / 2
    dxy = (f[2, 2] - f[1, 2] - f[2, 1] + 2 * f[1, 1] - f[1, 0] - f[0, 1] + f[0, 0]) / 2
    hessian = np.array([[f[1, 2] - 2 * f[1, 1] + f[1, 0], dxy], [dxy, f[2, 1] - 2 * f[1, 1] + f[0, 1]]])
    return np.array([x, y]) - np.linalg.solve(hessian + 1e-7 * np.eye(2), gradient)


def target_loop(gaussian: str, place: np.ndarray, sigma: float) -> np.ndarray:
    """One map with the Gaussian of a keypoint at x, y in cells."""
    result, nearest = np.zeros((MAP[1], MAP[0])), [int(v + 0.5) for v in place]
    for row in range(MAP[1]):
        for column in range(MAP[0]):
            away = max(abs(column - nearest[0]), abs(row - nearest[1]))
            if gaussian == "exact" or away <= int(3 * sigma):
                x, y = nearest if gaussian == "rounded" else place
                result[row, column] = np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2))
    return result


@pytest.mark.parametrize("refine", UDP_FORMS)
@pytest.mark.parametrize(("options", "length"), [({}, 11), ({"sigma": 3.0}, 17), ({"sigma": 3.0, "blur": 11}, 11)])
def test_refinement_equals_smoothing_the_whole_map(refine: str, options: dict, length: int) -> None:
    maps = gaussian_maps(seed=3)
    expected = np.array([[udp_full_map(heatmap, refine, length) for heatmap in person] for person in maps])
    clear = maps.max(axis=(2, 3)) > 0.2
    at_border = (np.array(np.unravel_index(maps.reshape(4, 17, -1).argmax(-1), MAP[::-1])) == 0).any(axis=0)
    assert (clear & at_border).any()
    np.testing.assert_allclose(decode_cells(maps, refine=refine, **options)[clear][:, :2], expected[clear], atol=1e-3)


@pytest.mark.parametrize("refine", UDP_FORMS)
@pytest.mark.parametrize("height", [0.002, 90.0])
def test_refinement_where_limits_cut_in(refine: str, height: float) -> None:
    maps = gaussian_maps(seed=4, floor=0)
    maps = (maps * (height / maps.max(axis=(2, 3), keepdims=True))).astype(np.float32)
    peaks = decode_cells(maps, refine="none")[..., :2]
    expected = np.array([[udp_full_map(heatmap, refine) for heatmap in person] for person in maps])
    found = decode_cells(maps, refine=refine)[..., :2]
    sane = np.hypot(*np.moveaxis(expected - peaks, -1, 0)) < 7.5
    assert sane.sum() > 10
    np.testing.assert_allclose(found[sane], expected[sane], atol=1e-3)


def test_forms_differ() -> None:
    maps = gaussian_maps(seed=3) - np.float32(0.03)
    found = [decode_cells(maps, refine=refine) for refine in UDP_FORMS]
    for number, one in enumerate(found):
        assert all(np.abs(one - other).max() > 1e-3 for other in found[:number])


@pytest.mark.parametrize("refine", UDP_FORMS)
def test_refinement_finds_a_keypoint_between_cells(refine: str) -> None:
    keypoints = np.array([[[83.3, 121.9, 1], [20.2, 200.6, 1]] + [[90.0, 90, 1]] * 15])
    codec = unbiased(refine=refine)
    targets, _ = codec.gaussians(keypoints, INPUT)
    assert np.abs(codec.decode((targets,), INPUT).keypoints - keypoints)[..., :2].max() < 0.15


@pytest.mark.parametrize("refine", ["dark", *UDP_FORMS])
def test_noise_does_not_throw_a_keypoint_out_of_the_picture(refine: str) -> None:
    maps = 0.01 * np.random.default_rng(1).random((20, 17, *MAP[::-1]), np.float32)
    peaks = decode_cells(maps, refine="none")
    assert np.abs(decode_cells(maps, refine=refine) - peaks).max() <= 8


@pytest.mark.parametrize("refine", ["none", "quarter", "dark"])
def test_maxima_at_the_corners_are_the_outermost_pixels(refine: str) -> None:
    maps = np.zeros((1, 17, *MAP[::-1]), np.float32)
    maps[0, :8, 0, 0] = maps[0, 8:, -1, -1] = 1
    found = unbiased(refine=refine).decode((maps,), INPUT).keypoints[0, :, :2]
    np.testing.assert_allclose(found, [[0, 0]] * 8 + [[191, 255]] * 9, atol=1e-4)


@pytest.mark.parametrize(
    ("gaussian", "is_unbiased"),
    [("rounded", False), ("exact", False), ("exact", True), ("exact_cut", False), ("exact_cut", True)],
)
def test_targets_equal_the_loop(gaussian: str, is_unbiased: bool) -> None:
    codec = HeatmapCodec(unbiased=is_unbiased, gaussian=gaussian)
    keypoints = np.concatenate(
        [np.random.default_rng(2).uniform((-15, -15), (206, 270), (40, 2)), [[-20, 3], [7.9, -20]]]
    )
    targets, weights = codec.gaussians(visible_points(keypoints, np.ones(len(keypoints))), INPUT)
    for keypoint, target, weight in zip(keypoints, targets, weights):
        assert weight == 1
        expected = target_loop(gaussian, keypoint / (CELL if is_unbiased else 4), codec.sigma)
        np.testing.assert_allclose(target, expected, atol=1e-6)


@pytest.mark.parametrize(("x", "weight"), [(-28.5, 0), (-27, 1), (215, 1), (217, 0)])
def test_exact_targets_count_while_three_sigma_reach_the_map(x: float, weight: int) -> None:
    targets, weights = HeatmapCodec(gaussian="exact").gaussians(np.array([[[x, 100.0, 1]]]), INPUT)
    assert weights[0, 0] == weight
    assert targets.any() == bool(weight)


def test_targets_follow_the_geometry_where_nobody_says() -> None:
    keypoint = np.array([[[83.3, 121.9, 1]]])
    for is_unbiased, gaussian in ((False, "rounded"), (True, "exact_cut")):
        made = [HeatmapCodec(unbiased=is_unbiased, gaussian=g).gaussians(keypoint, INPUT)[0] for g in (None, gaussian)]
        np.testing.assert_array_equal(*made)


def test_mirrored_maps_are_not_shifted() -> None:
    codec = unbiased(shift=True)
    keypoints = np.concatenate([np.random.default_rng(3).uniform((10, 10), (180, 240), (17, 2)), np.ones((17, 1))], 1)
    mirrored = (keypoints * [-1, 1, 1] + [191, 0, 0])[codec.skeleton.flip_index]
    targets, _ = codec.gaussians(np.stack([keypoints, mirrored]), INPUT)
    np.testing.assert_allclose(codec.flip_back((targets[1:],))[0][0], targets[0], atol=0.02)
    assert "to the right" not in codec.describe_flip()
    assert codec.describe()["shift_heatmap"] is False


def test_heat_matrices_lead_to_the_outermost_pixels() -> None:
    _, matrices = unbiased().heat((np.zeros((2, 17, *MAP[::-1]), np.float32),))
    np.testing.assert_allclose(transform_points(np.array([[0, 0], [47, 63]]), matrices[1]), [[0, 0], [191, 255]])


@pytest.mark.parametrize(
    ("values", "key"),
    [
        *(({"codec.refine": refine}, "codec.refine") for refine in UDP_FORMS),
        ({"codec.refine": "udp", "data.unbiased": True}, "codec.refine"),
        ({"codec.targets": "rounded", "data.unbiased": True}, "codec.targets"),
        ({"codec.targets": "nearest"}, "codec.targets"),
        ({"codec.blur": 10}, "codec.blur"),
        ({"codec.blur": 1}, "codec.blur"),
        ({"codec.blur": 10**9 + 1}, "codec.blur"),
    ],
)
def test_keys_that_do_not_go_together(values: dict, key: str) -> None:
    with pytest.raises(UsageError, match=key.replace(".", r"\.")):
        default_config(overrides=values)


def test_codec_refuses_what_the_keys_would() -> None:
    with pytest.raises(UsageError, match=r"codec\.refine"):
        HeatmapCodec(refine="dark_udp")
    with pytest.raises(UsageError, match=r"codec\.targets"):
        HeatmapCodec(unbiased=True, gaussian="rounded")


@pytest.mark.parametrize("network", ["simplepose", "fastpose", "hrnet", "vitpose"])
def test_every_heat_map_network_has_the_keys(network: str) -> None:
    values = {"data.unbiased": True, "codec.refine": "dark_udp_0x", "codec.targets": "exact", "codec.blur": 15}
    codec = method_of(default_config(network, values)).codec
    assert codec == unbiased(refine="dark_udp_0x", gaussian="exact", blur=15, shift=True)


class TestReference:
    @pytest.fixture
    def fixture(self, parity_dir):
        return np.load(parity_dir / "udp_simcc_val2017.npz")

    def test_targets(self, fixture) -> None:
        targets, weights = zip(
            *(
                unbiased().encode(visible_points(transform_points(person[:, :2], matrix), person[:, 2])[None], INPUT)
                for person, matrix in zip(fixture["keypoints"][:6], fixture["udp_matrix"])
            )
        )
        np.testing.assert_array_equal(weights, fixture["udp_keypoint_weights"][:, 0])
        np.testing.assert_allclose(targets, fixture["udp_heatmaps"], atol=1e-5)

    def test_keypoints(self, fixture, parity_dir) -> None:
        heatmaps = np.load(parity_dir / "topdown_val2017.npz")["heatmaps"].astype(np.float32)
        found = unbiased().decode((heatmaps,), INPUT)
        decoded = to_images(found.keypoints, crop_to_image(fixture["center"], fixture["size"], INPUT, unbiased=True))
        expected = fixture["udp_decoded"]
        np.testing.assert_allclose(decoded[..., 2], expected[..., 2], atol=1e-6)
        clear = expected[..., 2] > 0.2  # the others are noise, where rounding decides
        assert clear.sum() > 500
        np.testing.assert_allclose(decoded[clear], expected[clear], atol=1e-3)
