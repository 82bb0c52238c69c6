"""Pictures, pixel by pixel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspose.errors import PoseError
from mspose.skeleton import COCO17, LEFT, MIDDLE, RIGHT
from mspose.visual import (
    contact_sheet,
    draw_heatmaps,
    draw_pafs,
    draw_poses,
    side_by_side,
    strongest_vectors,
    write_image,
)
from tests.messages import naming

L_SHOULDER, R_SHOULDER, L_ELBOW, R_ELBOW = 5, 6, 7, 8
GREY = np.full((200, 300, 3), 128, np.uint8)


def person(**joints: tuple[float, float, float]) -> np.ndarray:
    """(1, 17, 3) keypoints with the named joints only."""
    keypoints = np.zeros((1, 17, 3))
    for name, value in joints.items():
        keypoints[0, COCO17.keypoints.index(name)] = value
    return keypoints


ARMS = person(
    left_shoulder=(200, 50, 1), left_elbow=(200, 150, 1), right_shoulder=(100, 50, 1), right_elbow=(100, 150, 1)
)


@pytest.mark.parametrize(
    ("at", "rgb"), [((100, 200), LEFT), ((100, 100), RIGHT), ((50, 150), MIDDLE)], ids=["left", "right", "across"]
)
def test_limbs_have_the_colour_of_their_side(at: tuple[int, int], rgb: tuple[int, int, int]) -> None:
    assert tuple(draw_poses(GREY, ARMS, COCO17)[at]) == rgb[::-1]


def test_limb_has_a_dark_outline() -> None:
    canvas = np.full((1000, 1000, 3), 128, np.uint8)
    arm = person(left_shoulder=(500, 100, 1), left_elbow=(500, 500, 1))
    row = draw_poses(canvas, arm, COCO17)[300, 485:516].max(axis=1)
    edges = np.flatnonzero(row < 40)
    assert edges.min() < 15 < edges.max()
    assert row[0] == row[-1] == 128


def test_input_is_untouched() -> None:
    image, keypoints = GREY.copy(), ARMS.copy()
    draw_poses(image, keypoints, COCO17)
    assert (image == GREY).all()
    assert (keypoints == ARMS).all()


@pytest.mark.parametrize("score", [0.0, 0.19, np.nan], ids=["unlabelled", "under the threshold", "nan"])
def test_weak_joint_and_its_limbs_are_left_out(score: float) -> None:
    weak = ARMS.copy()
    weak[0, L_ELBOW, 2] = score
    without = ARMS.copy()
    without[0, L_ELBOW] = 0
    assert (draw_poses(GREY, weak, COCO17) == draw_poses(GREY, without, COCO17)).all()
    assert (draw_poses(GREY, weak, COCO17)[90:] == draw_poses(GREY, ARMS, COCO17)[90:]).all(axis=2)[:, :180].all()
    assert (draw_poses(GREY, weak, COCO17)[90:, 180:] == 128).all()


def test_unlabelled_joint_is_left_out_at_threshold_zero() -> None:
    assert (draw_poses(GREY, person(nose=(100, 100, 0)), COCO17, threshold=0) == GREY).all()


@pytest.mark.parametrize("keypoints", [np.zeros((0, 17, 3)), np.zeros((2, 17, 3)), []], ids=["none", "hidden", "list"])
def test_nobody_to_draw(keypoints: np.ndarray) -> None:
    result = draw_poses(GREY, keypoints, COCO17, labels=["0.50"] * len(keypoints))
    assert (result == GREY).all()
    assert result is not GREY


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_joint_that_is_not_finite_is_left_out(value: float) -> None:
    broken, without = ARMS.copy(), ARMS.copy()
    broken[0, L_ELBOW, 0] = value
    without[0, L_ELBOW] = 0
    assert (draw_poses(GREY, broken, COCO17) == draw_poses(GREY, without, COCO17)).all()


def test_joint_far_outside_is_tolerated() -> None:
    far = ARMS.copy()
    far[0, L_ELBOW, :2] = 1e12
    assert draw_poses(GREY, far, COCO17, labels=["1.00"]).shape == GREY.shape


def test_thickness_grows_with_the_person() -> None:
    canvas = np.full((1000, 1000, 3), 128, np.uint8)
    widths = []
    for length in (60, 400):
        arm = person(left_shoulder=(500, 100, 1), left_elbow=(500, 100 + length, 1))
        widths.append(int((draw_poses(canvas, arm, COCO17)[100 + length // 2] != 128).any(axis=1).sum()))
    assert widths[0] < widths[1] < 25


def test_thickness_can_be_given() -> None:
    canvas = np.full((200, 200, 3), 128, np.uint8)
    arm = person(left_shoulder=(100, 20, 1), left_elbow=(100, 180, 1))
    widths = [
        int((draw_poses(canvas, arm, COCO17, line_width=width)[100] != 128).any(axis=1).sum()) for width in (4, 14)
    ]
    assert 8 <= widths[1] - widths[0] <= 16


def test_positions_are_finer_than_a_pixel() -> None:
    moved = ARMS.copy()
    moved[..., 0] += 0.5
    assert (draw_poses(GREY, moved, COCO17) != draw_poses(GREY, ARMS, COCO17)).any()


def test_small_person_is_drawn_over_a_large_one() -> None:
    small = person(right_shoulder=(195, 100, 1), right_elbow=(205, 100, 1))
    people = np.concatenate([small, ARMS])
    blue, _, red = draw_poses(GREY, people, COCO17)[100, 200]
    assert blue > 200 > 50 > red


@pytest.mark.parametrize("shape", [(200, 300), (200, 300, 1)])
def test_grey_picture_is_drawn_on_in_colour(shape: tuple[int, ...]) -> None:
    assert (draw_poses(np.full(shape, 128, np.uint8), ARMS, COCO17) == draw_poses(GREY, ARMS, COCO17)).all()


def test_float_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        draw_poses(GREY / 255, ARMS, COCO17)


def test_label_stands_above_the_highest_joint() -> None:
    changed = (draw_poses(GREY, ARMS, COCO17, labels=["#7"]) != draw_poses(GREY, ARMS, COCO17)).any(axis=2)
    rows, _ = np.nonzero(changed)
    assert 20 < rows.min() < rows.max() < 50
    nobody = draw_poses(GREY, np.zeros((1, 17, 3)), COCO17, labels=["#7"])
    assert (nobody == GREY).all()


def test_side_by_side_keeps_left_and_right() -> None:
    red, blue = np.zeros((100, 80, 3), np.uint8), np.zeros((60, 50, 3), np.uint8)
    red[..., 2], blue[..., 0] = 255, 255
    result = side_by_side(red, blue)
    strip = result.shape[0] - 100
    assert tuple(result[strip, 0]) == tuple(result[-1, 79]) == (0, 0, 255)
    assert tuple(result[strip, -1]) == tuple(result[strip + 59, -50]) == (255, 0, 0)
    assert result[:strip].max() < 255
    assert result[:strip, :80].max() > 200, "title on the left"
    assert result[:strip, -50:].max() > 200, "title on the right"


RIGHT, DOWN = (0, 0, 255), (0, 255, 127)


@pytest.mark.parametrize(("vector", "color"), [((1, 0), RIGHT), ((0, 1), DOWN)])
def test_direction_of_a_limb_is_its_hue(vector: tuple[float, float], color: tuple[int, int, int]) -> None:
    pafs = np.zeros((38, 20, 30), np.float32)
    pafs[4:6, 5:9, 10:14] = np.array(vector)[:, None, None]
    drawn = draw_pafs(GREY, pafs, np.array([[8.0, 0, 3.5], [0, 8, 3.5]]), opacity=1)
    np.testing.assert_allclose(drawn[8 * 6 + 4, 8 * 11 + 4], color, atol=3)
    rows, columns = np.nonzero((drawn != GREY).any(axis=2))
    # Cells 5 to 8 have their centres at pixels 43.5 to 67.5, and fade over one cell.
    assert 36 <= rows.min() <= 40 <= 71 <= rows.max() <= 75
    assert 76 <= columns.min() <= 80 <= 111 <= columns.max() <= 115


def test_length_of_a_limb_is_its_opacity() -> None:
    pafs = np.zeros((2, 20, 30), np.float32)
    pafs[0] = 0.5
    pafs[:, 0, 0] = np.nan
    drawn = draw_pafs(GREY, pafs, np.array([[8.0, 0, 3.5], [0, 8, 3.5]]), opacity=1)
    np.testing.assert_allclose(drawn[100, 100], (64, 64, 192), atol=1)


def test_longest_vector_counts() -> None:
    pafs = np.array([0.1, 0.2, -0.6, 0, 0.3, 0.3], np.float32).reshape(6, 1, 1)
    np.testing.assert_allclose(strongest_vectors(pafs)[:, 0, 0], (-0.6, 0))


def test_heat_lies_where_its_matrix_says() -> None:
    maps = np.zeros((2, 16, 12), np.float32)
    maps[0, 5, 6] = maps[1, 2, 3] = 1
    matrices = np.array([[[2, 0, 40], [0, 2, 30]], [[4, 0, 100], [0, 4, 90]]])
    changed = (draw_heatmaps(GREY, maps, matrices) != 128).any(axis=2)
    expected = np.zeros_like(changed)
    expected[30 + 10 - 2 : 30 + 10 + 3, 40 + 12 - 2 : 40 + 12 + 3] = True
    expected[90 + 8 - 4 : 90 + 8 + 5, 100 + 12 - 4 : 100 + 12 + 5] = True
    assert changed[40, 52]
    assert changed[98, 112]
    assert not (changed & ~expected).any()


@pytest.mark.parametrize("corner", [(-500, -500), (290, 190), (-10, -10), (5000, 0)])
def test_heat_beyond_the_picture_is_cut(corner: tuple[int, int]) -> None:
    matrix = np.array([[[2.0, 0, corner[0]], [0, 2.0, corner[1]]]])
    assert draw_heatmaps(GREY, np.ones((1, 16, 12)), matrix).shape == GREY.shape


def test_cold_or_broken_maps_leave_the_picture() -> None:
    maps = np.full((2, 5, 5), -1.0)
    maps[0, 0, 0] = np.nan
    assert (draw_heatmaps(GREY, maps, np.tile(np.eye(2, 3), (2, 1, 1))) == GREY).all()


@pytest.mark.parametrize(("count", "size"), [(5, (2 * 34 + 4, 3 * 44 + 4)), (2, (34 + 4, 2 * 44 + 4))])
def test_size_of_contact_sheet(count: int, size: tuple[int, int]) -> None:
    assert contact_sheet([GREY] * count, 3, (40, 30)).shape == (*size, 3)


def test_contact_sheet_keeps_order_and_aspect() -> None:
    shades = [np.full((10, 20), 60 * i + 60, np.uint8) for i in range(3)]
    sheet = contact_sheet(shades, 2, (40, 40))
    assert [sheet[24, 24, 0], sheet[24, 68, 0], sheet[68, 24, 0]] == [60, 120, 180]
    assert (sheet == 60).all(axis=2).sum() == 40 * 20


def test_contact_sheet_of_nothing() -> None:
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([], 3, (40, 30))


def test_written_image_reads_back(tmp_path: Path) -> None:
    path = write_image(tmp_path / "new" / "pose.png", GREY)
    assert (cv2.imread(str(path)) == GREY).all()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "image"), [("pose.xyz", GREY), ("pose.png", np.zeros((0, 0, 3), np.uint8))], ids=["format", "empty"]
)
def test_image_that_cannot_be_written(name: str, image: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(PoseError, match=naming(tmp_path / name)):
        write_image(tmp_path / name, image)
    assert not list(tmp_path.iterdir())


def test_failed_encoding_leaves_the_earlier_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write_image(tmp_path / "pose.png", GREY)
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, None))
    with pytest.raises(PoseError, match=naming(path)):
        write_image(path, GREY)
    assert list(tmp_path.iterdir()) == [path]
    assert cv2.imread(str(path)) is not None


def test_neither_mindspore_nor_matplotlib_is_imported() -> None:
    program = "import sys, mspose.visual; print(*{'mindspore', 'matplotlib'} & set(sys.modules))"
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
