"""What `mspose convert-data` does: annotations of labelme, CVAT and YOLO-pose to COCO keypoints, and back.

    mspose convert-data SOURCE --output FILE.json [--images DIR] [--skeleton S] [--category NAME ...] [--split NAME]
    mspose convert-data FILE.json --to yolo|labelme|cvat --output PATH [--images DIR] …

SOURCE says what it is: a folder (labelme), an .xml file (CVAT for images), data.yaml (YOLO-pose) or a .json file (COCO,
also CVAT's export of it). The command ends with what `mspose check-data` says about the COCO file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mspose.convert_data import coco, cvat, labelme, yolo
from mspose.convert_data.dataset import Dataset, Losses, common_root, is_complete
from mspose.data.check_command import check_file
from mspose.errors import PoseError, UsageError
from mspose.files import atomic_folder, find_same, user_path
from mspose.runtime.logs import set_up_logging
from mspose.skeleton import Skeleton, load_skeleton

COCO, LABELME, CVAT, YOLO = "coco", "labelme", "cvat", "yolo"
KINDS = {".json": COCO, ".xml": CVAT, ".yaml": YOLO, ".yml": YOLO}
# Formats that are one file: its suffix, and whether one that is there is of ours.
FILES = {COCO: (".json", coco.is_ours), CVAT: (".xml", cvat.is_ours)}
TITLES = {COCO: "COCO keypoints", LABELME: "labelme", CVAT: "CVAT for images", YOLO: "YOLO-pose"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, 1 where it failed or the result cannot be used, or 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="mspose convert-data",
        description="Convert annotations of labelme, CVAT and YOLO-pose to COCO keypoints, and back.",
    )
    parser.add_argument(
        "source",
        type=user_path,
        metavar="SOURCE",
        help="a folder of labelme's JSON files, an .xml file of CVAT (for images), the data.yaml of a YOLO-pose data "
        "set, or a .json file in COCO's keypoint format",
    )
    parser.add_argument("--to", choices=tuple(TITLES), default=COCO, help="(default: %(default)s)")
    parser.add_argument(
        "--output",
        type=user_path,
        required=True,
        metavar="PATH",
        help="file to write (coco: NAME.json, cvat: NAME.xml), or folder",
    )
    parser.add_argument(
        "--images",
        type=user_path,
        metavar="DIR",
        help="folder of the pictures, which are checked too (labelme: the folder of its files; YOLO-pose knows it)",
    )
    parser.add_argument(
        "--skeleton", default="", help="coco17 or a YAML file (default: what the annotations say, where they do)"
    )
    parser.add_argument("--category", nargs="+", default=[], help="names of the categories to take")
    parser.add_argument("--split", choices=yolo.SPLITS, default="", help="of YOLO-pose: which to read or to write")
    options = parser.parse_args(argv)
    set_up_logging()
    try:
        return _convert(options)
    except PoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _convert(options: argparse.Namespace) -> int:
    source, output, kind = options.source, options.output, source_kind(options.source)
    _check(options, kind)
    losses = Losses()
    data, images = _read(options, kind, losses)
    written = WRITERS[options.to](options, data, losses, kind)
    for line in losses.lines():
        print(line)
    print(f"{output}: {written}")
    if images is not None and kind == YOLO:
        print(f"the names of its pictures start from {images}")
    if not is_complete(data.skeleton):
        print("to train on it, describe the keypoints in a skeleton file (sigmas, flip pairs): docs/own_data.md")
    if options.to == COCO:
        return check_file(output, images, data.skeleton, data.categories)
    own, ids = coco.describe(source, data.skeleton, options.category)
    return check_file(source, images, own, ids)


def source_kind(source: Path) -> str:
    """Which format a source is of.

    Raises:
        UsageError: it is not there, or none of them.
    """
    if source.is_dir():
        return LABELME
    if not source.is_file():
        raise UsageError(f"annotations not found: {source}")
    if source.suffix.lower() not in KINDS:
        raise UsageError(f"{source} is neither a folder (labelme) nor a file {', '.join(KINDS)}")
    return KINDS[source.suffix.lower()]


def _check(options: argparse.Namespace, kind: str) -> None:
    """Refuse what cannot be meant, before anything is read.

    Raises:
        UsageError: an option does not fit, or the output would replace something else than an earlier result.
    """
    output = options.output
    if options.to != COCO and kind != COCO:
        raise UsageError(f"--to {options.to} takes annotations in COCO's format: convert {TITLES[kind]} to coco first")
    if options.split and YOLO not in (kind, options.to):
        raise UsageError("--split is for YOLO-pose")
    if options.images is not None and kind == YOLO:
        raise UsageError("--images: data.yaml says where the pictures of YOLO-pose are")
    if options.images is not None and not options.images.is_dir():
        raise UsageError(f"--images: no such folder: {options.images}")
    if options.to in FILES:
        suffix, is_ours = FILES[options.to]
        if output.suffix.lower() != suffix:
            raise UsageError(f"--output of {TITLES[options.to]} is a file NAME{suffix}, not {output}")
        if find_same([output], [(options.source, "SOURCE")]):
            raise UsageError(f"{output} is what is read: choose another --output")
        if output.exists() and not is_ours(output):
            raise UsageError(f"{output} is there already, and no earlier conversion: choose another --output")


def _read(options: argparse.Namespace, kind: str, losses: Losses) -> tuple[Dataset, Path | None]:
    """The annotations, and the folder of their pictures where it is known."""
    skeleton = load_skeleton(options.skeleton) if options.skeleton else None
    source, images, wanted = options.source, options.images, options.category
    if kind == LABELME:
        images = common_root(source, images)
        data = labelme.read(source, images, skeleton, wanted, losses)
    elif kind == CVAT:
        data = cvat.read(source, skeleton, wanted, losses)
    elif kind == YOLO:
        data, images = yolo.read(source, options.split, skeleton, wanted, losses)
    else:
        data = coco.read(source, skeleton, wanted, losses)
    return data, images


def _write_coco(options: argparse.Namespace, data: Dataset, losses: Losses, kind: str) -> str:
    coco.write(options.output, data, TITLES[kind])
    return f"{len(data)} people in {len(data.files)} pictures, from {TITLES[kind]}"


def _write_cvat(options: argparse.Namespace, data: Dataset, losses: Losses, kind: str) -> str:
    cvat.write(options.output, data, losses)
    return f"{len(data.files)} pictures for CVAT"


def _write_labelme(options: argparse.Namespace, data: Dataset, losses: Losses, kind: str) -> str:
    with atomic_folder(options.output) as folder:
        count = labelme.write(data, folder, options.images, losses)
    return f"{len(data)} people in {count} files of labelme"


def _write_yolo(options: argparse.Namespace, data: Dataset, losses: Losses, kind: str) -> str:
    _check_flips(data.skeleton)
    split, root = options.split or "train", options.output
    splits = yolo.splits_of(root / "data.yaml", data)
    with atomic_folder(root / "labels" / split) as folder:
        count = yolo.write_labels(data, folder, losses)
    yolo.write_yaml(root / "data.yaml", data, {**splits, split: f"images/{split}"})
    return f"{count} files in labels/{split}; {_link(root / 'images' / split, options.images)}"


def _check_flips(skeleton: Skeleton) -> None:
    if not is_complete(skeleton):
        raise UsageError("YOLO-pose needs to know which keypoints mirrored pictures exchange: --skeleton FILE says so")


def _link(link: Path, images: Path | None) -> str:
    """Make images/SPLIT lead to the pictures, where they are known; what is to be done, or was."""
    if images is None:
        return f"its pictures belong into {link}"
    if link.exists():
        return f"its pictures are taken from {link}, which is there already"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(images.absolute(), target_is_directory=True)
    return f"{link} is a link to {images}: what is done to a picture there is done to yours"


WRITERS = {COCO: _write_coco, LABELME: _write_labelme, CVAT: _write_cvat, YOLO: _write_yolo}
