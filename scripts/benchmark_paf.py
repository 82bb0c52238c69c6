"""The bottom-up parts of benchmark.py: grouping people in maps, and drawing the maps to train on. They are run by

python scripts/benchmark.py grouping|targets
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # a bare checkout needs no installation

from mspose.codecs.paf import PafCodec
from mspose.evaluation.coco import evaluate_keypoints, to_coco_results
from mspose.skeleton import COCO17, OPENPOSE18

# Picture height at which maps are drawn, and their noise: small people in small maps, as in the parity fixture.
HEIGHT, HEAT_NOISE, PAF_NOISE = 184, 0.02, 0.03
# (image id, heat maps, PAFs, map pixels an image pixel)
Maps = list[tuple[int, np.ndarray, np.ndarray, float]]


def grouping(arguments: argparse.Namespace, alternate: Callable) -> None:
    """People from maps of real annotations, against the plain full-resolution way, ms/image and AP of both."""
    path = Path(arguments.data) / "annotations/person_keypoints_val2017.json"
    truth = json.loads(path.read_text())
    maps = read_maps(truth, arguments.maps) if arguments.maps else draw_maps(truth)
    codec = PafCodec()

    def grouped(heatmaps: np.ndarray, pafs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = codec.decode((pafs[None], heatmaps[None]), (8 * heatmaps.shape[2], 8 * heatmaps.shape[1]))
        return found.keypoints, found.scores

    sides = {"decode": grouped, "full resolution": plain_decode}
    figures = {name: average_precision(truth, maps, decode) for name, decode in sides.items()}

    def measure(decode: Callable) -> float:
        begin = time.perf_counter()
        for _, heatmaps, pafs, _ in maps:
            decode(heatmaps, pafs)
        return (time.perf_counter() - begin) / len(maps) * 1e3

    print(f"ms/image, {len(maps)} images with maps of about {'x'.join(map(str, maps[0][1].shape[1:]))}")
    alternate(arguments.rounds, **{name: lambda d=decode: measure(d) for name, decode in sides.items()})
    for name, figure in figures.items():
        print(f"{name:28} AP {figure:.4f}")


def targets(arguments: argparse.Namespace, alternate: Callable) -> None:
    """Heat maps and PAFs of 5 people at 46x46 cells, against drawing them one by one, ms/image."""
    rng = np.random.default_rng(0)
    keypoints = np.concatenate([rng.uniform(0, 368, (5, 17, 2)), np.ones((5, 17, 1))], axis=-1)
    codec = PafCodec()

    def milliseconds(encode: Callable) -> float:
        begin = time.perf_counter()
        encode()
        return (time.perf_counter() - begin) * 1e3

    print("ms/image, 5 people, 19 + 38 maps of 46x46")
    alternate(
        arguments.rounds * 5,
        **{
            "encode": lambda: milliseconds(lambda: codec.encode(keypoints, (368, 368))),
            "one by one": lambda: milliseconds(lambda: plain_encode(keypoints, (46, 46))),
        },
    )


def read_maps(truth: dict, path: str) -> Maps:
    """Maps stored as `heatmaps_<image id>` and `pafs_<image id>`."""
    heights = {image["id"]: image["height"] for image in truth["images"]}
    with np.load(path) as stored:
        ids = [int(name.split("_")[1]) for name in stored if name.startswith("heatmaps")]
        return [
            (i, stored[f"heatmaps_{i}"].astype(np.float32), stored[f"pafs_{i}"].astype(np.float32), HEIGHT / heights[i])
            for i in ids
        ]


def draw_maps(truth: dict, count: int = 20) -> Maps:
    """Noisy maps of the images with the most people."""
    people: dict[int, list] = {}
    for person in truth["annotations"]:
        if person["num_keypoints"] and not person["iscrowd"]:
            people.setdefault(person["image_id"], []).append(np.reshape(person["keypoints"], (-1, 3)))
    images = {image["id"]: image for image in truth["images"]}
    rng, codec, maps = np.random.default_rng(0), PafCodec(), []
    for i in sorted(people, key=lambda i: -len(people[i]))[:count]:
        scale = HEIGHT / images[i]["height"]
        keypoints = np.array(people[i], float) * (scale, scale, 1)
        heatmaps, pafs, _ = codec.encode(keypoints, (-(-int(images[i]["width"] * scale) // 8) * 8, HEIGHT))
        heatmaps += rng.normal(0, HEAT_NOISE, heatmaps.shape).astype(np.float32)
        pafs += rng.normal(0, PAF_NOISE, pafs.shape).astype(np.float32)
        maps.append((i, heatmaps, pafs, scale))
    return maps


def average_precision(truth: dict, maps: Maps, decode: Callable) -> float:
    """COCO's AP of what `decode` finds in the maps."""
    results = []
    for i, heatmaps, pafs, scale in maps:
        keypoints, scores = decode(heatmaps, pafs)
        if len(scores):
            results += to_coco_results(keypoints / (scale, scale, 1), scores, np.full(len(scores), i))
    return evaluate_keypoints(truth, results, COCO17.sigmas, [i for i, *_ in maps])["AP"]


