"""SimCC: where a keypoint lies along x and along y, as two vectors (Li et al., arXiv 2107.03332).

Place i of a vector is pixel i / split of the network's input. The values are logits of no fixed scale: networks are
trained through a softmax, which nothing added to all places of a vector changes. Scores near 1 mean what a peak of the
training targets means, and may be above 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from mspose.codecs.base import Codec, Decoded, Maps, MapSpec, Size
from mspose.config.keys import FIXED, POSITIVE, Check, key
from mspose.config.schema import CodecConfig
from mspose.geometry import compose, transform_points
from mspose.skeleton import COCO17, Skeleton
from mspose.visual import draw_heatmaps, side_by_side

# People whose products of vectors are held at a time.
_HEAT_BLOCK = 16
# The tallest curve in a picture of vectors, as a share of the input's side.
_CURVE = 0.25


@dataclass
class SimCCKeys(CodecConfig):
    """What the network's vectors mean."""

    split: int = key(2, "places of a vector a pixel of the input", POSITIVE, FIXED)
    sigma: list[float] | None = key(
        None,
        "standard deviations [along x, along y] of the target Gaussians in places; null: by the input size as "
        "published, split / 2 * sqrt(side / 8), [4.9, 5.66] at 192x256",
        Check(lambda v: v is None or (len(v) == 2 and min(v) > 0), "be null, or two positive numbers [x, y]"),
        FIXED,
    )


