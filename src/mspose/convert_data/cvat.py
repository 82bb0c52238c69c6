"""CVAT for images 1.1: one XML file. (CVAT's COCO export is read as any other COCO file.)

A person is a skeleton; a rectangle or polygon of the same group_id is its box and outline. Points and rectangles that
are not of a skeleton are put together as labelme's are. `outside` keypoints are not labelled, `occluded` ones hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree

from mspose.convert_data.dataset import (
    Dataset,
    Losses,
    named_skeleton,
    need_skeleton,
    picture_size,
    points,
    relative_name,
)
from mspose.convert_data.shapes import BOX, POINT, POLYGON, Picture, Shape, assemble
from mspose.errors import PoseError, one_line
from mspose.files import write_text
from mspose.skeleton import Skeleton

KIND = "CVAT's file"
BEGINNING = "<?xml version='1.0' encoding='utf-8'?>\n<!-- written by mspose convert-data -->\n"


def read(path: Path, skeleton: Skeleton | None, wanted: Sequence[str], losses: Losses) -> Dataset:
    """The people of a file "CVAT for images 1.1".

    Args:
        skeleton: by default the one that the file describes.
        wanted: categories; empty: those of the skeletons.

    Raises:
        UsageError: the file describes no skeleton or several, and none is given.
        PoseError: the file is malformed, has a DTD, or is of a video.
    """
    root = parse(path)
    if root.tag != "annotations":
        raise PoseError(f"not a file of CVAT, whose outermost element is annotations, not {one_line(root.tag)}: {path}")
    if root.find("track") is not None:
        raise PoseError(f"{path} is CVAT for video: export the task as 'CVAT for images 1.1' or 'COCO Keypoints 1.0'")
    skeleton = skeleton or need_skeleton(_described(root, wanted, path), KIND)
    pictures = []
    for element in root.iter("image"):
        name = relative_name(element.get("name"), str(path))
        size = picture_size(element.get("width"), element.get("height"), f"{path}: {one_line(name, 80)}")
        picture = Picture(name, size, f"{name} of {path}")
        for number, shape in enumerate(element):
            picture.shapes += _shapes(shape, number, picture.where, losses)
        pictures.append(picture)
    return assemble(pictures, skeleton, wanted, losses)


def parse(path: Path) -> ElementTree.Element:
    """The outermost element of an XML file. One with a DTD, which may make much of little, is refused.

    Raises:
        PoseError: it cannot be read, or is not XML in UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise PoseError(f"annotation file not found: {path}") from error
    except OSError as error:
        raise PoseError(f"annotation file cannot be read: {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PoseError(f"annotation file is not text in UTF-8, as CVAT writes it: {path}") from error
    # Looked for in the text, not by the parser, which would expand what the DTD says before we hear of it.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise PoseError(
            f"annotation file has a DTD (<!DOCTYPE …>), which CVAT does not write and which is not read: {path}"
        )
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise PoseError(f"annotation file is not valid XML (cut short?): {path}: {one_line(error)}") from error


def _described(root: ElementTree.Element, wanted: Sequence[str], path: Path) -> Skeleton | None:
    """The skeleton of the labels of a file; None where there are none, or different ones."""
    found: list[Skeleton] = []
    labels = [label for labels in root.iter("labels") for label in labels.iter("label")]
    for label in labels:
        name = label.findtext("name", "")
        if label.findtext("type") == "skeleton" and (not wanted or name in wanted):
            names = [each.findtext("name", "") for each in labels if each.findtext("parent") == name]
            found.append(named_skeleton(names, _edges(label, names), f"{path}: label {one_line(name, 40)!r}"))
    return found[0] if len({skeleton.keypoints for skeleton in found}) == 1 else None


def _edges(label: ElementTree.Element, names: list[str]) -> list[tuple[int, int]]:
    """Limbs as the SVG drawing of a skeleton has them; none where it cannot be read: they are drawn only."""
    try:
        drawing = ElementTree.fromstring(f"<svg>{label.findtext('svg', '')}</svg>")
    except ElementTree.ParseError:
        return []
    nodes = {e.get("data-node-id"): e.get("data-label-name", "") for e in drawing.iter() if e.get("data-node-id")}
    pairs = [
        (nodes.get(e.get("data-node-from"), ""), nodes.get(e.get("data-node-to"), ""))
        for e in drawing.iter()
        if e.get("data-type") == "edge"
    ]
    return [(names.index(a), names.index(b)) for a, b in pairs if a in names and b in names]


