"""Running a top-down network over a data set: reading, network and decoding overlap."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from mspose.codecs.heatmap import HeatmapCodec, merge_flipped
from mspose.config.schema import Config
from mspose.data.loader import eval_batches, worker_threads
from mspose.data.topdown import TopDownDataset

# Maps a batch of network inputs (B, 3, H, W) float32 to heat maps (B, J, h, w) float32, or to several kinds of maps.
Forward = Callable[[np.ndarray], np.ndarray | tuple[np.ndarray, ...]]
DECODE_AHEAD = 4  # batches that may wait to be decoded


class Stopwatch:
    """Seconds spent in named parts of the work, added up over threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def predict(
    forward: Forward,
    dataset: TopDownDataset,
    codec: HeatmapCodec,
    config: Config,
    rows: np.ndarray,
    progress: Callable[[int], None] = lambda count: None,
) -> tuple[np.ndarray, dict[str, float]]:
    """Keypoints of some people of a data set.

    Args:
        forward: the network, from any backend.
        rows: (N,) numbers of the people.
        progress: called with the number of people finished since the last call.

    Returns:
        keypoints (N, J, 3): x, y in image pixels and score; and seconds spent: `data` (reading threads, divided by
        their number), `network`, `decode` and `wall`.
    """
    watch, batch_size, count = Stopwatch(), config.eval.batch_size, len(rows)
    flip_index = dataset.skeleton.flip_index

    def sample(index: int, epoch: int, out: tuple[np.ndarray, ...]) -> None:
        with watch("data"):
            dataset.eval_sample(int(rows[index]), epoch, out)

    def decode(start: int, heatmaps: np.ndarray, mirrored: np.ndarray | None) -> np.ndarray:
        with watch("decode"):
            if mirrored is not None:
                heatmaps = merge_flipped(heatmaps, mirrored, flip_index, config.eval.shift_heatmap)
            batch = rows[start : start + batch_size]
            return codec.decode(heatmaps[: len(batch)], dataset.centers[batch], dataset.sizes[batch])

    batches = eval_batches(sample, dataset.eval_shapes, count, batch_size, config.data.workers, config.data.prefetch)
    decoded: list[Future] = []
    begin = time.perf_counter()
    with ThreadPoolExecutor(1, thread_name_prefix="pose-decode") as pool:
        for number, (inputs,) in enumerate(batches):
            with watch("network"):
                heatmaps = forward(inputs)
                mirrored = forward(np.ascontiguousarray(inputs[..., ::-1])) if config.eval.flip_test else None
            decoded.append(pool.submit(decode, number * batch_size, heatmaps, mirrored))
            if number >= DECODE_AHEAD:  # bounds what waits, and lets an error show at once
                decoded[number - DECODE_AHEAD].result()
            progress(min(batch_size, count - number * batch_size))
        keypoints = [future.result() for future in decoded]
    seconds = dict.fromkeys(("data", "network", "decode"), 0.0) | watch.seconds
    seconds["data"] /= worker_threads(config.data.workers)
    seconds["wall"] = time.perf_counter() - begin
    joints = dataset.skeleton.num_keypoints
    return np.concatenate(keypoints) if keypoints else np.zeros((0, joints, 3), np.float32), seconds
