"""What `mspose check-data` does: say everything that is wrong with an annotation file, before anything is trained.

mspose check-data FILE [--images DIR] [--skeleton coco17] [--category NAME ...] [--draw SHEET.png]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mspose.data.check import Report, check_skeleton
from mspose.data.coco import Annotations, describe_left_out, labelled, load_annotations
from mspose.data.ignore_mask import checked_segmentation
from mspose.data.loader import unreadable
from mspose.data.sheet import CELLS, check_sheet_path, draw_people
from mspose.errors import PoseError, UsageError
from mspose.files import user_path
from mspose.runtime.logs import set_up_logging
from mspose.skeleton import Skeleton, load_skeleton


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, 1 where the file cannot be used, or 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="mspose check-data", description="Say everything that is wrong with an annotation file."
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="annotations in COCO's keypoint format")
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the pictures: each is read too")
    parser.add_argument("--skeleton", default="coco17", help="keypoint set of the annotations: coco17 or a YAML file")
    parser.add_argument("--category", nargs="+", default=[], help="names or ids of categories, as data.category")
    parser.add_argument("--exif", choices=("ignore", "apply", "auto"), default="auto", help="as data.exif")
    parser.add_argument(
        "--draw",
        type=user_path,
        metavar="FILE.png",
        help=f"draw {CELLS} of the people, those with warnings first (needs --images)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of --draw: another seed, other people (default: 0)")
    options = parser.parse_args(argv)
    set_up_logging()
    try:
        if options.draw is not None:
            if options.images is None:
                raise UsageError("--draw needs the pictures: --images DIR")
            check_sheet_path(options.draw)
        skeleton = load_skeleton(options.skeleton)
        sheet = (options.draw, options.seed) if options.draw is not None else None
        return check_file(options.file, options.images, skeleton, options.category, options.exif, sheet)
    except PoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def check_file(
    path: Path,
    images: Path | None,
    skeleton: Skeleton,
    category: Sequence[str] = (),
    exif: str = "auto",
    sheet: tuple[Path, int] | None = None,
) -> int:
    """Print everything that is wrong with an annotation file; returns 0, or 1 where it cannot be used.

    Args:
        images: folder of its pictures: each is read; None: none is.
        category, exif: as in `data`.
        sheet: picture to draw people into, and the seed that chooses them.

    Raises:
        PoseError: the file cannot be read at all.
    """
    report = Report(path)
    try:
        annotations = load_annotations(
            path, images, skeleton, category=category, segmentations=True, exif=exif, report=report
        )
    except PoseError:
        for line in report.errors[1:]:
            print(f"error: {line}", file=sys.stderr)
        raise
    if all(skeleton.sigmas):  # what is read from annotations alone has none
        report.warnings += check_skeleton(skeleton, flips=True)
    check_segmentations(annotations, report)
    rows = range(len(annotations.images)) if images else ()
    unread = unreadable(annotations.images, rows)
    for line in (*report.errors, *unread.values()):
        print(f"error: {line}")
    for line in report.warnings:
        print(f"warning: {line}")
    print(describe(annotations))
    if sheet is not None:
        print(draw_people(sheet[0], annotations, skeleton, report.odd, list(unread), sheet[1]))
    count = len(report.errors) + len(unread)
    print(f"{path}: {_counted(count, 'error')}, {_counted(len(report.warnings), 'warning')}")
    return 1 if count else 0


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


def check_segmentations(annotations: Annotations, report: Report) -> None:
    """Report malformed segmentations, of which bottom-up networks make their ignore masks."""
    faults = []
    for person, value in enumerate(annotations.segmentations or ()):
        try:
            checked_segmentation(annotations, person, value)
        except PoseError as error:
            faults.append(str(error))
    if faults:
        report.warnings.append(f"{len(faults)} segmentations cannot be used to train bottom-up networks: {faults[0]}")


def describe(annotations: Annotations) -> str:
    """One line: pictures, and people to learn from."""
    images = f"{len(annotations.images)} pictures"
    if not annotations.is_annotated:
        return f"{images}, without annotations (a test set)"
    people = f"{len(labelled(annotations))} people of {annotations.categories} with keypoints"
    return f"{images}, {people}{describe_left_out(annotations)}"
