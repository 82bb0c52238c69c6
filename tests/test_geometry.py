"""Boxes, crops and the maps between picture and network input."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mspose.data.coco import labelled, load_annotations
from mspose.geometry import (
    box_to_crop,
    clip_boxes,
    compose,
    crop_matrix,
    crop_to_image,
    resize_canvas,
    resize_short_side,
    to_images,
    transform_points,
    warp,
)
from mspose.skeleton import COCO17

SIZE = (192, 256)


def smooth(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 6), None, 0, 255, cv2.NORM_MINMAX)


def composed(center, size, output, degrees: float) -> np.ndarray:
    """The crop's matrix from elementary ones: move its centre to 0, turn, scale, move to the output's centre."""
    angle, scale = np.deg2rad(degrees), output[0] / size[0]
    to_origin = np.array([[1, 0, -center[0]], [0, 1, -center[1]], [0, 0, 1]])
    turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    to_output = np.array([[scale, 0, output[0] / 2], [0, scale, output[1] / 2], [0, 0, 1]])
    return (to_output @ turn @ to_origin)[:2]


class TestClipBoxes:
    def test_inside_loses_one_pixel_as_in_the_reference(self):
        np.testing.assert_array_equal(clip_boxes([[10, 20, 30, 40]], [100], [100]), [[10, 20, 29, 39]])

    def test_beyond_every_side(self):
        boxes = [[-5, -6, 30, 40], [80, 90, 30, 40], [-10, -10, 500, 500]]
        expected = [[0, 0, 29, 39], [80, 90, 19, 9], [0, 0, 99, 99]]
        np.testing.assert_array_equal(clip_boxes(boxes, [100] * 3, [100] * 3), expected)

    def test_wholly_outside_is_negative(self):
        assert clip_boxes([[150, 10, 20, 20]], [100], [100])[0, 2] < 0

    def test_each_box_has_its_own_picture(self):
        clipped = clip_boxes([[0, 0, 50, 50]] * 2, [20, 40], [30, 60])
        np.testing.assert_array_equal(clipped[:, 2:], [[19, 29], [39, 49]])

    def test_none(self):
        assert clip_boxes(np.empty((0, 4)), np.empty(0), np.empty(0)).shape == (0, 4)


class TestBoxToCrop:
    def test_all_people_of_the_reference(self, parity_dir, coco_mini):
        annotations = load_annotations(
            coco_mini / "annotations/person_keypoints_val2017.json", coco_mini / "val2017", COCO17
        )
        people = labelled(annotations)
        with np.load(parity_dir / "topdown_val2017.npz") as reference:
            ids, center, scale = reference["image_id"][:68], reference["center"], reference["scale"]
        np.testing.assert_array_equal(annotations.images.ids[people.image_index], ids)
        centers, sizes = box_to_crop(people.boxes, 192 / 256)
        np.testing.assert_array_equal(centers, center)
        np.testing.assert_allclose(sizes / 200, scale, rtol=2e-7)

    def test_wide_box_grows_in_height_and_tall_box_in_width(self):
        centers, sizes = box_to_crop([[0, 0, 300, 100], [0, 0, 30, 400]], 0.75)
        np.testing.assert_allclose(centers, [[150, 50], [15, 200]])
        np.testing.assert_allclose(sizes, [[375, 500], [375, 500]], rtol=1e-6)

    def test_padding(self):
        np.testing.assert_allclose(box_to_crop([[0, 0, 75, 100]], 0.75, padding=2)[1], [[150, 200]], rtol=1e-6)


class TestCropMatrix:
    CROPS = (((100.3, 80.7), (120.0, 160.0)), ((-4.0, 300.25), (33.0, 44.0)), ((640.0, 0.0), (900.0, 1200.0)))

    @pytest.mark.parametrize("degrees", [0, 30, -75.5, 90, 180])
    @pytest.mark.parametrize(("center", "size"), CROPS)
    def test_is_a_move_a_turn_a_scale_and_a_move(self, center, size, degrees):
        matrix = crop_matrix(np.array(center), np.array(size), SIZE, degrees)
        assert matrix.dtype == np.float64
        corners = np.array([[0, 0], [640, 0], [0, 480], [640, 480]])
        expected = transform_points(corners, composed(center, size, SIZE, degrees))
        scale = SIZE[0] / size[0]
        np.testing.assert_allclose(transform_points(corners, matrix), expected, atol=1e-3 * scale)

    def test_corners_of_an_upright_crop(self):
        matrix = crop_matrix(np.array([50.0, 60.0]), np.array([30.0, 40.0]), SIZE)
        np.testing.assert_allclose(transform_points(np.array([[35, 40], [65, 80]]), matrix), [[0, 0], SIZE], atol=1e-4)

    def test_positive_rotation_turns_the_window_clockwise(self):
        matrix = crop_matrix(np.array([50.0, 60.0]), np.array([30.0, 40.0]), SIZE, rotation=90)
        # What was to the right of the centre is now above it.
        np.testing.assert_allclose(transform_points(np.array([65, 60]), matrix), [96, 32], atol=1e-4)

    @pytest.mark.parametrize("degrees", [0, 25, -60])
    def test_flip_equals_cropping_the_mirrored_picture(self, degrees):
        image, center, size = smooth(240, 320), np.array([131.0, 97.5]), np.array([150.0, 200.0])
        mirrored_center = np.array([319 - center[0], center[1]])
        expected = cv2.warpAffine(
            np.ascontiguousarray(image[:, ::-1]), crop_matrix(mirrored_center, size, SIZE, degrees), SIZE
        )
        crop = cv2.warpAffine(image, crop_matrix(center, size, SIZE, degrees, flip=True), SIZE)
        assert expected.std() > 20
        difference = np.abs(crop.astype(int) - expected)
        # At the picture's border, positions rounded to 1/32 pixel may fall on either side.
        assert difference.mean() < 0.1
        assert np.percentile(difference, 99) <= 1

    @pytest.mark.parametrize("degrees", [0, 25])
    def test_flip_mirrors_points_about_the_centre_first(self, degrees):
        center, size = np.array([131.0, 97.5]), np.array([150.0, 200.0])
        points = np.array([[100.0, 50.0], [131, 97.5], [160, 200]])
        mirrored = points * [-1, 1] + [2 * center[0], 0]
        flipped = transform_points(points, crop_matrix(center, size, SIZE, degrees, flip=True))
        np.testing.assert_allclose(flipped, transform_points(mirrored, crop_matrix(center, size, SIZE, degrees)))


class TestUnbiased:
    """UDP: the crop's corners lie on the centres of the outermost pixels."""

    CROPS = TestCropMatrix.CROPS

    @pytest.fixture
    def fixture(self, parity_dir):
        return np.load(parity_dir / "udp_simcc_val2017.npz")

    @pytest.mark.parametrize(("name", "degrees"), [("udp_matrix", 0), ("udp_rotated_matrix", 25)])
    def test_matrices_of_the_reference(self, fixture, name, degrees):
        for expected, center, size in zip(fixture[name], fixture["center"], fixture["size"]):
            matrix = crop_matrix(center, size, SIZE, degrees, unbiased=True)
            np.testing.assert_allclose(matrix, expected, atol=1e-4, rtol=0)

    @pytest.mark.parametrize(("center", "size"), CROPS)
    def test_corners_and_centre(self, center, size):
        matrix = crop_matrix(np.array(center), np.array(size), SIZE, unbiased=True)
        assert matrix.dtype == np.float64
        points = np.array(center) + np.array([[-0.5, -0.5], [0.5, 0.5], [0, 0]]) * size
        np.testing.assert_allclose(transform_points(points, matrix), [[0, 0], [191, 255], [95.5, 127.5]], atol=1e-3)

    @pytest.mark.parametrize("degrees", [30, -75.5, 180])
    @pytest.mark.parametrize(("center", "size"), CROPS)
    def test_turns_as_the_plain_crop_does_the_other_way(self, center, size, degrees):
        center, size = np.array(center), np.array(size)
        plain = crop_matrix(center, size, SIZE, -degrees)
        unbiased = crop_matrix(center, size, SIZE, degrees, unbiased=True)
        offsets = np.random.default_rng(0).uniform(-0.5, 0.5, (9, 2)) * size
        expected = (transform_points(center + offsets, plain) - [96, 128]) * [191 / 192, 255 / 256] + [95.5, 127.5]
        np.testing.assert_allclose(transform_points(center + offsets, unbiased), expected, atol=2e-3)

    @pytest.mark.parametrize("degrees", [0, 25])
    def test_flip_mirrors_columns(self, degrees):
        center, size = np.array([131.0, 97.5]), np.array([150.0, 200.0])
        points = np.array([[100.0, 50.0], [131, 97.5], [160, 200]])
        plain = transform_points(points, crop_matrix(center, size, SIZE, -degrees, unbiased=True))
        flipped = transform_points(points, crop_matrix(center, size, SIZE, degrees, flip=True, unbiased=True))
        np.testing.assert_allclose(flipped, [191, 0] + plain * [-1, 1], atol=1e-3)

    @pytest.mark.parametrize("output", [(192, 256), (288, 384)])
    def test_crop_to_image_is_the_inverse(self, output):
        centers = np.random.default_rng(0).uniform(100, 400, (5, 2))
        sizes = np.random.default_rng(1).uniform(50, 300, (5, 1)) * [1, 4 / 3]
        for center, size, back in zip(centers, sizes, crop_to_image(centers, sizes, output, unbiased=True)):
            there = crop_matrix(center, size, output, unbiased=True)
            np.testing.assert_allclose(compose(back, there), np.eye(2, 3), atol=1e-4)


