"""What stands around the people of the generated sample data: backgrounds, things behind them and in front of them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike

from mspose.synthetic.canvas import Canvas, Solid, random_color
from mspose.synthetic.figure import SKIN

SHIFT = 4  # cv2 draws with coordinates in 1/16 pixel
FOREGROUND = -1  # owner of the pixels of things that may hide people


def _points(points: ArrayLike) -> np.ndarray:
    return np.rint(np.asarray(points, float) * (1 << SHIFT)).astype(np.int32)


def _polygon(image: np.ndarray, points: np.ndarray, color: np.ndarray) -> None:
    cv2.fillPoly(image, [_points(points)], (np.clip(color, 0, 1) * 255).tolist(), cv2.LINE_AA, SHIFT)


def _rectangle(image: np.ndarray, x0: float, y0: float, x1: float, y1: float, color: np.ndarray) -> None:
    _polygon(image, np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]), color)


def _disc(image: np.ndarray, x: float, y: float, radius: float, color: list[float]) -> None:
    cv2.circle(image, _points((x, y)).tolist(), int(radius * (1 << SHIFT)), color, -1, cv2.LINE_AA, SHIFT)


def _noise(rng: np.random.Generator, width: int, height: int, cells: tuple[int, ...], stretch: float) -> np.ndarray:
    """Return smooth noise (H, W) of mean 0 and range about ±1, from coarse to fine; `stretch` widens its grain."""
    total = np.zeros((height, width), np.float32)
    for i, cell in enumerate(cells):
        shape = (max(int(height / cell), 2), max(int(width / cell / stretch), 2))
        coarse = rng.random(shape, np.float32) * 2 - 1
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) / (1 + i)
    return total


def background(rng: np.random.Generator, width: int, height: int) -> tuple[np.ndarray, float]:
    """Paint a random place: returns the picture (H, W, 3), float32 BGR in 0…1, and the y of its horizon."""
    horizon = float(rng.uniform(0.28, 0.5) * height)
    kind = ("street", "park", "room", "plain")[rng.choice(4, p=[0.3, 0.3, 0.28, 0.12])]
    image = np.empty((height, width, 3), np.uint8)
    top, bottom = random_color(rng, (0.05, 0.4)), random_color(rng, (0.05, 0.45))
    if kind in ("street", "park"):
        top = np.array([0.92, 0.78, 0.62]) * rng.uniform(0.75, 1.05)
        bottom = np.array([0.97, 0.93, 0.88]) * rng.uniform(0.8, 1.02)
    ramp = np.linspace(0, 1, height)[:, None, None]
    image[:] = np.clip(top + (bottom - top) * ramp, 0, 1) * 255
    {"street": _street, "park": _park, "room": _room, "plain": _plain}[kind](rng, image, horizon)
    for _ in range(rng.integers(0, 4)):
        _distractor(rng, image, horizon)
    grain = _noise(rng, width, height, (38, 14, 5), rng.uniform(0.8, 2.5)) * rng.uniform(0.02, 0.06)
    return image.astype(np.float32) / 255 + grain[..., None], horizon


def _ground(rng: np.random.Generator, image: np.ndarray, horizon: float, color: np.ndarray) -> None:
    """A floor with lines that run to a vanishing point on the horizon."""
    height, width = image.shape[:2]
    rows = np.arange(int(horizon), height)
    ramp = (0.82 + 0.3 * (rows - horizon) / (height - horizon))[:, None, None]
    image[int(horizon) :] = np.clip(color * ramp, 0, 1) * 255
    if rng.random() < 0.6:
        line = tuple((np.clip(color * rng.choice([0.8, 1.18]), 0, 1) * 255).tolist())
        vanish = rng.uniform(0.2, 0.8) * width
        for x in np.arange(-2, 3.01, rng.uniform(0.25, 0.6)) * width:
            cv2.line(
                image, _points((vanish, horizon)).tolist(), _points((x, height)).tolist(), line, 1, cv2.LINE_AA, SHIFT
            )
        for step in range(1, 7):
            y = horizon + (height - horizon) * (step / 6) ** 2
            cv2.line(image, _points((0, y)).tolist(), _points((width, y)).tolist(), line, 1, cv2.LINE_AA, SHIFT)


def _street(rng: np.random.Generator, image: np.ndarray, horizon: float) -> None:
    height, width = image.shape[:2]
    x = -rng.uniform(0, 0.15) * width
    while x < width:
        wide, roof = rng.uniform(0.15, 0.38) * width, horizon * rng.uniform(-0.2, 0.6)
        wall = random_color(rng, (0.04, 0.32))
        _rectangle(image, x, roof, x + wide, horizon + 1, wall)
        pane, columns, storey = wall * rng.choice([0.55, 1.3]), rng.integers(2, 5), rng.uniform(0.1, 0.16) * height
        gap = wide / columns
        for y in np.arange(roof + storey * 0.5, horizon - storey * 0.4, storey):
            for column in range(columns):
                left = x + gap * (column + 0.25)
                _rectangle(image, left, y, left + gap * 0.5, y + storey * 0.55, pane)
        x += wide
    _ground(rng, image, horizon, np.full(3, rng.uniform(0.4, 0.75)) * rng.uniform(0.94, 1.06, 3))


def _park(rng: np.random.Generator, image: np.ndarray, horizon: float) -> None:
    height, width = image.shape[:2]
    green = np.array([0.25, 0.62, 0.42]) * rng.uniform(0.6, 1.15, 3)
    x = np.linspace(0, width, 24)
    for layer in range(2):
        wave = np.sin(x / width * rng.uniform(3, 9) + rng.uniform(0, 6))
        hills = horizon * (0.8 + 0.12 * layer - 0.22 * wave)
        _polygon(image, np.vstack([np.c_[x, hills], [(width, height), (0, height)]]), green * (1.25 - 0.2 * layer))
    for _ in range(rng.integers(1, 5)):
        at, tall, foot = rng.uniform(0, width), rng.uniform(0.35, 0.8) * height, horizon + rng.uniform(0, 0.08) * height
        trunk = np.array([0.18, 0.28, 0.38]) * rng.uniform(0.7, 1.3)
        _rectangle(image, at - tall * 0.035, foot - tall * 0.6, at + tall * 0.035, foot, trunk)
        leaf = green * rng.uniform(0.55, 0.95)
        for dx, dy, r in rng.uniform((-0.2, -1.0, 0.12), (0.2, -0.6, 0.24), (7, 3)) * tall:
            tone = np.clip(leaf * rng.uniform(0.85, 1.2), 0, 1) * 255
            _disc(image, at + dx, foot + dy, r, tone.tolist())
    _ground(rng, image, horizon + 0.02 * height, green * rng.uniform(0.9, 1.2))


def _room(rng: np.random.Generator, image: np.ndarray, horizon: float) -> None:
    height, width = image.shape[:2]
    floor_at = min(horizon * 1.35, 0.66 * height)
    wall = random_color(rng, (0.05, 0.4))
    image[: int(floor_at)] = wall * 255
    if rng.random() < 0.45:  # striped wallpaper
        step = rng.uniform(8, 26)
        for x in np.arange(rng.uniform(0, step), width, step):
            _rectangle(image, x, 0, x + step * 0.45, floor_at, wall * 0.9)
    for _ in range(rng.integers(1, 4)):
        wide, tall = rng.uniform(0.1, 0.3) * width, rng.uniform(0.12, 0.4) * height
        x, y = rng.uniform(0, width - wide), rng.uniform(0, max(floor_at - tall, 1))
        _rectangle(image, x - 3, y - 3, x + wide + 3, y + tall + 3, random_color(rng, (0.1, 0.4)) * 0.7)
        _rectangle(image, x, y, x + wide, y + tall, random_color(rng, (0.05, 0.6)))
        _rectangle(image, x, y + tall * rng.uniform(0.4, 0.8), x + wide, y + tall, random_color(rng))
    _ground(rng, image, floor_at, np.array([0.35, 0.5, 0.68]) * rng.uniform(0.5, 1.2))
    _rectangle(image, 0, floor_at - 4, width, floor_at, wall * 0.7)


def _plain(rng: np.random.Generator, image: np.ndarray, horizon: float) -> None:
    height, width = image.shape[:2]
    for _ in range(rng.integers(3, 9)):
        centre, radius = rng.uniform((0, 0), (width, height)), rng.uniform(0.06, 0.3) * height
        angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 7)))
        _polygon(image, centre + radius * np.c_[np.cos(angle), np.sin(angle)], random_color(rng, (0.05, 0.6)))


def _distractor(rng: np.random.Generator, image: np.ndarray, horizon: float) -> None:
    """A post, a ball, a sign or a stick figure's limb: shapes and skin tones that are not people."""
    height, width = image.shape[:2]
    x, foot, tall = rng.uniform(0, width), rng.uniform(horizon, height), rng.uniform(0.15, 0.55) * height
    color = random_color(rng) if rng.random() < 0.6 else SKIN[rng.integers(len(SKIN))][::-1]
    ink = (np.clip(color, 0, 1) * 255).tolist()
    kind = rng.integers(4)
    if kind == 0:
        _disc(image, x, foot - tall * 0.2, tall * 0.2, ink)
    elif kind == 1:
        _rectangle(image, x - tall * 0.03, foot - tall, x + tall * 0.03, foot, color * 0.8)
        _rectangle(image, x - tall * 0.2, foot - tall, x + tall * 0.2, foot - tall * 0.7, color)
    elif kind == 2:
        lean = rng.uniform(-0.5, 0.5) * tall
        cv2.line(
            image,
            _points((x, foot)).tolist(),
            _points((x + lean, foot - tall)).tolist(),
            ink,
            int(max(tall * 0.08, 2)),
            cv2.LINE_AA,
            SHIFT,
        )
    else:
        _rectangle(image, x - tall * 0.25, foot - tall * 0.5, x + tall * 0.25, foot, color)
        _rectangle(image, x - tall * 0.25, foot - tall * 0.5, x + tall * 0.25, foot - tall * 0.42, color * 0.75)


