"""Heat maps of one person: Gaussian targets from keypoints, and keypoints from the maps of a network.

The convention is that of SimpleBaselines (Xiao, Wu, Wei: Simple Baselines for Human Pose Estimation and Tracking,
ECCV 2018): a map cell times the stride is the pixel of the network input.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mspose.codecs.base import Codec, Decoded, Maps, MapSpec, Size
from mspose.config.schema import FIXED, FREE, POSITIVE, Check, CodecConfig, key
from mspose.errors import UsageError
from mspose.skeleton import COCO17, Skeleton

REFINEMENTS = ("quarter", "dark", "none")
# People whose maps are merged at a time: their temporaries stay in the cache, which halves the time.
_MERGE_BLOCK = 4
_REFINE_STEPS = {
    "none": "refine none: keep the whole-numbered cell.",
    "quarter": "refine quarter: where 1 < cx < w - 1 and 1 < cy < h - 1, add 0.25 * sign(map[cy, cx + 1] - "
    "map[cy, cx - 1]) to cx and 0.25 * sign(map[cy + 1, cx] - map[cy - 1, cx]) to cy, both from the "
    "whole-numbered cell.",
    "dark": "refine dark (arXiv 1910.06278): smooth the map, zero beyond its border, with a normalised Gaussian kernel "
    "of 2 n + 1 cells, n = max(1, round((sigma - 0.8) / 0.3 + 1)), standard deviation 0.3 (n - 1) + 0.8; where "
    "1 < cx < w - 2 and 1 < cy < h - 2 and the smoothed 5x5 cells around are all positive, let f be their "
    "logarithm, dx = (f[0, 1] - f[0, -1]) / 2, dxx = (f[0, 2] - 2 f[0, 0] + f[0, -2]) / 4, dxy = (f[1, 1] - "
    "f[-1, 1] - f[1, -1] + f[-1, -1]) / 4 (indices y, x from the cell; dy, dyy alike), and add "
    "- inverse([[dxx, dxy], [dxy, dyy]]) [dx, dy].",
}


@dataclass
class HeatmapKeys(CodecConfig):
    """What the network's maps mean."""

    heatmap_size: list[int] | None = key(
        None,
        "heat maps [width, height]; null: as the network makes them of data.input_size",
        Check(lambda v: v is None or (len(v) == 2 and min(v) > 0), "be null, or [width, height]"),
        FIXED,
    )
    sigma: float = key(2.0, "standard deviation of the target Gaussian in heat-map cells", POSITIVE, FIXED)
    refine: str = key("quarter", "sub-cell decoding: quarter-pixel shift, DARK, or none", REFINEMENTS, FREE)

    def derive(self, input_size: list[int], stride: int) -> Iterator[tuple[str, str]]:
        """The size of the maps."""
        expected = [side // stride for side in input_size]
        if self.heatmap_size not in (None, expected):
            yield "heatmap_size", f"be {expected}, data.input_size / {stride}, or be left out"
        self.heatmap_size = expected


@dataclass(frozen=True)
class HeatmapCodec(Codec):
    """Converts between J keypoints of a person and J heat maps of H x W cells.

    Attributes:
        skeleton: what the keypoints are.
        stride: input pixels a cell.
        sigma: standard deviation of the target Gaussian in cells.
        refine: how decoding gets below one cell: `quarter` moves a quarter cell towards the higher neighbour
            (SimpleBaselines), `dark` fits the logarithm of the smoothed map to second order (Zhang et al.:
            Distribution-Aware Coordinate Representation, arXiv 1910.06278), `none` keeps the maximum.
        shift: move the maps of mirrored inputs one cell to the right (the first column stays), as SimpleBaselines does:
            they are off by one input pixel less than a stride, since cell 0 is at pixel 0 on both sides.

    Raises:
        UsageError: `refine` is not one of those names.
    """

    skeleton: Skeleton = COCO17
    stride: int = 4
    sigma: float = 2.0
    refine: str = "quarter"
    shift: bool = True

    def __post_init__(self) -> None:
        if self.refine not in REFINEMENTS:
            raise UsageError(f"codec.refine: {self.refine!r} is not one of {', '.join(REFINEMENTS)}")

    def outputs(self, size: Size | None) -> tuple[MapSpec, ...]:
        """One output: (J, H, W)."""
        cells = (None, None) if size is None else self.cells(size)[::-1]
        meaning = "one heat map a keypoint, in the order of skeleton.keypoints"
        return (MapSpec("heatmaps", (self.skeleton.num_keypoints, *cells), meaning),)

    def targets(self, size: Size) -> tuple[tuple[int, ...], ...]:
        """Shapes of maps (J, H, W) and weights (J,)."""
        joints = self.skeleton.num_keypoints
        return (joints, *self.cells(size)[::-1]), (joints,)

    def cells(self, size: Size) -> Size:
        """(width, height) of the maps of an input."""
        return size[0] // self.stride, size[1] // self.stride

    def encode(self, keypoints: np.ndarray, size: Size, mask: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """Maps (J, H, W) and weights (J,) of one person, keypoints (1, J, 3); see `gaussians`."""
        targets, weights = self.gaussians(keypoints, size)
        return targets[0], weights[0]

    def gaussians(self, keypoints: np.ndarray, size: Size) -> tuple[np.ndarray, np.ndarray]:
        """Training targets of P people.

        Each map is exp(-d² / 2σ²) of the distance d to the keypoint's cell, cut off to the square of 3σ around it.

        Args:
            keypoints: (P, J, 3) x, y in pixels of the network input, and above 0 where the keypoint is annotated.
            size: of the input.

        Returns:
            targets (P, J, H, W) float32, and weights (P, J) float32: 1, or 0 for keypoints that are not annotated or
            whose square lies outside the map; their maps are zero.
        """
        limit = np.array(self.cells(size))
        # Truncation, not rounding down: the reference casts to int, which matters left of and above the map.
        cells = (np.asarray(keypoints, np.float64)[..., :2] / self.stride + 0.5).astype(np.int64)
        reach = int(3 * self.sigma)
        inside = ((cells >= -reach - 1) & (cells < limit + reach)).all(axis=-1)
        weights = (inside & (np.asarray(keypoints)[..., 2] > 0)).astype(np.float32)
        # Row reach + 1 + c of a profile is the Gaussian around cell c; clipped cells have weight 0.
        rows = np.clip(cells + reach + 1, 0, limit + 2 * reach)
        along_x, along_y = (_profile(length, self.sigma) for length in self.cells(size))
        vertical = along_y[rows[..., 1]] * weights[..., None]
        return vertical[..., :, None] * along_x[rows[..., 0]][..., None, :], weights

    def decode(self, maps: Maps, size: Size) -> Decoded:
        """The person of each of N inputs.

        Scores of keypoints are the maxima of their maps; a map without a positive value gives pixel 0, 0 and its
        maximum. The score of a person is the mean of its keypoints'.
        """
        self.check(maps, size)
        width, height = self.cells(size)
        heatmaps = np.ascontiguousarray(maps[0], np.float32)
        people, joints = heatmaps.shape[:2]
        flat = heatmaps.reshape(people * joints, height * width)
        peaks = flat.argmax(axis=1)
        scores = flat[np.arange(len(flat)), peaks]
        peaks[~(scores > 0)] = 0
        y, x = np.divmod(peaks, width)
        points = np.stack([x, y], axis=1).astype(np.float32)
        if self.refine == "quarter":
            _shift_quarter(points, flat.reshape(-1, height, width), x, y)
        elif self.refine == "dark":
            _shift_dark(points, flat.reshape(-1, height, width), x, y, self.sigma)
        keypoints = np.empty((people, joints, 3), np.float32)
        keypoints[..., :2] = self.stride * points.reshape(people, joints, 2)
        keypoints[..., 2] = scores.reshape(people, joints)
        return Decoded(keypoints, keypoints[..., 2].mean(axis=1), np.arange(people))

    def flip_back(self, maps: Maps) -> Maps:
        """Maps (N, J, H, W) mirrored, left and right exchanged, and moved as `shift` says."""
        result = np.empty_like(maps[0])
        self._flip_into(result, maps[0])
        return (result,)

    def _flip_into(self, result: np.ndarray, heatmaps: np.ndarray) -> None:
        for start in range(0, len(heatmaps), _MERGE_BLOCK):
            block = slice(start, start + _MERGE_BLOCK)
            swapped = heatmaps[block, self.skeleton.flip_index]
            if self.shift:
                result[block, ..., 1:] = swapped[..., :0:-1]
                result[block, ..., 0] = swapped[..., -1]
            else:
                result[block] = swapped[..., ::-1]

    def heat(self, maps: Maps) -> tuple[np.ndarray, np.ndarray]:
        """The strongest of a person's maps; cell i is pixel stride · i."""
        matrix = np.array([[self.stride, 0, 0], [0, self.stride, 0]], np.float64)
        return maps[0].max(axis=1), np.repeat(matrix[None], len(maps[0]), axis=0)

    def describe(self) -> dict[str, Any]:
        """Numbers and steps of decoding."""
        steps = [
            "For each keypoint, cell (cx, cy) is the maximum of its map and the maximum's value is the score; where it "
            "is not positive, the cell is (0, 0).",
            _REFINE_STEPS[self.refine],
            "Input pixel (u, v) = stride * (cx, cy).",
        ]
        numbers = {"kind": "heatmaps", "stride": self.stride, "sigma": self.sigma, "refine": self.refine}
        return {**numbers, "shift_heatmap": self.shift, "steps": steps}

    def describe_flip(self) -> str:
        """`flip_back` in words."""
        moved = "move them a cell to the right (the first column keeps its value), " if self.shift else ""
        return f"mirror its maps back, exchange the maps of skeleton.flip_pairs, {moved}and take the mean of both."


@lru_cache(maxsize=16)
def _profile(size: int, sigma: float) -> np.ndarray:
    """One-dimensional Gaussians (size + 2 reach + 1, size) around every cell from -reach - 1 to size + reach - 1."""
    reach = int(3 * sigma)
    distance = np.arange(size) - np.arange(-reach - 1, size + reach)[:, None]
    profile = np.exp(-(distance**2) / (2 * sigma**2))
    return np.where(np.abs(distance) <= reach, profile, 0).astype(np.float32)


def _shift_quarter(points: np.ndarray, maps: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Move `points` (M, 2), maxima x, y (M,) of maps (M, H, W), a quarter cell towards the higher neighbour."""
    height, width = maps.shape[1:]
    (index,) = np.nonzero((x > 1) & (x < width - 1) & (y > 1) & (y < height - 1))
    flat = maps.reshape(-1)
    peak = (index * height + y[index]) * width + x[index]
    slope = np.stack([flat[peak + 1] - flat[peak - 1], flat[peak + width] - flat[peak - width]], axis=1)
    points[index] += np.float32(0.25) * np.sign(slope)


@lru_cache(maxsize=16)
def _blur(size: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """The smoothing of DARK along an axis of `size` cells, for a maximum at each of them.

    Its kernel has 11 cells at σ = 2 and 17 at σ = 3, and the spread that OpenCV gives a kernel of that length.

    Returns:
        starts (S,) and weights (S, 5, span): the cells starts[i] … + span are all that smoothing at i - 2 … i + 2
        reads inside the map (beyond its border the map is zero), weighted so.
    """
    half = max(1, round((sigma - 0.8) / 0.3 + 1))
    spread = 0.3 * (half - 1) + 0.8
    total = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * spread**2)).sum()
    span = min(2 * (half + 2) + 1, size)
    peaks = np.arange(size)
    starts = np.clip(peaks - half - 2, 0, size - span)
    cells = starts[:, None, None] + np.arange(span)
    distance = cells - peaks[:, None, None] - np.arange(-2, 3)[:, None]
    return starts, np.where(np.abs(distance) <= half, np.exp(-(distance**2) / (2 * spread**2)) / total, 0)


def _shift_dark(points: np.ndarray, maps: np.ndarray, x: np.ndarray, y: np.ndarray, sigma: float) -> None:
    """Move `points` by -H⁻¹ g of the logarithm of the smoothed map (equations 6 to 9 of the paper).

    Smoothing is linear, so only the patch around each maximum is read. The rescaling of the smoothed map
    (equation 8) adds a constant to the logarithm and drops out. Maxima within two cells of the border stay where
    they are, as in the authors' code, and so do those whose smoothed surroundings are not all positive: there the
    authors' code takes the logarithm of a small constant.
    """
    height, width = maps.shape[1:]
    (index,) = np.nonzero((x > 1) & (x < width - 2) & (y > 1) & (y < height - 2))
    x, y = x[index], y[index]
    (x_starts, x_weights), (y_starts, y_weights) = _blur(width, sigma), _blur(height, sigma)
    spans = y_weights.shape[2], x_weights.shape[2]
    windows = sliding_window_view(maps, spans, axis=(1, 2))
    patches = windows[index, y_starts[y], x_starts[x]]
    smooth = y_weights[y] @ patches @ x_weights[x].transpose(0, 2, 1)
    positive = (smooth > 0).all(axis=(1, 2))

    index, f = index[positive], np.log(smooth[positive]).transpose(1, 2, 0)
    dx, dy = (f[2, 3] - f[2, 1]) / 2, (f[3, 2] - f[1, 2]) / 2
    dxx, dyy = (f[2, 4] - 2 * f[2, 2] + f[2, 0]) / 4, (f[4, 2] - 2 * f[2, 2] + f[0, 2]) / 4
    dxy = (f[3, 3] - f[1, 3] - f[3, 1] + f[1, 1]) / 4
    determinant = dxx * dyy - dxy * dxy
    curved = determinant != 0
    shift = np.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], axis=1)[curved] / determinant[curved, None]
    points[index[curved]] += shift.astype(np.float32)