class TestPoints:
    def test_shape_is_kept(self):
        points = np.zeros((2, 3, 4, 2))
        assert transform_points(points, np.eye(2, 3)).shape == points.shape

    @pytest.mark.parametrize("output", [(192, 256), (48, 64), (33, 47)])
    def test_crop_to_image_is_the_inverse(self, output):
        rng = np.random.default_rng(0)
        points = rng.uniform(0, 500, (5, 17, 2))
        centers = rng.uniform(100, 400, (5, 2))
        widths = rng.uniform(50, 300, 5)
        sizes = np.stack([widths, widths * output[1] / output[0]], axis=1)
        mapped = np.stack([transform_points(p, crop_matrix(c, s, output)) for p, c, s in zip(points, centers, sizes)])
        scored = np.concatenate([mapped, np.full((5, 17, 1), 0.5)], axis=-1)
        found = to_images(scored, crop_to_image(centers, sizes, output))
        np.testing.assert_allclose(found[..., :2], points, atol=0.01)
        assert (found[..., 2] == 0.5).all()

    def test_each_person_has_its_own_matrix(self):
        matrices = crop_to_image(np.arange(6.0).reshape(3, 2), np.full((3, 2), 10.0), (10, 10))
        np.testing.assert_allclose(to_images(np.zeros((3, 1, 3)), matrices)[:, 0, :2], np.arange(6.0).reshape(3, 2) - 5)

    def test_nobody(self):
        assert to_images(np.zeros((0, 17, 3)), crop_to_image(np.zeros((0, 2)), np.zeros((0, 2)), (8, 8))).shape == (
            0,
            17,
            3,
        )

    def test_compose_applies_the_inner_one_first(self):
        rng = np.random.default_rng(1)
        outer, inner, points = rng.random((2, 3)), rng.random((2, 3)), rng.random((4, 2))
        expected = transform_points(transform_points(points, inner), outer)
        np.testing.assert_allclose(transform_points(points, compose(outer, inner)), expected)