def plain_decode(heatmaps: np.ndarray, pafs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The paper's grouping on maps enlarged to input pixels, pair by pair: the baseline of `grouping`."""
    height, width = heatmaps.shape[1] * 8, heatmaps.shape[2] * 8
    large = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC) for plane in (*heatmaps, *pafs)]
    peaks, kinds = [], []
    for joint in range(18):
        smooth = np.pad(cv2.GaussianBlur(large[joint], (0, 0), 3), 1)
        middle = smooth[1:-1, 1:-1]
        top = (middle > smooth[:-2, 1:-1]) & (middle > smooth[2:, 1:-1]) & (middle > 0.1)
        top &= (middle > smooth[1:-1, :-2]) & (middle > smooth[1:-1, 2:])
        found = [(x, y, large[joint][y, x]) for y, x in zip(*np.nonzero(top))]
        kinds.append(range(len(peaks), len(peaks) + len(found)))
        peaks += found
    people: list[dict] = []
    # The body first and the two limbs from shoulder to ear last, as in the authors' code.
    for limb in (6, 10, 7, 8, 11, 12, 0, 1, 2, 3, 4, 5, 14, 15, 17, 16, 18, 9, 13):
        kind_a, kind_b = OPENPOSE18.limbs[limb]
        for score, a, b in plain_limbs(peaks, kinds[kind_a], kinds[kind_b], large[19 + 2 * limb :][:2], height):
            owners = [p for p in people if p["joints"].get(kind_a) == a or p["joints"].get(kind_b) == b]
            if len(owners) == 1:
                owners[0]["joints"].update({kind_a: a, kind_b: b})
                owners[0]["limbs"] += score
            elif len(owners) == 2 and not owners[0]["joints"].keys() & owners[1]["joints"].keys():
                owners[0]["joints"].update(owners[1]["joints"])
                owners[0]["limbs"] += owners[1]["limbs"] + score
                people.remove(owners[1])
            elif not owners and limb not in (9, 13):
                people.append({"joints": {kind_a: a, kind_b: b}, "limbs": score})
    rows, scores = [], []
    for person in people:
        joints = person["joints"]
        score = (sum(peaks[p][2] for p in joints.values()) + person["limbs"]) / len(joints)
        if len(joints) >= 4 and score >= 0.4:
            rows.append([peaks[joints[k]] if k in joints else (0, 0, 0) for k in range(18)])
            scores.append(score)
    return OPENPOSE18.to_keypoints(np.array(rows, np.float32).reshape(-1, 18, 3)), np.array(scores, np.float32)


def plain_limbs(peaks: list, firsts: range, seconds: range, field: list, height: int) -> list[tuple]:
    """(score, peak, peak) of the limbs of one kind, matched greedily."""
    candidates = []
    for a in firsts:
        for b in seconds:
            vector = np.subtract(peaks[b][:2], peaks[a][:2])
            length = np.hypot(*vector)
            if length == 0:
                continue
            along = []
            for t in np.linspace(0, 1, 10):
                x, y = (round(peaks[a][i] + t * vector[i]) for i in (0, 1))
                along.append((field[0][y, x] * vector[0] + field[1][y, x] * vector[1]) / length)
            score = np.mean(along) + min(0.5 * height / length - 1, 0)
            if sum(value > 0.05 for value in along) >= 8 and score > 0:
                candidates.append((score, a, b))
    matched: list[tuple] = []
    for score, a, b in sorted(candidates, reverse=True):
        if all(a != other[1] and b != other[2] for other in matched):
            matched.append((score, a, b))
    return matched


def plain_encode(keypoints: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Maps drawn joint by joint and limb by limb: the baseline of `targets`."""
    joints = OPENPOSE18.to_joints(keypoints)
    x, y = np.meshgrid(*(8 * np.arange(n) + 3.5 for n in size))
    heatmaps, pafs = np.zeros((19, *x.shape), np.float32), np.zeros((38, *x.shape), np.float32)
    for person in joints:
        for channel, (jx, jy, labelled) in enumerate(person):
            gaussian = np.exp(-((x - jx) ** 2 + (y - jy) ** 2) / (2 * 7**2)) * labelled
            heatmaps[channel] = np.maximum(heatmaps[channel], gaussian)
    heatmaps[18] = 1 - heatmaps[:18].max(axis=0)
    for limb, (a, b) in enumerate(OPENPOSE18.limbs):
        count = np.zeros(x.shape)
        for first, second in joints[:, (a, b)]:
            vector = second[:2] - first[:2]
            length = np.hypot(*vector)
            if not first[2] or not second[2] or not length:
                continue
            ux, uy = vector / length
            along = (x - first[0]) * ux + (y - first[1]) * uy
            inside = (along >= -4) & (along <= length + 4) & (abs((x - first[0]) * uy - (y - first[1]) * ux) <= 8)
            pafs[2 * limb] += inside * ux
            pafs[2 * limb + 1] += inside * uy
            count += inside
        pafs[2 * limb : 2 * limb + 2] /= np.maximum(count, 1)
    return heatmaps, pafs


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    parser.error("these are parts of benchmark.py: python scripts/benchmark.py grouping|targets")