@dataclass(frozen=True)
class SimCCCodec(Codec):
    """Converts between J keypoints of a person and J vectors along x and along y.

    Attributes:
        skeleton: what the keypoints are.
        split: places a pixel.
        sigma: standard deviations of the target Gaussians along x and y in places; None: by the input size.
        stride: pixels a cell of the maps that `heat` makes of the vectors.
    """

    skeleton: Skeleton = COCO17
    split: int = 2
    sigma: tuple[float, float] | None = None
    stride: int = 4

    def outputs(self, size: Size | None) -> tuple[MapSpec, ...]:
        """Two outputs: (J, W split) and (J, H split)."""
        joints = self.skeleton.num_keypoints
        lengths = (None, None) if size is None else (size[0] * self.split, size[1] * self.split)
        return tuple(
            MapSpec(f"simcc_{axis}", (joints, length), f"one vector along {axis} a keypoint, as skeleton.keypoints")
            for axis, length in zip("xy", lengths)
        )

    def targets(self, size: Size) -> tuple[tuple[int, ...], ...]:
        """Shapes of both vectors, and of the weights (J,)."""
        joints = self.skeleton.num_keypoints
        return (joints, size[0] * self.split), (joints, size[1] * self.split), (joints,)

    def spreads(self, size: Size) -> tuple[float, float]:
        """Standard deviations of the target Gaussians in places, for an input size.

        The published ones, (4.9, 5.66) for 192x256 and (6, 6.93) for 288x384, are roots of the sides.
        """
        if self.sigma is not None:
            return self.sigma
        x, y = (round(self.split / 2 * float(np.sqrt(side / 8)), 2) for side in size)
        return x, y

    def encode(self, keypoints: np.ndarray, size: Size, mask: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """Gaussians (J, W split) and (J, H split), and weights (J,), of one person.

        Each is exp(-(i - m)² / 2σ²) around the place m nearest to the keypoint, never cut off. Weights are 1, or 0 for
        keypoints that are not annotated or whose 3σ lie outside of the input; their vectors are zero.
        """
        person = np.asarray(keypoints, np.float64)[0]
        limits, spreads = np.array(size) * self.split, np.array(self.spreads(size))
        nearest = np.around(person[:, :2] * self.split)
        inside = ((nearest - 3 * spreads < limits) & (nearest + 3 * spreads + 1 >= 0)).all(axis=1)
        weights = (inside & (person[:, 2] >= 0.5)).astype(np.float32)
        along_x, along_y = (
            np.exp(-((np.arange(limit, dtype=np.float32) - middle[:, None]) ** 2) / (2 * spread**2)) * weights[:, None]
            for limit, middle, spread in zip(limits, nearest.astype(np.float32).T, spreads.astype(np.float32))
        )
        return along_x, along_y, weights

    def flip_back(self, maps: Maps) -> Maps:
        """Left and right exchanged, x reversed."""
        along_x, along_y = (values[:, self.skeleton.flip_index] for values in maps)
        return along_x[..., ::-1], along_y

    def decode(self, maps: Maps, size: Size) -> Decoded:
        """The person of each of N inputs.

        A keypoint lies at the first maximum of each vector; its score is the lower of both maxima, and where that is
        not positive it lies one place before the first. The score of a person is the mean of its keypoints'.
        """
        self.check(maps, size)
        first = [values.argmax(axis=-1)[..., None] for values in maps]
        peaks = [np.take_along_axis(values, index, axis=-1)[..., 0] for values, index in zip(maps, first)]
        places, scores = np.concatenate(first, axis=-1), np.minimum(*peaks).astype(np.float32)
        places[~(scores > 0)] = -1
        keypoints = np.concatenate([places / np.float32(self.split), scores[..., None]], axis=-1).astype(np.float32)
        return Decoded(keypoints, scores.mean(axis=1), np.arange(len(scores)))

    def heat(self, maps: Maps) -> tuple[np.ndarray, np.ndarray]:
        """The largest product of both vectors of a keypoint, in cells of `stride` pixels."""
        cell = self.stride * self.split
        x, y = (np.maximum(v, 0).reshape(*v.shape[:2], v.shape[2] // cell, cell).max(axis=-1) for v in maps)
        values = np.empty((len(x), y.shape[2], x.shape[2]), np.float32)
        for start in range(0, len(x), _HEAT_BLOCK):
            block = slice(start, start + _HEAT_BLOCK)
            values[block] = (y[block, :, :, None] * x[block, :, None, :]).max(axis=1)
        # A cell's middle is that of its places.
        middle = (self.stride - 1 / self.split) / 2
        matrix = np.array([[self.stride, 0, middle], [0, self.stride, middle]])
        return values, np.repeat(matrix[None], len(values), axis=0)

    def draw(self, maps: Maps, image: np.ndarray, to_image: np.ndarray) -> np.ndarray:
        """The products of vectors, and the vectors as curves: those along x stand on the lower edges of the inputs,
        those along y on their left ones, in the colours of the keypoints."""
        values, matrices = self.heat(maps)
        heat = draw_heatmaps(image, values, compose(to_image, matrices))
        curves = image.copy()
        along_x, along_y = (np.clip(vectors, 0, 1) for vectors in maps)
        on_x, on_y = (np.arange(vectors.shape[2]) / self.split for vectors in maps)
        width, height = on_x[-1], on_y[-1]
        for matrix, xs, ys in zip(to_image, along_x, along_y):
            for color, x, y in zip(self.skeleton.colors, xs, ys):
                for points in ((on_x, height * (1 - _CURVE * x)), (width * _CURVE * y, on_y)):
                    shown = transform_points(np.stack(points, axis=1), matrix)
                    cv2.polylines(curves, [np.rint(shown).astype(np.int32)], False, color[::-1], 1, cv2.LINE_AA)
        return side_by_side(heat, curves, ("product of the vectors", "vectors along x and y"))

    def describe(self) -> dict[str, Any]:
        """Numbers and steps of decoding."""
        steps = [
            "For each keypoint, i and j are the first maxima of its vectors simcc_x and simcc_y, and the lower of the "
            "two maxima is the score (a raw value, which may be above 1); where it is not positive, i = j = -1.",
            f"Input pixel (u, v) = (i / {self.split}, j / {self.split}).",
        ]
        return {"kind": "simcc", "split": self.split, "steps": steps}

    def describe_flip(self) -> str:
        """`flip_back` in words."""
        return (
            "reverse its vectors simcc_x, exchange the vectors of skeleton.flip_pairs in both outputs, and take the "
            "mean of both."
        )