def ramp(width: int, height: int) -> np.ndarray:
    """A picture whose first two channels are its pixels' x and y: float32, since OpenCV rounds uint8 coarsely."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.zeros_like(x)], axis=2).astype(np.float32)


class TestWarp:
    """Pictures with sides beyond 32,766, which OpenCV's warps do not take, are shown as a part cut out of them is."""

    @pytest.mark.parametrize("degrees", [0.0, 30.0])
    @pytest.mark.parametrize("center", [20.0, 39_000.0])
    def test_long_pictures(self, center: float, degrees: float) -> None:
        image = np.random.default_rng(0).integers(0, 256, (120, 40_000, 3), np.uint8)
        start = max(0, int(center) - 1000)
        matrix = crop_matrix(np.float32([center, 70]), np.float32([96, 128]), (192, 256), degrees)
        moved = crop_matrix(np.float32([center - start, 70]), np.float32([96, 128]), (192, 256), degrees)
        expected = cv2.warpAffine(image[:, start : start + 2000], moved, (192, 256), borderValue=(9, 9, 9))
        result = warp(image, matrix, (192, 256), border=(9, 9, 9))
        # Large coordinates have fewer digits left in float32, and OpenCV rounds places to 1/32 pixel.
        assert np.abs(result.astype(int) - expected).mean() < 3
        turned = warp(
            np.ascontiguousarray(image.transpose(1, 0, 2)), matrix[:, [1, 0, 2]], (192, 256), border=(9, 9, 9)
        )
        assert np.abs(turned.astype(int) - expected).mean() < 3

    def test_mask(self) -> None:
        mask = np.zeros((40, 70_000), np.uint8)
        mask[:, 50_000:] = 1
        shown = warp(mask, np.array([[1.0, 0, -49_990], [0, 1, 0]]), (20, 40), cv2.INTER_NEAREST)
        np.testing.assert_array_equal(shown, np.repeat([[0] * 10 + [1] * 10], 40, axis=0))

    def test_the_whole_of_it(self) -> None:
        image = np.repeat(np.linspace(0, 255, 100_000).astype(np.uint8)[None], 40, axis=0)
        result = warp(image, np.array([[0.001, 0, 0], [0, 0.001, 10]]), (100, 20))
        np.testing.assert_allclose(result[10], np.linspace(0, 252, 100), atol=3)

    def test_nothing_of_it(self) -> None:
        image = np.full((40, 40_000), 200, np.uint8)
        for x in (5_000.0, -60_000.0):
            assert (warp(image, np.array([[1.0, 0, x], [0, 1, 0]]), (100, 20), border=(7,)) == 7).all()