def _shapes(element: ElementTree.Element, number: int, where: str, losses: Losses) -> list[Shape]:
    """The shapes of an element; what is left out is counted."""
    kind, label, occluded = element.tag, element.get("label", ""), element.get("occluded") == "1"
    # Groups of a file are numbers; a skeleton of none is a person by itself.
    group = element.get("group_id")
    here = f"{where}: {kind} {one_line(label, 40)!r}"
    if element.find("attribute") is not None:
        losses.left_out(f"attributes of {one_line(kind, 20)} {one_line(label, 40)!r}", where)
    if kind == "skeleton":
        own = group if group is not None else f"skeleton {number}"
        return [
            Shape(POINT, point.get("label", ""), _points(point, here), own, point.get("occluded") == "1")
            for point in element.iter("points")
            if point.get("outside") != "1"
        ]
    if kind == "box" and not element.get("rotation", "").strip("0."):
        corners = [[element.get("xtl"), element.get("ytl")], [element.get("xbr"), element.get("ybr")]]
        return [Shape(BOX, label, _pairs(corners, here), group)]
    found = _points(element, here) if kind in ("points", "polygon") else []
    if kind == "points" and len(found) == 1:
        return [Shape(POINT, label, found, group, occluded)]
    if kind == "polygon" and len(found) >= 3:
        return [Shape(POLYGON, label, found, group)]
    odd = f" with {len(found)} points" if found else " that are turned" if kind == "box" else ""
    losses.left_out(f"shapes of the kind {one_line(kind, 20)!r}{odd}", where)
    return []


def _points(element: ElementTree.Element, here: str) -> list[tuple[float, float]]:
    return _pairs([pair.split(",") for pair in element.get("points", "").split(";")], here)


def _pairs(texts: Sequence[Sequence[str | None]], here: str) -> list[tuple[float, float]]:
    try:
        numbers = [[float(value or "none") for value in pair] for pair in texts]
    except ValueError as error:
        raise PoseError(f"{here}: points are numbers x,y;x,y, not {one_line(repr(texts), 60)}") from error
    return points(numbers, here)


def is_ours(path: Path) -> bool:
    """Whether a file was written here."""
    try:
        with path.open("rb") as file:
            return file.read(len(BEGINNING)) == BEGINNING.encode()
    except OSError:
        return False


def write(path: Path, data: Dataset, losses: Losses) -> None:
    """Write a file "CVAT for images 1.1": a skeleton a person, and their box and polygons in the same group.

    CVAT takes it into a task that has the skeleton of the same names, and another label of the category for the rest.
    """
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    lengths = sum(isinstance(value, dict) for value in data.segmentations)
    losses.left_out("segmentations as run lengths", "the annotations", lengths)
    losses.left_out("crowds, which CVAT does not have", "the annotations", int(data.crowds.sum()))
    columns = zip(data.image_ids.tolist(), data.files, data.sizes.tolist(), data.of_pictures())
    for number, name, (width, height), rows in columns:
        element = ElementTree.SubElement(root, "image", id=str(number), name=name, width=str(width), height=str(height))
        for group, row in enumerate(rows[~data.crowds[rows]].tolist(), start=1):
            _add_person(element, data, row, str(group))
    ElementTree.indent(root)
    write_text(path, BEGINNING + ElementTree.tostring(root, encoding="unicode"))


def _add_person(image: ElementTree.Element, data: Dataset, row: int, group: str) -> None:
    category = data.categories[data.category_index[row]]
    common = {"label": category, "source": "manual", "z_order": "0", "group_id": group}
    x, y, width, height = data.boxes[row].tolist()
    corners = {"xtl": x, "ytl": y, "xbr": x + width, "ybr": y + height}
    ElementTree.SubElement(
        image, "box", {**common, "occluded": "0", **{key: f"{value:.3f}" for key, value in corners.items()}}
    )
    polygons = data.segmentations[row]
    for polygon in polygons if isinstance(polygons, list) else ():
        points = _text(zip(polygon[::2], polygon[1::2]))
        if len(polygon) >= 6:
            ElementTree.SubElement(image, "polygon", {**common, "occluded": "0", "points": points})
    if not data.keypoints[row, :, 2].any():
        return
    skeleton = ElementTree.SubElement(image, "skeleton", common)
    for label, (px, py, seen) in zip(data.skeleton.keypoints, data.keypoints[row].tolist()):
        state = {"outside": str(int(seen == 0)), "occluded": str(int(seen == 1))}
        ElementTree.SubElement(
            skeleton, "points", {"label": label, "source": "manual", **state, "points": _text([(px, py)])}
        )


def _text(pairs: Iterable[tuple[float, float]]) -> str:
    return ";".join(f"{x:.3f},{y:.3f}" for x, y in pairs)
