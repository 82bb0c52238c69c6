"""The bottom-up task: whole pictures in, part affinity fields and heat maps out, all people of a picture at once."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from mspose.codecs.grouping import Grouping
from mspose.codecs.paf import PafCodec
from mspose.config.schema import Config
from mspose.data.bottomup import BottomUpAugmentation, BottomUpDataset
from mspose.data.coco import load_split
from mspose.data.loader import worker_threads
from mspose.data.topdown import Normalizer
from mspose.evaluation.coco import to_coco_results
from mspose.geometry import resize_canvas, resize_short_side, transform_points
from mspose.methods.evaluator import Evaluator
from mspose.methods.predictor import Forward, Stopwatch
from mspose.runtime.ranks import Ranks
from mspose.skeleton import load_skeleton, paf_layout
from mspose.visual import draw_heatmaps, draw_pafs, side_by_side, strongest_vectors

log = logging.getLogger("pose")


def build_codec(config: Config) -> PafCodec:
    """The codec of a configuration.

    Raises:
        UsageError: a value of `codec` is out of range.
    """
    layout = paf_layout(load_skeleton(config.data.skeleton))
    codec = config.codec
    grouping = Grouping(
        codec.peak_threshold,
        codec.limb_threshold,
        codec.limb_support,
        codec.min_joints,
        codec.min_score,
        codec.upsample,
    )
    return PafCodec(layout, sigma=codec.sigma, paf_width=codec.paf_width, grouping=grouping)


def training_set(config: Config) -> BottomUpDataset:
    """The configured training set.

    Raises:
        PoseError, UsageError: it cannot be used, or nobody in it can be learnt from.
    """
    data, skeleton = config.data, load_skeleton(config.data.skeleton)
    augmentation = BottomUpAugmentation(
        min_scale=data.scale_range[0],
        max_scale=data.scale_range[1],
        min_box=data.person_range[0],
        max_box=data.person_range[1],
        rotation=data.rotation_factor,
        shift=data.crop_shift,
        flip=data.flip,
        color=0.5 if data.color_jitter else 0.0,
    )
    annotations = load_split(data, "train", skeleton, segmentations=not data.mask_dir)
    dataset = BottomUpDataset(
        data, augmentation, annotations, skeleton, build_codec(config), config.runtime.seed, data.mask_dir
    )
    log.info(f"loaded {len(dataset.people)} people in {len(dataset)} images from {annotations.path}")
    return dataset


@dataclass(frozen=True)
class View:
    """A picture as the network sees it.

    Attributes:
        inputs: (1, 3, H, W) float32, one for each of `eval.scales`.
        to_image: (2, 3) matrix from pixels of the base size to pixels of the picture.
        size: (width, height) of the base size.
    """

    inputs: list[np.ndarray]
    to_image: np.ndarray
    size: tuple[int, int]

    def cells_to_image(self, stride: int) -> np.ndarray:
        """Matrix (2, 3) from map cells, whose centres are pixels stride · i + (stride - 1) / 2, to the picture."""
        corner = transform_points(np.full(2, (stride - 1) / 2), self.to_image)
        return np.column_stack([self.to_image[:, :2] * stride, corner])


class Viewer:
    """Makes views: resizes whole pictures as `eval.resize` and `eval.scales` say, and normalises them."""

    def __init__(self, config: Config) -> None:
        self._config, self._normalize = config, Normalizer(config.data)

    def __call__(self, image: np.ndarray) -> View:
        """View of a picture (H, W, 3) uint8 BGR."""
        size, resize = self._config.data.input_size, self._config.eval.resize
        base, to_image = (
            resize_canvas(image, (size[0], size[1]))
            if resize == "canvas"
            else resize_short_side(image, self._config.eval.short_side or min(size))
        )
        height, width = base.shape[:2]
        inputs = []
        for scale in self._config.eval.scales:
            scaled = tuple(max(8, round(side * scale / 8) * 8) for side in (width, height))
            pixels = base if scaled == (width, height) else cv2.resize(base, scaled, interpolation=cv2.INTER_LINEAR)
            inputs.append(self._normalize(pixels)[None])
        return View(inputs, to_image, (width, height))


class BottomUpEvaluator(Evaluator):
    """Evaluates on whole pictures; boxes play no part."""

    unit = "images"

    def __init__(self, config: Config, use_gt_bbox: bool) -> None:
        super().__init__(config)
        self.codec, self.viewer = build_codec(config), Viewer(config)
        # Of pictures to be drawn: strongest heat (1, h, w), longest vectors (2, h, w), matrix from cells to pixels.
        self._seen: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self.any_size = sizes_differ(config)
        if config.eval.flip_test:
            _ = self.codec.layout.paf_flip  # a limb without a mirror image is an error now, not after an epoch

    def __len__(self) -> int:
        return len(self.images)

    def predict(
        self, forward: Forward, ranks: Ranks, progress: Callable[[int], None]
    ) -> tuple[list[dict], dict[str, float]]:
        """All people of all pictures; reading, network and grouping overlap."""
        watch, threads = Stopwatch(), worker_threads(self.config.data.workers)

        def read(row: int) -> View:
            with watch("data"):
                return self.viewer(self.images.read(row))

        def decode(row: int, view: View, maps: list[tuple[np.ndarray, np.ndarray]]) -> tuple[int, list[dict]]:
            with watch("decode"):
                return row, self._results(row, view, *merge_maps(maps, view.size))

        self._seen = dict.fromkeys(self.drawn_rows(self.config.eval.draw))
        begin = time.perf_counter()
        results: list[tuple[int, list[dict]]] = []
        rows = ranks.share(len(self)).tolist()
        with ThreadPoolExecutor(threads) as readers, ThreadPoolExecutor(1) as decoder:
            pending: deque[Future] = deque()
            for row, view in _read_ahead(readers, read, rows, threads + self.config.data.prefetch):
                with watch("network"):
                    maps = network_maps(forward, view, self.codec, self.config.eval.flip_test)
                pending.append(decoder.submit(decode, row, view, maps))
                if len(pending) > 4:
                    results.append(pending.popleft().result())
                progress(1)
            results += [future.result() for future in pending]
        seconds = dict.fromkeys(("data", "network", "decode"), 0.0) | watch.seconds
        seconds["data"] /= threads
        seconds["wall"] = time.perf_counter() - begin
        pictures = sorted((picture for part in ranks.gather_json(results) for picture in part), key=lambda p: p[0])
        return [result for _, found in pictures for result in found], seconds

    def draw_maps(self, row: int, image: np.ndarray) -> np.ndarray | None:
        """Heat maps and PAFs over a picture, side by side; None if it was not among those to draw."""
        if self._seen.get(row) is None:
            return None
        heat, vectors, matrix = self._seen[row]
        return side_by_side(
            draw_heatmaps(image, heat, matrix[None]),
            draw_pafs(image, vectors, matrix),
            ("heat maps", "part affinity fields"),
        )

    def _results(self, row: int, view: View, heatmaps: np.ndarray, pafs: np.ndarray) -> list[dict]:
        if row in self._seen:
            self._seen[row] = (
                heatmaps[:-1].max(axis=0, keepdims=True),
                strongest_vectors(pafs),
                view.cells_to_image(self.codec.stride),
            )
        keypoints, scores = decode_people(self.codec, view, heatmaps, pafs)
        image_ids = np.full(len(scores), self.images.ids[row])
        return to_coco_results(keypoints, scores, image_ids, self.annotations.category_id)


def sizes_differ(config: Config) -> bool:
    """Whether the network is given inputs of different sizes."""
    return config.eval.resize == "short_side" or len(config.eval.scales) > 1


def network_maps(forward: Forward, view: View, codec: PafCodec, flip_test: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """Heat maps (K + 1, h, w) and PAFs (2 L, h, w) of each input, and with `flip_test` of its mirror image."""
    maps = []
    for inputs in view.inputs:
        pafs, heatmaps = forward(inputs)
        maps.append((heatmaps[0], pafs[0]))
        if flip_test:
            pafs, heatmaps = forward(np.ascontiguousarray(inputs[..., ::-1]))
            maps.append(codec.flip_back(heatmaps[0], pafs[0]))
    return maps


def decode_people(codec: PafCodec, view: View, heatmaps: np.ndarray, pafs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (P, J, 3) in pixels of the picture, all 0 where not found, and scores (P,) from merged maps."""
    keypoints, scores = codec.decode(heatmaps, pafs)
    found = keypoints[..., 2:] > 0
    keypoints[..., :2] = np.where(found, transform_points(keypoints[..., :2], view.to_image), 0)
    return keypoints, scores


def merge_maps(maps: list[tuple[np.ndarray, np.ndarray]], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Mean of heat maps and of PAFs, each (C, h, w), resized to the stride-8 maps of an input of `size`."""
    cells = (size[0] // 8, size[1] // 8)
    means = [sum(_resize_maps(kind, cells) for kind in kinds) / len(kinds) for kinds in zip(*maps)]
    return means[0], means[1]


def _resize_maps(maps: np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    if maps.shape[1:] == cells[::-1]:
        return maps
    channels_last = np.ascontiguousarray(maps.transpose(1, 2, 0))
    return cv2.resize(channels_last, cells, interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1)


def _read_ahead(
    pool: ThreadPoolExecutor, read: Callable[[int], View], rows: list[int], ahead: int
) -> Iterator[tuple[int, View]]:
    waiting: deque[tuple[int, Future]] = deque()
    for row in rows:
        waiting.append((row, pool.submit(read, row)))
        if len(waiting) > ahead:
            first, future = waiting.popleft()
            yield first, future.result()
    for row, future in waiting:
        yield row, future.result()