def check_matrix(resized: np.ndarray, matrix: np.ndarray, margin: int, atol: float = 1e-3) -> None:
    """The matrix leads from each inner pixel of a resized `ramp` to the place that the pixel shows."""
    height, width = resized.shape[:2]
    y, x = np.mgrid[margin : height - margin, margin : width - margin]
    places = transform_points(np.stack([x, y], axis=2), matrix)
    np.testing.assert_allclose(resized[margin : height - margin, margin : width - margin, :2], places, atol=atol)


class TestResizeShortSide:
    # As the MindSpore OpenPose's evaluation computes them.
    @pytest.mark.parametrize(
        ("size", "expected"),
        [
            ((640, 480), (496, 368)),
            ((480, 640), (368, 496)),
            ((640, 427), (552, 368)),
            ((427, 640), (368, 552)),
            ((500, 375), (496, 368)),
            ((500, 500), (368, 368)),
            ((368, 368), (368, 368)),
            ((640, 426), (560, 368)),
            ((5000, 3000), (616, 368)),
            ((1, 1), (368, 368)),
        ],
        ids=str,
    )
    def test_size(self, size, expected):
        image, matrix = resize_short_side(np.zeros((size[1], size[0], 3), np.uint8))
        assert image.shape == (expected[1], expected[0], 3)
        assert matrix.shape == (2, 3)

    @pytest.mark.parametrize(
        ("size", "expected"),
        [
            ((4000, 20), (3680, 24)),
            ((20, 4000), (24, 3680)),
            ((100000, 1), (3680, 8)),
            ((3690, 369), (3680, 368)),
        ],
        ids=str,
    )
    def test_strip(self, size, expected):
        image, matrix = resize_short_side(np.zeros((size[1], size[0], 3), np.uint8))
        assert image.shape == (expected[1], expected[0], 3)
        corner = matrix @ np.array([expected[0] - 0.5, expected[1] - 0.5, 1])
        np.testing.assert_allclose(corner, np.array(size) - 0.5)

    def test_other_sizes_and_multiples(self):
        image, _ = resize_short_side(np.zeros((100, 200, 3), np.uint8), 50, 32)
        assert image.shape == (64, 128, 3)

    @pytest.mark.parametrize("size", [(200, 150), (150, 200), (250, 101)])
    def test_matrix_leads_back_to_the_same_place(self, size):
        check_matrix(*resize_short_side(ramp(*size)), margin=4)

    def test_reduction(self):
        # One half or less averages all pixels instead of leaving some out.
        check_matrix(*resize_short_side(ramp(250, 200), 40), margin=0, atol=0.05)
        stripes = np.zeros((160, 160, 3), np.uint8)
        stripes[:, ::4] = 255
        image, _ = resize_short_side(stripes, 40)
        assert (np.abs(image.astype(int) - 255 / 4) <= 1).all()


class TestResizeCanvas:
    def test_wide_picture_is_padded_below(self):
        image, _ = resize_canvas(np.zeros((100, 200, 3), np.uint8), (400, 300))
        assert image.shape == (300, 400, 3)
        assert not image[:200].any()
        assert (image[200:] == 128).all()

    def test_high_picture_is_padded_on_the_right(self):
        image, _ = resize_canvas(np.zeros((200, 100, 3), np.uint8), (400, 300))
        assert not image[:, :150].any()
        assert (image[:, 150:] == 128).all()

    def test_matrix_leads_back_to_the_same_place(self):
        image, matrix = resize_canvas(ramp(201, 99), (400, 320))
        assert (image[197:] == 128).all()
        check_matrix(image[:197], matrix, margin=4)

    def test_aspect_ratio_stays(self):
        _, matrix = resize_canvas(np.zeros((427, 640, 3), np.uint8), (656, 368))
        assert matrix[0, 0] == pytest.approx(matrix[1, 1], rel=2e-3)
        assert matrix[0, 1] == matrix[1, 0] == 0

    def test_thin_picture_keeps_a_pixel(self):
        image, _ = resize_canvas(np.zeros((1, 5000, 3), np.uint8), (400, 300))
        assert not image[0].any()
        assert (image[1:] == 128).all()
