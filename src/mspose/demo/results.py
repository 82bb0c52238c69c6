"""What the demo writes into its folder besides the drawn pictures and videos."""

from __future__ import annotations

import csv
import glob
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mspose.demo.sources import Clip, Pictures
from mspose.demo.video import Frame
from mspose.files import write_json, write_text
from mspose.poses import Poses
from mspose.skeleton import Skeleton
from mspose.visual import contact_sheet, fit, write_image

SHEET, CELL = 12, (480, 360)  # pictures of the contact sheet, and their width and height on it
PREDICTIONS, TABLE, SHEET_NAME, RECORD = "predictions.json", "people.csv", "sheet.jpg", "demo_config.yaml"


class Results:
    """Collects people, and writes them.

    Args:
        category_id: of people, in COCO results.
        threshold: keypoints with a lower score are 0 in OpenPose's form.

    Attributes:
        entries: COCO results of what was found so far.
        next_id: an `image_id` above those of all pictures and frames so far.
    """

    def __init__(self, folder: Path, category_id: int, threshold: float) -> None:
        self.entries: list[dict] = []
        self.next_id = 0
        self._folder, self._category_id, self._threshold = folder, category_id, threshold
        self._rows: list[str] = []
        self._thumbnails: list[np.ndarray] = []

    def add(self, frame: Frame, people: Poses, is_video: bool) -> None:
        """Keep the people of a picture or frame, and write them as OpenPose does.

        Raises:
            PoseError: the disk is full.
        """
        name = self._folder / "openpose" / f"{frame.name}_keypoints.json"
        write_json(name, people.to_openpose(self._threshold))
        number = frame.number if is_video else None
        self.entries += people.to_coco(frame.image_id, self._category_id, frame.file_name, number)
        place = [frame.file_name, frame.number, round(frame.seconds, 4)] if is_video else [frame.file_name, "", ""]
        self._rows += [_line([*place, *row]) for row in people.table()[1]]
        self.next_id = max(self.next_id, frame.image_id + 1)

    def add_picture(self, name: str, drawn: np.ndarray) -> None:
        """Write a drawn picture, and keep the first ones for the sheet.

        Raises:
            PoseError: the disk is full, or the format cannot be written.
        """
        write_image(self._folder / "pictures" / name, drawn)
        if len(self._thumbnails) < SHEET:
            self._thumbnails.append(fit(drawn, *CELL))

    def save(self, skeleton: Skeleton) -> None:
        """Write what is kept.

        Raises:
            PoseError: the disk is full.
        """
        write_json(self._folder / PREDICTIONS, self.entries)
        header = _line(["file_name", "frame", "seconds", *Poses.empty((1, 1), skeleton).table()[0]])
        write_text(self._folder / TABLE, "".join([header, *self._rows]))
        if len(self._thumbnails) > 1:
            write_image(self._folder / SHEET_NAME, contact_sheet(self._thumbnails, 3, CELL))

    def describe(self) -> str:
        """What is in the folder besides drawn videos."""
        parts = {
            "pictures/ (drawn)": bool(self._thumbnails),
            SHEET_NAME: len(self._thumbnails) > 1,
            f"{PREDICTIONS} (COCO results)": True,
            f"{TABLE} (a line a person)": True,
            "openpose/ (a file a picture or frame)": True,
            f"{RECORD} (the settings)": True,
        }
        return ", ".join(name for name, is_written in parts.items() if is_written)


def _line(values: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def targets(sources: Sequence[Pictures | Clip], folder: Path) -> list[Path]:
    """Files that the demo writes; of a video's frames, whose number nobody knows beforehand, those that are there."""
    found = [folder / name for name in (PREDICTIONS, TABLE, SHEET_NAME)]
    for source in sources:
        below = folder if source.is_video else folder / "pictures"
        found += [below / name for name in source.drawn]
        for name in source.names:
            if source.is_video:
                found += (folder / "openpose").glob(f"{glob.escape(name)}_*_keypoints.json")
            else:
                found.append(folder / "openpose" / f"{name}_keypoints.json")
    return found
