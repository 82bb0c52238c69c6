"""Whether a folder holds COCO 2017 as the configuration files expect it.

ROOT/train2017/000000000009.jpg …
ROOT/val2017/000000000139.jpg …
ROOT/annotations/person_keypoints_{train,val}2017.json
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mspose.errors import PoseError
from mspose.files import read_json
from mspose.images import is_truncated_jpeg

SPLITS = ("val2017", "train2017")
SIGNATURES = (b"\xff\xd8", b"\x89P")  # JPEG; PNG, which some files named .jpg are
SUFFIXES = (".jpg", ".jpeg", ".png")


def check(root: str | Path, parts: Sequence[str] = (*SPLITS, "annotations")) -> list[str]:
    """Examine the named parts of a dataset folder.

    Looked for: folders that are absent, elsewhere or one level too deep, annotation files that are absent, damaged or
    of another kind, pictures that the annotations list and the folder lacks, copies, and pictures that are empty or
    cut short (by their first and last bytes; they are not decoded).

    Returns:
        One line a problem, none for a sound folder. Pictures are compared with annotations wherever both are there;
        that the annotations themselves are missing is said only if they are among `parts`.
    """
    root = Path(root)
    if not root.is_dir():
        return [f"{root}: no such folder"]
    problems = []
    for split in SPLITS:
        listed: set[str] = set()
        try:
            listed = _listed_pictures(root, split)
        except PoseError as error:
            if "annotations" in parts:
                problems.append(str(error))
        if split in parts:
            problems += _check_pictures(root, split, listed)
    return problems


def _listed_pictures(root: Path, split: str) -> set[str]:
    """File names that the split's annotation file lists."""
    name = f"person_keypoints_{split}.json"
    path = root / "annotations" / name
    if not path.is_file():
        for folder in ("annotations/annotations", "annotations_trainval2017/annotations", "."):
            if (root / folder / name).is_file():
                raise PoseError(f"annotations: {name} lies in {root / folder}: move it to {path.parent}")
        raise PoseError(f"annotations: {name} is missing{_remedy(root, 'annotations', 'annotations_trainval2017.zip')}")
    content = read_json(path, "annotations")
    keys = ("images", "annotations", "categories")
    found = [content.get(key) for key in keys] if isinstance(content, dict) else []
    lists = [entries for entries in found if isinstance(entries, list)]
    if len(lists) != len(keys):
        raise PoseError(f"annotations: {name} is not a COCO annotation file (no images, annotations and categories)")
    images, _, categories = lists
    if not any(isinstance(category, dict) and category.get("keypoints") for category in categories):
        raise PoseError(f"annotations: {name} describes no keypoints; is it instances_{split}.json under another name?")
    try:
        return {Path(image["file_name"]).name for image in images}
    except (KeyError, TypeError) as error:
        raise PoseError(f"annotations: {name} has pictures without file_name") from error


def _check_pictures(root: Path, split: str, listed: Collection[str]) -> list[str]:
    folder = root / split
    sizes, inner = _pictures(folder), _pictures(folder / split)
    if not sizes:
        if inner:
            return [f"{split}: the pictures lie one folder too deep, in {folder / split}: move them up to {folder}"]
        if _pictures(root / "images" / split):
            return [f"{split}: the pictures lie in {root / 'images' / split}: move that folder to {folder}"]
        state = "holds no pictures" if folder.is_dir() else "the folder is missing"
        return [f"{split}: {state}{_remedy(root, split, f'{split}.zip')}"]
    problems = []
    if inner:
        problems.append(f"{split}: unzipped twice, {len(inner):,} pictures lie in {folder / split} also: remove that")
    copies = [name for name in sizes if re.search(r"( \(\d+\)| copy| - Copy)\.\w+$", name) and name not in listed]
    if copies:
        problems.append(f"{split}: copies of pictures (unzipped twice?): {_some(copies)}; remove them")
    missing = [name for name in listed if name not in sizes]
    if listed and len(missing) == len(listed):
        problems.append(
            f"{split}: none of the {len(listed):,} pictures that person_keypoints_{split}.json lists are there "
            f"(such as {min(missing)}): the file and the folder do not belong together"
        )
    elif missing:
        problems.append(f"{split}: missing pictures of {len(listed):,}: {_some(missing)}")
    empty = [name for name, size in sizes.items() if size == 0]
    if empty:
        problems.append(f"{split}: empty pictures: {_some(empty)}; delete them and download {split} again")
    full = tqdm((name for name in sizes if sizes[name]), f"reading {split}", len(sizes) - len(empty), disable=None)
    damaged = [name for name in full if not _is_whole(folder / name)]
    if damaged:
        problems.append(f"{split}: cut short or not pictures: {_some(damaged)}; delete them and download {split} again")
    return problems


def _pictures(folder: Path) -> dict[str, int]:
    """Names and bytes of the pictures directly in a folder; none if there is no such folder."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        # macOS leaves ._name files beside pictures on foreign disks.
        return {
            e.name: e.stat().st_size
            for e in entries
            if e.name.lower().endswith(SUFFIXES) and not e.name.startswith(".") and e.is_file()
        }


def _is_whole(path: Path) -> bool:
    """Whether a picture begins and ends as it should; only one with an unusual end is read in full."""
    try:
        with path.open("rb") as file:
            start = file.read(2)
            if start not in SIGNATURES:
                return False
            file.seek(-2, os.SEEK_END)
            if start == SIGNATURES[1] or file.read(2) == b"\xff\xd9":
                return True
        data = np.fromfile(path, np.uint8)
    except OSError:
        return False
    return not is_truncated_jpeg(data)


def _some(names: Sequence[str]) -> str:
    """The count and the first three names."""
    first = ", ".join(sorted(names)[:3])
    return f"{len(names):,} ({first}{', …' if len(names) > 3 else ''})"


def _remedy(root: Path, part: str, archive: str) -> str:
    command = f"mspose download {root} --parts {part}"
    return f"; {archive} is there, unzip it: {command}" if (root / archive).is_file() else f"; fetch it: {command}"
