"""How decoding gets below one cell of a heat map: from whole-numbered maxima to the place between cells.

All work on many maps at once. What the words of a model card say of them stands beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

# Maps that are smoothed whole at a time: their temporaries stay in the cache.
_BLOCK = 64


@dataclass(frozen=True)
class UdpForm:
    """What differs among the forms of UDP's refinement that published figures were made with.

    Attributes:
        border: what smoothing reads beyond the map, a mode of `numpy.pad`.
        rescale: whether the smoothed map gets the maximum of the raw one.
        beyond: the logarithm beyond the map: that of the nearest cell, or zero.
        damping: added to the diagonal of the Hessian.
        spread: standard deviation of smoothing in cells; None: by the kernel's length, as OpenCV does.
    """

    border: Literal["constant", "reflect", "symmetric"]
    rescale: bool = False
    beyond: Literal["edge", "zero"] = "edge"
    damping: float = 1.1920929e-07
    spread: float | None = None


# Of MMPose 1.x; of MMPose 0.x, UDP's and ViTPose's authors; of mindpose; of Hugging Face's transformers.
UDP_FORMS = {
    "dark_udp": UdpForm("constant", rescale=True),
    "dark_udp_0x": UdpForm("reflect"),
    "dark_udp_mindpose": UdpForm("constant", beyond="zero", damping=1e-7),
    "dark_udp_hf": UdpForm("symmetric", spread=0.8),
}
REFINEMENTS = ("quarter", "dark", "none", *UDP_FORMS)
_BORDERS = {
    "constant": "which is zero beyond its border",
    "reflect": "reflected at its border without repeating the outermost cells (cv2.BORDER_REFLECT_101)",
    "symmetric": "reflected at its border with the outermost cells repeated (cv2.BORDER_REFLECT)",
}
# Cells. A longer step comes of a map of noise, whose Hessian is close to singular: it would leave the picture.
_LONGEST_STEP = 8
# Smoothed values are limited to these before UDP takes their logarithm.
_LEAST, _MOST = 1e-3, 50.0


@dataclass(frozen=True)
class Kernel:
    """A normalised Gaussian of 2 · half + 1 cells, with a standard deviation of `spread` cells."""

    half: int
    spread: float

    def weights(self) -> np.ndarray:
        """Its values (2 · half + 1,)."""
        values = np.exp(-(np.arange(-self.half, self.half + 1) ** 2) / (2 * self.spread**2))
        return values / values.sum()


def kernel_of(kind: str, sigma: float, length: int | None) -> Kernel:
    """What a refinement smooths with.

    Args:
        sigma: of the training targets, in cells.
        length: cells of the kernel; None: 11 at σ = 2, 17 at σ = 3, as DARK's authors advise.
    """
    half = length // 2 if length else max(1, round((sigma - 0.8) / 0.3 + 1))
    spread = UDP_FORMS[kind].spread if kind in UDP_FORMS else None
    return Kernel(half, spread or 0.3 * (half - 1) + 0.8)


def refine_maxima(kind: str, kernel: Kernel, points: np.ndarray, maps: np.ndarray) -> None:
    """Move whole-numbered maxima to the place between cells.

    Args:
        kind: one of `REFINEMENTS`.
        points: (M, 2) float32 x, y of the maxima in cells, changed in place; (0, 0) where a map has no positive value.
        maps: (M, H, W) float32.
    """
    x, y = points.astype(np.int64).T
    if kind == "quarter":
        _quarter(points, maps, x, y)
    elif kind == "dark":
        _dark(points, maps, x, y, kernel)
    elif kind in UDP_FORMS:
        _udp(points, maps, x, y, kernel, UDP_FORMS[kind])


def describe_refinement(kind: str, kernel: Kernel) -> str:
    """A refinement in words, for model cards."""
    gaussian = (
        f"a normalised Gaussian kernel of {2 * kernel.half + 1} cells, standard deviation {round(kernel.spread, 6)}"
    )
    limit = f", unless that is {_LONGEST_STEP} cells or longer."
    if kind == "none":
        return "refine none: keep the whole-numbered cell."
    if kind == "quarter":
        return (
            "refine quarter: where 1 < cx < w - 1 and 1 < cy < h - 1, add 0.25 * sign(map[cy, cx + 1] - map[cy, cx - "
            "1]) to cx and 0.25 * sign(map[cy + 1, cx] - map[cy - 1, cx]) to cy, both from the whole-numbered cell."
        )
    if kind == "dark":
        return (
            f"refine dark (arXiv 1910.06278): smooth the map, {_BORDERS['constant']}, with {gaussian}; where 1 < cx < "
            "w - 2 and 1 < cy < h - 2 and the smoothed 5x5 cells around are all positive, let f be their logarithm, "
            "dx = (f[0, 1] - f[0, -1]) / 2, dxx = (f[0, 2] - 2 f[0, 0] + f[0, -2]) / 4, dxy = (f[1, 1] - f[-1, 1] - "
            "f[1, -1] + f[-1, -1]) / 4 (indices y, x from the cell; dy, dyy alike), and add - inverse([[dxx, dxy], "
            f"[dxy, dyy]]) [dx, dy]{limit}"
        )
    form = UDP_FORMS[kind]
    rescaled = ", and multiply it so that its maximum is that of the map again" if form.rescale else ""
    beyond = "that of the nearest cell" if form.beyond == "edge" else "0"
    return (
        f"refine {kind} (arXiv 1911.07524): where the maximum is positive, smooth the map, {_BORDERS[form.border]}, "
        f"with {gaussian}{rescaled}; limit its values to {_LEAST} ... {_MOST:g}; let f be their logarithm, beyond the "
        f"border {beyond}, dx = (f[0, 1] - f[0, -1]) / 2, dxx = f[0, 1] - 2 f[0, 0] + f[0, -1], dxy = (f[1, 1] - "
        "f[0, 1] - f[1, 0] + 2 f[0, 0] - f[0, -1] - f[-1, 0] + f[-1, -1]) / 2 (indices y, x from the cell; dy, dyy "
        f"alike), and add - inverse([[dxx + e, dxy], [dxy, dyy + e]]) [dx, dy] with e = {form.damping:.8g}{limit}"
    )


def _quarter(points: np.ndarray, maps: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """A quarter cell towards the higher neighbour (SimpleBaselines)."""
    height, width = maps.shape[1:]
    (index,) = np.nonzero((x > 1) & (x < width - 1) & (y > 1) & (y < height - 1))
    flat = maps.reshape(-1)
    peak = (index * height + y[index]) * width + x[index]
    slope = np.stack([flat[peak + 1] - flat[peak - 1], flat[peak + width] - flat[peak - width]], axis=1)
    points[index] += np.float32(0.25) * np.sign(slope)


def _dark(points: np.ndarray, maps: np.ndarray, x: np.ndarray, y: np.ndarray, kernel: Kernel) -> None:
    """-H⁻¹ g of the logarithm of the smoothed map (Zhang et al., arXiv 1910.06278, equations 6 to 9).

    The rescaling of the smoothed map (equation 8) adds a constant to the logarithm and drops out. Maxima within two
    cells of the border stay where they are, as in the authors' code, and so do those whose smoothed surroundings are
    not all positive: there the authors' code takes the logarithm of a small constant.
    """
    height, width = maps.shape[1:]
    (index,) = np.nonzero((x > 1) & (x < width - 2) & (y > 1) & (y < height - 2))
    smooth = _smoothed_around(maps, index, x[index], y[index], kernel, "constant")
    positive = (smooth > 0).all(axis=(1, 2))
    f = np.log(smooth[positive]).transpose(1, 2, 0)
    gradient = (f[2, 3] - f[2, 1]) / 2, (f[3, 2] - f[1, 2]) / 2
    dxx, dyy = (f[2, 4] - 2 * f[2, 2] + f[2, 0]) / 4, (f[4, 2] - 2 * f[2, 2] + f[0, 2]) / 4
    dxy = (f[3, 3] - f[1, 3] - f[3, 1] + f[1, 1]) / 4
    _newton_step(points, index[positive], gradient, (dxx, dxy, dyy))


def _udp(points: np.ndarray, maps: np.ndarray, x: np.ndarray, y: np.ndarray, kernel: Kernel, form: UdpForm) -> None:
    """-H⁻¹ g of the logarithm of the smoothed map, at the border too (Huang et al., arXiv 1911.07524)."""
    height, width = maps.shape[1:]
    peaks = maps[np.arange(len(maps)), y, x]
    (index,) = np.nonzero(peaks > 0)
    x, y = x[index], y[index]
    smooth = _smoothed_around(maps, index, x, y, kernel, form.border)[:, 1:4, 1:4]
    if form.rescale:
        # It adds a constant to the logarithm and drops out, but where limits cut in. They do not from above, since a
        # rescaled map is nowhere higher than the raw one, nor from below, since rescaling makes no map lower.
        limited = (smooth.min(axis=(1, 2)) < _LEAST) | (peaks[index] > _MOST)
        largest = _largest_smoothed(maps[index[limited]], kernel, form.border)
        scale = np.divide(peaks[index[limited]], largest, where=largest > 0, out=np.zeros(len(largest)))
        smooth[limited] *= scale[:, None, None]
    f = np.log(np.clip(smooth, _LEAST, _MOST))
    if form.beyond == "zero":
        steps = np.arange(-1, 2)
        rows, columns = y[:, None] + steps, x[:, None] + steps
        within = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None]
        f = np.where(within, f, 0)
    f = f.transpose(1, 2, 0)
    gradient = (f[1, 2] - f[1, 0]) / 2, (f[2, 1] - f[0, 1]) / 2
    dxx, dyy = f[1, 2] - 2 * f[1, 1] + f[1, 0], f[2, 1] - 2 * f[1, 1] + f[0, 1]
    dxy = (f[2, 2] - f[1, 2] - f[2, 1] + 2 * f[1, 1] - f[1, 0] - f[0, 1] + f[0, 0]) / 2
    _newton_step(points, index, gradient, (dxx + form.damping, dxy, dyy + form.damping))


def _newton_step(
    points: np.ndarray,
    index: np.ndarray,
    gradient: tuple[np.ndarray, np.ndarray],
    hessian: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Add -H⁻¹ g to the rows `index` (K,) of `points`; those of a singular H or a senseless step stay.

    Args:
        gradient: dx, dy, each (K,).
        hessian: dxx, dxy, dyy, each (K,).
    """
    (dx, dy), (dxx, dxy, dyy) = gradient, hessian
    determinant = dxx * dyy - dxy * dxy
    product = np.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy])
    is_step = np.hypot(*product) < _LONGEST_STEP * np.abs(determinant)
    points[index[is_step]] += (product / np.where(is_step, determinant, 1)).T[is_step].astype(np.float32)


