"""Areas of people whose annotations lack them: COCO's metric takes a person's scale from the area."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# Area of a person as a part of the area of the box: the mean of COCO's people.
OF_BOX = 0.53


def estimated_areas(segmentations: Sequence[Any], boxes: np.ndarray) -> np.ndarray:
    """Areas (N,) float64 in square pixels: of the segmentation, where there is none 0.53 times that of the box.

    Args:
        segmentations: N lists of polygons [x, y, x, y, …] or run lengths {counts}; anything else, and one without an
            area, is none.
        boxes: (N, 4) x, y, width, height.
    """
    areas = OF_BOX * np.prod(np.asarray(boxes, np.float64).reshape(-1, 4)[:, 2:], axis=1)
    found = np.array([_segment_area(value) for value in segmentations], np.float64)
    return np.where(found > 0, found, areas) if len(found) else areas


def _segment_area(value: Any) -> float:
    try:
        if isinstance(value, dict):
            counts = value["counts"]
            return float(sum((decompress(counts) if isinstance(counts, str | bytes) else counts)[1::2]))
        area = sum(_polygon_area(np.array(polygon, np.float64)) for polygon in value or ())
    except (KeyError, TypeError, ValueError):
        return 0.0
    return area if np.isfinite(area) else 0.0


def _polygon_area(points: np.ndarray) -> float:
    """The shoelace formula for x, y, x, y, …"""
    x, y = points.reshape(-1, 2).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def decompress(text: str | bytes) -> np.ndarray:
    """Run lengths of COCO's compressed form: characters of six bits from "0" on, of which the highest says that the
    number goes on and the others are its digits, lowest first, in two's complement; from the fourth number on, each is
    the difference to the last but one.

    Raises:
        ValueError: the text is damaged.
    """
    codes = np.frombuffer(text.encode() if isinstance(text, str) else text, np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("compressed counts are damaged")
    ends = np.flatnonzero(codes & 32 == 0)
    starts = np.append(0, ends[:-1] + 1)
    place = 5 * (np.arange(len(codes)) - np.repeat(starts, ends - starts + 1))
    if place.max() > 30:
        raise ValueError("compressed counts are damaged")
    runs = np.add.reduceat((codes & 31) << place, starts)
    runs -= np.where(codes[ends] & 16, 32 << place[ends], 0)
    for first in (1, 2):
        runs[first::2] = np.cumsum(runs[first::2])
    return runs
