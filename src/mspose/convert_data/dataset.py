"""What every format of annotations is read into, and written from: pictures and people, and what had to be left out."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mspose.errors import PoseError, UsageError, one_line
from mspose.skeleton import BUILT_IN, MIDDLE, Skeleton

# Larger numbers are an accident (`mspose.data.check` sees it so too).
LARGEST = 1e7


@dataclass(frozen=True)
class Dataset:
    """M pictures with N annotated people of J keypoints; coordinates in pixels.

    Attributes:
        skeleton: what the keypoints are.
        categories: C names.
        files: M names relative to the folder of the pictures, with / between folders.
        sizes: (M, 2) int64 width, height.
        image_ids: (M,) int64.
        image_index: (N,) int64 row of the person's picture.
        category_index: (N,) int64 row of the person's category.
        boxes: (N, 4) float64 x, y, width, height.
        keypoints: (N, J, 3) float64 x, y, visibility 0, 1 or 2.
        crowds: (N,) bool.
        areas: (N,) float64; 0: not known.
        segmentations: N lists of polygons [x, y, x, y, …], COCO's run lengths, or nothing.
    """

    skeleton: Skeleton
    categories: tuple[str, ...]
    files: Sequence[str]
    sizes: np.ndarray
    image_ids: np.ndarray
    image_index: np.ndarray
    category_index: np.ndarray
    boxes: np.ndarray
    keypoints: np.ndarray
    crowds: np.ndarray
    areas: np.ndarray
    segmentations: Sequence[Any]

    def __len__(self) -> int:
        return len(self.image_index)

    def of_pictures(self) -> list[np.ndarray]:
        """The rows of the people of each picture."""
        order = np.argsort(self.image_index, kind="stable")
        ends = np.cumsum(np.bincount(self.image_index, minlength=len(self.files)))
        return np.split(order, ends[:-1])


class Losses:
    """What a conversion leaves out or reads in a way that needs a word: counted, one line a kind, with an example."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[bool, str]] = Counter()
        self._examples: dict[tuple[bool, str], str] = {}

    def left_out(self, what: str, example: object, count: int = 1) -> None:
        """Count something that is not in the result."""
        self._add(True, what, example, count)

    def note(self, what: str, example: object, count: int = 1) -> None:
        """Count something that is in the result, but not as it was."""
        self._add(False, what, example, count)

    def _add(self, is_lost: bool, what: str, example: object, count: int) -> None:
        if count:
            self._counts[is_lost, what] += count
            # What stands in a file may be of any length; of a path the end tells most.
            room = len(str(example)) if isinstance(example, Path) else 100
            self._examples.setdefault((is_lost, what), one_line(example, room))

    def lines(self) -> list[str]:
        """What was left out first."""
        return [
            f"{'left out' if is_lost else 'note'}: {count} {what}, such as in {self._examples[is_lost, what]}"
            for (is_lost, what), count in sorted(self._counts.items(), key=lambda item: not item[0][0])
        ]


def relative_name(name: object, where: str) -> str:
    """The name of a picture, which must stay within its folder.

    Raises:
        PoseError: it is no name, or leads out of the folder.
    """
    if not isinstance(name, str) or not name.strip() or not _is_file_name(name):
        raise PoseError(f"{where}: the name of a picture is text, not {one_line(repr(name), 40)}")
    normal = posixpath.normpath(name)
    if normal.startswith(("/", "../")) or normal in (".", ".."):
        raise PoseError(
            f"{where}: the name of a picture, {one_line(name, 80)}, leads out of the folder of the pictures"
        )
    return normal


def _is_file_name(name: str) -> bool:
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:  # half a character of UTF-16, as JSON may hold
        return False


def picture_size(width: object, height: object, where: str) -> tuple[int, int]:
    """Width and height of a picture, from numbers or text.

    Raises:
        PoseError: they are not both whole numbers of pixels.
    """
    sides = []
    for value in (width, height):
        text = str(value)
        if isinstance(value, bool) or not text.isascii() or not text.isdigit() or not 0 < int(text[:9]) < LARGEST:
            raise PoseError(f"{where}: width and height are numbers of pixels, not {one_line(repr(value), 40)}")
        sides.append(int(text[:9]))
    return sides[0], sides[1]


def points(values: object, where: str) -> list[tuple[float, float]]:
    """Pairs x, y of finite numbers.

    Raises:
        PoseError: they are something else.
    """
    try:
        array = np.array(values)
        if array.dtype.kind not in "iuf" or array.ndim != 2 or array.shape[1] != 2:
            raise ValueError("not a list of x, y")
    except (ValueError, OverflowError, TypeError) as error:
        raise PoseError(f"{where}: points are a list of x, y, not {one_line(repr(values), 60)}") from error
    if not (np.abs(array) <= LARGEST).all():
        raise PoseError(f"{where}: coordinates must be finite and below {LARGEST:g}: {one_line(repr(values), 60)}")
    return [(x, y) for x, y in array.astype(np.float64).tolist()]


def named_skeleton(names: object, limbs: Sequence[tuple[int, int]], where: str) -> Skeleton:
    """The skeleton that annotations themselves describe: a built-in one by its names, else one for reading alone.

    Annotations know neither sigmas nor flip pairs: the skeleton has no pairs, and sigmas of 0.

    Args:
        limbs: pairs of indices, from 0; those that lead nowhere are left away.

    Raises:
        PoseError: the names are no list of distinct texts.
    """
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise PoseError(f"{where}: keypoints are a list of names, not {one_line(repr(names), 60)}")
    if len(set(names)) != len(names):
        raise PoseError(f"{where}: a keypoint is listed twice")
    for built_in in BUILT_IN.values():
        if names == list(built_in.keypoints):
            return built_in
    count = len(names)
    kept = tuple((a, b) for a, b in limbs if 0 <= a < count and 0 <= b < count)
    return Skeleton("of the annotations", tuple(names), kept, (), (0.0,) * count, (), (MIDDLE,) * count)


def is_complete(skeleton: Skeleton) -> bool:
    """Whether a skeleton is more than what annotations say of it: one to train on."""
    return all(skeleton.sigmas)


def need_skeleton(skeleton: Skeleton | None, kind: str) -> Skeleton:
    """
    Raises:
        UsageError: there is none, and files of this kind do not tell.
    """
    if skeleton is None:
        raise UsageError(
            f"{kind} does not say which keypoints there are, and in which order: --skeleton FILE does (coco17, or a "
            "YAML file such as configs/skeletons/body14.yaml)"
        )
    return skeleton


def common_root(source: Path, images: Path | None) -> Path:
    """The folder of the pictures: the one that was named, else the one that the annotations are in."""
    return images if images is not None else source if source.is_dir() else source.parent
