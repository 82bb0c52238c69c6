"""Painting rounded shapes with soft shading, smooth edges and the owner and depth of every pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Surface = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (h, w) place along, (h, w, 3) normal -> (h, w, 3) colour


@dataclass(frozen=True)
class Solid:
    """A smooth union of K tapered capsules: `ends` (K, 2, 3) pixels, `radii` (K, 2) pixels, colour or surface."""

    ends: np.ndarray
    radii: np.ndarray
    surface: np.ndarray | Surface
    order: float = 0.0
    outline: float = 0.22


@dataclass
class Canvas:
    """A picture being painted, with the owner and the depth of every pixel.

    Attributes:
        image: (H, W, 3) float32, BGR in 0…1.
        light: (3,) unit vector towards the light.
        owner: (H, W) whose surface is seen; 0 is the background.
        depth: (H, W) pixels towards the viewer, comparable within one owner.
    """

    image: np.ndarray
    light: np.ndarray
    owner: np.ndarray = field(init=False)
    depth: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.owner = np.zeros(self.image.shape[:2], np.int16)
        self.depth = np.zeros(self.image.shape[:2], np.float32)

    def paint(self, part: Solid, owner: int) -> None:
        """Paint a part over what is there, with soft shading and edges covered to a fraction of a pixel."""
        height, width = self.owner.shape
        reach = part.radii[..., None] + 1.5
        x0, y0 = np.maximum(np.floor((part.ends[..., :2] - reach).min((0, 1))), 0).astype(int)
        x1, y1 = np.ceil((part.ends[..., :2] + reach).max((0, 1))).astype(int) + 1
        x1, y1 = min(x1, width), min(y1, height)
        if x0 >= x1 or y0 >= y1:
            return
        window = np.s_[y0:y1, x0:x1]
        distance, normal, depth, along, bare = _capsules(part, np.arange(x0, x1), np.arange(y0, y1))
        cover = np.clip(0.5 - distance, 0, 1)
        shade = 0.66 + 0.42 * np.clip(normal @ self.light.astype(np.float32), 0, 1)
        shade *= 1 - part.outline * np.clip(distance + 1.4, 0, 1)
        color = part.surface(along, bare) if callable(part.surface) else part.surface.astype(np.float32)
        image = self.image[window]
        image += cover[..., None] * (color * shade[..., None] - image)
        solid = cover >= 0.5
        self.owner[window][solid] = owner
        self.depth[window][solid] = depth[solid]


def _capsules(part: Solid, xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return, at each pixel, the part's signed distance (h, w), unit normal (h, w, 3) and depth (h, w), and the place
    along its first capsule (h, w) with that capsule's own normal (h, w, 3), which patterns follow."""
    ends, radii = part.ends.astype(np.float32), part.radii.astype(np.float32)
    start, axis = ends[:, 0, :, None, None], (ends[:, 1] - ends[:, 0])[:, :, None, None]  # (K, 3, 1, 1)
    px = xs.astype(np.float32)[None, None, :] - start[:, 0]
    py = ys.astype(np.float32)[None, :, None] - start[:, 1]
    along = np.clip((px * axis[:, 0] + py * axis[:, 1]) / (axis[:, 0] ** 2 + axis[:, 1] ** 2 + 1e-6), 0, 1)
    radius = radii[:, :1, None] + (radii[:, 1:] - radii[:, :1])[..., None] * along
    qx, qy = px - along * axis[:, 0], py - along * axis[:, 1]
    length = np.sqrt(qx * qx + qy * qy)
    distance = length - radius
    widest = np.maximum(length, radius)
    nx, ny = qx / widest, qy / widest
    depth = start[:, 2] + along * axis[:, 2]
    first, bare = along[0], np.stack([nx[0], ny[0], np.sqrt(np.clip(1 - nx[0] ** 2 - ny[0] ** 2, 0, 1))], -1)
    if len(ends) == 1:
        normal = bare
        nz = bare[..., 2]
        distance, depth, radius = distance[0], depth[0], radius[0]
    else:
        # Smooth union: softmin of the distances; its weights also blend the normals and depths.
        soft = max(float(radii.max()) * 0.22, 1.0)
        least = distance.min(0)
        weight = np.exp((least - distance) / soft)
        total = weight.sum(0)
        distance = least - soft * np.log(total)
        weight /= total
        nx, ny, depth, radius = ((weight * value).sum(0) for value in (nx, ny, depth, radius))
        nz = np.sqrt(np.clip(1 - nx * nx - ny * ny, 0, 1))
        normal = np.stack([nx, ny, nz], -1)
    return distance, normal, depth + radius * nz, first, bare


def blend(low: np.ndarray, high: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return `low` where the weight (h, w) is 0 or less, `high` where it is 1 or more, and a mixture between."""
    return low + np.clip(weight, 0, 1)[..., None].astype(np.float32) * (high - low)


def _hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """Return the BGR colour (3,) in 0…1 of a hue (0…1), saturation and value."""
    ramp = np.abs((hue + np.array([1 / 3, 2 / 3, 1.0])) % 1 * 6 - 3) - 1
    return (value * (1 - saturation * (1 - np.clip(ramp, 0, 1)))).astype(np.float32)


def random_color(rng: np.random.Generator, saturation: tuple[float, float] = (0.25, 0.85)) -> np.ndarray:
    """Return a random BGR colour (3,) in 0…1."""
    return _hsv(rng.random(), rng.uniform(*saturation), rng.uniform(0.3, 0.95))