def shadow(image: np.ndarray, x: float, y: float, wide: float) -> None:
    """Darken the ground (in place) under feet at (x, y) by a soft ellipse of half-width `wide` pixels."""
    x0, x1 = max(int(x - wide), 0), min(int(x + wide) + 1, image.shape[1])
    y0, y1 = max(int(y - wide * 0.3), 0), min(int(y + wide * 0.3) + 1, image.shape[0])
    if x0 < x1 and y0 < y1:
        across = ((np.arange(x0, x1) - x) / wide) ** 2 + ((np.arange(y0, y1)[:, None] - y) / (wide * 0.3)) ** 2
        image[y0:y1, x0:x1] *= 1 - 0.45 * np.clip(1 - across, 0, 1)[..., None].astype(np.float32)


def seat(rng: np.random.Generator, canvas: Canvas, x: float, top: float, foot: float, wide: float) -> None:
    """Paint a block to sit on, from y `top` to y `foot`, of half-width `wide`, around x."""
    height, width = canvas.owner.shape
    columns = slice(*np.clip((int(x - wide), int(x + wide)), 0, width))
    edge = top + (foot - top) * 0.25
    color = (random_color(rng, (0.1, 0.5)) * 0.8).clip(0, 1)
    for begin, end, tone in ((top, edge, color), (edge, foot, color * 0.75)):
        rows = slice(*np.clip((int(begin), int(end)), 0, height))
        canvas.image[rows, columns] = tone
        canvas.owner[rows, columns] = FOREGROUND


