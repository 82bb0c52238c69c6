"""The recipes of model cards are complete: plain loops that follow their words get the same keypoints."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mspose.config.builder import default_config
from mspose.export.card_text import decode_steps
from mspose.networks import method_of
from tests.golden import make_golden_paf as golden

Joint = tuple[float, float, float]


def maxima(heat: np.ndarray, threshold: float, s: float) -> list[Joint]:
    """x, y, score of the joints of one heat map."""
    height, width = heat.shape
    at = lambda x, y: float(heat[y, x]) if 0 <= x < width and 0 <= y < height else None  # noqa: E731
    found = []
    for y in range(height):
        for x in range(width):
            v = at(x, y)
            left, right, above, below = (at(x + i, y + j) for i, j in ((-1, 0), (1, 0), (0, -1), (0, 1)))
            if v <= threshold or any(
                n is not None and (n >= v if first else n > v)
                for n, first in ((left, True), (above, True), (right, False), (below, False))
            ):
                continue
            top, moved, gain = math.log(v), [], 0.0
            for before, behind in ((left, right), (above, below)):
                a, b = (None if n is None else math.log(max(n, min(0.01, v))) for n in (before, behind))
                a = 2 * top - 1 / s**2 - b if a is None else a
                b = 2 * top - 1 / s**2 - a if b is None else b
                d = min(max((b - a) / max(2 * (2 * top - a - b), 2e-6), -0.5), 0.5)
                moved.append(d)
                gain += d * (b - a) / 4
            found.append((x + moved[0], y + moved[1], v * math.exp(gain)))
    return found


def joints_of(heat: np.ndarray, threshold: float, s: float) -> list[Joint]:
    found, drawn, reach = maxima(heat, threshold, s), np.zeros_like(heat), math.ceil(3 * s)
    for x, y, score in found:
        if score > 0.5:
            for v in range(max(round(y) - reach, 0), min(round(y) + reach + 1, heat.shape[0])):
                for u in range(max(round(x) - reach, 0), min(round(x) + reach + 1, heat.shape[1])):
                    drawn[v, u] = max(drawn[v, u], score * math.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * s**2)))
    return sorted(found + maxima(heat - drawn, 0.5, s), key=lambda joint: -joint[2])[:96]


def read(field: np.ndarray, x: float, y: float) -> float:
    height, width = field.shape
    x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    u, v = int(x), int(y)
    return sum(
        field[min(v + j, height - 1), min(u + i, width - 1)] * (x - u if i else 1 - x + u) * (y - v if j else 1 - y + v)
        for i in (0, 1)
        for j in (0, 1)
    )


def candidates(recipe: dict, pafs: np.ndarray, joints: list[list[Joint]]) -> list[tuple]:
    """(score, limb, first, second) of possible limbs, best first; joints are (kind, number)."""
    options, found = recipe["grouping"], []
    for limb, (a, b) in enumerate(recipe["limbs"]):
        for i, one in enumerate(joints[a]):
            for j, other in enumerate(joints[b]):
                dx, dy = other[0] - one[0], other[1] - one[1]
                length = math.hypot(dx, dy)
                along = [
                    sum(
                        read(pafs[2 * limb + c], one[0] + dx * k / 9, one[1] + dy * k / 9) * part / length
                        for c, part in enumerate((dx, dy))
                    )
                    for k in range(10)
                ]
                score = sum(along) / 10 + min(0, len(pafs[0]) / (2 * length) - 1)
                support = sum(value > options["limb_threshold"] for value in along)
                if support >= options["limb_support"] * 10 and score > 0:
                    found.append((score, limb, (a, i), (b, j)))
    return sorted(found, reverse=True)


def people_of(recipe: dict, heatmaps: np.ndarray, pafs: np.ndarray) -> list[tuple[float, dict[int, Joint]]]:
    """Score and joints {kind: joint} in cells of everybody, best first."""
    options = recipe["grouping"]
    s = recipe["sigma"] / recipe["stride"]
    joints = [joints_of(heat, options["peak_threshold"], s) for heat in heatmaps[:-1]]
    person, people, taken = {}, {}, set()
    for score, limb, *ends in candidates(recipe, pafs, joints):
        if any((limb, end) in taken for end in ends):
            continue
        taken |= {(limb, end) for end in ends}
        one, other = (person.get(end, end) for end in ends)
        kinds = [people.get(who, ({who}, 0.0)) for who in (one, other)]
        if one == other:
            people[one] = kinds[0][0], kinds[0][1] + score
        elif not {kind for kind, _ in kinds[0][0]} & {kind for kind, _ in kinds[1][0]}:
            people.pop(other, None)
            people[one] = kinds[0][0] | kinds[1][0], kinds[0][1] + kinds[1][1] + score
            person.update(dict.fromkeys(people[one][0], one))
    found = [
        ((sum(joints[k][i][2] for k, i in members) + limbs) / len(members), {k: joints[k][i] for k, i in members})
        for members, limbs in people.values()
        if len(members) >= options["min_joints"]
    ]
    return sorted((f for f in found if f[0] >= options["min_score"]), key=lambda f: -f[0])


def keypoints_of(recipe: dict, joints: dict[int, Joint]) -> np.ndarray:
    """(J, 3) x, y in pixels of the input, and the score."""
    own = recipe["keypoints"]
    keypoints = np.zeros((max(k for k in own if k is not None) + 1, 3))
    for kind, (x, y, score) in joints.items():
        if own[kind] is not None:
            keypoints[own[kind]] = *(recipe["stride"] * v + (recipe["stride"] - 1) / 2 for v in (x, y)), score
    return keypoints


@pytest.mark.parametrize("noise", [0.0, 0.04])
def test_bottom_up(noise: float) -> None:
    config = default_config("openpose")
    method = method_of(config)
    recipe, codec = decode_steps(method), method.codec
    rng = np.random.default_rng(3)
    body = np.array(
        [
            (0, -40),
            (4, -44),
            (-4, -44),
            (9, -42),
            (-9, -42),
            (16, -26),
            (-16, -26),
            (26, -6),
            (-26, -6),
            (30, 14),
            (-30, 14),
            (11, 22),
            (-11, 22),
            (13, 50),
            (-13, 50),
            (14, 76),
            (-14, 76),
        ]
    )
    # Two far apart, one whose joints hide in the flanks of the first's, one cut off by the border.
    places = ((60, 60), (73, 66), (150, 90), (215, 70))
    keypoints = np.concatenate(
        [
            np.stack([body * 0.9 + place + rng.normal(0, 1, body.shape) for place in places]),
            np.ones((len(places), len(body), 1)),
        ],
        axis=2,
    )
    heatmaps, pafs = golden.encode(codec, keypoints, (28, 22))
    heatmaps, pafs = (m + rng.normal(0, noise, m.shape).astype(np.float32) for m in (heatmaps, pafs))
    expected, scores = golden.decode(codec, heatmaps, pafs)
    found = people_of(recipe, heatmaps, pafs)
    assert len(found) == len(scores) >= 3
    np.testing.assert_allclose([score for score, _ in found], scores, atol=1e-4)
    for (_, joints), theirs in zip(found, expected):
        np.testing.assert_allclose(keypoints_of(recipe, joints), theirs, atol=0.01)


def test_steps_tell_only_what_is_done() -> None:
    config = default_config("openpose")
    config.eval.flip_test = False
    plain = " ".join(decode_steps(method_of(config))["steps"])
    config.eval.flip_test, config.eval.scales, config.codec.upsample = True, [0.5, 1.0], 8
    full = " ".join(decode_steps(method_of(config))["steps"])
    for words in ("Flip test", "Scales", "Enlarge", "mean of all heat maps"):
        assert words not in plain
        assert words in full
