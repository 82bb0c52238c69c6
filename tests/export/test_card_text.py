"""The recipes of model cards are complete: plain loops that follow their words get the same keypoints."""

from __future__ import annotations

import math
import re

import cv2
import numpy as np
import pytest

from mspose.codecs.refine import UDP_FORMS
from mspose.config.builder import default_config
from mspose.data.topdown import Normalizer
from mspose.detection.boxes import Boxes
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


def numbers_in(words: str, pattern: str) -> list[float]:
    """The groups of a pattern in a step of a card."""
    match = re.search(pattern, words)
    assert match, f"{pattern} in {words}"
    return [float(group) for group in match.groups()]


def smooth(heat: np.ndarray, words: str) -> dict[tuple[int, int], float]:
    """The smoothed map as a step describes it, by (y, x); the Gaussian is cut off and falls into two."""
    length, spread = numbers_in(words, r"kernel of (\d+) cells, standard deviation ([\d.]+)")
    n = int(length) // 2
    kernel = [math.exp(-(i**2) / (2 * spread**2)) for i in range(-n, n + 1)]
    kernel = [value / sum(kernel) for value in kernel]
    if "BORDER_REFLECT_101" in words:
        padded = np.pad(heat, n, "reflect")
    elif "BORDER_REFLECT" in words:
        padded = np.pad(heat, n, "symmetric")
    else:
        assert "zero beyond its border" in words
        padded = np.pad(heat, n)
    height, width = heat.shape
    along_x = sum(weight * padded[:, i : i + width] for i, weight in enumerate(kernel))
    both = sum(weight * along_x[i : i + height] for i, weight in enumerate(kernel))
    return {(y, x): float(both[y, x]) for y in range(height) for x in range(width)}


def shift_of(heat: np.ndarray, cx: int, cy: int, recipe: dict) -> tuple[float, float]:
    """The sub-cell part of a keypoint, by the words of its step."""
    height, width = heat.shape
    (words,) = [step for step in recipe["steps"] if step.startswith(f"refine {recipe['refine']}")]
    kind = recipe["refine"]
    if kind == "quarter" and 1 < cx < width - 1 and 1 < cy < height - 1:
        sign = lambda a, b: 0.25 * (int(a > b) - int(a < b))  # noqa: E731
        return sign(heat[cy, cx + 1], heat[cy, cx - 1]), sign(heat[cy + 1, cx], heat[cy - 1, cx])
    if not kind.startswith("dark") or heat[cy, cx] <= 0:
        return 0, 0
    smoothed, e = smooth(heat, words), 0.0
    if kind == "dark":
        around = [smoothed.get((cy + j, cx + i), 0) for j in range(-2, 3) for i in range(-2, 3)]
        if not (1 < cx < width - 2 and 1 < cy < height - 2 and min(around) > 0):
            return 0, 0
        f = {key: math.log(max(value, 1e-300)) for key, value in smoothed.items()}
        at = lambda j, i: f[cy + j, cx + i]  # noqa: E731
        dxx, dyy = ((at(0, 2) - 2 * at(0, 0) + at(0, -2)) / 4, (at(2, 0) - 2 * at(0, 0) + at(-2, 0)) / 4)
        dxy = (at(1, 1) - at(-1, 1) - at(1, -1) + at(-1, -1)) / 4
    else:
        if "multiply it so that its maximum is that of the map again" in words:
            factor = heat.max() / max(smoothed.values())
            smoothed = {key: value * factor for key, value in smoothed.items()}
        low, high = numbers_in(words, r"limit its values to ([\d.]+) \.\.\. ([\d.]+);")
        f = {key: math.log(min(max(value, low), high)) for key, value in smoothed.items()}
        near = "beyond the border that of the nearest cell" in words

        def at(j: int, i: int) -> float:
            inside = min(max(cy + j, 0), height - 1), min(max(cx + i, 0), width - 1)
            return f[inside] if near or inside == (cy + j, cx + i) else 0.0

        dxx, dyy = at(0, 1) - 2 * at(0, 0) + at(0, -1), at(1, 0) - 2 * at(0, 0) + at(-1, 0)
        dxy = (at(1, 1) - at(0, 1) - at(1, 0) + 2 * at(0, 0) - at(0, -1) - at(-1, 0) + at(-1, -1)) / 2
        (e,) = numbers_in(words, r"with e = ([\d.e-]+),")
    dx, dy = (at(0, 1) - at(0, -1)) / 2, (at(1, 0) - at(-1, 0)) / 2
    step = -np.linalg.inv([[dxx + e, dxy], [dxy, dyy + e]]) @ [dx, dy]
    (limit,) = numbers_in(words, r"unless that is (\d+) cells")
    return (0, 0) if math.hypot(*step) >= limit else (step[0], step[1])