def foreground(rng: np.random.Generator, canvas: Canvas, x: float, tall: float) -> None:
    """Paint a bush, a post, a ball or a barrier of height `tall` pixels in front of everyone, around x."""
    height = canvas.owner.shape[0]
    foot = height + 0.05 * tall
    kind = rng.choice(4, p=[0.3, 0.25, 0.2, 0.25])
    if kind == 0:
        spots = rng.uniform((-0.6, 0.1), (0.6, 0.75), (9, 2)) * tall
        ends = np.zeros((9, 2, 3))
        ends[:, :, 0], ends[:, :, 1] = x + spots[:, :1], foot - spots[:, 1:]
        radii = np.repeat(rng.uniform(0.18, 0.3, (9, 1)) * tall, 2, 1)
        color = np.array([0.22, 0.5, 0.3]) * rng.uniform(0.6, 1.3, 3)
    elif kind == 1:
        radii = np.full((1, 2), rng.uniform(0.016, 0.038) * height)
        ends = np.array([[(x, foot, 0), (x + rng.uniform(-0.05, 0.05) * tall, foot - tall * 2.2, 0)]])
        color = random_color(rng, (0.0, 0.5))
    elif kind == 2:
        radii = np.full((1, 2), tall * 0.45)
        ends = np.full((1, 2, 3), (x, foot - tall * 0.5, 0))
        color = random_color(rng)
    else:
        wide = rng.uniform(0.7, 1.3) * tall
        rail, post = foot - tall * 0.75, wide * 0.8
        ends = np.array(
            [
                [(x - wide, rail, 0), (x + wide, rail, 0)],
                [(x - post, rail, 0), (x - post, foot, 0)],
                [(x + post, rail, 0), (x + post, foot, 0)],
            ]
        )
        radii = np.array([[0.13, 0.13], [0.06, 0.06], [0.06, 0.06]]) * tall
        color = random_color(rng)
    canvas.paint(Solid(ends.astype(float), radii, np.clip(color, 0, 1)), FOREGROUND)
