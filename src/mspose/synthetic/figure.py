"""Articulated people for the generated sample data: poses, a body of rounded limbs and how it is painted.

A person is a tree of joints moved by joint angles (forward kinematics), seen by a parallel camera. Coordinates are
camera coordinates in pixels: x right, y down, z towards the viewer. In the body's own frame x is the person's *left*,
y down and z where the person looks, so that a person with yaw 0 looks at the viewer and shows its left at larger x.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mspose.synthetic.canvas import Canvas, Solid, Surface, blend, random_color

SIDES = (("left", 1.0), ("right", -1.0))

# Joint angles in degrees, as (low, high). Arms: abduction, flexion, inward twist, elbow bend.
ARMS = np.array(
    [
        [(4, 18), (-12, 18), (-15, 30), (4, 35)],  # hanging
        [(38, 52), (-18, -4), (55, 75), (85, 108)],  # hand on the hip
        [(140, 172), (0, 12), (-70, -20), (5, 60)],  # raised
        [(78, 98), (0, 12), (-95, -70), (55, 100)],  # waving
        [(58, 95), (-5, 20), (-20, 20), (0, 30)],  # held out
        [(2, 14), (35, 85), (0, 30), (15, 70)],  # reaching forward
        [(6, 20), (10, 35), (10, 40), (85, 120)],  # forearm up, as with a telephone
    ],
    dtype=float,
)
# Legs: (leading, trailing) leg, each abduction, flexion, knee bend.
LEGS = {
    "stand": (((1, 8), (-3, 5), (0, 8)), ((1, 8), (-3, 5), (0, 8))),
    "walk": (((0, 4), (16, 32), (3, 15)), ((0, 4), (-24, -8), (8, 38))),
    "run": (((0, 4), (35, 62), (45, 85)), ((0, 4), (-26, -6), (30, 80))),
    "sit": (((2, 14), (74, 92), (72, 98)), ((2, 14), (74, 92), (72, 98))),
    "astride": (((10, 24), (-4, 8), (0, 14)), ((10, 24), (-4, 8), (0, 14))),
    "lean": (((2, 10), (-2, 14), (0, 18)), ((2, 10), (-2, 14), (0, 18))),
}
# stance: (share, shares of the arm modes, forward bend of the spine)
STANCES = {
    "stand": (0.34, (0.46, 0.14, 0.08, 0.09, 0.07, 0.08, 0.08), (-4, 6)),
    "walk": (0.22, (0.80, 0.0, 0.03, 0.05, 0.0, 0.06, 0.06), (0, 9)),
    "run": (0.06, (0.15, 0.0, 0.0, 0.0, 0.0, 0.15, 0.70), (6, 18)),
    "sit": (0.13, (0.35, 0.05, 0.06, 0.09, 0.05, 0.30, 0.10), (-6, 14)),
    "astride": (0.15, (0.05, 0.12, 0.45, 0.16, 0.22, 0.0, 0.0), (-5, 5)),
    "lean": (0.10, (0.35, 0.08, 0.02, 0.0, 0.15, 0.40, 0.0), (18, 42)),
}

# How far (in body heights) the painted surface may lie in front of a joint that still counts as seen.
SEEN_WITHIN = {
    "shoulder": 0.115,
    "hip": 0.125,
    "elbow": 0.06,
    "wrist": 0.05,
    "knee": 0.085,
    "ankle": 0.06,
    "neck": 0.12,
    "head_top": 0.10,
    "nose": 0.03,
    "eye": 0.03,
    "ear": 0.045,
}


@dataclass(frozen=True)
class Figure:
    """A posed person.

    Attributes:
        parts: what to paint, from far to near.
        joints: camera position (3,) of every named joint, in pixels.
        away: the points of the face that lie on the far side of the head.
        height: standing height in pixels.
    """

    parts: list[Solid]
    joints: dict[str, np.ndarray]
    away: frozenset[str]
    height: float

    def moved(self, x: float, y: float) -> Figure:
        """Return the figure shifted by (x, y) pixels."""
        shift = np.array([x, y, 0.0])
        parts = [replace(part, ends=part.ends + shift) for part in self.parts]
        return replace(self, parts=parts, joints={name: joint + shift for name, joint in self.joints.items()})

    def seen(self, canvas: Canvas, names: Sequence[str], owner: int) -> np.ndarray:
        """Return (J,) whether each named joint is seen on the canvas: inside it, and within a pixel of its place a
        surface of its owner that lies about as deep as the joint."""
        height, width = canvas.owner.shape
        joints = np.stack([self.joints[name] for name in names])
        within = self.height * np.array(
            [SEEN_WITHIN[name.removeprefix("left_").removeprefix("right_")] for name in names]
        )
        near = np.array([(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)])
        at = np.rint(joints[:, None, :2]).astype(int) + near
        x, y = np.clip(at[..., 0], 0, width - 1), np.clip(at[..., 1], 0, height - 1)
        own = (canvas.owner[y, x] == owner) & (canvas.depth[y, x] - joints[:, 2:] < within[:, None])
        inside = (joints[:, 0] >= 0) & (joints[:, 1] >= 0) & (joints[:, 0] <= width - 1) & (joints[:, 1] <= height - 1)
        return own.any(1) & inside

    def box(self) -> np.ndarray:
        """Return x0, y0, x1, y1 around everything that is painted."""
        low = np.min([(p.ends[..., :2] - p.radii[..., None]).min((0, 1)) for p in self.parts], axis=0)
        high = np.max([(p.ends[..., :2] + p.radii[..., None]).max((0, 1)) for p in self.parts], axis=0)
        return np.concatenate([low, high])


def _turn(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    """Return the rotation Rz(z) @ Ry(y) @ Rx(x), angles in degrees."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians((x, y, z))), np.sin(np.radians((x, y, z)))
    return np.array(
        [
            [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
            [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
            [-sy, cy * sx, cy * cx],
        ]
    )


@dataclass(frozen=True)
class Look:
    """Build and appearance of a person; lengths in body heights."""

    girth: float
    head: float
    shoulder: float
    hip: float
    skin: np.ndarray
    hair: np.ndarray
    hairline: float
    long_hair: bool
    shirt: np.ndarray
    trim: np.ndarray
    pattern: str
    sleeve: float
    trousers: np.ndarray
    trouser_leg: float
    skirt: bool
    shoes: np.ndarray
    backpack: bool


SKIN = np.array([(0.96, 0.82, 0.72), (0.90, 0.72, 0.58), (0.80, 0.60, 0.45), (0.64, 0.45, 0.32), (0.46, 0.31, 0.22)])
HAIR = np.array(
    [
        (0.10, 0.08, 0.08),
        (0.24, 0.15, 0.10),
        (0.42, 0.27, 0.15),
        (0.78, 0.62, 0.34),
        (0.62, 0.62, 0.62),
        (0.60, 0.26, 0.12),
    ]
)


def random_look(rng: np.random.Generator) -> Look:
    """Draw the build and clothes of a person."""
    long_hair, child = rng.random() < 0.38, rng.random() < 0.12
    return Look(
        girth=rng.uniform(0.86, 1.28),
        head=rng.uniform(1.42, 1.6) if child else rng.uniform(1.18, 1.36),
        shoulder=rng.uniform(0.104, 0.128),
        hip=rng.uniform(0.064, 0.078),
        skin=(SKIN[rng.integers(len(SKIN))] * rng.uniform(0.94, 1.04)).clip(0, 1)[::-1],
        hair=HAIR[rng.integers(len(HAIR))][::-1] * rng.uniform(0.85, 1.15),
        hairline=9.0 if not long_hair and rng.random() < 0.06 else rng.uniform(-0.22, 0.05),
        long_hair=long_hair,
        shirt=random_color(rng),
        trim=random_color(rng),
        pattern=str(rng.choice(["plain", "stripes", "jacket", "print"], p=[0.3, 0.2, 0.25, 0.25])),
        sleeve=float(rng.choice([0.25, 0.6, 1.6, 2.0])),
        trousers=random_color(rng, (0.1, 0.6)) * 0.8,
        trouser_leg=float(rng.choice([0.6, 0.9, 1.7, 2.0], p=[0.15, 0.15, 0.2, 0.5])),
        skirt=rng.random() < 0.14,
        shoes=random_color(rng, (0.0, 0.7)),
        backpack=rng.random() < 0.1,
    )


def random_yaw(rng: np.random.Generator) -> float:
    """Draw a facing in degrees: 0 looks at the viewer, 90 to the picture's right, 180 away."""
    side = rng.choice((-1, 1))
    centre, spread = ((0, 14), (42, 16), (88, 12), (138, 16), (180, 14))[rng.choice(5, p=[0.4, 0.24, 0.14, 0.08, 0.14])]
    return float(side * (centre + rng.uniform(-spread, spread)))


def random_figure(rng: np.random.Generator, height: float) -> tuple[Figure, str]:
    """Draw a person whose standing height is `height` pixels, feet on y = 0; return it with its stance."""
    stances = list(STANCES)
    stance = stances[rng.choice(len(stances), p=[STANCES[s][0] for s in stances])]
    _, arm_shares, bend = STANCES[stance]
    arms = {}
    for side, _ in SIDES:
        low, high = ARMS[rng.choice(len(ARMS), p=arm_shares)].T
        arms[side] = rng.uniform(low, high)
    lead = rng.integers(2)
    legs = {side: rng.uniform(*np.array(LEGS[stance][i ^ lead], float).T) for i, (side, _) in enumerate(SIDES)}
    if stance == "walk":  # arms swing against the legs
        for side, _ in SIDES:
            arms[side][1] -= 0.7 * legs[side][1]
    view = _turn(x=-rng.uniform(-4, 14)) @ _turn(y=random_yaw(rng))
    pelvis = view @ _turn(z=rng.uniform(-4, 4))
    chest = pelvis @ _turn(x=-rng.uniform(*bend), y=rng.uniform(-10, 10), z=rng.uniform(-8, 8))
    head = chest @ _turn(x=rng.uniform(-14, 6) + 0.5 * bend[1], y=rng.uniform(-28, 28), z=rng.uniform(-8, 8))
    figure = _assemble(random_look(rng), pelvis, chest, head, arms, legs, height)
    return figure.moved(0, -figure.box()[3]), stance


def _assemble(
    look: Look,
    pelvis: np.ndarray,
    chest: np.ndarray,
    head: np.ndarray,
    arms: dict[str, np.ndarray],
    legs: dict[str, np.ndarray],
    height: float,
) -> Figure:
    """Place the joints by forward kinematics from the pelvis at the origin, and clothe them with parts."""
    joints: dict[str, np.ndarray] = {}
    parts: list[Solid] = []

    def add(
        points: list[np.ndarray],
        radii: list[float],
        surface: np.ndarray | Surface,
        lift: float = 0.0,
        outline: float = 0.22,
    ) -> None:
        """Add a part; points go in pairs, in body heights; `lift` brings it forward in the painting order."""
        ends = np.reshape(points, (-1, 2, 3)) * height
        order = float(ends[..., 2].mean()) + lift * height
        parts.append(Solid(ends, np.reshape(radii, (-1, 2)) * height, surface, order, outline))

    girth = look.girth
    neck = chest @ (0, -0.285, 0)
    for side, sign in SIDES:
        joints[f"{side}_shoulder"] = shoulder = neck + chest @ (sign * look.shoulder, 0.018, 0)
        abduct, flex, twist, bend = arms[side]
        upper = chest @ _turn(z=-sign * abduct) @ _turn(x=flex) @ _turn(y=-sign * twist)
        lower = upper @ _turn(x=bend)
        joints[f"{side}_elbow"] = elbow = shoulder + upper @ (0, 0.165, 0)
        joints[f"{side}_wrist"] = wrist = elbow + lower @ (0, 0.145, 0)
        width = 0.030 * girth
        add(
            [shoulder, elbow],
            [width * 1.12, width * 0.92],
            _banded(look.shirt, look.skin, look.sleeve, height * 0.165),
            0.035,
        )
        add(
            [elbow, wrist],
            [width * 0.9, width * 0.66],
            _banded(look.shirt, look.skin, look.sleeve - 1, height * 0.145),
            0.045,
        )
        add([wrist, wrist + lower @ (0, 0.038, 0.006)], [0.019, 0.023], look.skin, 0.05)

        joints[f"{side}_hip"] = hip = pelvis @ (sign * look.hip, 0.0, 0)
        abduct, flex, bend = legs[side]
        thigh = pelvis @ _turn(z=-sign * abduct) @ _turn(x=flex)
        shin = thigh @ _turn(x=-bend)
        joints[f"{side}_knee"] = knee = hip + thigh @ (0, 0.245, 0)
        joints[f"{side}_ankle"] = ankle = knee + shin @ (0, 0.235, 0)
        add(
            [hip, knee],
            [0.056 * girth, 0.040 * girth],
            _banded(look.trousers, look.skin, look.trouser_leg, height * 0.245),
            -0.01,
        )
        add(
            [knee, ankle],
            [0.039 * girth, 0.025 * girth],
            _banded(look.trousers, look.skin, look.trouser_leg - 1, height * 0.235),
            -0.015,
        )
        add([ankle + shin @ (0, 0.018, -0.012), ankle + shin @ (0, 0.03, 0.07)], [0.027, 0.02], look.shoes, -0.012)

    hips = [joints["left_hip"], joints["right_hip"]]
    if look.skirt:
        waist = pelvis @ (0, -0.03, 0)
        add(
            [waist, 0.8 * joints["left_knee"], waist, 0.8 * joints["right_knee"]],
            [0.07 * girth, 0.068 * girth] * 2,
            look.trousers,
            0.03,
        )
    add([*hips], [0.058 * girth, 0.058 * girth], look.trousers, 0.005)
    # The trunk is an ellipse in section, so its half-width in the picture depends on where the person faces.
    across = girth * np.hypot(chest[0, 0] * np.array([0.088, 0.070]), chest[0, 2] * np.array([0.066, 0.064]))
    hem = [hip * 0.62 + pelvis @ (0, -0.045, 0) for hip in hips]
    add(
        [neck + chest @ (0, 0.05, 0), pelvis @ (0, -0.06, 0), joints["left_shoulder"], joints["right_shoulder"], *hem],
        [across[0], across[1], 0.036 * girth, 0.036 * girth, 0.052 * girth, 0.052 * girth],
        _trunk(look, chest),
        0.015,
    )
    if look.backpack:
        add([neck + chest @ (0, 0.06, -0.085), neck + chest @ (0, 0.19, -0.09)], [0.062, 0.068], look.trim, -0.02)

    away = _add_head(add, joints, look, head, neck, height)
    parts.sort(key=lambda part: part.order)
    return Figure(parts, {name: joint * height for name, joint in joints.items()}, away, height)


def _add_head(
    add: Callable[..., None],
    joints: dict[str, np.ndarray],
    look: Look,
    head: np.ndarray,
    neck: np.ndarray,
    height: float,
) -> frozenset[str]:
    """Add neck, head, hair and the features of the face; returns the keypoints on the far side of the head."""
    size = 0.052 * look.head
    joints["neck"] = neck
    centre = neck + head @ (0, -0.03 - 1.1 * size, 0.012)
    joints["head_top"] = centre + head @ (0, -1.2 * size, 0)
    lift = 0.06  # the head is painted after the trunk unless it is well behind it
    add([neck + head @ (0, 0.012, 0), neck + head @ (0, -0.04, 0.008)], [0.030, 0.028], look.skin * 0.93, 0.03)
    crown, chin = centre + head @ (0, -0.18 * size, -0.05 * size), centre + head @ (0, 0.42 * size, 0.12 * size)
    middle = float((crown + chin)[2] / 2)
    facing: dict[str, float] = {}

    def feature(
        at: tuple[float, float, float],
        radius: float,
        color: np.ndarray,
        turned: float = 0.05,
        to: tuple[float, float, float] | None = None,
    ) -> np.ndarray:
        """Add a detail at head coordinates `at` (head radii), painted if that side of the head faces the viewer."""
        spot = centre + head @ np.multiply(at, size)
        toward = float((head @ at)[2])
        if toward > turned:
            radius *= min(0.55 + 0.5 * toward, 1.0)  # foreshortened where the head curves away
            end = spot if to is None else centre + head @ np.multiply(to, size)
            add([spot, end], [radius * size, radius * size], color, lift + 0.02 + middle - (spot + end)[2] / 2, 0.0)
        return spot

    add([crown, chin], [1.0 * size, 0.74 * size], _scalp(look, head, height * size), lift)
    if look.long_hair:
        nape, tips = centre + head @ (0, -0.1 * size, -0.45 * size), centre + head @ (0, 1.75 * size, -0.62 * size)
        add([nape, tips], [0.93 * size, 0.66 * size], look.hair, 0.02)
    for side, sign in SIDES:
        ear = centre + head @ np.multiply((sign * 0.98, 0.1, -0.08), size)
        joints[f"{side}_ear"] = ear
        facing[f"{side}_ear"] = seen = float((head @ (sign, 0, 0))[2])
        add(
            [ear, ear + head @ (0, 0.12 * size, 0)],
            [0.2 * size, 0.14 * size],
            look.skin * 0.88,
            lift + (0.03 if seen > -0.25 else -0.03) + middle - ear[2],
        )
        eye = (sign * 0.42, -0.08, 0.86)
        facing[f"{side}_eye"] = float((head @ eye)[2]) - 0.35
        joints[f"{side}_eye"] = feature(eye, 0.18, np.full(3, 0.97, np.float32), 0.2)
        feature((sign * 0.43, -0.07, 0.9), 0.12, np.full(3, 0.08, np.float32), 0.2)
        feature((sign * 0.30, -0.36, 0.92), 0.06, look.hair * 0.7, 0.12, to=(sign * 0.58, -0.36, 0.82))
    feature((-0.22, 0.72, 0.86), 0.065, np.array((0.30, 0.28, 0.62), np.float32), 0.1, to=(0.22, 0.72, 0.86))
    tip = (0, 0.26, 1.14)
    joints["nose"] = centre + head @ np.multiply(tip, size)
    facing["nose"] = float((head @ tip)[2])
    if facing["nose"] > -0.25:
        add(
            [centre + head @ np.multiply((0, 0.0, 0.95), size), joints["nose"]],
            [0.10 * size, 0.15 * size],
            look.skin * np.array([0.82, 0.84, 0.97]),
            lift + 0.025 + middle - joints["nose"][2],
            0.1,
        )
    return frozenset(name for name, turned in facing.items() if turned < -0.25)


def _banded(upper: np.ndarray, lower: np.ndarray, cut: float, length: float) -> np.ndarray | Surface:
    """Return a surface that changes colour at the fraction `cut` of its length (in pixels)."""
    if cut >= 1 or cut <= 0:
        return upper if cut >= 1 else lower
    return lambda along, _: blend(upper, lower, (along - cut) * length + 0.5)


def _scalp(look: Look, head: np.ndarray, radius: float) -> Surface:
    """Return the surface of a head: hair above and behind the hairline, skin elsewhere."""
    up, back = head @ (0, -1.0, 0), head @ (0, 0, -1.0)
    rule = (0.82 * up + 0.78 * back).astype(np.float32)
    return lambda _, normal: blend(look.skin, look.hair, (normal @ rule - look.hairline) * radius + 0.5)


def _trunk(look: Look, chest: np.ndarray) -> Surface:
    """Return the surface of a shirt: its pattern, and on the front a collar, a zip or a print."""
    left, front = chest[:, 0].astype(np.float32), chest[:, 2].astype(np.float32)

    def surface(along: np.ndarray, normal: np.ndarray) -> np.ndarray:
        side, ahead = normal @ left, normal @ front
        color = np.broadcast_to(look.shirt, (*along.shape, 3))
        if look.pattern == "stripes":
            color = blend(color, look.trim, 0.5 + 3 * np.sin(along * 24))
        elif look.pattern == "jacket":
            color = blend(color, look.trim, np.where(ahead > 0, (0.2 - np.abs(side)) * 12, 0))
        elif look.pattern == "print":
            blob = 1 - (side / 0.42) ** 2 - ((along - 0.38) / 0.22) ** 2
            color = blend(color, look.trim, np.where(ahead > 0.1, blob * 6, 0))
        collar = np.where(ahead > 0.1, (0.3 - np.abs(side) - along * 1.6) * 10, 0)
        return blend(color, look.skin, collar)

    return surface
