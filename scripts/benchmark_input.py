"""The part `input` of benchmark.py: what reading costs, how much of it the interpreter lock serialises, and what more
cores would give."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ("simplepose_r50_256x192", "rtmpose_m_256x192", "openpose_vgg19_368")
CORES = (8, 16, 64)
SAMPLES_A_SECOND = 1000  # of py-spy


def measure(arguments: argparse.Namespace) -> None:
    """Samples a second by 1 and 2 threads, with pictures read and with pictures kept in memory; the model beyond."""
    from mspose.runtime.device import prepare_environment

    prepare_environment()
    import cv2

    cv2.setNumThreads(0)
    print(f"samples/s, median of {arguments.rounds} alternating rounds of {arguments.seconds} s")
    head = ["1 thread", "2 threads", "ratio", "decoded before", "CPU ms", "with the lock"]
    print(f"| | {' | '.join([*head, *(f'{cores} cores' for cores in CORES)])} |")
    print("|---" * (len(head) + len(CORES) + 1) + "|")
    for name, dataset, sample in _sources(arguments.data):
        _measure_one(arguments, name, dataset, sample)


def _sources(data: str) -> list[tuple[str, Any, Callable]]:
    """Name, data set and what fills one sample, of the training input of each recipe and of evaluation's crops."""
    from mspose.config.builder import load_config
    from mspose.networks import method_of

    sources = []
    for recipe in RECIPES:
        dataset = method_of(load_config(ROOT / f"configs/{recipe}.yaml", {"data.root": data})).training_set()
        sources.append((f"{recipe}, training", dataset, dataset.train_sample))
    dataset = sources[0][1]
    crops = [(f"{RECIPES[0]}, evaluation", dataset, lambda index, _, out: dataset.eval_sample(index, 0, out))]
    return sources + crops


def _measure_one(arguments: argparse.Namespace, name: str, dataset: Any, sample: Callable) -> None:
    def rate(threads: int) -> float:
        return _run(dataset, sample, threads, arguments.seconds)[0]

    read = type(dataset.images).read
    kept = {row: dataset.images.read(row) for row in {int(dataset_row) for dataset_row in _rows(dataset)}}

    def without_decoding(threads: int) -> float:
        type(dataset.images).read = lambda _, row: kept[row]
        try:
            return rate(threads)
        finally:
            type(dataset.images).read = read

    rate(2)
    sides = {"one": lambda: rate(1), "two": lambda: rate(2), "kept": lambda: without_decoding(1)}
    values = {side: [] for side in sides}
    for _ in range(arguments.rounds):
        for side, run in sides.items():
            values[side].append(run())
    one, two, decoded = (statistics.median(series) for series in values.values())
    ratio = statistics.median(b / a for a, b in zip(values["one"], values["two"]))
    gain = statistics.median(b / a for a, b in zip(values["one"], values["kept"]))
    columns = [f"{one:.0f}", f"{two:.0f}", f"{ratio:.2f}", f"{decoded:.0f} ({gain:.2f} ×)"]
    busy, locked = _lock_share(arguments.py_spy, lambda: _run(dataset, sample, 1, arguments.seconds))
    columns.append(f"{busy * 1e3:.2f}")
    if locked is None:
        columns += ["-"] * (1 + len(CORES))
    else:
        columns.append(f"{locked:.0%}")
        columns += [f"{rate_of(busy * locked, busy * (1 - locked), cores):.0f}" for cores in CORES]
    print(f"| {name} | {' | '.join(columns)} |", flush=True)


def rate_of(locked: float, free: float, threads: int) -> float:
    """Samples a second of so many threads, each on a core of its own, by mean-value analysis of a closed queue.

    One server, the interpreter lock, holds a sample for `locked` seconds; outside it threads do not hinder each other
    and take `free` seconds a sample (Reiser and Lavenberg 1980).
    """
    waiting, rate = 0.0, 0.0
    for count in range(1, threads + 1):
        answer = locked * (1 + waiting)
        rate = count / (free + answer)
        waiting = rate * answer
    return rate


def _rows(dataset: Any) -> np.ndarray:
    """Pictures of the samples."""
    return getattr(dataset, "rows", dataset.people.image_index)


def _run(dataset: Any, sample: Callable, threads: int, seconds: float) -> tuple[float, float]:
    """Samples a second, and the seconds of processor time that one took."""
    from mspose.data.loader import BadImages, Plan, train_batches

    plan = Plan(len(dataset), min(16, len(dataset)))
    shapes = dataset.train_shapes
    stream = train_batches(sample, shapes, plan, 0, 1 << 30, threads, 4, BadImages(len(dataset)))
    done, begin, busy = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - begin < seconds:
        next(stream)
        done += plan.batch_size
    rate, busy = done / (time.perf_counter() - begin), (time.process_time() - busy) / done
    stream.close()
    return rate, busy


def _lock_share(py_spy: str | None, run: Callable[[], tuple[float, float]]) -> tuple[float, float | None]:
    """Processor seconds a sample of one reading thread, and the share of its time in which a thread held the lock."""
    if not py_spy:
        return run()[1], None
    with tempfile.NamedTemporaryFile(suffix=".raw") as file:
        rate = ["--rate", str(SAMPLES_A_SECOND), "--duration", "4", "--nonblocking"]
        command = [py_spy, "record", "--pid", str(os.getpid()), "--gil", *rate, "--format", "raw", "-o", file.name]
        spy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        busy = []
        while spy.poll() is None:
            busy.append(run()[1])
        held = sum(int(line.rsplit(" ", 1)[1]) for line in Path(file.name).read_text().splitlines())
    return statistics.median(busy), held / (4 * SAMPLES_A_SECOND)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    parser.error("this is a part of benchmark.py: python scripts/benchmark.py input")
