"""Heat maps of one person: Gaussian targets from keypoints, and keypoints from the maps of a network.

The convention is that of SimpleBaselines (Xiao, Wu, Wei: Simple Baselines for Human Pose Estimation and Tracking,
ECCV 2018): a map cell times the stride is the pixel of the network input.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mspose.errors import PoseError, UsageError
from mspose.geometry import output_to_image

REFINEMENTS = ("quarter", "dark", "none")
# People whose maps are merged at a time: their temporaries stay in the cache, which halves the time.
_MERGE_BLOCK = 4


@dataclass(frozen=True)
class HeatmapCodec:
    """Converts between J keypoints of a person and J heat maps of H x W cells.

    Attributes:
        input_size: (width, height) of the network input in pixels.
        heatmap_size: (width, height) of the maps in cells.
        sigma: standard deviation of the target Gaussian in cells.
        refine: how decoding gets below one cell: `quarter` moves a quarter cell towards the higher neighbour
            (SimpleBaselines), `dark` fits the logarithm of the smoothed map to second order (Zhang et al.:
            Distribution-Aware Coordinate Representation, arXiv 1910.06278), `none` keeps the maximum.

    Raises:
        UsageError: `refine` is not one of those names.
    """

    input_size: tuple[int, int]
    heatmap_size: tuple[int, int]
    sigma: float = 2.0
    refine: str = "quarter"

    def __post_init__(self) -> None:
        if self.refine not in REFINEMENTS:
            raise UsageError(f"codec.refine: {self.refine!r} is not one of {', '.join(REFINEMENTS)}")

    def encode(self, keypoints: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Make training targets.

        Each map is exp(-d² / 2σ²) of the distance d to the keypoint's cell, cut off to the square of 3σ around it.

        Args:
            keypoints: (..., J, 2) x, y in pixels of the network input.
            visible: (..., J) above 0 where the keypoint is annotated.

        Returns:
            targets (..., J, H, W) float32, and weights (..., J) float32: 1, or 0 for keypoints that are not annotated
            or whose square lies outside the map; their maps are zero.
        """
        size = np.array(self.heatmap_size)
        stride = np.array(self.input_size) / size
        # Truncation, not rounding down: the reference casts to int, which matters left of and above the map.
        cells = (np.asarray(keypoints, np.float64)[..., :2] / stride + 0.5).astype(np.int64)
        reach = self._reach
        inside = ((cells >= -reach - 1) & (cells < size + reach)).all(axis=-1)
        weights = (inside & (np.asarray(visible) > 0)).astype(np.float32)
        # Row reach + 1 + c of a profile is the Gaussian around cell c; clipped cells have weight 0.
        rows = np.clip(cells + reach + 1, 0, size + 2 * reach)
        along_x, along_y = self._profiles
        vertical = along_y[rows[..., 1]] * weights[..., None]
        return vertical[..., :, None] * along_x[rows[..., 0]][..., None, :], weights

    def decode(self, heatmaps: np.ndarray, centers: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Find the keypoints of N people.

        Args:
            heatmaps: (N, J, H, W) float32 network outputs.
            centers, sizes: (N, 2) of the crops that the network saw, in image pixels (see `geometry.box_to_crop`).

        Returns:
            (N, J, 3) float32: x, y in image pixels and the score, which is the map's maximum. A map without a
            positive value gives the corner of the crop and its maximum.

        Raises:
            PoseError: the maps have another size than `heatmap_size`.
        """
        width, height = self.heatmap_size
        heatmaps = np.ascontiguousarray(heatmaps, np.float32)
        people, joints = heatmaps.shape[:2]
        if heatmaps.shape[2:] != (height, width):
            raise PoseError(
                f"codec.heatmap_size is {width}x{height} but the network gives maps of "
                f"{heatmaps.shape[3]}x{heatmaps.shape[2]}; make them agree"
            )
        maps = heatmaps.reshape(people * joints, height * width)
        peaks = maps.argmax(axis=1)
        scores = maps[np.arange(len(maps)), peaks]
        peaks[~(scores > 0)] = 0
        y, x = np.divmod(peaks, width)
        points = np.stack([x, y], axis=1).astype(np.float32)
        if self.refine == "quarter":
            self._shift_quarter(points, maps, x, y)
        elif self.refine == "dark":
            self._shift_dark(points, maps, x, y)
        keypoints = np.empty((people, joints, 3), np.float32)
        keypoints[..., :2] = output_to_image(
            points.reshape(people, joints, 2),
            np.asarray(centers, np.float32),
            np.asarray(sizes, np.float32),
            self.heatmap_size,
        )
        keypoints[..., 2] = scores.reshape(people, joints)
        return keypoints

    @property
    def _reach(self) -> int:
        return int(3 * self.sigma)

    @cached_property
    def _profiles(self) -> tuple[np.ndarray, np.ndarray]:
        """One-dimensional Gaussians around every cell from -reach - 1 to size + reach - 1, for x and for y."""
        reach = self._reach
        profiles = []
        for size in self.heatmap_size:
            distance = np.arange(size) - np.arange(-reach - 1, size + reach)[:, None]
            profile = np.exp(-(distance**2) / (2 * self.sigma**2))
            profiles.append(np.where(np.abs(distance) <= reach, profile, 0).astype(np.float32))
        return profiles[0], profiles[1]

    def _shift_quarter(self, points: np.ndarray, maps: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        width, height = self.heatmap_size
        (index,) = np.nonzero((x > 1) & (x < width - 1) & (y > 1) & (y < height - 1))
        flat = maps.reshape(-1)
        peak = index * maps.shape[1] + y[index] * width + x[index]
        slope = np.stack([flat[peak + 1] - flat[peak - 1], flat[peak + width] - flat[peak - width]], axis=1)
        points[index] += np.float32(0.25) * np.sign(slope)

    @cached_property
    def _blur(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """The smoothing of DARK along x and along y, for a maximum at each cell of an axis of S cells.

        Its kernel has 11 cells at σ = 2 and 17 at σ = 3, and the spread that OpenCV gives a kernel of that length.

        Returns:
            For each axis, starts (S,) and weights (S, 5, span): the cells starts[i] … + span are all that smoothing
            at i - 2 … i + 2 reads inside the map (beyond its border the map is zero), weighted so.
        """
        half = max(1, round((self.sigma - 0.8) / 0.3 + 1))
        spread = 0.3 * (half - 1) + 0.8
        total = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * spread**2)).sum()
        axes = []
        for size in self.heatmap_size:
            span = min(2 * (half + 2) + 1, size)
            peaks = np.arange(size)
            starts = np.clip(peaks - half - 2, 0, size - span)
            cells = starts[:, None, None] + np.arange(span)
            distance = cells - peaks[:, None, None] - np.arange(-2, 3)[:, None]
            weights = np.where(np.abs(distance) <= half, np.exp(-(distance**2) / (2 * spread**2)) / total, 0)
            axes.append((starts, weights))
        return axes[0], axes[1]

    def _shift_dark(self, points: np.ndarray, maps: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        """Move `points` by -H⁻¹ g of the logarithm of the smoothed map (equations 6 to 9 of the paper).

        Smoothing is linear, so only the patch around each maximum is read. The rescaling of the smoothed map
        (equation 8) adds a constant to the logarithm and drops out. Maxima within two cells of the border stay where
        they are, as in the authors' code, and so do those whose smoothed surroundings are not all positive: there the
        authors' code takes the logarithm of a small constant.
        """
        width, height = self.heatmap_size
        (index,) = np.nonzero((x > 1) & (x < width - 2) & (y > 1) & (y < height - 2))
        x, y = x[index], y[index]
        (x_starts, x_weights), (y_starts, y_weights) = self._blur
        spans = y_weights.shape[2], x_weights.shape[2]
        windows = sliding_window_view(maps.reshape(-1, height, width), spans, axis=(1, 2))
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


def flip_back(heatmaps: np.ndarray, flip_index: np.ndarray, shift: bool = True) -> np.ndarray:
    """Turn the maps of mirrored inputs into maps of the inputs as they were.

    Args:
        heatmaps: (N, J, H, W) outputs for the horizontally mirrored inputs.
        flip_index: (J,) `Skeleton.flip_index`.
        shift: move the result one cell to the right (the first column stays), as SimpleBaselines does: mirrored maps
            are off by one input pixel less than a stride, since cell 0 is at pixel 0 on both sides.

    Returns:
        (N, J, H, W).
    """
    result = np.empty_like(heatmaps)
    _flip_into(result, heatmaps, flip_index, shift)
    return result


def merge_flipped(heatmaps: np.ndarray, flipped: np.ndarray, flip_index: np.ndarray, shift: bool = True) -> np.ndarray:
    """Mean of the maps of inputs (N, J, H, W) and `flip_back` of the maps of the mirrored inputs (N, J, H, W)."""
    result = np.empty_like(heatmaps)
    for start in range(0, len(heatmaps), _MERGE_BLOCK):
        block = slice(start, start + _MERGE_BLOCK)
        merged = result[block]
        _flip_into(merged, flipped[block], flip_index, shift)
        merged += heatmaps[block]
        merged *= 0.5
    return result


def _flip_into(result: np.ndarray, heatmaps: np.ndarray, flip_index: np.ndarray, shift: bool) -> None:
    swapped = heatmaps[:, flip_index]
    if shift:
        result[..., 1:] = swapped[..., :0:-1]
        result[..., 0] = swapped[..., -1]
    else:
        result[...] = swapped[..., ::-1]