def crop_of(recipe: dict, image: np.ndarray, box: list[float], size: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """What the network sees of a box, with the crop's centre (2,) and size (2,)."""
    (x, y, width, height), (W, H) = box, size
    f32, padding = np.float32, np.float32(recipe["box_padding"])
    center = np.array([x + width / 2, y + height / 2], np.float32)
    longest = max(width, height * W / H)
    side, tall = (f32(value / 200) * padding * f32(200) for value in (longest, longest * H / W))
    if recipe["unbiased"]:
        a, b = (W - 1) / float(side), (H - 1) / float(tall)
        matrix = np.array([[a, 0, (W - 1) / 2 - a * center[0]], [0, b, (H - 1) / 2 - b * center[1]]], np.float32)
    else:
        top = center + np.array([0, -side / 2], np.float32)
        corner = top + np.array([top[1] - center[1], 0], np.float32)
        there = np.array([[W / 2, H / 2], [W / 2, (H - W) / 2], [0, (H - W) / 2]], np.float32)
        matrix = cv2.getAffineTransform(np.array([center, top, corner], np.float32), there)
    seen = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR)
    return seen, center.astype(float), np.array([float(side), float(tall)])


def person_of(recipe: dict, maps: np.ndarray, center: np.ndarray, extent: np.ndarray, size: tuple) -> np.ndarray:
    """Keypoints (J, 3) in the picture, of a person's maps."""
    keypoints, (W, H) = [], size
    for heat in maps:
        h, w = heat.shape
        cy, cx = divmod(int(heat.argmax()), w) if heat.max() > 0 else (0, 0)
        dx, dy = shift_of(heat, cx, cy, recipe)
        if recipe["unbiased"]:
            u, v = (cx + dx) * (W - 1) / (w - 1), (cy + dy) * (H - 1) / (h - 1)
            x, y = center + np.array([u / (W - 1) - 1 / 2, v / (H - 1) - 1 / 2]) * extent
        else:
            u, v = recipe["stride"] * (cx + dx), recipe["stride"] * (cy + dy)
            x, y = center + (np.array([u, v]) - [W / 2, H / 2]) * extent[0] / W
        keypoints.append((x, y, heat.max()))
    return np.array(keypoints)


TOP_DOWN = [
    *({"codec.refine": refine} for refine in ("none", "quarter", "dark")),
    {"codec.refine": "dark", "codec.sigma": 3.0, "codec.blur": 11},
    {"codec.refine": "quarter", "data.unbiased": True},
    *({"codec.refine": refine, "data.unbiased": True} for refine in UDP_FORMS),
    {"codec.refine": "dark_udp", "data.unbiased": True, "codec.blur": 17},
]


