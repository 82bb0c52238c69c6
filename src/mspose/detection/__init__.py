"""Finding people in pictures: what a top-down network looks at.

A detector is called with a picture and returns `Boxes`. `build_detector` makes the one that `demo.detector` names.
Nothing here imports MindSpore before a detector that needs it is built.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from mspose.config.keys import section_as
from mspose.config.schema import Config
from mspose.config.topdown import TopDownDemo
from mspose.detection.boxes import Boxes, clipped
from mspose.errors import UsageError
from mspose.hub.table import meant
from mspose.skeleton import load_skeleton

__all__ = ["CONCURRENT", "HOG_HINT", "Boxes", "Detector", "build_detector", "detector_kind"]

# For those who wonder why nobody was found.
HOG_HINT = (
    "HOG, the detector that needs no file, finds only upright people seen from head to foot; "
    "demo.detector_file=yolox-tiny, which is fetched once, finds others, demo.detector=whole takes the whole picture"
)
# Kinds that may be called by several threads at a time, and gain from it.
CONCURRENT = ("onnx",)
# Detectors by the kind of their file.
SUFFIXES = {".ckpt": "yolov3", ".weights": "yolov3", ".onnx": "onnx", ".zip": "onnx"}


class Detector(Protocol):
    """Finds people in pictures."""

    def __call__(self, image: np.ndarray, name: str = "") -> Boxes:
        """People in a picture (H, W, 3) uint8 BGR.

        Args:
            name: path of the picture, or number of the frame; the detector `boxes` alone reads it, to look it up.
        """


def detector_kind(config: Config) -> str:
    """The detector that `demo.detector` stands for: whole, hog, yolov3, onnx or boxes.

    Raises:
        UsageError: it needs a file that is not given, or does not read that kind of file.
    """
    demo = section_as(config.demo, TopDownDemo)
    kind = demo.detector
    suffix = Path(demo.detector_file).suffix.lower()
    if kind == "auto":
        if demo.boxes:
            return "boxes"
        if not demo.detector_file:
            return "hog"
        if suffix not in SUFFIXES:
            raise UsageError(
                f"demo.detector_file must end in {', '.join(SUFFIXES)}, not {demo.detector_file!r}"
                f"{meant(demo.detector_file)}"
            )
        return SUFFIXES[suffix]
    if kind == "boxes" and not demo.boxes:
        raise UsageError("demo.detector=boxes needs the COCO JSON of person boxes: demo.boxes=FILE")
    if kind in ("yolov3", "onnx"):
        endings = [ending for ending, reader in SUFFIXES.items() if reader == kind]
        if suffix not in endings:
            given = repr(demo.detector_file) if demo.detector_file else "nothing"
            raise UsageError(
                f"demo.detector={kind} needs a file that ends in {' or '.join(endings)}: "
                f"demo.detector_file=FILE, not {given}"
            )
    return kind


def build_detector(config: Config, overlap: int = 0) -> Detector:
    """The detector of the section `demo`; YOLOv3 alone needs MindSpore, and starts it.

    Args:
        overlap: see `mspose.estimator.PoseEstimator`.

    Raises:
        UsageError: `demo` names a file that does not go with the detector, or none where it needs one.
        PoseError: the file cannot be used, or a package is missing.
    """
    demo, kind = section_as(config.demo, TopDownDemo), detector_kind(config)
    if kind == "whole":
        return whole_picture
    if kind == "hog":
        from mspose.detection.hog import HogDetector

        return HogDetector(demo.detector_threshold, demo.detector_nms)
    if kind == "boxes":
        from mspose.detection.listed import ListedBoxes

        skeleton = load_skeleton(config.data.skeleton)
        return ListedBoxes(demo.boxes, demo.detector_threshold, skeleton, config.data.category, config.data.check)
    if kind == "onnx":
        from mspose.detection.onnx import OnnxDetector

        width, height = demo.detector_size
        return OnnxDetector(
            demo.detector_file, (width, height), demo.detector_threshold, demo.detector_nms, config.runtime, overlap
        )
    from mspose.detection.yolov3 import load_yolov3

    return load_yolov3(config)


def whole_picture(image: np.ndarray, name: str = "") -> Boxes:
    """One person who fills the picture, score 1."""
    height, width = image.shape[:2]
    return clipped(np.array([[0, 0, width, height]]), np.ones(1), (width, height))
