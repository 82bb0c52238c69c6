"""Generate a COCO keypoint dataset of drawn people, so that everything can be tried without downloading anything.

    mspose sample data/sample --train 2000 --val 300 --seed 0 --workers 2

The folder has COCO 2017's layout (annotations/person_keypoints_{train,val}2017.json, train2017/, val2017/), and its
annotations have COCO's meaning: visibility 0 is not labelled, 1 labelled but hidden, 2 visible; some people carry no
keypoints, some groups are one crowd region (`iscrowd` 1). Each picture depends on (seed, split, index) alone.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from mspose.errors import PoseError, UsageError
from mspose.extras import need
from mspose.files import atomic_path, read_json, remove_abandoned, user_path, write_json
from mspose.runtime.launch import most_processes
from mspose.skeleton import COCO17, Skeleton, load_skeleton
from mspose.synthetic.canvas import Canvas
from mspose.synthetic.figure import Figure, random_figure
from mspose.synthetic.scenery import background, foreground, seat, shadow

GENERATOR = 1  # raised whenever the same parameters give other pictures or annotations
MANIFEST = "sample.json"
SPLITS = {"train": 500_000, "val": 0}  # first image id of each, so that no id stands for two pictures
KNOWN = ("head_top", "neck", *COCO17.keypoints)  # what a drawn person has

CROWD_SHARE = 0.07  # pictures with a crowd region
BARE_SHARE = 0.06  # people without keypoints
PARTIAL_SHARE = 0.08  # people with some keypoints left out
LEAST_SEEN = 0.35  # part of a person that must be visible to be labelled


def scene(rng: np.random.Generator, width: int, height: int, keypoints: tuple[str, ...]) -> tuple[np.ndarray, list]:
    """Draw one picture of people.

    Returns:
        the picture (H, W, 3), uint8 BGR, and its annotations as COCO has them but for `id` and `image_id`.
    """
    image, horizon = background(rng, width, height)
    light = np.array([rng.uniform(-0.7, 0.7), -rng.uniform(0.4, 0.8), rng.uniform(0.5, 0.9)])
    canvas = Canvas(image, light / np.linalg.norm(light))
    crowd = _paint_crowd(rng, canvas, horizon) if rng.random() < CROWD_SHARE else []
    people = _place(rng, width, height)
    whole = []
    for owner, (figure, stance) in enumerate(people, 1):
        x0, _, x1, foot = figure.box()
        shadow(canvas.image, (x0 + x1) / 2, foot, 0.24 * figure.height)
        if stance == "sit":
            pelvis = (figure.joints["left_hip"] + figure.joints["right_hip"]) / 2
            seat(rng, canvas, pelvis[0], pelvis[1] + 0.03 * figure.height, foot, 0.13 * figure.height)
        for part in figure.parts:
            canvas.paint(part, owner)
        whole.append(int((canvas.owner == owner).sum()))
    if rng.random() < 0.22:
        foreground(rng, canvas, rng.uniform(0, width), rng.uniform(0.14, 0.34) * height)
    annotations = [
        _person(rng, canvas, figure, owner, whole[owner - 1], keypoints) for owner, (figure, _) in enumerate(people, 1)
    ]
    annotations += [_crowd(np.isin(canvas.owner, crowd), len(keypoints))] if crowd else []
    return _photograph(rng, canvas.image), [a for a in annotations if a is not None]


def _place(rng: np.random.Generator, width: int, height: int) -> list[tuple[Figure, str]]:
    """Choose people and where they stand, from far to near; crowded pictures allow more overlap."""
    count = 1 + rng.choice(5, p=[0.14, 0.26, 0.28, 0.20, 0.12])
    overlap = 0.55 if rng.random() < 0.3 else 0.2
    tallest = 0.96 if count <= 3 else 0.8
    placed: list[tuple[Figure, str, np.ndarray]] = []
    for _ in range(count):
        figure, stance = random_figure(rng, rng.uniform(0.42, tallest) * height * (1.12 if rng.random() < 0.12 else 1))
        x0, y0, x1, _ = figure.box()
        for _ in range(12):
            cut = rng.random() < 0.1  # may leave the picture
            margin = 0.35 * (x1 - x0) if cut else -3
            low, high = -x0 - margin, width - x1 + margin
            x = rng.uniform(min(low, high), max(low, high))
            # Nearer people are larger and stand lower in the picture.
            y = height * rng.uniform(0.97, 1.0) - max(0.9 * height - figure.height, 0) * rng.uniform(0.1, 0.5)
            if cut and rng.random() < 0.6:
                y += rng.uniform(0.1, 0.45) * figure.height
            box = np.array([x0 + x, y + y0, x1 + x, y])
            if all(_overlap(box, other) <= overlap for *_, other in placed):
                placed.append((figure.moved(x, y), stance, box))
                break
    placed.sort(key=lambda person: person[2][3] + 0.2 * person[0].height)
    return [(figure, stance) for figure, stance, _ in placed]


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return the intersection of two boxes x0, y0, x1, y1 over the area of the smaller."""
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    return float(sides.prod() / min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod()))


