"""YOLO-pose: data.yaml, and a text file a picture with a line a person in fractions of the picture.

    class  centre x  centre y  width  height  x y visibility  x y visibility  …

data.yaml has `train`, `val`, `test` (folders of pictures, or lists of them), `kpt_shape: [J, 2 or 3]`, `flip_idx`,
`names` of the classes and maybe `kpt_names`. The labels of images/train/a.jpg are in labels/train/a.txt.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from mspose.convert_data.dataset import Dataset, Losses, named_skeleton, need_skeleton, relative_name
from mspose.errors import PoseError, UsageError, one_line
from mspose.files import parse_yaml, write_text
from mspose.images import read_image
from mspose.runtime.read_ahead import read_ahead, worker_threads
from mspose.skeleton import Skeleton

SPLITS = ("train", "val", "test")
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
MARK = "# written by mspose convert-data\n"
# Fractions of the picture: more than this is pixels.
LARGEST = 2.0


def read(
    path: Path, split: str, skeleton: Skeleton | None, wanted: Sequence[str], losses: Losses
) -> tuple[Dataset, Path]:
    """The people of a split, and the folder that the names of the pictures start from.

    Args:
        path: data.yaml.
        split: train, val or test; empty: the only one that there is.
        skeleton: by default COCO's, or that of `kpt_names`.
        wanted: names of classes; empty: all.

    Raises:
        UsageError: the split is not there or not told, or the keypoints have no names.
        PoseError: a file is malformed, or a path leads out of the folder of data.yaml.
    """
    content = _yaml(path)
    skeleton, dimensions = _keypoints(content, skeleton, path, losses)
    classes = _classes(content.get("names"), path)
    files, root = _files(content, _split(content, split, path), path)
    labels = [_label_file(file) for file in files]
    _count_orphans(labels, losses)
    sizes = np.array(list(read_ahead(_size, files, worker_threads(0))), np.int64).reshape(-1, 2)
    table, rows = _table(labels, skeleton.num_keypoints, dimensions)
    data = _people(table, rows, sizes, files, root, dimensions, skeleton, classes, losses)
    return _of_classes(data, wanted, losses, path), root


def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = parse_yaml(path.read_text(encoding="utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise PoseError(f"data.yaml is not text in UTF-8: {path}") from error
    except OSError as error:
        raise PoseError(f"data.yaml cannot be read: {path}: {error.strerror}") from error
    if not isinstance(content, dict) or "kpt_shape" not in content:
        raise PoseError(f"not the data.yaml of a YOLO-pose data set, which has kpt_shape: {path}")
    return content


def _keypoints(content: dict[str, Any], skeleton: Skeleton | None, path: Path, losses: Losses) -> tuple[Skeleton, int]:
    """The skeleton, and how many numbers a keypoint has."""
    shape = content["kpt_shape"]
    if not isinstance(shape, list) or [type(v) for v in shape] != [int, int] or shape[0] < 1 or shape[1] not in (2, 3):
        raise PoseError(f"kpt_shape is [keypoints, 2 or 3], not {one_line(shape, 40)}: {path}")
    names = content.get("kpt_names")
    names = next(iter(names.values()), None) if isinstance(names, dict) else names  # one list a class
    if skeleton is None and names:
        skeleton = named_skeleton(names, (), f"{path}: kpt_names")
    skeleton = need_skeleton(skeleton, "data.yaml")
    if shape[0] != skeleton.num_keypoints:
        raise PoseError(
            f"kpt_shape has {one_line(shape[0], 20)} keypoints, the skeleton {skeleton.name!r} "
            f"{skeleton.num_keypoints} (--skeleton): {path}"
        )
    flips = content.get("flip_idx")
    if flips is not None and skeleton.flip_pairs and flips != skeleton.flip_index.tolist():
        losses.note(
            "flip_idx exchanges other keypoints than the flip_pairs of the skeleton: is it the right one?", path
        )
    return skeleton, shape[1]


def _classes(names: object, path: Path) -> tuple[str, ...]:
    """Names of classes, by number."""
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise PoseError(f"names are those of classes 0, 1, …, not {one_line(repr(names), 60)}: {path}")
    return tuple(names)


def _split(content: dict[str, Any], split: str, path: Path) -> str:
    there = [name for name in SPLITS if content.get(name)]
    if split in there or (not split and len(there) == 1):
        return split or there[0]
    has = f"has {', '.join(there)}" if there else f"has none of {', '.join(SPLITS)}"
    raise UsageError(
        f"{path} {has}: --split chooses one, not {split!r}" if split else f"{path} {has}: choose by --split"
    )


def _files(content: dict[str, Any], split: str, path: Path) -> tuple[list[Path], Path]:
    """The pictures of a split, and the folder that all are in."""
    value, key = content[split], f"{path}: {split}"
    places = [_place(content, part, key, path) for part in (value if isinstance(value, list) else [value])]
    files: list[Path] = []
    for place in places:
        if place.is_dir():
            files += sorted(file for file in place.rglob("*") if file.suffix.lower() in PICTURES and file.is_file())
        else:
            lines = place.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
            files += [_place(content, line.strip(), f"{key}: {place}", path) for line in lines if line.strip()]
    if not files:
        raise PoseError(f"{key}: no pictures ({', '.join(PICTURES)}) in {', '.join(map(str, places))}")
    if len(set(files)) < len(files):
        raise PoseError(f"{key}: a picture is listed twice")
    only = len(places) == 1 and places[0].is_dir()
    return files, places[0] if only else path.parent.absolute()


def _place(content: dict[str, Any], name: object, key: str, path: Path) -> Path:
    """A file or folder within the folder of data.yaml, wherever the data set was when that was written.

    `path` in data.yaml is where it was on somebody's machine, and Roboflow begins folders with ../, one too many.
    """
    home = path.parent.absolute()
    base = content.get("path")
    if not isinstance(name, str) or not name or "\0" in name:
        raise PoseError(f"{key} is the path of a folder or file, not {one_line(repr(name), 40)}")
    choices = [home / name, home / name.removeprefix("../").removeprefix("./")]
    if isinstance(base, str) and "\0" not in base:
        choices.insert(0, home / base / name)
    for choice in choices:
        within = _within(choice, home)
        if within and (home / within).exists():
            return home / within
    raise PoseError(f"{key}: {one_line(name, 80)} is not there, or not within {home}, the folder of data.yaml")


def _within(place: Path, home: Path) -> str:
    """A path relative to a folder; empty where it leads out of it."""
    relative = os.path.relpath(os.path.normpath(place), home)
    return "" if PurePosixPath(relative).parts[:1] == ("..",) else relative


def _label_file(picture: Path) -> Path:
    """Where the labels of a picture are: the last folder called images is called labels."""
    parts = list(picture.parts)
    for at in range(len(parts) - 2, -1, -1):
        if parts[at] == "images":
            parts[at] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _count_orphans(labels: Sequence[Path], losses: Losses) -> None:
    """Count label files without a picture."""
    known = set(labels)
    for folder in dict.fromkeys(path.parent for path in labels):
        orphans = sorted(path for path in folder.glob("*.txt") if path not in known and path.stem != "classes")
        if orphans:
            losses.left_out("label files without a picture", orphans[0], len(orphans))


def _size(path: Path) -> tuple[int, int]:
    """Width and height as YOLO's programs see the picture: turned as its EXIF orientation says."""
    height, width = read_image(path, apply_exif=True).shape[:2]
    return width, height


