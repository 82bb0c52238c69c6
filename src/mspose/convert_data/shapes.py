"""Loose shapes of a picture, as labelme and CVAT have them, put together into people.

A person is a group of shapes: points labelled with the names of keypoints, and a rectangle or polygons labelled with
the category. Without a group, the shapes of a picture are one person where that is the only way to read them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mspose.convert_data.dataset import Dataset, Losses
from mspose.data.categories import PERSON
from mspose.errors import PoseError
from mspose.skeleton import Skeleton

POINT, BOX, POLYGON = "point", "rectangle", "polygon"
# A box around keypoints is so much longer and wider than they reach, on each side: a head goes on above the eyes.
AROUND = 0.1


@dataclass(frozen=True)
class Shape:
    """One shape.

    Attributes:
        kind: POINT, BOX (points are two opposite corners) or POLYGON.
        label: name of a keypoint, or a category.
        group: what shapes of one person share; None: nothing.
        is_hidden: a keypoint that cannot be seen, but was annotated.
        is_crowd: the rectangle or polygon is around a crowd.
    """

    kind: str
    label: str
    points: list[tuple[float, float]]
    group: Hashable = None
    is_hidden: bool = False
    is_crowd: bool = False


@dataclass
class Picture:
    """A picture, its shapes and where messages say that they are from."""

    name: str
    size: tuple[int, int]
    where: str
    shapes: list[Shape] = field(default_factory=list)


@dataclass(frozen=True)
class _Person:
    picture: int
    category: str | None
    keypoints: np.ndarray
    box: np.ndarray
    polygons: list[list[float]]
    is_crowd: bool


def assemble(pictures: Sequence[Picture], skeleton: Skeleton, wanted: Sequence[str], losses: Losses) -> Dataset:
    """People of pictures.

    Args:
        wanted: categories; without, they are the labels of the rectangles and polygons that share a group with a
            keypoint.
        losses: takes what is left out.

    Raises:
        PoseError: two files are of one picture, or there is no picture.
    """
    if not pictures:
        raise PoseError("there are no pictures in these annotations")
    first: dict[str, str] = {}
    for picture in pictures:
        if first.setdefault(picture.name, picture.where) != picture.where:
            raise PoseError(f"{picture.where} and {first[picture.name]} are both of the picture {picture.name}")
    people = [
        person
        for row, picture in enumerate(pictures)
        for group in _groups(picture, set(skeleton.keypoints), losses)
        if (person := _person(row, picture, group, skeleton, losses)) is not None
    ]
    found = dict.fromkeys(p.category for p in people if p.category and p.keypoints[:, 2].any())
    categories = tuple(wanted or (name for name in found if name)) or (PERSON,)
    kept = []
    for person in people:
        where = pictures[person.picture].where
        if person.category is None and len(categories) > 1:
            losses.left_out("people without a rectangle, which would name their category", where)
        elif person.category is not None and person.category not in categories:
            losses.left_out(f"shapes or people labelled {person.category!r} (--category)", where)
        else:
            kept.append(person)
    count = skeleton.num_keypoints
    return Dataset(
        skeleton=skeleton,
        categories=categories,
        files=[picture.name for picture in pictures],
        sizes=np.array([picture.size for picture in pictures], np.int64),
        image_ids=np.arange(1, len(pictures) + 1),
        image_index=np.array([person.picture for person in kept], np.int64),
        category_index=np.array([categories.index(p.category or categories[0]) for p in kept], np.int64),
        boxes=np.array([person.box for person in kept], np.float64).reshape(-1, 4),
        keypoints=np.array([person.keypoints for person in kept], np.float64).reshape(-1, count, 3),
        crowds=np.array([person.is_crowd for person in kept], bool),
        areas=np.array([sum(map(polygon_area, person.polygons)) for person in kept], np.float64),
        segmentations=[person.polygons for person in kept],
    )


def polygon_area(polygon: Sequence[float]) -> float:
    """The shoelace formula for x, y, x, y, …"""
    x, y = np.array(polygon, np.float64).reshape(-1, 2).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _groups(picture: Picture, names: set[str], losses: Losses) -> list[list[Shape]]:
    """The shapes of each person of a picture."""
    grouped: dict[Hashable, list[Shape]] = {}
    loose: list[Shape] = []
    for shape in picture.shapes:
        if shape.kind == POINT and shape.label not in names:
            losses.left_out(f"points labelled {shape.label!r}, which is no keypoint of the skeleton", picture.where)
        elif shape.group is None:
            loose.append(shape)
        else:
            grouped.setdefault(shape.group, []).append(shape)
    found = [group for group in grouped.values() if not _is_faulty(group, picture, losses)]
    dots = [shape for shape in loose if shape.kind == POINT]
    areas = [shape for shape in loose if shape.kind != POINT]
    if not dots:
        return found + [[shape] for shape in areas]
    labels = {shape.label for shape in dots}
    if len(labels) < len(dots) or len(areas) > 1 or any(s.kind == POINT for group in grouped.values() for s in group):
        what = "points without a group (group_id) that may be of several people"
        losses.left_out(what, picture.where, len(dots))
        return found + [[shape] for shape in areas]
    return [*found, dots + areas]


def _is_faulty(group: list[Shape], picture: Picture, losses: Losses) -> bool:
    """Whether a group cannot be one person; says so."""
    dots = [shape.label for shape in group if shape.kind == POINT]
    boxes = [shape for shape in group if shape.kind == BOX]
    which = f"{picture.where}, group {group[0].group}"
    if len(set(dots)) < len(dots):
        losses.left_out("people, since their group has a keypoint twice", which)
    elif len(boxes) > 1:
        losses.left_out("people, since their group has several rectangles", which)
    else:
        return False
    return True


def _person(row: int, picture: Picture, group: list[Shape], skeleton: Skeleton, losses: Losses) -> _Person | None:
    keypoints = np.zeros((skeleton.num_keypoints, 3))
    for shape in group:
        if shape.kind == POINT:
            keypoints[skeleton.keypoints.index(shape.label)] = *shape.points[0], 1 if shape.is_hidden else 2
    boxes = [shape for shape in group if shape.kind == BOX]
    outlines = [shape for shape in group if shape.kind == POLYGON]
    named = [*boxes, *outlines]
    if boxes:
        box = _around(np.array(boxes[0].points))
    elif outlines:
        box = _around(np.concatenate([shape.points for shape in outlines]))
    else:
        losses.note("people have no rectangle: their box is that of their keypoints and a tenth more", picture.where)
        box = _widened(_around(keypoints[keypoints[:, 2] > 0, :2]), picture.size)
    return _Person(
        picture=row,
        category=named[0].label if named else None,
        keypoints=keypoints,
        box=box,
        polygons=[[value for point in shape.points for value in point] for shape in outlines],
        is_crowd=any(shape.is_crowd for shape in named),
    )


def _around(corners: np.ndarray) -> np.ndarray:
    """The box x, y, width, height around points (P, 2)."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    return np.concatenate([low, high - low])


def _widened(box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    margin = AROUND * box[2:]
    low = np.clip(box[:2] - margin, 0, size)
    high = np.clip(box[:2] + box[2:] + margin, 0, size)
    return np.concatenate([low, high - low])