def _paint_crowd(rng: np.random.Generator, canvas: Canvas, horizon: float) -> list[int]:
    """Paint a group of small people far away; returns their owner numbers."""
    height, width = canvas.owner.shape
    count, centre, tall = rng.integers(5, 10), rng.uniform(0.2, 0.8) * width, rng.uniform(0.12, 0.19) * height
    owners = [1000 + i for i in range(count)]
    for owner in owners:
        figure, _ = random_figure(rng, tall * rng.uniform(0.85, 1.15))
        figure = figure.moved(centre + rng.normal(0, 0.9) * tall, horizon + rng.uniform(0.25, 0.5) * tall)
        for part in figure.parts:
            canvas.paint(part, owner)
    return owners


def _photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Return the picture (H, W, 3) as a camera would give it: exposure, a colour cast, a little noise; uint8."""
    image = image * (rng.uniform(0.85, 1.12) * rng.uniform(0.94, 1.06, 3).astype(np.float32))
    image += rng.standard_normal((*image.shape[:2], 1), np.float32) * rng.uniform(0.003, 0.014)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _person(
    rng: np.random.Generator, canvas: Canvas, figure: Figure, owner: int, whole: int, keypoints: tuple[str, ...]
) -> dict | None:
    """Return the annotation of a person, or None if too little is seen for a mask."""
    bare, partly, drop = rng.random() < BARE_SHARE, rng.random() < PARTIAL_SHARE, rng.random(len(keypoints)) < 0.25
    mask = canvas.owner == owner
    shape = _polygons(mask)
    if shape is None:
        return None
    segmentation, bbox, area = shape
    height, width = mask.shape
    spots = np.round(np.stack([figure.joints[name] for name in keypoints])[:, :2], 2)
    visible = figure.seen(canvas, keypoints, owner)
    labelled = ((spots >= 0) & (spots <= (width - 1, height - 1))).all(1)
    # Nobody guesses where a face lies on the far side of a head; every other hidden joint is marked as such.
    labelled &= ~np.array([name in figure.away for name in keypoints])
    if partly:
        labelled &= ~drop
    if bare or mask.sum() < LEAST_SEEN * whole:
        labelled[:] = False
    flags = np.where(labelled, 1 + visible, 0)
    triples = np.column_stack([spots * labelled[:, None], flags])
    return {
        "segmentation": segmentation,
        "num_keypoints": int(labelled.sum()),
        "area": area,
        "iscrowd": 0,
        "keypoints": [int(v) if v == int(v) else float(v) for v in triples.ravel()],
        "bbox": bbox,
        "category_id": 1,
    }


def _polygons(mask: np.ndarray) -> tuple[list[list[float]], list[float], float] | None:
    """Return polygons around a mask (H, W), their bounding box x, y, w, h and the area they rasterise to."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    if w == 0:
        return None
    # Twice the size, pixel centres lie a quarter pixel from pixel edges, so the polygon keeps thin limbs.
    doubled = cv2.resize(mask[y : y + h, x : x + w].astype(np.uint8), (2 * w, 2 * h), interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    contours = [cv2.approxPolyDP(c, 0.7, True)[:, 0] for c in contours if cv2.contourArea(c) >= 24]
    contours = [(c + 0.5) / 2 + (x, y) for c in contours if len(c) >= 3]
    if not contours:
        return None
    segmentation = [np.round(c, 2).ravel().tolist() for c in contours]
    coco_mask = need("pycocotools.mask")
    area = float(coco_mask.area(coco_mask.merge(coco_mask.frPyObjects(segmentation, *mask.shape))))
    points = np.concatenate(contours)
    low, size = points.min(0), np.ptp(points, 0)
    return segmentation, [round(float(v), 2) for v in (*low, *size)], area


def _crowd(mask: np.ndarray, joints: int) -> dict | None:
    """Return the annotation of a crowd region: an uncompressed RLE and no keypoints."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    if w == 0:
        return None
    column = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(column)) + 1
    counts = np.diff([0, *([0] if column[0] else []), *edges, column.size])
    return {
        "segmentation": {"counts": counts.tolist(), "size": list(mask.shape)},
        "num_keypoints": 0,
        "area": int(mask.sum()),
        "iscrowd": 1,
        "keypoints": [0] * (3 * joints),
        "bbox": [x, y, w, h],
        "category_id": 1,
    }


def _write_image(
    root: Path, size: tuple[int, int], keypoints: tuple[str, ...], seed: int, split: str, index: int
) -> tuple[dict, list[dict]]:
    """Draw and write picture `index` of a split; returns its COCO image record and annotations without ids."""
    width, height = size
    rng = np.random.default_rng([seed, list(SPLITS).index(split), index])
    image, annotations = scene(rng, width, height, keypoints)
    image_id = SPLITS[split] + index + 1
    name = f"{image_id:012d}.jpg"
    # Encoded first: cv2.imwrite does not say why it failed, or that the disk is full.
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    with atomic_path(root / f"{split}2017" / name) as path:
        path.write_bytes(encoded.tobytes())
    record = {"license": 1, "file_name": name, "height": height, "width": width, "id": image_id}
    return record, [{**annotation, "image_id": image_id} for annotation in annotations]


def generate(
    root: str | Path,
    train_images: int,
    val_images: int,
    seed: int = 0,
    size: tuple[int, int] = (320, 240),
    skeleton: Skeleton = COCO17,
    workers: int = 1,
) -> None:
    """Write a dataset of `train_images` and `val_images` pictures of `size` (width, height) under `root`.

    A folder that already holds exactly this dataset is left alone, and one that holds an unfinished run of it is made
    again; the files do not depend on `workers`.

    Raises:
        UsageError: a count or size that cannot be, or a keypoint of the skeleton that is not drawn.
        PoseError: `root` holds something else, or cannot be written.
    """
    root = Path(root)
    if min(train_images, val_images, seed) < 0 or train_images + val_images < 1 or min(size) < 64 or workers < 1:
        raise UsageError("sample data: at least one picture of 64 pixels or more and one worker; no negative numbers")
    if workers > most_processes():
        raise UsageError(f"sample data: --workers {workers}: this host takes {most_processes()} at most")
    unknown = [name for name in skeleton.keypoints if name not in KNOWN]
    if unknown:
        raise UsageError(
            f"skeleton {skeleton.name}: sample people have no keypoint {unknown[0]!r}; they have {', '.join(KNOWN)}"
        )
    counts = {"train": train_images, "val": val_images}
    manifest = {
        "generator": GENERATOR,
        "seed": seed,
        "size": list(size),
        **counts,
        "skeleton": skeleton.name,
        "keypoints": list(skeleton.keypoints),
        "limbs": [list(limb) for limb in skeleton.limbs],
    }
    if _is_finished(root, manifest):
        print(f"{root}: this sample data is already there")
        return
    write_json(root / MANIFEST, {**manifest, "finished": False}, indent=1)
    width, height = size
    for split, count in counts.items():
        draw = partial(_write_image, root, (width, height), skeleton.keypoints, seed, split)
        pool = ProcessPoolExecutor(workers, get_context("spawn")) if workers > 1 else nullcontext()
        with pool as executor:
            results = executor.map(draw, range(count), chunksize=16) if executor else map(draw, range(count))
            # Without a terminal, one line at the end instead of a bar that fills a log file.
            bar = tqdm(results, f"sample {split}2017", count, unit="image", disable=None)
            _write_annotations(root / "annotations" / f"person_keypoints_{split}2017.json", list(bar), skeleton, seed)
        if not sys.stderr.isatty():
            print(f"sample {split}2017: {count} images")
    write_json(root / MANIFEST, {**manifest, "finished": True}, indent=1)


def _is_finished(root: Path, manifest: dict) -> bool:
    """Return whether `root` holds the finished dataset of `manifest`; refuse a folder that holds anything else."""
    if not root.exists():
        return False
    if not root.is_dir():
        raise PoseError(f"{root} is a file: choose a folder for the sample data")
    if not (root / MANIFEST).exists():
        remove_abandoned(root)  # by a run that was killed amid its first file
        if any(root.iterdir()):
            raise PoseError(f"{root} holds other files: choose a new or empty folder for the sample data")
        return False
    found = read_json(root / MANIFEST, "sample manifest")
    if not isinstance(found, dict) or {k: v for k, v in found.items() if k != "finished"} != manifest:
        raise PoseError(f"{root} holds sample data of other parameters ({MANIFEST}): choose another folder")
    return found.get("finished") is True and all(
        len(list((root / f"{split}2017").glob("*.jpg"))) == manifest[split]
        and (root / "annotations" / f"person_keypoints_{split}2017.json").is_file()
        for split in SPLITS
    )


def _write_annotations(path: Path, results: list[tuple[dict, list[dict]]], skeleton: Skeleton, seed: int) -> None:
    """Write the COCO file of one split."""
    annotations = [annotation for _, people in results for annotation in people]
    first = 1 if not results else results[0][0]["id"] * 100
    category = {
        "supercategory": "person",
        "id": 1,
        "name": "person",
        "keypoints": list(skeleton.keypoints),
        "skeleton": [[a + 1, b + 1] for a, b in skeleton.limbs],
    }
    write_json(
        path,
        {
            "info": {
                "description": "Drawn people in COCO keypoint format",
                "url": "",
                "version": str(GENERATOR),
                "year": 2017,
                "contributor": "mspose.synthetic.sample",
                "date_created": f"seed {seed}",
            },
            "licenses": [{"url": "https://creativecommons.org/publicdomain/zero/1.0/", "id": 1, "name": "CC0 1.0"}],
            "images": [record for record, _ in results],
            "annotations": [{**annotation, "id": first + i} for i, annotation in enumerate(annotations)],
            "categories": [category],
        },
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="mspose sample", description=__doc__.split("\n")[0])
    parser.add_argument("root", type=user_path, help="folder to make")
    parser.add_argument("--train", type=int, default=2000, help="training pictures (default: %(default)s)")
    parser.add_argument("--val", type=int, default=300, help="validation pictures (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other pictures (default: %(default)s)")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=(320, 240),
        metavar=("WIDTH", "HEIGHT"),
        help="pixels of a picture (default: 320 240)",
    )
    parser.add_argument("--skeleton", default="coco17", help="coco17 or a skeleton file (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        generate(
            options.root,
            options.train,
            options.val,
            options.seed,
            tuple(options.size),
            load_skeleton(options.skeleton),
            options.workers,
        )
    except PoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0