def _table(labels: Sequence[Path], joints: int, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (N, 5 + joints × dimensions) of all lines of label files, and which file (N,) each is from."""
    columns = 5 + joints * dimensions
    lines: list[list[str]] = []
    rows: list[int] = []
    for row, path in enumerate(labels):
        try:
            found = path.read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            continue  # a picture without people
        except (OSError, UnicodeDecodeError) as error:
            raise PoseError(f"label file cannot be read: {path}: {one_line(error)}") from error
        words = [line.split() for line in found if line.strip()]
        bad = next((number for number, line in enumerate(words, start=1) if len(line) != columns), 0)
        if bad:
            raise PoseError(
                f"{path}: person {bad} has {len(words[bad - 1])} numbers, not {columns}: class, box, and the keypoints "
                "of kpt_shape"
            )
        lines += words
        rows += [row] * len(words)
    try:
        table = np.array(lines, np.float64).reshape(-1, columns)
    except ValueError:
        table = np.full((len(lines), columns), np.nan)
        for number, line in enumerate(lines):
            try:
                table[number] = line
            except ValueError:
                break
    wild = ~(np.abs(table) <= LARGEST)
    wild[:, 0] = ~np.isfinite(table[:, 0])
    if dimensions == 3:
        wild[:, 7::3] = ~np.isfinite(table[:, 7::3])  # visibilities
    if wild.any():
        bad = int(wild.any(axis=1).argmax())
        odd = lines[bad][int(wild[bad].argmax())]
        raise PoseError(
            f"{labels[rows[bad]]}: {one_line(odd, 20)} is no fraction of the picture: boxes and keypoints are numbers "
            "from 0 to 1"
        )
    return table, np.array(rows, np.int64)


def _people(
    table: np.ndarray,
    rows: np.ndarray,
    sizes: np.ndarray,
    files: Sequence[Path],
    root: Path,
    dimensions: int,
    skeleton: Skeleton,
    classes: tuple[str, ...],
    losses: Losses,
) -> Dataset:
    """People of the lines of label files (N, 5 + J × dimensions)."""
    known = np.isin(table[:, 0], np.arange(len(classes)))
    if not known.all():
        bad = int((~known).argmax())
        raise PoseError(f"{_label_file(files[rows[bad]])}: class {table[bad, 0]:g} is none of the {len(classes)} names")
    scale = sizes[rows].astype(np.float64)
    centres, sides = table[:, 1:3] * scale, table[:, 3:5] * scale
    numbers = table[:, 5:].reshape(len(table), skeleton.num_keypoints, dimensions)
    keypoints = np.zeros((len(table), skeleton.num_keypoints, 3))
    keypoints[..., :2] = numbers[..., :2] * scale[:, None]
    if dimensions == 3:
        seen = numbers[..., 2]
        odd = ~np.isin(seen, (0, 1, 2))
        if odd.any():
            example = _label_file(files[rows[int(odd.any(axis=1).argmax())]])
            losses.note("visibilities are not 0, 1 or 2: above 0 they count as 2", example, int(odd.sum()))
        keypoints[..., 2] = np.where(odd, 2.0 * (seen > 0), seen)
    else:
        # Without visibilities, what was not labelled is in the corner, or beyond it.
        keypoints[..., 2] = 2.0 * ((numbers > 0).any(axis=2) & (numbers >= 0).all(axis=2))
        unlabelled = int((keypoints[..., 2] == 0).sum())
        losses.note("keypoints at 0 0 count as not labelled (kpt_shape has no visibility)", "the labels", unlabelled)
    keypoints[keypoints[..., 2] == 0] = 0
    return Dataset(
        skeleton=skeleton,
        categories=classes,
        files=[relative_name(str(file.relative_to(root)), str(file)) for file in files],
        sizes=sizes,
        image_ids=np.arange(1, len(files) + 1),
        image_index=rows,
        category_index=table[:, 0].astype(np.int64),
        boxes=np.concatenate([centres - sides / 2, sides], axis=1),
        keypoints=keypoints,
        crowds=np.zeros(len(table), bool),
        areas=np.zeros(len(table)),
        segmentations=[None] * len(table),
    )


def _of_classes(data: Dataset, wanted: Sequence[str], losses: Losses, path: Path) -> Dataset:
    """The people of the wanted classes."""
    unknown = [name for name in wanted if name not in data.categories]
    if unknown:
        raise UsageError(f"--category: there is no {unknown[0]!r}, but {', '.join(data.categories)}: {path}")
    if not wanted:
        return data
    numbers = np.array([wanted.index(name) if name in wanted else -1 for name in data.categories])[data.category_index]
    keep = numbers >= 0
    losses.left_out("people of other classes (--category)", path, int((~keep).sum()))
    parts = {name: getattr(data, name)[keep] for name in ("image_index", "boxes", "keypoints", "crowds", "areas")}
    return replace(
        data, categories=tuple(wanted), category_index=numbers[keep], segmentations=[None] * int(keep.sum()), **parts
    )


def write_labels(data: Dataset, folder: Path, losses: Losses) -> int:
    """A label file a picture into a folder, empty where nobody is; returns how many.

    Raises:
        PoseError: two pictures would have one file.
    """
    paths = [folder / PurePosixPath(name).with_suffix(".txt") for name in data.files]
    if len({str(path).casefold() for path in paths}) < len(paths):
        raise PoseError("two pictures differ in nothing but their suffix: their labels would be one file")
    scale = data.sizes[data.image_index].astype(np.float64)
    # YOLO's programs refuse what is not within the picture.
    low = np.clip(data.boxes[:, :2], 0, scale)
    high = np.clip(data.boxes[:, :2] + data.boxes[:, 2:], 0, scale)
    keep = ~data.crowds & (high > low).all(axis=1)
    losses.left_out("crowds, which YOLO-pose does not have", "the annotations", int(data.crowds.sum()))
    losses.left_out(
        "people whose box shows nothing of the picture", "the annotations", int((~keep & ~data.crowds).sum())
    )
    outlined = sum(bool(value) for value, kept in zip(data.segmentations, keep.tolist()) if kept)
    losses.left_out("segmentations and their areas, which YOLO-pose does not have", "the annotations", outlined)
    labelled = data.keypoints[..., 2] > 0
    place = data.keypoints[..., :2] / scale[:, None]
    beyond = labelled & ((place < 0) | (place > 1)).any(axis=2)
    losses.left_out("keypoints outside of their picture", "the annotations", int((beyond & keep[:, None]).sum()))
    triplets = np.concatenate([place, data.keypoints[..., 2:]], axis=2) * (labelled & ~beyond)[..., None]
    boxes = np.concatenate([(low + high) / 2 / scale, (high - low) / scale], axis=1)
    template = " ".join(["%d", "%.6f %.6f %.6f %.6f", *["%.6f %.6f %d"] * data.skeleton.num_keypoints]) + "\n"
    table = np.concatenate([data.category_index[:, None], boxes, triplets.reshape(len(data), -1)], axis=1)
    for path, rows in zip(paths, data.of_pictures()):
        write_text(path, "".join(template % tuple(table[row]) for row in rows[keep[rows]].tolist()))
    return len(paths)


def splits_of(path: Path, data: Dataset) -> dict[str, str]:
    """The splits that a data.yaml of ours has already; none where there is no file.

    Raises:
        UsageError: the file is not ours, or of other keypoints or classes.
    """
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    there = parse_yaml(text, str(path)) if text.startswith(MARK) else None
    known = _description(data)
    if not isinstance(there, dict) or {key: there.get(key) for key in known} != known:
        raise UsageError(f"{path} is there already, and not ours or of other keypoints: choose another --output")
    return {name: there[name] for name in SPLITS if name in there}


def write_yaml(path: Path, data: Dataset, splits: dict[str, str]) -> None:
    """Write data.yaml of a data set with these splits, name → folder of pictures."""
    content = {**splits, **_description(data)}
    write_text(path, MARK + yaml.safe_dump(content, sort_keys=False, default_flow_style=None, allow_unicode=True))


def _description(data: Dataset) -> dict[str, Any]:
    names = dict(enumerate(data.categories))
    return {
        "kpt_shape": [data.skeleton.num_keypoints, 3],
        "flip_idx": data.skeleton.flip_index.tolist(),
        "names": names,
        "kpt_names": {number: list(data.skeleton.keypoints) for number in names},
    }
