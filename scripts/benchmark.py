"""Cost per image or person of the parts that matter, each as a ratio to something measured in the same run.

    python scripts/benchmark.py pipeline --data ../shared/coco-mini
    python scripts/benchmark.py forward|train [--depth 50] [--batch 8] [--torch-python PYTHON]
    python scripts/benchmark.py input --data ../shared/coco-mini [--py-spy PY_SPY]
    python scripts/benchmark.py decode|nms|targets
    python scripts/benchmark.py backends [--recipes RECIPE ...] [--torch-python PYTHON]
    python scripts/benchmark.py backends --ckpt best.ckpt ... [--torch-python PYTHON] --keys data.root=DATA ...
    python scripts/benchmark.py video --data ../shared/coco-mini --detector yolox.onnx [--rtmlib-python PYTHON]
    python scripts/benchmark.py grouping --data ../shared/coco-mini [--maps MAPS.npz]

Machines are shared and noisy: the two sides alternate, medians are printed, and the ratio is the figure to quote.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))


def alternate(rounds: int, **sides: Callable[[], float]) -> None:
    """Measure the sides in turn; print the median of each and of the ratio first / second."""
    values: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, measure in sides.items():
            values[name].append(measure())
    for name, series in values.items():
        print(f"{name:28} median {statistics.median(series):10.4f}  min {min(series):.4f}  max {max(series):.4f}")
    first, second = list(values.values())[:2]
    ratios = [a / b for a, b in zip(first, second)]
    print(f"{'ratio ' + ' / '.join(list(values)[:2]):28} median {statistics.median(ratios):.3f}")


def seconds(function: Callable[[], object]) -> float:
    """Wall time of one call."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def pipeline(arguments: argparse.Namespace) -> None:
    """Training input of both kinds with full augmentation against single-thread cv2.imread of its files, images/s."""
    from mspose.runtime.device import prepare_environment

    prepare_environment()
    import cv2

    from mspose.config.builder import load_config
    from mspose.data.loader import BadImages, Plan, train_batches
    from mspose.networks import method_of

    cv2.setNumThreads(1)
    for recipe, batch_size in (("simplepose_r50_256x192", 16), ("openpose_vgg19_368", 5)):
        config = load_config(ROOT / f"configs/{recipe}.yaml", {"data.root": arguments.data})
        dataset = method_of(config).training_set()
        images, rows = dataset.images, getattr(dataset, "rows", dataset.people.image_index)
        files, plan = [str(images.files[row]) for row in rows], Plan(len(dataset), batch_size)
        repeats = max(1, 400 // len(dataset))

        def read(files: list[str] = files, repeats: int = repeats) -> float:
            return repeats * len(files) / seconds(lambda: [cv2.imread(f) for _ in range(repeats) for f in files])

        def batches(dataset: Any = dataset, plan: Plan = plan, repeats: int = repeats) -> float:
            steps = repeats * plan.steps_per_epoch
            stream = train_batches(
                dataset.train_sample,
                dataset.train_shapes,
                plan,
                0,
                steps,
                arguments.workers,
                4,
                BadImages(len(dataset)),
            )
            return steps * plan.batch_size / seconds(lambda: [None for _ in stream])

        batches()
        width, height = config.data.input_size
        print(f"images/s, {recipe}: {len(dataset)} samples, {width}x{height}, batch {batch_size}, all augmentations")
        alternate(arguments.rounds, pipeline=batches, imread=read)


class Worker:
    """A process that measures rounds on request, so that two frameworks can alternate without sharing threads."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )
        self._read()

    def _read(self) -> str:
        line = self._process.stdout.readline().strip()
        if not line:
            raise SystemExit(f"error: the process {' '.join(self._process.args[:3])} ended; see its message above")
        return line

    def ask(self, request: str) -> str:
        """The answer to one line."""
        self._process.stdin.write(f"{request}\n")
        self._process.stdin.flush()
        return self._read()

    def measure(self, iterations: int) -> float:
        """Milliseconds an image, over that many iterations."""
        return float(self.ask(str(iterations)))

    def close(self) -> float:
        """End it; the most memory that it had, in MB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        self._process.stdin.close()
        self._process.wait()
        return int(status.split("VmHWM:")[1].split()[0]) / 1e3


def network(arguments: argparse.Namespace) -> None:
    """Forward pass or training step of SimplePose beside PyTorch eager, ms/image."""
    model = json.dumps({"name": "simplepose", "depth": arguments.depth})
    sizes = ["--depth", str(arguments.depth), "--batch", str(arguments.batch)]
    ours = Worker(
        [sys.executable, __file__, f"{arguments.part}-worker", *sizes],
        dict(os.environ),
    )
    print(f"ms/image, SimplePose-R{arguments.depth} {arguments.part}, batch {arguments.batch}, 192x256")
    # PyTorch gets the environment as it is: the variable that cures MindSpore would slow it down.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ONEDNN_")}
    has_torch = subprocess.run([arguments.torch_python, "-c", "import torch"], capture_output=True, check=False)
    iterations = 2 if arguments.part == "train" else 4
    if has_torch.returncode:
        print("PyTorch is not installed: no baseline (name an interpreter that has it with --torch-python)")
        series = [ours.measure(iterations) for _ in range(arguments.rounds)]
        print(f"{'MindSpore':28} median {statistics.median(series):10.4f}")
        return
    baseline = [arguments.torch_python, str(ROOT / "scripts/torch_baseline.py"), arguments.part]
    theirs = Worker([*baseline, model, str(arguments.batch), "192", "256"], plain)
    alternate(arguments.rounds, MindSpore=lambda: ours.measure(iterations), PyTorch=lambda: theirs.measure(iterations))


def network_worker(arguments: argparse.Namespace) -> None:
    """The MindSpore side of `network`: one figure a line of standard input."""
    import contextlib

    with contextlib.redirect_stdout(sys.stderr):
        from mspose.config.builder import default_config
        from mspose.runtime.device import start

        config = default_config()
        config.runtime.device = "CPU"
        runtime = start(config.runtime)
        import mindspore as ms

        from mspose.backends.checkpoint import MindSporeBackend
        from mspose.models.losses import JointsMSELoss
        from mspose.networks import build_model
        from mspose.train.step import TrainStep

    config.model.depth, batch = arguments.depth, arguments.batch
    model = runtime.adapt(build_model(config))
    rng = np.random.default_rng(0)
    image = rng.standard_normal((batch, 3, 256, 192), np.float32)
    if arguments.part == "train-worker":
        step = TrainStep(model, JointsMSELoss(), np.full(10000, 1e-3, np.float32), config)
        batch_data = [
            ms.Tensor(v) for v in (image, rng.random((batch, 17, 64, 48), np.float32), np.ones((batch, 17), np.float32))
        ]
        run = lambda: step(*batch_data).asnumpy()  # noqa: E731
    else:
        backend = MindSporeBackend(model)
        run = lambda: backend(image)  # noqa: E731
    run()
    run()
    print("ready", flush=True)
    for line in sys.stdin:
        total = seconds(lambda count=int(line): [run() for _ in range(count)])
        print(total / int(line) / batch * 1e3, flush=True)


def decode(arguments: argparse.Namespace) -> None:
    """Heat maps of 64 people to keypoints in their pictures, against reading the maps once, ms/person."""
    from mspose.codecs.heatmap import HeatmapCodec
    from mspose.codecs.refine import UDP_FORMS
    from mspose.geometry import crop_to_image, to_images

    rng = np.random.default_rng(0)
    size = (192, 256)
    points = np.concatenate([rng.uniform((4, 4), (188, 252), (64, 17, 2)), np.ones((64, 17, 1))], axis=-1)
    maps = HeatmapCodec().gaussians(points, size)[0] + 0.05 * rng.random((64, 17, 64, 48), np.float32)
    centers, sizes = np.full((64, 2), 200.0, np.float32), np.full((64, 2), (150, 200), np.float32)
    print("ms/person, batches of 64 people, 17 maps of 48x64")
    for refine in ("quarter", "dark", "dark_udp", "dark_udp_0x"):
        variant = HeatmapCodec(refine=refine, unbiased=refine in UDP_FORMS)

        def run(codec: HeatmapCodec = variant) -> np.ndarray:
            matrices = crop_to_image(centers, sizes, size, codec.unbiased)
            return to_images(codec.decode((maps,), size).keypoints, matrices)

        alternate(
            arguments.rounds * 5,
            **{
                f"decode ({refine})": lambda run=run: seconds(run) / 64 * 1e3,
                "read once": lambda: seconds(lambda: maps.sum()) / 64 * 1e3,
            },
        )


def nms(arguments: argparse.Namespace) -> None:
    """Rescoring and OKS-NMS of 104,125 people over 5,000 images, against a plain loop over a tenth of them, s."""
    from mspose.evaluation.oks import NMS, rescore_visible_mean
    from mspose.skeleton import COCO17

    rng = np.random.default_rng(0)
    count, sigmas = 104_125, np.array(COCO17.sigmas)
    images = np.sort(rng.integers(0, 5000, count))
    keypoints = rng.random((count, 17, 3)) * (640, 480, 1)
    keypoints[1::2, :, :2] = keypoints[:-1:2, :, :2] + rng.normal(0, 2, (count // 2, 17, 2))  # many near duplicates
    boxes, areas = rng.random(count), rng.uniform(2000, 60000, count)

    def ours() -> float:
        def work() -> None:
            scores = rescore_visible_mean(keypoints[..., 2], boxes)
            NMS["oks"](keypoints, scores, areas, images, sigmas, 0.9)

        return seconds(work)

    def loops() -> float:
        def work() -> None:
            part = images < 500
            plain_nms(keypoints[part], boxes[part], areas[part], images[part], sigmas)

        return seconds(work) * 10

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours()
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"s, {count} people in 5000 images")
    alternate(max(3, arguments.rounds // 2), **{"rescoring and OKS-NMS": ours, "plain loops (x10)": loops})
    print(f"{'peak memory growth':28} {growth:.0f} MB")


def plain_nms(
    keypoints: np.ndarray, boxes: np.ndarray, areas: np.ndarray, images: np.ndarray, sigmas: np.ndarray
) -> list[int]:
    """Rescoring and OKS-NMS one person at a time: the baseline of `nms`."""
    kept = []
    for image in np.unique(images):
        rows = np.flatnonzero(images == image)
        scores = []
        for row in rows:
            good = [s for s in keypoints[row, :, 2] if s > 0.2]
            scores.append(boxes[row] * (sum(good) / len(good) if good else 0))
        order = [rows[i] for i in np.argsort(scores)[::-1]]
        while order:
            best, rest = order[0], []
            kept.append(best)
            for other in order[1:]:
                squared = ((keypoints[best, :, :2] - keypoints[other, :, :2]) ** 2).sum(axis=1)
                area = (areas[best] + areas[other]) / 2
                if np.exp(-squared / (2 * sigmas) ** 2 / area / 2).mean() <= 0.9:
                    rest.append(other)
            order = rest
    return kept


def grouping(arguments: argparse.Namespace) -> None:
    """People from heat maps and PAFs, against the plain full-resolution way."""
    import benchmark_paf

    benchmark_paf.grouping(arguments, alternate)


def backends(arguments: argparse.Namespace) -> None:
    """Forward pass of every network in every backend, beside a bare ONNX Runtime session and PyTorch eager."""
    import benchmark_backends

    benchmark_backends.backends(arguments, Worker)


def video(arguments: argparse.Namespace) -> None:
    """The demo on a video, beside rtmlib."""
    import benchmark_video

    benchmark_video.video(arguments, Worker)


def targets(arguments: argparse.Namespace) -> None:
    """Heat maps and PAFs to train on, against drawing them one by one."""
    import benchmark_paf

    benchmark_paf.targets(arguments, alternate)


def reading(arguments: argparse.Namespace) -> None:
    """What reading costs and what more cores would give."""
    import benchmark_input

    benchmark_input.measure(arguments)


PARTS = {
    "pipeline": pipeline,
    "input": reading,
    "forward": network,
    "train": network,
    "forward-worker": network_worker,
    "train-worker": network_worker,
    "decode": decode,
    "nms": nms,
    "backends": backends,
    "grouping": grouping,
    "targets": targets,
    "video": video,
}


def main() -> None:
    """Parse the arguments and run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS, metavar="|".join(p for p in PARTS if "worker" not in p))
    parser.add_argument(
        "--data", default="data/coco", help="COCO folder for pipeline, input, video (default: data/coco)"
    )
    parser.add_argument("--maps", help="maps for grouping, as the parity fixture (default: drawn from --data)")
    parser.add_argument("--workers", type=int, default=0, help="reading threads for pipeline (default: one a core)")
    parser.add_argument("--depth", type=int, default=50, help="ResNet depth (default: 50)")
    parser.add_argument("--batch", type=int, default=8, help="images a step (default: 8)")
    parser.add_argument("--rounds", type=int, default=7, help="alternating rounds (default: 7)")
    parser.add_argument(
        "--recipes",
        nargs="+",
        default=[
            "simplepose_r50_256x192",
            "fastpose_r50_256x192",
            "hrnet_w32_256x192",
            "rtmpose_m_256x192",
            "vitpose_b_256x192",
            "openpose_vgg19_368",
        ],
        metavar="RECIPE",
        help="recipes for backends (default: one of each network)",
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="images a run, for backends (1, 8)")
    parser.add_argument("--ckpt", nargs="+", default=[], help="checkpoints for backends, whose AP is told too")
    parser.add_argument("--keys", nargs="+", default=[], metavar="KEY=VALUE", help="of the set to evaluate them on")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter that has PyTorch")
    parser.add_argument("--detector", help="YOLOX in ONNX for video")
    parser.add_argument("--pose", help="RTMPose in ONNX, with its card, for video (default: RTMPose-s, random weights)")
    parser.add_argument("--people", type=int, nargs="+", default=[1, 4, 10], help="a frame, for video (1, 4, 10)")
    parser.add_argument("--rtmlib-python", default=sys.executable, help="interpreter that has rtmlib, for video")
    parser.add_argument("--py-spy", help="the program py-spy, for input: tells how long the interpreter lock is held")
    parser.add_argument("--seconds", type=float, default=2, help="a round, for input (default: 2)")
    arguments = parser.parse_args()
    PARTS[arguments.part](arguments)


if __name__ == "__main__":
    main()
