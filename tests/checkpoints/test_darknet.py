"""Darknet's weights files: order of the numbers, and errors for files that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mspose.checkpoints.darknet import KNOWN_SIZES, read_darknet
from mspose.errors import PoseError
from tests.messages import naming

# In MindSpore's order, which is not Darknet's.
SHAPES = {
    "a.0.weight": (2, 3, 3, 3),
    "a.1.moving_mean": (2,),
    "a.1.moving_variance": (2,),
    "a.1.gamma": (2,),
    "a.1.beta": (2,),
    "b.weight": (4, 2, 1, 1),
    "b.bias": (4,),
}
ORDER = ("a.1.beta", "a.1.gamma", "a.1.moving_mean", "a.1.moving_variance", "a.0.weight", "b.bias", "b.weight")
COUNT = sum(int(np.prod(shape)) for shape in SHAPES.values())


def header(major: int = 0, minor: int = 2) -> bytes:
    seen = np.array([7], "<i8" if major * 10 + minor >= 2 else "<i4")
    return np.array([major, minor, 0], "<i4").tobytes() + seen.tobytes()


def write(folder: Path, start: bytes, numbers: np.ndarray) -> Path:
    path = folder / "net.weights"
    path.write_bytes(start + numbers.astype("<f4").tobytes())
    return path


@pytest.mark.parametrize("version", [(0, 1), (0, 2), (1, 0)])
def test_numbers_reach_their_parameters(tmp_path: Path, version: tuple[int, int]) -> None:
    values = read_darknet(write(tmp_path, header(*version), np.arange(COUNT)), SHAPES)
    assert {name: value.shape for name, value in values.items()} == SHAPES
    np.testing.assert_array_equal(np.concatenate([values[name].ravel() for name in ORDER]), np.arange(COUNT))


@pytest.mark.parametrize(
    ("count", "reason"),
    [(COUNT - 1, "short"), (COUNT + 5, "another network"), (0, "short")],
)
def test_another_length_is_refused(tmp_path: Path, count: int, reason: str) -> None:
    with pytest.raises(PoseError, match=naming("net.weights", 20 + 4 * count, 20 + 4 * COUNT, reason)):
        read_darknet(write(tmp_path, header(), np.arange(count)), SHAPES)


def test_a_well_known_file_is_named(tmp_path: Path) -> None:
    size = next(size for size, name in KNOWN_SIZES.items() if name == "yolov4-tiny")
    with pytest.raises(PoseError, match=naming("net.weights", "yolov4-tiny")):
        read_darknet(write(tmp_path, header(), np.zeros((size - 20) // 4)), SHAPES)


@pytest.mark.parametrize("content", [b"", b"short", b"<!DOCTYPE html><html><body>404</body></html>"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(PoseError, match=naming("Darknet weights file", tmp_path / "net.weights")):
        read_darknet(write(tmp_path, content, np.zeros(0)), SHAPES)


@pytest.mark.parametrize(("position", "value", "name"), [(0, np.nan, "a.1.beta"), (6, -1.0, "a.1.moving_variance")])
def test_damaged_values_are_refused(tmp_path: Path, position: int, value: float, name: str) -> None:
    numbers = np.ones(COUNT)
    numbers[position] = value
    with pytest.raises(PoseError, match=naming("net.weights", name)):
        read_darknet(write(tmp_path, header(), numbers), SHAPES)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PoseError, match=naming(tmp_path / "none.weights", "found")):
        read_darknet(tmp_path / "none.weights", SHAPES)
