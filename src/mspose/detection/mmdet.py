"""Detectors of MMDetection as MMDeploy writes them: suppression inside, outputs `dets` and `labels`.

How pictures are fed, pipeline.json says. Without it, YOLOX alone is known by its graph: its first layer (Focus) cuts
the picture in four, and that is what reads the input. Others, such as RTMDet, want pixels that are normalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mspose.checkpoints.mmdeploy import MODEL, PIPELINE, Package, Pipeline, is_number
from mspose.checkpoints.onnx_file import read_graph
from mspose.detection.letterbox import Placement, stretch, top_left
from mspose.errors import PoseError


@dataclass(frozen=True)
class Feed:
    """How a picture becomes input.

    Attributes:
        size: (width, height), None: not said.
        keeps_ratio: whether the picture lies top left with its own aspect ratio, or is stretched.
        level: grey level of what it leaves free.
        color: order of the channels, bgr or rgb.
        mean, std: of pixels 0…255, in that order.
    """

    size: tuple[int, int] | None = None
    keeps_ratio: bool = True
    level: int = 114
    color: str = "bgr"
    mean: tuple[float, ...] = (0, 0, 0)
    std: tuple[float, ...] = (1, 1, 1)

    def __call__(self, image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, Placement]:
        """A picture (H, W, 3) uint8 BGR as input (height, width, 3) float32 of `size` (width, height)."""
        pixels, placement = top_left(image, size, self.level) if self.keeps_ratio else stretch(image, size)
        pixels = pixels if self.color == "bgr" else pixels[:, :, ::-1]
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        return (pixels.astype(np.float32) - mean) / std, placement


def feed_of(package: Package) -> Feed:
    """How pictures are fed to a detector whose outputs are `dets` and `labels`.

    Raises:
        PoseError: nothing says so, or in a way that is not known here.
    """
    if package.pipeline is not None:
        return _read(package.pipeline)
    if read_graph(package.model, package.name).readers - {"Shape"} == {"Slice"}:
        return Feed()
    raise PoseError(
        f"ONNX detector {package.name} does not say how it is fed, and is no YOLOX: use the archive that it came in, "
        f"or put its {PIPELINE} beside it and call it {MODEL}"
    )


def _read(pipeline: Pipeline) -> Feed:
    if pipeline.decoder != "ResizeBBox":
        raise PoseError(f"{pipeline.source}: {pipeline.decoder} is no way to boxes that is known here: ResizeBBox is")
    pipeline.only("Resize", "Pad", "Normalize")
    resize, keeps_ratio = pipeline.transform("Resize"), pipeline.transform("Resize").get("keep_ratio", False)
    if not isinstance(keeps_ratio, bool):
        raise PoseError(f"{pipeline.source}: Resize.keep_ratio must be true or false, not {keeps_ratio!r}")
    size = pipeline.size("Resize.size", resize["size"]) if "size" in resize else None
    color, mean, std = pipeline.normalisation()
    level = _level(pipeline) if keeps_ratio else 0
    return Feed(size, keeps_ratio, level, color, tuple(mean), tuple(std))


def _level(pipeline: Pipeline) -> int:
    """Grey level of the border, which must be there before pixels are normalised."""
    kinds = [transform["type"] for transform in pipeline.transforms]
    first = pipeline.transforms[kinds.index("Pad")] if "Pad" in kinds[: kinds.index("Normalize")] else {}
    if not ("size" in first or first.get("pad_to_square")):
        raise PoseError(f"{pipeline.source}: Pad must fill the input (size or pad_to_square) before Normalize")
    value = first.get("pad_val", 0)
    value = value.get("img") if isinstance(value, dict) else value
    levels: list[Any] = value if isinstance(value, list) else [value]
    if not levels or not all(is_number(v, 0, 255) and v == levels[0] for v in levels) or levels[0] % 1:
        raise PoseError(f"{pipeline.source}: Pad.pad_val must be one grey level, not {str(value)[:60]}")
    return int(levels[0])
