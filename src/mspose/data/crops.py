"""Which part of a picture a training sample shows: half bodies, shift, scale, rotation and mirroring at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri

from mspose.config.topdown import TopDownData
from mspose.geometry import box_to_crop

# A half-body crop is the box of its keypoints enlarged by this factor, and has more than so many of them. (MMPose is
# content with two of the upper body: of nine labelled ones of COCO's there are always three.)
HALF_BODY_PADDING = 1.5
HALF_BODY_LEAST = 2


@dataclass(frozen=True)
class Frame:
    """Where somebody is, in image pixels.

    Attributes:
        center: (2,) x, y.
        size: (2,) width and height of the crop, in the aspect ratio of the input.
        extent: (2,) of the padded box, whatever its aspect ratio.
    """

    center: np.ndarray
    size: np.ndarray
    extent: np.ndarray


@dataclass(frozen=True)
class Crop:
    """Which part of a picture a sample shows: centre and size in image pixels, rotation in degrees, mirrored or not."""

    center: np.ndarray
    size: np.ndarray
    rotation: float = 0.0
    flip: bool = False


def random_crop(
    rng: np.random.Generator, frame: Frame, keypoints: np.ndarray, upper: np.ndarray, data: TopDownData
) -> Crop:
    """Draw a crop around a person.

    `clipped` draws are those of SimpleBaselines and HRNet, with the shift that ViTPose's authors add: boxes move before
    half bodies are taken. `truncated` ones are MMPose 1.x's `RandomHalfBody` and `RandomBBoxTransform`: half bodies
    move, too.

    Args:
        keypoints: (J, 3) annotated x, y, visibility.
        upper: (J,) bool, the keypoints of the upper body.
        data: the keys of augmentation.
    """
    if data.crop_draws == "truncated":
        frame = _half_or_whole(rng, frame, keypoints, upper, data)
        frame = _shifted(rng, frame, data, lambda: truncated_normal(rng, 2))
        shares = truncated_normal(rng, 2)
        scale, rotation = 1 + shares[0] * data.scale_factor, shares[1] * data.rotation_factor
    else:
        frame = _shifted(rng, frame, data, lambda: rng.uniform(-1, 1, 2))
        frame = _half_or_whole(rng, frame, keypoints, upper, data)
        factor, bound = data.scale_factor, 2 * data.rotation_factor
        scale = np.clip(1 + rng.standard_normal() * factor, 1 - factor, 1 + factor)
        rotation = np.clip(rng.standard_normal() * data.rotation_factor, -bound, bound)
    rotation = float(rotation) if rng.random() <= data.rotation_prob else 0.0
    return Crop(frame.center, frame.size * scale, rotation, bool(rng.random() < data.flip))


def truncated_normal(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw `count` numbers of a normal distribution cut off at one standard deviation."""
    return ndtri(rng.uniform(ndtr(-1), ndtr(1), count))


def _shifted(rng: np.random.Generator, frame: Frame, data: TopDownData, draw: Callable[[], np.ndarray]) -> Frame:
    # Nothing is drawn where nothing moves, so that recipes from before this key draw what they drew.
    if not data.shift_prob or rng.random() >= data.shift_prob:
        return frame
    return replace(frame, center=frame.center + draw() * data.shift_factor * frame.extent)


def _half_or_whole(
    rng: np.random.Generator, frame: Frame, keypoints: np.ndarray, upper: np.ndarray, data: TopDownData
) -> Frame:
    visible = keypoints[:, 2] > 0
    if visible.sum() > data.half_body_joints and rng.random() < data.half_body_prob:
        aspect = data.input_size[0] / data.input_size[1]
        return half_body(rng, keypoints[:, :2], visible, upper, aspect, data.half_body_upper) or frame
    return frame


def half_body(
    rng: np.random.Generator,
    points: np.ndarray,
    visible: np.ndarray,
    upper: np.ndarray,
    aspect: float,
    upper_prob: float,
) -> Frame | None:
    """Draw the upper or the lower body, where it is around the labelled keypoints.

    Returns None where neither half has more than two of them that span an area, or the skeleton has no halves.

    Args:
        points: (J, 2).
        visible, upper: (J,) bool, which are labelled, and which are of the upper body.
        aspect: width / height of the crop.
        upper_prob: probability of the upper body, where there is either.
    """
    if upper.all() or not upper.any():
        return None
    halves = [points[visible & upper], points[visible & ~upper]]
    if rng.random() >= upper_prob:
        halves.reverse()
    chosen = next((half for half in halves if len(half) > HALF_BODY_LEAST), None)
    if chosen is None:
        return None
    extent = chosen.max(axis=0) - chosen.min(axis=0)
    if extent.max() <= 0:
        return None
    center = chosen.mean(axis=0)
    _, sizes = box_to_crop(np.concatenate([center - extent / 2, extent])[None], aspect, HALF_BODY_PADDING)
    return Frame(center.astype(np.float32), sizes[0], HALF_BODY_PADDING * extent)
