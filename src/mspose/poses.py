"""People found in a picture: a type that is indexed, drawn, converted and saved.

people = estimator("photo.jpg")
for person in people[people.scores > 0.5]:
    print(person.boxes, person.keypoints)
people.save("photo.json")
"""

from __future__ import annotations

import csv
import io
import json
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mspose.errors import UsageError
from mspose.evaluation.coco import to_coco_results
from mspose.files import write_text
from mspose.images import check_picture, to_bgr
from mspose.skeleton import COCO17, OPENPOSE18, Skeleton
from mspose.visual import draw_boxes, draw_poses

if TYPE_CHECKING:
    from mspose.images import Picture

OPENPOSE_VERSION = 1.3
OPENPOSE_EMPTY = (
    "face_keypoints_2d",
    "hand_left_keypoints_2d",
    "hand_right_keypoints_2d",
    "pose_keypoints_3d",
    "face_keypoints_3d",
    "hand_left_keypoints_3d",
    "hand_right_keypoints_3d",
)
# How files that `save` has written begin, whoever is in them.
_BEGINNINGS = {".json": b'{"skeleton": "', ".csv": b"id,score,box_x,"}
# Keypoints that score less are not sure enough to be drawn: `demo.keypoint_threshold`.
SURE = 0.2


@dataclass(frozen=True, eq=False, repr=False)
class Poses:
    """N people of K keypoints in one picture; coordinates in pixels of the picture.

    `people[i]`, `people[2:]`, `people[people.scores > 0.5]` and `people[[3, 0]]` are Poses too; iterating gives Poses
    of one person each. Arrays are converted to the types below, and their shapes are checked.

    Attributes:
        keypoints: (N, K, 2) float32 x, y; (0, 0) for a keypoint that was not found.
        keypoint_scores: (N, K) float32; 0 for a keypoint that was not found.
        scores: (N,) float32, how sure the person is; an estimator gives the best first.
        boxes: (N, 4) float32 x, y, width, height: the detector's boxes, or those around the keypoints of a bottom-up
            network.
        ids: (N,) int64 numbers that people keep from picture to picture; -1 without tracking.
        skeleton: what the K keypoints are.
        size: (width, height) of the picture.

    Raises:
        UsageError: an array has another shape than the others or the skeleton say, or values that are no numbers.
    """

    keypoints: np.ndarray
    keypoint_scores: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    ids: np.ndarray
    skeleton: Skeleton
    size: tuple[int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _checked_size(self.size))
        joints, count = self.skeleton.num_keypoints, -1
        for name, shape in _shapes(joints).items():
            array = _numbers(name, getattr(self, name))
            if array.ndim != 1 + len(shape) or array.shape[1:] != shape or count not in (-1, len(array)):
                expected = ("N" if count < 0 else count, *shape)
                known = f"{count} people by scores, " if count >= 0 else ""
                raise UsageError(
                    f"Poses.{name} has the shape {array.shape}, not ({', '.join(map(str, expected))}): {known}{joints} "
                    f"keypoints of the skeleton {self.skeleton.name!r}"
                )
            count = len(array)
            object.__setattr__(self, name, array)

    @classmethod
    def empty(cls, size: tuple[int, int], skeleton: Skeleton = COCO17) -> Poses:
        """Nobody, in a picture of `size` (width, height)."""
        return cls.from_triplets(np.zeros((0, skeleton.num_keypoints, 3)), [], np.zeros((0, 4)), skeleton, size)

    @classmethod
    def from_triplets(
        cls,
        triplets: np.ndarray,
        scores: Sequence[float] | np.ndarray,
        boxes: np.ndarray,
        skeleton: Skeleton,
        size: tuple[int, int],
    ) -> Poses:
        """People without ids of keypoints (N, K, 3) x, y, score, scores (N,) and boxes (N, 4)."""
        triplets = _numbers("triplets", triplets)
        if triplets.ndim != 3 or triplets.shape[2] != 3:
            raise UsageError(f"keypoints with scores have the shape (N, K, 3) x, y, score, not {triplets.shape}")
        ids = np.full(len(triplets), -1)
        return cls(triplets[..., :2], triplets[..., 2], np.asarray(scores), boxes, ids, skeleton, size)

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        who = f"{len(self)} of {self.skeleton.name} in {self.size[0]}x{self.size[1]}"
        shown = ", ".join(f"{score:.2f}" for score in self.scores[:5])
        return f"Poses({who}; scores {shown}{', …' if len(self) > 5 else ''})" if len(self) else f"Poses({who})"

    def __iter__(self) -> Iterator[Poses]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, which: int | slice | Sequence[int] | np.ndarray) -> Poses:
        """The people of a number, a slice, a boolean mask (N,) or of numbers, in that order.

        Raises:
            IndexError: there is no such person, or it is none of these.
        """
        rows = _rows(which, len(self))
        return replace(self, **{name: getattr(self, name)[rows] for name in _shapes(0)})

    @property
    def triplets(self) -> np.ndarray:
        """(N, K, 3) float32 x, y, score: as COCO writes and `mspose.visual` draws them."""
        return np.concatenate([self.keypoints, self.keypoint_scores[..., None]], axis=-1)

    def to_coco(
        self, image_id: int, category_id: int = 1, file_name: str = "", frame: int | None = None
    ) -> list[dict[str, Any]]:
        """Entries of a COCO keypoint results file, as the demo's predictions.json has them.

        Besides COCO's keys each has `box` and, where people are tracked, `track_id`. The box is not called `bbox`:
        COCO's tools would take the size of people from it, which moves AP (M) and AP (L). Coordinates are rounded to 3
        decimals, scores to 8.

        Args:
            image_id: of the picture in the annotation file.
            category_id: COCO's number of the category "person".
            file_name: of the picture, if it shall be told.
            frame: number of the frame in a video, likewise.
        """
        entries = to_coco_results(self.triplets, self.scores, np.full(len(self), image_id), category_id)
        for entry, box, number in zip(entries, self._rounded(self.boxes, 2), self.ids.tolist()):
            if file_name:
                entry["file_name"] = file_name
            entry["box"] = box
            if frame is not None:
                entry["frame"] = frame
            if number >= 0:
                entry["track_id"] = number
        return entries

    def to_openpose(self, threshold: float = SURE) -> dict[str, Any]:
        """The picture in OpenPose's JSON form: x, y, score of all joints of a person in one list.

        People of COCO's skeleton have OpenPose's 18 COCO joints, in the order of `--model_pose COCO` (not that of
        BODY_25): nose, neck, right shoulder, elbow and wrist, left ones, right hip, knee and ankle, left ones, right
        eye, left eye, right ear, left ear. The neck lies between the shoulders and has the lower of their scores.
        Other skeletons keep their keypoints and order.

        Args:
            threshold: joints with a lower score are 0, 0, 0.
        """
        triplets = self.triplets.astype(np.float64)
        if self.skeleton == COCO17:
            pairs = triplets[:, [(source[0], source[-1]) for source in OPENPOSE18.sources]]
            triplets = np.concatenate([pairs[..., :2].mean(axis=2), pairs[..., 2].min(axis=2)[..., None]], axis=-1)
        triplets = np.where(triplets[..., 2:] >= max(threshold, 1e-9), triplets, 0)
        rows = self._rounded(triplets.reshape(len(self), triplets.shape[1] * 3), 3)
        empty: dict[str, list[float]] = {name: [] for name in OPENPOSE_EMPTY}
        return {
            "version": OPENPOSE_VERSION,
            "people": [
                {"person_id": [number], "pose_keypoints_2d": row, **empty}
                for number, row in zip(self.ids.tolist(), rows)
            ],
        }

    def to_json(self) -> str:
        """All of it as JSON text, which needs nothing else to be understood: `skeleton` (its name), `keypoints` (their
        names, in order), `width`, `height`, and `people`, each with `score`, `box` and `keypoints` (a list of x, y,
        score), and `id` where people are tracked.

        Coordinates are rounded to 3 decimals, scores of people to 8.
        """
        columns = zip(
            self._rounded(self.scores, 8),
            self._rounded(self.boxes, 3),
            self._rounded(self.triplets, 3),
            self.ids.tolist(),
        )
        people = [
            {"score": score, "box": box, "keypoints": keypoints, **({"id": number} if number >= 0 else {})}
            for score, box, keypoints, number in columns
        ]
        width, height = self.size
        content = {"skeleton": self.skeleton.name, "keypoints": self.skeleton.keypoints, "width": width}
        return json.dumps({**content, "height": height, "people": people})

    def table(self) -> tuple[list[str], list[list[float]]]:
        """Names of columns, and a row a person: id, score, box, then x, y and score of each keypoint by its name."""
        parts = [("box", "x", "y", "width", "height"), *((name, "x", "y", "score") for name in self.skeleton.keypoints)]
        names = chain.from_iterable([f"{name}_{part}" for part in each] for name, *each in parts)
        numbers = np.concatenate([self.boxes, self.triplets.reshape(len(self), 3 * self.skeleton.num_keypoints)], 1)
        rows = zip(self.ids.tolist(), self._rounded(self.scores, 8), self._rounded(numbers, 3))
        return ["id", "score", *names], [[number, score, *row] for number, score, row in rows]

    def to_csv(self) -> str:
        """`table` as CSV text."""
        names, rows = self.table()
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([names, *rows])
        return text.getvalue()

    def save(self, path: str | Path) -> Path:
        """Write everybody to a file, `to_json` or `to_csv` by its suffix.

        A file that was saved before is replaced, in one moment, when all is written.

        Raises:
            UsageError: another suffix, or a file of that name that is none of these.
            PoseError: it cannot be written.
        """
        path = Path(path)
        writers = {".json": self.to_json, ".csv": self.to_csv}
        suffix = path.suffix.lower()
        if suffix not in writers:
            raise UsageError(
                f"poses are saved as {' or '.join(writers)}, not as {path}; mspose.visual.write_image writes the "
                "pictures that draw() makes"
            )
        if path.exists() and not _begins(path, _BEGINNINGS[suffix]):
            raise UsageError(f"{path} is there already, and no saved poses: choose another name, or move it away")
        return write_text(path, writers[suffix]())

    def draw(
        self,
        image: Picture,
        threshold: float = SURE,
        line_width: int = 0,
        color: str = "bgr",
        boxes: bool = False,
    ) -> np.ndarray:
        """The picture (H, W, 3) uint8 with everybody on it, and the ids of those who are tracked.

        Left limbs are orange, right ones blue.

        Args:
            image: the picture in which they were found: file, array or PIL image, as an estimator takes it.
            threshold: keypoints with a lower score are left out, and their limbs.
            line_width: of limbs in pixels; 0: by the size of the person.
            color: order of the channels of arrays, of `image` and of what is returned: "bgr", as OpenCV has it, or
                "rgb".
            boxes: draw the boxes too.

        Raises:
            UsageError: it is no picture, or one of another size.
            ImageError: the file is missing, truncated or not a picture.
        """
        check_picture(image, color)
        pixels = to_bgr(image, color)
        if pixels.shape[1::-1] != self.size:
            raise UsageError(
                f"people were found in a picture of {self.size[0]}x{self.size[1]}, and cannot be drawn into one of "
                f"{pixels.shape[1]}x{pixels.shape[0]}"
            )
        if boxes:
            pixels = draw_boxes(pixels, self.boxes, line_width)
        labels = [f"#{number}" if number >= 0 else "" for number in self.ids]
        drawn = draw_poses(pixels, self.triplets, self.skeleton, threshold, labels, line_width)
        return drawn if color == "bgr" else np.ascontiguousarray(drawn[..., ::-1])

    @staticmethod
    def _rounded(values: np.ndarray, decimals: int) -> list:
        """Nested lists; rounded in float64, so that no digits of float32 follow."""
        return values.astype(np.float64).round(decimals).tolist()


