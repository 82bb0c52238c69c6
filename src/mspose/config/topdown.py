"""Sections of top-down networks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mspose.config.keys import ABOVE_0_TO_1, BELOW_1, FIXED, FRACTION, FREE, NOT_NEGATIVE, POSITIVE, Check, key
from mspose.config.schema import DataConfig, DemoConfig, EvalConfig, TrainConfig


@dataclass
class TopDownData(DataConfig):
    """Where the pictures and annotations are, and how people are cropped."""

    unbiased: bool = key(
        False,
        "UDP's geometry: crop, maps and mirroring count from the centres of the outermost pixels (arXiv 1911.07524)",
        role=FIXED,
    )
    crop_draws: str = key(
        "clipped",
        "random scale and rotation: normal, what lies beyond the bounds laid on them (clipped: SimpleBaselines, HRNet, "
        "ViTPose), or normal within one standard deviation (truncated: MMPose 1.x, RTMPose)",
        ("clipped", "truncated"),
        staged=True,
    )
    scale_factor: float = key(0.3, "standard deviation and bound of the random scale", BELOW_1, staged=True)
    rotation_factor: float = key(
        40.0,
        "standard deviation of the random rotation in degrees; its bound is twice this (clipped) or this (truncated)",
        NOT_NEGATIVE,
        staged=True,
    )
    rotation_prob: float = key(0.6, "probability of a rotation", FRACTION, staged=True)
    shift_factor: float = key(
        0.16,
        "bound of the random shift along x and y, as a share of the padded box; uniform (clipped; not of half-body "
        "crops) or normal (truncated)",
        FRACTION,
        staged=True,
    )
    shift_prob: float = key(0.0, "probability of a shift; 0: never", FRACTION, staged=True)
    half_body_prob: float = key(
        0.0, "probability of cropping to the upper or lower body; 0: never", FRACTION, staged=True
    )
    half_body_joints: int = key(8, "half-body crops need more labelled keypoints than this", NOT_NEGATIVE, staged=True)
    half_body_upper: float = key(
        0.6915,
        "probability that it is the upper body, where either has three labelled keypoints; 0.6915: as HRNet's draw",
        FRACTION,
        staged=True,
    )
    hsv_jitter: list[int] = key(
        [0, 0, 0],
        "bounds of the random change of hue (units of two degrees), saturation and value (levels), each made every "
        "other time; YOLOX, RTMPose: [5,30,30]",
        Check(
            lambda v: len(v) == 3 and min(v) >= 0 and v[0] <= 90 and max(v) <= 255,
            "be [hue, saturation, value], 0 to 90, and twice 0 to 255",
        ),
        staged=True,
    )
    blur_prob: float = key(0.0, "probability of a mean filter over 3, 5 or 7 pixels", FRACTION, staged=True)
    median_blur_prob: float = key(0.0, "probability of a median filter over 3, 5 or 7 pixels", FRACTION, staged=True)
    cutout_prob: float = key(
        0.0, "probability of a black hole, 0.2 to 0.4 of the crop wide and high", FRACTION, staged=True
    )
    stages: list[dict[str, Any]] = key(
        [],
        "other values of keys of augmentation after so many epochs: [{epoch: 390, shift_prob: 0, cutout_prob: 0.5}]",
    )

    def changes(self, epochs: int) -> dict[str, Any]:
        """What `stages` has changed after so many epochs: names of keys → values."""
        passed = [stage for stage in self.stages if stage["epoch"] <= epochs]
        return {name: value for stage in passed for name, value in stage.items() if name != "epoch"}

    def after(self, epochs: int) -> TopDownData:
        """The section as it is after so many epochs."""
        return replace(self, **self.changes(epochs))


@dataclass
class TopDownTrain(TrainConfig):
    """Training."""

    proposals_epoch: int = key(
        0,
        "epochs after which boxes are moved as a detector errs: AlphaPose's pose-guided proposals; 0: never",
        NOT_NEGATIVE,
    )


@dataclass
class TopDownEval(EvalConfig):
    """Evaluation."""

    batch_size: int = key(32, "people a step", POSITIVE)
    use_gt_bbox: bool = key(False, "annotated boxes instead of bbox_file")
    bbox_file: str = key(
        "",
        "person detections as JSON (image_id, category_id, bbox, score), a path from here or from data.root",
    )
    image_threshold: float = key(0.0, "detections with a lower score are left out")
    rescore: str = key("visible_mean", "person score from joint and box scores", ("visible_mean", "alphapose"), FREE)
    nms: str = key(
        "oks",
        "duplicates: OKS-NMS, its soft variant, AlphaPose's parametric pose NMS, or all kept",
        ("oks", "soft_oks", "parametric", "none"),
        FREE,
    )
    oks_threshold: float = key(0.9, "people more alike than this are duplicates (oks, soft_oks)", ABOVE_0_TO_1, FREE)


@dataclass
class HeatmapEval(TopDownEval):
    """Evaluation."""

    shift_heatmap: bool = key(
        True, "shift the mirrored maps by one cell before averaging; never with data.unbiased", role=FREE
    )


@dataclass
class TopDownDemo(DemoConfig):
    """Pictures and video: what to look at, who finds the people, what is drawn and written."""

    detector: str = key(
        "auto",
        "who finds people: auto (by the file's kind; hog without one), "
        "the whole picture, OpenCV's HOG, YOLOv3, an ONNX detector, or demo.boxes",
        ("auto", "whole", "hog", "yolov3", "onnx", "boxes"),
    )
    detector_file: str = key(
        "",
        "weights of the detector: yolo.ckpt, yolov3.weights, X.onnx (YOLOX, YOLOv8, or MMDetection's end2end.onnx), or "
        "the archive X.zip that OpenMMLab publishes; or the name of a published one (yolox-tiny)",
    )
    detector_size: list[int] = key(
        [416, 416],
        "input of YOLOv3 [width, height], and of ONNX files that leave it open",
        Check(lambda v: len(v) == 2 and all(n > 0 and n % 32 == 0 for n in v), "be [width, height], multiples of 32"),
    )
    detector_threshold: float = key(0.3, "boxes with a lower score are left out", BELOW_1)
    detector_nms: float = key(
        0.45,
        "boxes that overlap a better one by more than this IoU are duplicates; MMDetection's decide that themselves",
        ABOVE_0_TO_1,
    )
    detect_every: int = key(
        1, "frames of a video a detection; in between, people are looked for where their keypoints were", POSITIVE
    )
    boxes: str = key("", "COCO JSON of person boxes, used instead of a detector")
