"""What the demo writes: drawn pictures or a drawn video, and predictions in COCO's and OpenPose's form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from mspose.data.categories import PERSON_ID
from mspose.demo.sources import Frame
from mspose.errors import PoseError
from mspose.evaluation.coco import to_coco_results
from mspose.files import atomic_path, utf8_path
from mspose.poses import Poses
from mspose.skeleton import PafLayout, Skeleton, paf_layout

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


def coco_entries(people: Poses, frame: Frame, is_video: bool, category_id: int = PERSON_ID) -> list[dict]:
    """Entries of a COCO keypoint results file, with the box and, if people are tracked, `track_id`.

    The box is called `box`: COCO's tools would take the size of people from a `bbox`, which moves AP (M) and AP (L).

    Of a video, `image_id` and `frame` are the number of the frame. Of a picture, `image_id` is its file name where
    that is a number, as COCO's are, else one that no other picture has; `file_name` tells which it is in either case.
    """
    entries = to_coco_results(people.triplets, people.scores, np.full(len(people), frame.image_id), category_id)
    for entry, box, number in zip(entries, people.boxes.astype(float).round(2).tolist(), people.ids.tolist()):
        entry |= {"file_name": frame.file_name, "box": box}
        if is_video:
            entry["frame"] = frame.number
        if number >= 0:
            entry["track_id"] = number
    return entries


def openpose_layout(skeleton: Skeleton) -> PafLayout | None:
    """Order of joints in OpenPose's JSON: for coco17 OpenPose's own 18 COCO joints; None: the skeleton's order."""
    return paf_layout(skeleton) if skeleton.name == "coco17" else None


def openpose_people(people: Poses, layout: PafLayout | None, threshold: float) -> dict:
    """One picture in OpenPose's JSON form.

    With `layout` the joints are OpenPose's COCO ones (`--model_pose COCO`): nose, neck, right shoulder, elbow and
    wrist, left ones, right hip, knee and ankle, left ones, eyes and ears, right before left. The neck lies between the
    shoulders and has the lower of their scores. Joints whose score is below `threshold` are 0, 0, 0.
    """
    triplets = people.triplets.astype(np.float64)
    if layout is not None:
        sources = np.array([(source[0], source[-1]) for source in layout.sources])
        pairs = triplets[:, sources]
        triplets = np.concatenate([pairs[..., :2].mean(axis=2), pairs[..., 2].min(axis=2)[..., None]], axis=-1)
    triplets = np.where(triplets[..., 2:] >= max(threshold, 1e-9), triplets, 0).round(3)
    rows = triplets.reshape(len(people), triplets.shape[1] * 3).tolist()
    empty: dict[str, list[float]] = {name: [] for name in OPENPOSE_EMPTY}
    return {
        "version": OPENPOSE_VERSION,
        "people": [
            {"person_id": [number], "pose_keypoints_2d": row, **empty} for number, row in zip(people.ids.tolist(), rows)
        ],
    }


def writable_rate(fps: float) -> float:
    """The nearest rate that an MPEG-4 video can have: OpenCV makes a decimal fraction of it, with 16 bits above."""
    base = next(base for base in (1000, 100, 10, 1) if fps * base < 65535.5 or base == 1)
    return min(max(round(fps * base), 10), 65535 * base) / base


class VideoWriter:
    """Writes frames of one size to an MP4 file; the first frame sets the size.

    Raises:
        PoseError: OpenCV has no encoder for it.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._fps = path, writable_rate(fps)
        self._writer: cv2.VideoWriter | None = None
        self._size, self.count = (0, 0), 0
        self._last: np.ndarray | None = None

    def write(self, image: np.ndarray, number: int) -> None:
        """Make (H, W, 3) uint8 BGR frame `number`; where some before it are missing, the last one stands longer.

        A frame of another size, as some cameras send, is resized.
        """
        if self._writer is None:
            # Encoders take even sides only.
            self._size = image.shape[1] // 2 * 2, image.shape[0] // 2 * 2
            with utf8_path(self._path) as name:
                self._writer = cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*"mp4v"), self._fps, self._size)
            if not self._writer.isOpened():
                raise PoseError(f"cannot write video {self._path}: this OpenCV has no MP4 encoder, or the disk is full")
        width, height = self._size
        if 0 <= image.shape[1] - width <= 1 and 0 <= image.shape[0] - height <= 1:
            image = np.ascontiguousarray(image[:height, :width])
        else:
            image = cv2.resize(image, self._size)
        while self._last is not None and self.count < number:
            self._writer.write(self._last)
            self.count += 1
        self._writer.write(image)
        self.count += 1
        self._last = image

    def close(self) -> bool:
        """Finish the file; whether all frames are in it, since OpenCV reports no failed write."""
        if self._writer is None:
            return True
        self._writer.release()
        with utf8_path(self._path) as name:
            capture = cv2.VideoCapture(name)
        written = capture.get(cv2.CAP_PROP_FRAME_COUNT) if capture.isOpened() else 0
        capture.release()
        return written >= self.count


@contextmanager
def video_file(path: Path, fps: float) -> Iterator[VideoWriter]:
    """Write a video under a temporary name and move it to `path`, also when the block is interrupted half-way.

    Raises:
        PoseError: it cannot be written.
    """
    interrupted: BaseException | None = None
    with atomic_path(path) as temporary:
        writer = VideoWriter(temporary, fps)
        try:
            yield writer
        except KeyboardInterrupt as error:
            interrupted = error
        except BaseException:
            writer.close()
            raise
        if not writer.close():
            raise PoseError(f"cannot write {path}: frames are missing in it; is the disk full?")
    if interrupted is not None:
        raise interrupted