def _shapes(joints: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays behind N, the number of people."""
    return {"scores": (), "keypoints": (joints, 2), "keypoint_scores": (joints,), "boxes": (4,), "ids": ()}


def _numbers(name: str, values: object) -> np.ndarray:
    """An array of finite numbers: int64 for ids, float32 for all else."""
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of several lengths
        raise UsageError(f"Poses.{name} is no array of numbers") from error
    whole = name == "ids"
    if array.size and array.dtype.kind not in ("iu" if whole else "iuf"):
        raise UsageError(f"Poses.{name} is an array of {'whole numbers' if whole else 'numbers'}, not {array.dtype}")
    with np.errstate(over="ignore"):
        array = array.astype(np.int64 if whole else np.float32, copy=False)
    if not np.isfinite(array).all():
        raise UsageError(f"Poses.{name} has values that are NaN or infinite")
    return array


def _begins(path: Path, beginning: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(beginning)) == beginning
    except OSError:  # writing it will say why
        return False


def _checked_size(size: object) -> tuple[int, int]:
    try:
        width, height = map(operator.index, size)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        width = height = 0
    if min(width, height) < 1:
        raise UsageError(f"Poses.size is (width, height) of the picture in pixels, not {size!r}")
    return width, height


def _rows(which: object, count: int) -> np.ndarray:
    """Row numbers (M,) of an index into `count` rows."""
    rows = np.arange(count)
    if isinstance(which, slice):
        return rows[which]
    index = np.asarray(which)
    if not index.size:
        index = index.astype(np.int64)
    if index.ndim > 1 or index.dtype.kind not in "iub" or isinstance(which, bool | tuple):
        raise IndexError(f"people are chosen by a number, a slice, a list of numbers or a mask, not {which!r}")
    if index.dtype == bool and index.shape != (count,):
        raise IndexError(f"a mask of {index.size} values does not choose among {count} people")
    if index.dtype != bool and ((index < -count) | (index >= count)).any():
        raise IndexError(f"there are {count} people, and no number {which!r}")
    return np.atleast_1d(rows[index])