def _smoothed_around(
    maps: np.ndarray, index: np.ndarray, x: np.ndarray, y: np.ndarray, kernel: Kernel, border: str
) -> np.ndarray:
    """The 5x5 cells (K, 5, 5), float64, of the smoothed maps `index` (K,) around x, y (K,); beyond the border, those
    of the nearest cell. Smoothing is linear, so only a patch of each map is read."""
    height, width = maps.shape[1:]
    (x_starts, x_weights), (y_starts, y_weights) = (_windows(side, kernel, border) for side in (width, height))
    windows = sliding_window_view(maps, (y_weights.shape[2], x_weights.shape[2]), axis=(1, 2))
    patches = windows[index, y_starts[y], x_starts[x]]
    return y_weights[y] @ patches @ x_weights[x].transpose(0, 2, 1)


def _largest_smoothed(maps: np.ndarray, kernel: Kernel, border: str) -> np.ndarray:
    """Maxima (M,) of the smoothed maps (M, H, W)."""
    height, width = maps.shape[1:]
    rows, columns = (_matrix(side, kernel, border).astype(np.float32) for side in (height, width))
    found = np.empty(len(maps))
    for start in range(0, len(maps), _BLOCK):
        block = maps[start : start + _BLOCK]
        found[start : start + _BLOCK] = (rows @ (block @ columns.T)).max(axis=(1, 2))
    return found


