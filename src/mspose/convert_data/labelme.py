"""labelme: a JSON file a picture, with points, rectangles and polygons.

A person is a rectangle (or polygons) labelled with the category and points labelled with the names of keypoints, all of
one group_id. A keypoint that is hidden has the flag `hidden` (or `occluded`), a crowd the flag `crowd`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mspose.convert_data.dataset import Dataset, Losses, need_skeleton, picture_size, points, relative_name
from mspose.convert_data.shapes import BOX, POINT, POLYGON, Picture, Shape, assemble
from mspose.errors import PoseError, one_line
from mspose.files import read_json, write_json
from mspose.skeleton import Skeleton

HIDDEN, CROWD = "hidden", "crowd"
KNOWN_FLAGS = (HIDDEN, "occluded", CROWD)
# Points of a shape of that kind, at least and at most.
KINDS = {"point": (POINT, 1, 1), "rectangle": (BOX, 2, 2), "polygon": (POLYGON, 3, None)}
VERSION = "5.5.0"  # of labelme, whose form is written


def read(folder: Path, images: Path, skeleton: Skeleton | None, wanted: Sequence[str], losses: Losses) -> Dataset:
    """The people of all labelme files in a folder and the folders in it.

    Args:
        images: folder that the pictures are in.
        wanted: categories; empty: those whose rectangles have keypoints.

    Raises:
        UsageError: no skeleton is given.
        PoseError: a file is malformed, or its picture lies elsewhere.
    """
    skeleton = need_skeleton(skeleton, "labelme")
    pictures = []
    for path in sorted(folder.rglob("*.json")):
        content = read_json(path, "labelme file")
        if isinstance(content, dict) and "shapes" in content and "imagePath" in content:
            pictures.append(_picture(path, content, images, losses))
        else:
            losses.left_out("JSON files that are not labelme's", path)
    if not pictures:
        raise PoseError(f"no labelme file (*.json with shapes and imagePath) in {folder}")
    return assemble(pictures, skeleton, wanted, losses)


def _picture(path: Path, content: dict[str, Any], images: Path, losses: Losses) -> Picture:
    where = str(path)
    size = picture_size(content.get("imageWidth"), content.get("imageHeight"), where)
    shapes = content["shapes"]
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise PoseError(f"{where}: shapes are a list of shapes, not {one_line(repr(shapes), 40)}")
    picture = Picture(_name(path, content["imagePath"], images), size, where)
    for flag, value in (content.get("flags") or {}).items() if isinstance(content.get("flags"), dict) else ():
        if value:
            losses.left_out(f"flags {flag!r} of pictures", where)
    picture.shapes = [shape for entry in shapes if (shape := _shape(entry, where, losses)) is not None]
    return picture


def _name(path: Path, image_path: object, images: Path) -> str:
    """The picture's name below the folder of the pictures: labelme gives its path from the JSON file on."""
    if not isinstance(image_path, str) or not image_path or "\0" in image_path:
        raise PoseError(f"{path}: imagePath is the name of a picture, not {one_line(repr(image_path), 40)}")
    written = PurePosixPath(image_path.replace("\\", "/"))
    beside = os.path.relpath(os.path.normpath(path.absolute().parent / written), images.absolute())
    is_moved = (images / written.name).is_file()  # into the folder of the pictures
    if PurePosixPath(beside).parts[:1] != ("..",) and ((images / beside).is_file() or not is_moved):
        return relative_name(beside, f"{path}: imagePath")
    if is_moved:
        return written.name
    raise PoseError(
        f"{path}: imagePath {one_line(image_path, 80)} is not in {images}, nor a picture of that name: --images DIR "
        "names the folder that all pictures are in"
    )


def _shape(entry: dict[str, Any], where: str, losses: Losses) -> Shape | None:
    """A shape of the file; None for one that is left out, of which a word is said."""
    kind, label, group = entry.get("shape_type", "polygon"), entry.get("label"), entry.get("group_id")
    if not isinstance(label, str) or not label:
        raise PoseError(f"{where}: a shape has the label {one_line(repr(label), 40)}, which is no text")
    if group is not None and (isinstance(group, bool) or not isinstance(group, int | str)):
        raise PoseError(f"{where}: a shape has the group_id {one_line(repr(group), 40)}, which is no number")
    if not isinstance(kind, str) or kind not in KINDS:
        losses.left_out(f"shapes of the kind {one_line(kind, 20)!r}", where)
        return None
    ours, least, most = KINDS[kind]
    found = points(entry.get("points"), f"{where}: a {kind} {one_line(label, 40)!r}")
    if len(found) < least or (most is not None and len(found) > most):
        losses.left_out(f"shapes of the kind {kind!r} with {len(found)} points", where)
        return None
    flags = entry.get("flags") or {}
    on = {flag for flag, value in flags.items() if value} if isinstance(flags, dict) else set()
    for flag in on.difference(KNOWN_FLAGS):
        losses.left_out(f"flags {flag!r} of shapes", where)
    return Shape(ours, label, found, group, bool(on & {HIDDEN, "occluded"}), CROWD in on)


def write(data: Dataset, folder: Path, images: Path | None, losses: Losses) -> int:
    """A JSON file a picture into a folder; returns how many.

    Args:
        images: where the pictures are, for the paths to them; None: beside the files.

    Raises:
        PoseError: two pictures would have one file.
    """
    paths = [folder / PurePosixPath(name).with_suffix(".json") for name in data.files]
    if len({str(path).casefold() for path in paths}) < len(paths):
        raise PoseError("two pictures differ in nothing but their suffix: labelme's files would have one name")
    lengths = sum(isinstance(value, dict) for value in data.segmentations)
    losses.left_out("segmentations as run lengths, which labelme does not have", "the annotations", lengths)
    for path, name, size, rows in zip(paths, data.files, data.sizes.tolist(), data.of_pictures()):
        shapes = [shape for group, row in enumerate(rows.tolist(), start=1) for shape in _shapes(data, row, group)]
        target = path.with_name(Path(name).name) if images is None else images / name
        content = {
            "version": VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": os.path.relpath(target.absolute(), path.parent.absolute()),
            "imageData": None,
            "imageHeight": size[1],
            "imageWidth": size[0],
        }
        write_json(path, content, indent=2)
    return len(paths)


def _shapes(data: Dataset, row: int, group: int) -> list[dict[str, Any]]:
    """The shapes of one person."""
    category = data.categories[data.category_index[row]]
    x, y, width, height = data.boxes[row].round(3).tolist()
    crowd = {CROWD: True} if data.crowds[row] else {}
    shapes = [_entry("rectangle", category, [[x, y], [round(x + width, 3), round(y + height, 3)]], group, crowd)]
    polygons = data.segmentations[row] or [] if not isinstance(data.segmentations[row], dict) else []
    shapes += [
        _entry("polygon", category, np.reshape(polygon, (-1, 2)).tolist(), group, crowd)
        for polygon in polygons
        if len(polygon) >= 6
    ]
    triplets = zip(data.skeleton.keypoints, data.keypoints[row].round(3).tolist())
    shapes += [
        _entry("point", name, [[x, y]], group, {HIDDEN: True} if seen == 1 else {})
        for name, (x, y, seen) in triplets
        if seen
    ]
    return shapes


def _entry(kind: str, label: str, corners: list, group: int, flags: dict[str, bool]) -> dict[str, Any]:
    return {"label": label, "points": corners, "group_id": group, "shape_type": kind, "flags": flags}
