"""Annotations as the programs of others write them, of one person with five keypoints, and what they all mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from mspose.convert_data.command import main

NAMES = ["nose", "left_hand", "right_hand", "left_foot", "right_foot"]
SKELETON = {
    "name": "figure5",
    "keypoints": NAMES,
    "limbs": [["nose", "left_hand"], ["nose", "right_foot"]],
    "flip_pairs": [["left_hand", "right_hand"], ["left_foot", "right_foot"]],
    "sigmas": [0.05] * 5,
}
SIZE = 200, 100  # of the picture
BOX = [20.0, 10.0, 80.0, 70.0]
# The right hand is hidden, the left foot not labelled.
KEYPOINTS = [[50.0, 20.0, 2], [30.0, 40.0, 2], [80.0, 45.5, 1], [0, 0, 0], [70.0, 75.0, 2]]


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    return path


def skeleton_file(folder: Path) -> str:
    path = folder / "skeleton.yaml"
    path.write_text(yaml.safe_dump(SKELETON))
    return str(path)


def shape(kind: str, label: str, points: list, group: object = 1, **flags: bool) -> dict[str, Any]:
    return {
        "label": label,
        "points": points,
        "group_id": group,
        "description": "",
        "shape_type": kind,
        "flags": flags,
        "mask": None,
    }


def person_shapes(group: object = 1) -> list[dict[str, Any]]:
    x, y, width, height = BOX
    # From the lower right corner: a rectangle may be drawn from any.
    shapes = [shape("rectangle", "person", [[x + width, y + height], [x, y]], group)]
    for name, (px, py, seen) in zip(NAMES, KEYPOINTS):
        if seen:
            shapes.append(shape("point", name, [[px, py]], group, **({"hidden": True} if seen == 1 else {})))
    return shapes


def labelme_file(folder: Path, shapes: list[dict[str, Any]], name: str = "a.jpg", **changes: Any) -> Path:
    if not (folder / name).exists():
        picture(folder / name)
    content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": name, "imageData": None}
    path = (folder / name).with_suffix(".json")
    path.write_text(json.dumps({**content, "imageHeight": SIZE[1], "imageWidth": SIZE[0], **changes}))
    return path


def cvat_file(folder: Path, inner: str, name: str = "a.jpg", edges: bool = True) -> Path:
    """A file of CVAT for images whose only picture has these elements."""
    picture(folder / name)
    svg = "".join(
        f'&lt;circle r="1" cx="1" cy="1" data-type="element node" data-element-id="{i}" data-node-id="{i}" '
        f'data-label-name="{label}"&gt;&lt;/circle&gt;'
        for i, label in enumerate(NAMES, start=1)
    )
    line = '&lt;line x1="1" data-type="edge" data-node-from="1" data-node-to="2"&gt;&lt;/line&gt;' * edges
    labels = "".join(
        f"<label><name>{label}</name><color>#fff</color><type>points</type><attributes></attributes>"
        "<parent>person</parent></label>"
        for label in NAMES
    )
    path = folder / "annotations.xml"
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><job><labels>'
        f"<label><name>person</name><type>skeleton</type><attributes></attributes><svg>{line}{svg}</svg></label>{labels}"
        f'</labels></job></meta><image id="0" name="{name}" width="{SIZE[0]}" height="{SIZE[1]}">{inner}</image>'
        "</annotations>"
    )
    return path


def cvat_skeleton(group: str = ' group_id="3"') -> str:
    points = "".join(
        f'<points label="{name}" source="manual" outside="{int(not seen)}" occluded="{int(seen == 1)}" '
        f'points="{x:.2f},{y:.2f}"></points>'
        for name, (x, y, seen) in zip(NAMES, KEYPOINTS)
    )
    return f'<skeleton label="person" source="manual" z_order="0"{group}>{points}</skeleton>'


def cvat_box(group: str = ' group_id="3"', label: str = "person") -> str:
    x, y, width, height = BOX
    return (
        f'<box label="{label}" source="manual" occluded="0" xtl="{x}" ytl="{y}" xbr="{x + width}" '
        f'ybr="{y + height}" z_order="0"{group}></box>'
    )


def yolo_line(dimensions: int = 3, number: int = 0) -> str:
    x, y, width, height = BOX
    values = [(x + width / 2) / SIZE[0], (y + height / 2) / SIZE[1], width / SIZE[0], height / SIZE[1]]
    words = [str(number), *(f"{value:.6f}" for value in values)]
    for px, py, seen in KEYPOINTS:
        words += [f"{px / SIZE[0]:.6f}", f"{py / SIZE[1]:.6f}", str(seen)][:dimensions]
    return " ".join(words) + "\n"


def yolo_files(folder: Path, lines: str | None, **changes: Any) -> Path:
    picture(folder / "images" / "train" / "a.jpg")
    if lines is not None:
        (folder / "labels" / "train").mkdir(parents=True)
        (folder / "labels" / "train" / "a.txt").write_text(lines)
    content = {"path": "../datasets/mine", "train": "images/train", "kpt_shape": [5, 3], "names": {0: "person"}}
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump({**content, "flip_idx": [0, 2, 1, 4, 3], **changes}))
    return path


def converted(source: Path, folder: Path, *options: str, code: int = 0) -> dict[str, Any]:
    """The COCO file that a source becomes."""
    output = folder / "out" / "coco.json"
    assert main([str(source), "--output", str(output), *options]) == code
    return json.loads(output.read_text())


def keypoints(person: dict[str, Any]) -> list[list[float]]:
    return np.reshape(person["keypoints"], (-1, 3)).tolist()
