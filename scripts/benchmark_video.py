"""The part `video` of benchmark.py, and the process that measures one side of it. benchmark.py starts it:

python scripts/benchmark_video.py mspose|rtmlib VIDEO POSE DETECTOR FOLDER
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
FRAME, FPS = (640, 480), 25
# Of both sides: the least score of a person, and the overlap from which two boxes are one person.
SCORE, OVERLAP = 0.3, 0.45


def video(arguments: argparse.Namespace, worker: type) -> None:
    """From a video to a drawn video: detector, pose network, drawing, encoding; beside rtmlib with the same files.

    The frames are pictures of --data, fitted into 640 × 480 one after another.
    """
    if not arguments.detector:
        raise SystemExit("error: video needs --detector FILE.onnx, a YOLOX that both sides read")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pose = Path(arguments.pose) if arguments.pose else _random_pose(folder)
        card = json.loads(pose.with_name(f"{pose.name}.json").read_text(encoding="utf-8"))
        _write_video(sorted(Path(arguments.data).glob("val2017/*.jpg")), folder / "frames.avi")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ONEDNN_")}
        sides = {"mspose": sys.executable}
        asked = [arguments.rtmlib_python, "-c", "import cv2, rtmlib; print(cv2.__version__)"]
        found = subprocess.run(asked, capture_output=True, text=True)
        if not found.returncode:
            sides["rtmlib"] = arguments.rtmlib_python
            print(f"OpenCV {cv2.__version__} here, {found.stdout.strip()} beside rtmlib (5 resamples otherwise than 4)")
        else:
            print("rtmlib is not installed: no baseline (name an interpreter that has it with --rtmlib-python)")
        rest = [str(folder / "frames.avi"), str(pose), arguments.detector, str(folder)]
        workers = {
            side: worker([python, __file__, side, *rest, json.dumps(card["input"]["size"])], environment)
            for side, python in sides.items()
        }
        rounds = [{side: w.measure(1) for side, w in workers.items()} for _ in range(arguments.rounds)]
        print(f"frames/s, median of {arguments.rounds} alternating rounds")
        for side in sides:
            print(f"  {side:8} {statistics.median(1e3 / r[side] for r in rounds):8.1f}")
        if len(sides) == 2:
            ratio = statistics.median(r["rtmlib"] / r["mspose"] for r in rounds)
            print(f"  {ratio:.2f} x the rate of rtmlib")
            _compare(folder)
        print((folder / "speed.txt").read_text(encoding="utf-8").strip())


def _random_pose(folder: Path) -> Path:
    """RTMPose-s with random weights, as ONNX."""
    sys.path.insert(0, str(ROOT / "scripts"))
    from benchmark_backends import _export

    environment = {k: v for k, v in os.environ.items() if not k.startswith("ONEDNN_")}
    return _export("rtmpose_s_256x192", folder, environment)[1]["onnx"]


def _write_video(files: list[Path], path: Path) -> None:
    if not files:
        raise SystemExit("error: --data holds no val2017/*.jpg to make a video of")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, FRAME)
    for file in files:
        image = cv2.imread(str(file))
        scale = min(FRAME[0] / image.shape[1], FRAME[1] / image.shape[0])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[: FRAME[1], : FRAME[0]]
        frame = np.zeros((FRAME[1], FRAME[0], 3), np.uint8)
        frame[: small.shape[0], : small.shape[1]] = small
        writer.write(frame)
    writer.release()


def _compare(folder: Path) -> None:
    """How far the keypoints of both lie apart, for the same boxes in the same frames."""
    ours, theirs = (np.load(folder / f"{side}.npy") for side in ("mspose", "rtmlib"))
    distance = np.linalg.norm(ours - theirs, axis=-1)
    same = f"{len(ours)} boxes" if len(ours) else "no box"
    print(f"  keypoints, same {same}: at most {distance.max(initial=0):.3f} px apart, median {np.median(distance):.4f}")


# ---- one side, in a process of its own


def _given_boxes() -> np.ndarray:
    """(N, 4) x, y, width, height: boxes that both are asked about in the first frame."""
    rng = np.random.default_rng(0)
    corner = rng.uniform((0, 0), (FRAME[0] * 0.6, FRAME[1] * 0.4), (16, 2))
    return np.concatenate([corner, rng.uniform((60, 120), (200, 280), (16, 2))], axis=1)


def _first_frame(path: str) -> np.ndarray:
    return cv2.VideoCapture(path).read()[1]


def _mspose(given: argparse.Namespace) -> tuple[Callable[[], int], Callable[[], np.ndarray]]:
    sys.path.insert(0, str(ROOT / "src"))
    from mspose import PoseEstimator
    from mspose.demo.outputs import video_file
    from mspose.demo.results import Results
    from mspose.demo.run import _run
    from mspose.demo.speed import Speed
    from mspose.demo.steps import Demo
    from mspose.demo.video import Video

    keys = {
        "demo.detector": "onnx",
        "demo.detector_file": given.detector,
        "demo.detector_threshold": SCORE,
        "demo.detector_nms": OVERLAP,
        "eval.nms": "none",
        "demo.person_threshold": 0.0,
        "data.color": "bgr",  # as rtmlib feeds networks that were trained with RGB
    }
    estimator = PoseEstimator(ckpt=given.pose, overrides=keys)

    def run() -> int:
        source, speed = Video(Path(given.video)), Speed()
        folder = Path(given.folder) / "mspose"
        (folder / "openpose").mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stderr(open(os.devnull, "w")):
            results = Results(folder, 1, 0.0)
            with video_file(folder / "v.mp4", source.fps) as video:
                done = _run(Demo(estimator, source, results, speed, video), source, speed)
        (Path(given.folder) / "speed.txt").write_text(speed.describe("frames"), encoding="utf-8")
        return done

    def keypoints() -> np.ndarray:
        frame, boxes = _first_frame(given.video), _given_boxes()
        return np.concatenate([estimator(frame, boxes[i : i + 1]).keypoints for i in range(len(boxes))])

    return run, keypoints


def _rtmlib(given: argparse.Namespace) -> tuple[Callable[[], int], Callable[[], np.ndarray]]:
    from rtmlib import YOLOX, RTMPose, draw_skeleton

    side = 416
    detector = YOLOX(given.detector, (side, side), nms_thr=OVERLAP, score_thr=SCORE, backend="onnxruntime")
    pose = RTMPose(given.pose, tuple(json.loads(given.size)), backend="onnxruntime")

    def run() -> int:
        reader, done = cv2.VideoCapture(given.video), 0
        path = str(Path(given.folder) / "rtmlib.mp4")
        writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"mp4v"), FPS, FRAME)
        while True:
            found, frame = reader.read()
            if not found:
                writer.release()
                return done
            boxes = detector(frame)
            # Where it finds nobody, rtmlib takes the whole frame; this side of the comparison does not pay for that.
            if len(boxes):
                frame = draw_skeleton(frame, *pose(frame, bboxes=boxes), kpt_thr=0.3)
            writer.write(frame)
            done += 1

    def keypoints() -> np.ndarray:
        boxes = _given_boxes()
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        return pose(_first_frame(given.video), bboxes=list(corners))[0]

    return run, keypoints


def main() -> None:
    """Answer each line on standard input with the milliseconds a frame of one pass over the video."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=("mspose", "rtmlib"))
    for name in ("video", "pose", "detector", "folder"):
        parser.add_argument(name)
    parser.add_argument("size", help="(width, height) of the pose network's input, in JSON")
    given = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):
        run, keypoints = {"mspose": _mspose, "rtmlib": _rtmlib}[given.side](given)
        np.save(Path(given.folder) / f"{given.side}.npy", keypoints()[..., :2])
        run()
    print("ready", flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):
            frames = run()
        print((time.perf_counter() - begin) / frames * 1e3, flush=True)


if __name__ == "__main__":
    main()
