"""The part `video` of benchmark.py, and the process that measures one side of it. benchmark.py starts it:

python scripts/benchmark_video.py onnx|openvino|mindspore|rtmlib FOLDER POSE DETECTOR SIZE
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
FRAME, FPS = (640, 480), 25
# Of both sides: the least score of a person, and the overlap from which two boxes are one person.
SCORE, OVERLAP = 0.3, 0.45
# Of the videos: frames, and columns and rows in which people stand.
FRAMES, PLACES = 80, {1: (1, 1), 4: (4, 1), 10: (5, 2)}
BACKENDS = ("onnx", "openvino", "mindspore")


def video(arguments: argparse.Namespace, worker: type) -> None:
    """From videos of 1, 4 and 10 people a frame to drawn ones, in each backend, beside rtmlib with the same files.

    The frames show people of --data, cut out as annotated, each fitted into a place of its own. Without the detector,
    both sides are told where they are.
    """
    if not arguments.detector:
        raise SystemExit("error: video needs --detector FILE.onnx, a YOLOX that both sides read")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ONEDNN_")}
    asked = [arguments.rtmlib_python, "-c", "import cv2, rtmlib; print(cv2.__version__)"]
    found = subprocess.run(asked, capture_output=True, text=True)
    sides = {name: sys.executable for name in BACKENDS if name == "onnx" or find_spec(name)}
    if not found.returncode:
        sides["rtmlib"] = arguments.rtmlib_python
        print(f"OpenCV {cv2.__version__} here, {found.stdout.strip()} beside rtmlib (5 resamples otherwise than 4)")
    else:
        print("rtmlib is not installed: no baseline (name an interpreter that has it with --rtmlib-python)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pose = _pose(arguments.pose, folder, environment)
        if "mindspore" in sides and not pose.with_suffix(".ckpt").is_file():
            del sides["mindspore"]
        size = json.loads(pose.with_name(f"{pose.name}.json").read_text(encoding="utf-8"))["input"]["size"]
        for count in arguments.people:
            _write_video(Path(arguments.data), count, folder / f"{count}.avi")
        workers = {
            side: worker(
                [python, __file__, side, name, str(pose), arguments.detector, json.dumps(size)],
                environment,
            )
            for side, python in sides.items()
        }
        print(f"frames/s, median of {arguments.rounds} alternating rounds, {FRAME[0]}x{FRAME[1]}, {FRAMES} frames")
        for count in arguments.people:
            for with_detector in (1, 0):
                request = f"{count} {with_detector}"
                for process in workers.values():
                    process.ask(request)  # the first pass compiles
                rounds = [
                    {side: json.loads(process.ask(request)) for side, process in workers.items()}
                    for _ in range(arguments.rounds)
                ]
                _report(count, bool(with_detector), rounds)
        if "rtmlib" in sides:
            _compare(folder)


def _report(count: int, with_detector: bool, rounds: list[dict[str, dict]]) -> None:
    """Frames a second of each side, beside rtmlib's, and each step's share of the wall time."""
    print(f"{count} people a frame, {'with' if with_detector else 'without'} the detector")
    for side in rounds[0]:
        line = f"  {side:10}{statistics.median(1 / r[side]['seconds'] for r in rounds):7.1f}"
        if side != "rtmlib":
            if "rtmlib" in rounds[0]:
                ratio = statistics.median(r["rtmlib"]["seconds"] / r[side]["seconds"] for r in rounds)
                line += f"  {ratio:5.2f} x rtmlib"
            steps = rounds[0][side]["steps"]
            shares = {s: statistics.median(r[side]["steps"].get(s, 0) / r[side]["wall"] for r in rounds) for s in steps}
            line += "  " + ", ".join(f"{step} {share:.0%}" for step, share in shares.items() if share > 0.005)
            line += f"; {statistics.median(r[side]['people'] for r in rounds):.1f} people"
        print(line, flush=True)


def _pose(given: str | None, folder: Path, environment: dict[str, str]) -> Path:
    """The given ONNX file, or RTMPose-s with random weights."""
    if given:
        return Path(given)
    sys.path.insert(0, str(ROOT / "scripts"))
    from benchmark_backends import export

    return export("rtmpose_s_256x192", folder, environment)[1]["onnx"]


def _write_video(data: Path, count: int, path: Path) -> None:
    """A video with `count` people a frame, X.npy with their boxes (frames, count, 4), and X.json with the same."""
    people = _cut_out(data)
    columns, rows = PLACES[count]
    cell = np.array([FRAME[0] // columns, FRAME[1] // rows])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, FRAME)
    boxes = np.zeros((FRAMES, count, 4))
    for number in range(FRAMES):
        frame = np.full((FRAME[1], FRAME[0], 3), 128, np.uint8)
        for place in range(count):
            person = people[(number // 8 + place) % len(people)]
            scale = (cell * 0.9 / person.shape[1::-1]).min()
            small = cv2.resize(person, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            corner = cell * (place % columns, place // columns) + (cell - small.shape[1::-1]) // 2
            # They move to and fro, as people in a video do.
            corner[0] = min(max(corner[0] + 6 * np.sin(number / 3 + place), 0), FRAME[0] - small.shape[1])
            frame[corner[1] :, corner[0] :][: small.shape[0], : small.shape[1]] = small
            boxes[number, place] = *corner, *small.shape[1::-1]
        writer.write(frame)
    writer.release()
    np.save(path.with_suffix(".npy"), boxes)
    entries = [
        {"image_id": number, "category_id": 1, "bbox": box.tolist(), "score": 0.9}
        for number, frame_boxes in enumerate(boxes)
        for box in frame_boxes
    ]
    path.with_suffix(".json").write_text(json.dumps(entries), encoding="utf-8")


def _cut_out(data: Path) -> list[np.ndarray]:
    """Pictures of the people that are seen whole, with a little of what is round them."""
    truth = json.loads((data / "annotations/person_keypoints_val2017.json").read_text(encoding="utf-8"))
    names = {image["id"]: image["file_name"] for image in truth["images"]}
    people = []
    for person in truth["annotations"]:
        x, y, width, height = person["bbox"]
        if person["num_keypoints"] < 12 or height < 100 or not person["area"]:
            continue
        image = cv2.imread(str(data / "val2017" / names[person["image_id"]]))
        margin = 0.1 * max(width, height)
        left, top = int(max(x - margin, 0)), int(max(y - margin, 0))
        people.append(image[top : int(y + height + margin), left : int(x + width + margin)])
    if not people:
        raise SystemExit(f"error: --data {data} shows nobody whole enough to make a video of")
    return people


def _compare(folder: Path) -> None:
    """How far the keypoints of both lie apart, for the same boxes in the same frames."""
    ours, theirs = (np.load(folder / f"{side}.points.npy") for side in ("onnx", "rtmlib"))
    distance = np.linalg.norm(ours - theirs, axis=-1)
    same = f"{len(ours)} boxes" if len(ours) else "no box"
    print(f"keypoints, same {same}: at most {distance.max(initial=0):.3f} px apart, median {np.median(distance):.4f}")


# ---- one side, in a process of its own

# One pass over the video of so many people, with the detector or without → what `_report` reads.
Pass = Callable[[int, bool], dict]


def _given_boxes() -> np.ndarray:
    """(N, 4) x, y, width, height: boxes that both are asked about in the first frame."""
    rng = np.random.default_rng(0)
    corner = rng.uniform((0, 0), (FRAME[0] * 0.6, FRAME[1] * 0.4), (16, 2))
    return np.concatenate([corner, rng.uniform((60, 120), (200, 280), (16, 2))], axis=1)


def _first_frame(folder: Path) -> np.ndarray:
    return cv2.VideoCapture(str(next(iter(sorted(folder.glob("*.avi")))))).read()[1]


def _mspose(given: argparse.Namespace) -> tuple[Pass, Callable[[], np.ndarray]]:
    sys.path.insert(0, str(ROOT / "src"))
    from dataclasses import replace

    from mspose import PoseEstimator
    from mspose.demo.outputs import video_file
    from mspose.demo.results import Results
    from mspose.demo.run import PREPARED, _run
    from mspose.demo.speed import Speed
    from mspose.demo.steps import Demo
    from mspose.demo.video import Video

    folder = Path(given.folder)
    keys = {
        "runtime.backend": given.side,
        "demo.detector": "onnx",
        "demo.detector_file": given.detector,
        "demo.detector_threshold": SCORE,
        "demo.detector_nms": OVERLAP,
        "eval.nms": "none",
        "demo.person_threshold": 0.0,
        "data.color": "bgr",  # as rtmlib feeds networks that were trained with RGB
    }
    file = Path(given.pose).with_suffix(".ckpt") if given.side == "mindspore" else given.pose
    config = str(Path(given.folder) / "c.yaml") if given.side == "mindspore" else None
    detecting = PoseEstimator(config, file, keys, overlap=PREPARED)

    def run(count: int, with_detector: bool) -> dict:
        boxes = {"detector": "boxes", "boxes": str(folder / f"{count}.json")}
        estimator = detecting if with_detector else detecting.with_options(replace(detecting.config.demo, **boxes))
        out = folder / given.side
        shutil.rmtree(out, ignore_errors=True)
        (out / "openpose").mkdir(parents=True)
        begin = time.perf_counter()
        source, speed = Video(folder / f"{count}.avi"), Speed()
        with contextlib.redirect_stderr(open(os.devnull, "w")):
            results = Results(out, 1, 0.0)
            with video_file(out / "v.mp4", source.fps) as drawn:
                done = _run(Demo(estimator, source, results, speed, drawn), source, speed)
        wall = time.perf_counter() - begin
        return {
            "seconds": wall / done,
            "wall": wall,
            "steps": dict(speed.watch.seconds),
            "people": len(results.entries) / done,
        }

    def keypoints() -> np.ndarray:
        frame, boxes = _first_frame(folder), _given_boxes()
        return np.concatenate([detecting(frame, boxes[i : i + 1]).keypoints for i in range(len(boxes))])

    return run, keypoints


def _rtmlib(given: argparse.Namespace) -> tuple[Pass, Callable[[], np.ndarray]]:
    from rtmlib import YOLOX, RTMPose, draw_skeleton

    side, folder = 416, Path(given.folder)
    detector = YOLOX(given.detector, (side, side), nms_thr=OVERLAP, score_thr=SCORE, backend="onnxruntime")
    pose = RTMPose(given.pose, tuple(json.loads(given.size)), backend="onnxruntime")

    def corners(boxes: np.ndarray) -> list[np.ndarray]:
        return list(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1))

    def run(count: int, with_detector: bool) -> dict:
        known = np.load(folder / f"{count}.npy")
        begin, done = time.perf_counter(), 0
        reader = cv2.VideoCapture(str(folder / f"{count}.avi"))
        writer = cv2.VideoWriter(str(folder / "rtmlib.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), FPS, FRAME)
        while True:
            found, frame = reader.read()
            if not found:
                writer.release()
                return {"seconds": (time.perf_counter() - begin) / done}
            boxes = detector(frame) if with_detector else corners(known[done])
            # Where it finds nobody, rtmlib takes the whole frame; this side of the comparison does not pay for that.
            if len(boxes):
                frame = draw_skeleton(frame, *pose(frame, bboxes=boxes), kpt_thr=0.3)
            writer.write(frame)
            done += 1

    def keypoints() -> np.ndarray:
        return pose(_first_frame(folder), bboxes=corners(_given_boxes()))[0]

    return run, keypoints


def main() -> None:
    """Answer each line on standard input, people a frame and 1 or 0 for the detector, with one pass in JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=(*BACKENDS, "rtmlib"))
    for name in ("folder", "pose", "detector"):
        parser.add_argument(name)
    parser.add_argument("size", help="(width, height) of the pose network's input, in JSON")
    given = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):
        run, keypoints = (_rtmlib if given.side == "rtmlib" else _mspose)(given)
        np.save(Path(given.folder) / f"{given.side}.points.npy", keypoints()[..., :2])
    print("ready", flush=True)
    for line in sys.stdin:
        count, with_detector = map(int, line.split())
        with contextlib.redirect_stdout(sys.stderr):
            answer = run(count, bool(with_detector))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
