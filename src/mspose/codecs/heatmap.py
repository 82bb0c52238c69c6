"""Heat maps of one person: Gaussian targets from keypoints, and keypoints from the maps of a network.

The convention is that of SimpleBaselines (Xiao, Wu, Wei: Simple Baselines for Human Pose Estimation and Tracking,
ECCV 2018): a map cell times the stride is the pixel of the network input. UDP's (Huang et al.: The Devil is in the
Details, arXiv 1911.07524) lays the centres of the outermost cells on those of the outermost pixels instead, so that
mirrored maps fall on the maps of the input without a shift.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mspose.codecs.base import Codec, Decoded, Maps, MapSpec, Size
from mspose.codecs.refine import REFINEMENTS, UDP_FORMS, Kernel, describe_refinement, kernel_of, refine_maxima
from mspose.config.keys import FIXED, FREE, Check, key, section_as
from mspose.config.schema import CodecConfig, DataConfig
from mspose.config.topdown import TopDownData
from mspose.errors import UsageError
from mspose.skeleton import COCO17, Skeleton

# Gaussians of the training targets: around the nearest cell (SimpleBaselines), around the keypoint itself and never
# cut off (DARK), or around the keypoint and cut off around the nearest cell (UDP).
TARGETS = ("rounded", "exact", "exact_cut")
# People whose maps are merged at a time: their temporaries stay in the cache, which halves the time.
_MERGE_BLOCK = 4


def misfits(unbiased: bool, refinement: str, targets: str | None) -> Iterator[tuple[str, str]]:
    """Keys of a codec that do not go with UDP's geometry or with the plain one, and what each must do instead."""
    if refinement in UDP_FORMS and not unbiased:
        plain = ", ".join(kind for kind in REFINEMENTS if kind not in UDP_FORMS)
        yield "refine", f"be one of {plain} unless data.unbiased is true"
    if targets == "rounded" and unbiased:
        yield "targets", "be exact_cut or exact where data.unbiased is true: rounding brings the bias back"


