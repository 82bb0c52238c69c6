"""COCO keypoints: what everything here is converted to, and from. CVAT and others export it too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mspose.convert_data.dataset import Dataset, Losses, named_skeleton, need_skeleton, relative_name
from mspose.data.check import Report
from mspose.data.coco import load_annotations, rows_of
from mspose.errors import PoseError, UsageError, one_line
from mspose.files import read_json, write_json
from mspose.skeleton import Skeleton

MARK = "mspose convert-data"
BEGINNING = b'{"info": {"contributor": "mspose convert-data"'


def is_ours(path: Path) -> bool:
    """Whether a file was written here."""
    try:
        with path.open("rb") as file:
            return file.read(len(BEGINNING)) == BEGINNING
    except OSError:
        return False


def read(path: Path, skeleton: Skeleton | None, wanted: Sequence[str], losses: Losses) -> Dataset:
    """The people of the categories with keypoints.

    Args:
        skeleton: keypoints to take, found by their names; by default all that the file has, in its order.
        wanted: names or ids of categories; empty: all that have the same keypoints.

    Raises:
        UsageError: categories differ in their keypoints, have none, or lack one of the skeleton's.
        PoseError: the file is malformed.
    """
    content = read_json(path, "annotation file")
    own, chosen = _described(content, skeleton, wanted, path)
    # All that can be wrong with it is found by the one reader.
    report = Report(path)
    for category in chosen:
        annotations = load_annotations(path, None, own, category=[str(category["id"])], report=report)
        report.raise_errors()
        if not annotations.is_annotated:
            raise PoseError(f"annotation file has no annotations (a test set): {path}")
    numbers = {category["id"]: row for row, category in enumerate(chosen)}
    entries = [entry for entry in content["annotations"] if entry["category_id"] in numbers]
    losses.left_out("annotations of other categories (--category)", path, len(content["annotations"]) - len(entries))
    blank = [0] * (3 * own.num_keypoints)
    keypoints = np.array([entry.get("keypoints") or blank for entry in entries], np.float64)
    ids = np.array([image["id"] for image in content["images"]], np.int64)
    sizes = np.array([(image["width"], image["height"]) for image in content["images"]], np.int64)
    rows, _ = rows_of(np.array([entry["image_id"] for entry in entries], np.int64), ids)
    return Dataset(
        skeleton=skeleton or own,
        categories=tuple(map(_name, chosen)),
        files=[relative_name(image["file_name"], str(path)) for image in content["images"]],
        sizes=sizes,
        image_ids=ids,
        image_index=rows,
        category_index=np.array([numbers[entry["category_id"]] for entry in entries], np.int64),
        boxes=np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4),
        keypoints=_taken(keypoints.reshape(len(entries), own.num_keypoints, 3), own, skeleton or own, losses, path),
        crowds=np.array([bool(entry.get("iscrowd")) for entry in entries], bool),
        areas=np.array([entry.get("area") or 0 for entry in entries], np.float64),
        segmentations=[entry.get("segmentation") for entry in entries],
    )


def describe(path: Path, skeleton: Skeleton | None, wanted: Sequence[str]) -> tuple[Skeleton, list[str]]:
    """The keypoints that a file has, all of them, and the ids of the categories that `read` takes."""
    own, chosen = _described(read_json(path, "annotation file"), skeleton, wanted, path)
    return own, [str(category["id"]) for category in chosen]


def _described(
    content: Any, skeleton: Skeleton | None, wanted: Sequence[str], path: Path
) -> tuple[Skeleton, list[dict]]:
    chosen = _categories(content, wanted, path)
    return _skeleton(chosen, skeleton, path), chosen


def _categories(content: Any, wanted: Sequence[str], path: Path) -> list[dict]:
    """The wanted categories, else those with keypoints, else the only one."""
    entries = content.get("categories") if isinstance(content, dict) else None
    entries = [c for c in entries if isinstance(c, dict) and isinstance(c.get("id"), int | str)] if entries else []
    if not entries:
        raise PoseError(f"annotation file has no categories (not COCO format?): {path}")
    listed = ", ".join(f"{_name(c)} ({one_line(c['id'], 20)})" for c in entries[:10])
    unknown = [wish for wish in wanted if wish not in [text for c in entries for text in (_name(c), str(c["id"]))]]
    if unknown:
        raise UsageError(f"--category: there is no {unknown[0]!r}, but {listed}: {path}")
    chosen = [c for c in entries if _name(c) in wanted or str(c["id"]) in wanted] if wanted else entries
    chosen = [c for c in chosen if c.get("keypoints")] or chosen
    if any(c.get("keypoints") != chosen[0].get("keypoints") for c in chosen):
        raise UsageError(f"categories have different keypoints: choose by --category among {listed}: {path}")
    return chosen


def _skeleton(chosen: list[dict], skeleton: Skeleton | None, path: Path) -> Skeleton:
    """The keypoints as the file has them."""
    names = chosen[0].get("keypoints")
    if not names:
        return need_skeleton(skeleton, "the annotation file")
    try:
        limbs = [(a - 1, b - 1) for a, b in chosen[0].get("skeleton") or ()]
    except (TypeError, ValueError):
        limbs = []  # limbs are drawn only
    return named_skeleton(names, limbs, f"{path}: category {_name(chosen[0])!r}")


def _taken(keypoints: np.ndarray, own: Skeleton, wanted: Skeleton, losses: Losses, path: Path) -> np.ndarray:
    """The wanted keypoints (N, J, 3) of those of the file (N, K, 3), with visibilities of 0, 1 and 2."""
    missing = [name for name in wanted.keypoints if name not in own.keypoints]
    if missing:
        raise UsageError(
            f"the skeleton {wanted.name!r} has {missing[0]!r}, the annotations only "
            f"{one_line(', '.join(own.keypoints), 200)}: {path}"
        )
    labelled = keypoints[..., 2] > 0
    others = [column for column, name in enumerate(own.keypoints) if name not in wanted.keypoints]
    named = ", ".join(own.keypoints[column] for column in others)
    losses.left_out(f"keypoints that the skeleton lacks ({named})", path, int(labelled[:, others].sum()))
    keypoints = keypoints[:, [own.keypoints.index(name) for name in wanted.keypoints]]
    odd = ~np.isin(keypoints[..., 2], (0, 1, 2))
    losses.note("visibilities are not 0, 1 or 2: above 0 they count as 2", path, int(odd.sum()))
    seen = np.where(odd, 2.0 * (keypoints[..., 2] > 0), keypoints[..., 2])
    return np.concatenate([keypoints[..., :2] * (seen > 0)[..., None], seen[..., None]], axis=2)


def _name(category: dict) -> str:
    return one_line(category.get("name") or category["id"], 60)


def write(path: Path, data: Dataset, source: str) -> None:
    """Write a COCO keypoint file; people whose area is not known have none.

    Args:
        source: what it was converted from.
    """
    limbs = [[a + 1, b + 1] for a, b in data.skeleton.limbs]
    keypoints = data.keypoints.round(3)
    seen = (keypoints[..., 2] > 0).sum(axis=1).tolist()
    columns = zip(
        data.image_ids[data.image_index].tolist(),
        (data.category_index + 1).tolist(),
        keypoints.reshape(len(data), 3 * data.skeleton.num_keypoints).tolist(),
        seen,
        data.boxes.round(3).tolist(),
        data.crowds.astype(int).tolist(),
        data.segmentations,
    )
    names = ("image_id", "category_id", "keypoints", "num_keypoints", "bbox", "iscrowd", "segmentation")
    people = [{"id": number, **dict(zip(names, values))} for number, values in enumerate(columns, start=1)]
    for person, area in zip(people, data.areas.tolist()):
        person["segmentation"] = person["segmentation"] or []
        if area:
            person["area"] = area
    images = [
        {"id": number, "file_name": name, "width": width, "height": height}
        for number, name, (width, height) in zip(data.image_ids.tolist(), data.files, data.sizes.tolist())
    ]
    categories = [
        {"supercategory": name, "id": number, "name": name, "keypoints": data.skeleton.keypoints, "skeleton": limbs}
        for number, name in enumerate(data.categories, start=1)
    ]
    info = {"contributor": MARK, "description": f"converted from {source}"}
    write_json(path, {"info": info, "images": images, "annotations": people, "categories": categories})