@lru_cache(maxsize=16)
def _matrix(size: int, kernel: Kernel, border: str) -> np.ndarray:
    """Smoothing along an axis of `size` cells as a matrix (size, size)."""
    cells = np.pad(np.arange(size), kernel.half, border)  # type: ignore[call-overload]
    weights = np.tile(kernel.weights(), (size, 1))
    read = np.arange(size)[:, None] + np.arange(2 * kernel.half + 1)  # where in `cells`
    if border == "constant":  # zero beyond the border, whatever cell stands there
        weights[(read < kernel.half) | (read >= size + kernel.half)] = 0
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], cells[read]), weights)
    return matrix


@lru_cache(maxsize=16)
def _windows(size: int, kernel: Kernel, border: str) -> tuple[np.ndarray, np.ndarray]:
    """Smoothing at the five cells around each cell of an axis, without the cells that it does not read.

    Returns:
        starts (size,) and weights (size, 5, span): the cells starts[i] … + span are all that smoothing at i - 2 … i + 2
        reads, weighted so. Beyond the border, smoothing is that of the nearest cell.
    """
    span = min(2 * (kernel.half + 2) + 1, size)
    starts = np.clip(np.arange(size) - kernel.half - 2, 0, size - span)
    around = np.clip(np.arange(size)[:, None] + np.arange(-2, 3), 0, size - 1)
    matrix = _matrix(size, kernel, border)
    return starts, matrix[around[:, :, None], starts[:, None, None] + np.arange(span)]