@dataclass
class HeatmapKeys(CodecConfig):
    """What the network's maps mean."""

    heatmap_size: list[int] | None = key(
        None,
        "heat maps [width, height]; null: as the network makes them of data.input_size",
        Check(lambda v: v is None or (len(v) == 2 and min(v) > 0), "be null, or [width, height]"),
        FIXED,
    )
    sigma: float = key(
        2.0,
        "standard deviation of the target Gaussian in heat-map cells",
        Check(lambda v: 0 < v <= 100, "be above 0 and at most 100"),  # smoothing reads several of them
        FIXED,
    )
    targets: str | None = key(
        None,
        "Gaussian of the training targets: around the nearest cell (rounded), around the keypoint itself (exact: "
        "DARK), or that cut off at 3 sigma (exact_cut: UDP); null: exact_cut with data.unbiased, else rounded",
        Check(lambda v: v in (None, *TARGETS), f"be null or one of {', '.join(TARGETS)}"),
        FIXED,
    )
    refine: str = key(
        "quarter",
        "sub-cell decoding: quarter-pixel shift, DARK, none; with data.unbiased also UDP's as in MMPose 1.x, in "
        "MMPose 0.x and by the authors, in mindpose, in Hugging Face's transformers",
        REFINEMENTS,
        FREE,
    )
    blur: int | None = key(
        None,
        "cells of the Gaussian with which DARK and UDP smooth maps, odd; null: by sigma, 11 at 2, 17 at 3",
        Check(lambda v: v is None or (3 <= v < 100 and v % 2 == 1), "be null, or an odd number from 3 to 99"),
        FREE,
    )

    def derive(self, data: DataConfig, stride: int) -> Iterator[tuple[str, str]]:
        """The size of the maps; what does not go with the geometry."""
        expected = [side // stride for side in data.input_size]
        if self.heatmap_size not in (None, expected):
            yield "heatmap_size", f"be {expected}, data.input_size / {stride}, or be left out"
        self.heatmap_size = expected
        yield from misfits(section_as(data, TopDownData).unbiased, self.refine, self.targets)


@dataclass(frozen=True)
class HeatmapCodec(Codec):
    """Converts between J keypoints of a person and J heat maps of H x W cells.

    Attributes:
        skeleton: what the keypoints are.
        stride: input pixels a cell.
        sigma: standard deviation of the target Gaussian in cells.
        refine: how decoding gets below one cell: `quarter` moves a quarter cell towards the higher neighbour
            (SimpleBaselines), `dark` fits the logarithm of the smoothed map to second order (Zhang et al.:
            Distribution-Aware Coordinate Representation, arXiv 1910.06278), `none` keeps the maximum; the forms of
            UDP's are in `mspose.codecs.refine`.
        shift: move the maps of mirrored inputs one cell to the right (the first column stays), as SimpleBaselines does:
            they are off by one input pixel less than a stride, since cell 0 is at pixel 0 on both sides. Nothing is
            moved where `unbiased` holds.
        unbiased: UDP's geometry: cell 0 and the last one are at pixel 0 and the last one.
        gaussian: what targets are made with, one of `TARGETS`; None: `exact_cut` if `unbiased`, else `rounded`.
        blur: cells of the Gaussian that `dark` and its kin smooth with; None: by `sigma`.

    Raises:
        UsageError: a name is not one of those, or does not go with `unbiased`.
    """

    skeleton: Skeleton = COCO17
    stride: int = 4
    sigma: float = 2.0
    refine: str = "quarter"
    shift: bool = True
    unbiased: bool = False
    gaussian: str | None = None
    blur: int | None = None

    def __post_init__(self) -> None:
        for name, value, known in (("refine", self.refine, REFINEMENTS), ("targets", self._gaussian, TARGETS)):
            if value not in known:
                raise UsageError(f"codec.{name}: {value!r} is not one of {', '.join(known)}")
        for name, words in misfits(self.unbiased, self.refine, self.gaussian):
            raise UsageError(f"codec.{name} must {words}")

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

        Each map is exp(-d² / 2σ²) of the distance d to the keypoint's place in cells, or to the nearest cell's, as
        `gaussian` says; all but `exact` are cut off to the square of 3σ around the nearest cell.

        Args:
            keypoints: (P, J, 3) x, y in pixels of the network input, and above 0 where the keypoint is annotated.
            size: of the input.

        Returns:
            targets (P, J, H, W) float32, and weights (P, J) float32: 1, or 0 for keypoints that are not annotated or
            whose square lies outside the map; their maps are zero.
        """
        limit = np.array(self.cells(size))
        places = np.asarray(keypoints, np.float64)[..., :2] / self._pixels_per_cell(size)
        # Truncation, not rounding down: the reference casts to int, which matters left of and above the map.
        cells = (places + 0.5).astype(np.int64)
        if self._gaussian == "exact":
            reach, middle = 3 * self.sigma, places
        else:
            reach, middle = int(3 * self.sigma), cells
        inside = ((middle >= -reach - 1) & (middle < limit + reach)).all(axis=-1)
        weights = (inside & (np.asarray(keypoints)[..., 2] > 0)).astype(np.float32)
        centers = cells if self._gaussian == "rounded" else places
        along_x, along_y = (self._profile(length, centers[..., i], cells[..., i]) for i, length in enumerate(limit))
        vertical = along_y * weights[..., None]
        return vertical[..., :, None] * along_x[..., None, :], weights

    def _profile(self, length: int, centers: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Gaussians (..., length) float32 around `centers` (...), cut off around `cells` where targets are."""
        along = np.arange(length)
        profile = np.exp(-((along - centers[..., None]) ** 2) / (2 * self.sigma**2)).astype(np.float32)
        if self._gaussian == "exact":
            return profile
        return np.where(np.abs(along - cells[..., None]) <= int(3 * self.sigma), profile, 0)

    def _pixels_per_cell(self, size: Size) -> np.ndarray:
        """Input pixels (2,) from one cell to the next, along x and y."""
        if not self.unbiased:
            return np.full(2, float(self.stride))
        return (np.array(size) - 1) / (np.array(self.cells(size)) - 1)

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
        refine_maxima(self.refine, self._kernel, points, flat.reshape(-1, height, width))
        keypoints = np.empty((people, joints, 3), np.float32)
        keypoints[..., :2] = self._pixels_per_cell(size) * points.reshape(people, joints, 2)
        keypoints[..., 2] = scores.reshape(people, joints)
        return Decoded(keypoints, keypoints[..., 2].mean(axis=1), np.arange(people))

    @property
    def _gaussian(self) -> str:
        return self.gaussian or ("exact_cut" if self.unbiased else "rounded")

    @property
    def _shifts(self) -> bool:
        return self.shift and not self.unbiased

    @property
    def _kernel(self) -> Kernel:
        return kernel_of(self.refine, self.sigma, self.blur)

    def flip_back(self, maps: Maps) -> Maps:
        """Maps (N, J, H, W) mirrored, left and right exchanged, and moved as `shift` says."""
        result = np.empty_like(maps[0])
        self._flip_into(result, maps[0])
        return (result,)

    def _flip_into(self, result: np.ndarray, heatmaps: np.ndarray) -> None:
        for start in range(0, len(heatmaps), _MERGE_BLOCK):
            block = slice(start, start + _MERGE_BLOCK)
            swapped = heatmaps[block, self.skeleton.flip_index]
            if self._shifts:
                result[block, ..., 1:] = swapped[..., :0:-1]
                result[block, ..., 0] = swapped[..., -1]
            else:
                result[block] = swapped[..., ::-1]

    def heat(self, maps: Maps) -> tuple[np.ndarray, np.ndarray]:
        """The strongest of a person's maps."""
        height, width = maps[0].shape[2:]
        matrix = np.zeros((2, 3))
        matrix[[0, 1], [0, 1]] = self._pixels_per_cell((width * self.stride, height * self.stride))
        return maps[0].max(axis=1), np.repeat(matrix[None], len(maps[0]), axis=0)

    def describe(self) -> dict[str, Any]:
        """Numbers and steps of decoding."""
        pixel = "(cx * (W - 1) / (w - 1), cy * (H - 1) / (h - 1))" if self.unbiased else "stride * (cx, cy)"
        steps = [
            "For each keypoint, cell (cx, cy) is the maximum of its map and the maximum's value is the score; where it "
            "is not positive, the cell is (0, 0).",
            describe_refinement(self.refine, self._kernel),
            f"Input pixel (u, v) = {pixel}.",
        ]
        numbers = {"kind": "heatmaps", "stride": self.stride, "sigma": self.sigma, "refine": self.refine}
        return {**numbers, "unbiased": self.unbiased, "shift_heatmap": self._shifts, "steps": steps}

    def describe_flip(self) -> str:
        """`flip_back` in words."""
        moved = "move them a cell to the right (the first column keeps its value), " if self._shifts else ""
        return f"mirror its maps back, exchange the maps of skeleton.flip_pairs, {moved}and take the mean of both."