@pytest.mark.parametrize("keys", TOP_DOWN, ids=lambda keys: "-".join(map(str, keys.values())))
def test_top_down(keys: dict) -> None:
    method = method_of(default_config(overrides=keys))
    recipe, size, rng = decode_steps(method), (192, 256), np.random.default_rng(5)
    image = cv2.GaussianBlur(rng.integers(0, 256, (300, 400, 3), np.uint8), (0, 0), 2)
    boxes = [[31.3, 20.7, 90.2, 210.4], [250.5, -12.25, 200.1, 150.75]]
    view, _ = method.view(image, Boxes(np.array(boxes), np.ones(2)))
    centers = rng.uniform((-1, -1), (48, 64), (2, 2, 17, 1, 1, 2))
    squared = (np.arange(48) - centers[..., 0]) ** 2 + (np.arange(64)[:, None] - centers[..., 1]) ** 2
    maps, mirrored = (np.exp(-squared / 8) + 0.02 * rng.random(squared.shape) - 0.005).astype(np.float32)
    maps[0, 3] = mirrored[0, method.skeleton.flip_index[3]] = -0.1
    merged = method.merge([((maps,), (mirrored,))], size)
    expected = method.people(merged, view.to_image, size).keypoints

    back = mirrored[..., ::-1][:, method.skeleton.flip_index]
    (flip,) = [step for step in recipe["steps"] if step.startswith("Flip test")]
    assert ("a cell to the right" in flip) == recipe["shift_heatmap"] == (not recipe["unbiased"])
    if recipe["shift_heatmap"]:
        back = np.concatenate([back[..., :1], back[..., :-1]], axis=-1)
    for number, box in enumerate(boxes):
        crop, center, extent = crop_of(recipe, image, box, size)
        np.testing.assert_array_equal(Normalizer(method.config.data)(crop), view.inputs[0][number])
        found = person_of(recipe, ((maps + back) / 2)[number].astype(np.float32), center, extent, size)
        np.testing.assert_allclose(found, expected[number], atol=1e-3)


def test_vectors() -> None:
    method = method_of(default_config("rtmpose", {"codec.split": 3}))
    recipe, size, rng = decode_steps(method), (192, 256), np.random.default_rng(5)
    image, box = rng.integers(0, 256, (300, 400, 3), np.uint8), [31.3, 20.7, 90.2, 210.4]
    view, _ = method.view(image, Boxes(np.array([box]), np.ones(1)))
    plain, mirrored = (tuple(rng.normal(0, 1, (1, 17, 3 * n)).astype(np.float32) for n in size) for _ in range(2))
    plain[0][0, 3], mirrored[0][0, method.skeleton.flip_index[3]] = -1, -1
    expected = method.people(method.merge([(plain, mirrored)], size), view.to_image, size).keypoints[0]

    swapped = dict(method.skeleton.flip_pairs) | {right: left for left, right in method.skeleton.flip_pairs}
    crop, center, extent = crop_of(recipe | {"unbiased": False}, image, box, size)
    np.testing.assert_array_equal(Normalizer(method.config.data)(crop), view.inputs[0][0])
    assert "reverse its vectors simcc_x, exchange" in " ".join(recipe["steps"])
    for joint in range(17):
        other = swapped.get(joint, joint)
        x = [(a + b) / 2 for a, b in zip(plain[0][0, joint], mirrored[0][0, other][::-1])]
        y = [(a + b) / 2 for a, b in zip(plain[1][0, joint], mirrored[1][0, other])]
        score = min(max(x), max(y))
        i, j = (x.index(max(x)), y.index(max(y))) if score > 0 else (-1, -1)
        u, v = i / recipe["split"], j / recipe["split"]
        u, v = center + (np.array([u, v]) - [size[0] / 2, size[1] / 2]) * extent[0] / size[0]
        np.testing.assert_allclose(expected[joint], [u, v, score], atol=1e-3)
    assert expected[3, 2] < 0


def test_steps_of_a_crop_tell_its_geometry() -> None:
    plain, unbiased = (
        decode_steps(method_of(default_config(overrides={"data.unbiased": value}))) for value in (False, True)
    )
    assert [recipe["unbiased"] for recipe in (plain, unbiased)] == [False, True]
    for steps, last in ((plain["steps"], "side / W"), (unbiased["steps"], "(side, tall)")):
        assert last in steps[-1]
    assert "getAffineTransform" not in " ".join(unbiased["steps"])
