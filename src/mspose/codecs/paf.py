"""Maps of everybody in a picture: heat maps of joints and part affinity fields (PAFs) of limbs.

The method is that of OpenPose (Cao, Simon, Wei, Sheikh: Realtime Multi-Person 2D Pose Estimation using Part Affinity
Fields, arXiv 1611.08050). The centre of map cell i is pixel stride · i + (stride - 1) / 2 of the network input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np

from mspose.codecs.base import Codec, Decoded, Maps, MapSpec, Size
from mspose.codecs.grouping import Grouping, enlarge, group
from mspose.config.keys import FIXED, FRACTION, FREE, NOT_NEGATIVE, POSITIVE, Check, key
from mspose.config.schema import CodecConfig
from mspose.geometry import compose
from mspose.skeleton import OPENPOSE18, PafLayout, Skeleton
from mspose.visual import draw_heatmaps, draw_pafs, side_by_side, strongest_vectors

# People drawn at a time: their temporaries stay in the cache, and a crowd needs no more memory than a few people.
_BLOCK = 4
# Larger values are an accident, and their products would overflow.
_LARGEST = 1000.0
# Gaussians end at exp(-40): invisible, and products of two of them are still normal float32 numbers (others are slow).
_MAX_EXPONENT = 40.0


@dataclass
class PafKeys(CodecConfig):
    """What the network's maps mean."""

    joint_sigma: float = key(7.0, "standard deviation of the target Gaussian in input pixels", POSITIVE, FIXED)
    paf_width: float = key(8.0, "half width of part affinity fields in input pixels", POSITIVE, FIXED)
    peak_threshold: float = key(0.1, "lowest value of a joint in its heat map", FRACTION, FREE)
    limb_threshold: float = key(
        0.05, "lowest value of the part affinity field at a point that supports a limb", FRACTION, FREE
    )
    limb_support: float = key(
        0.8,
        "fraction of the points along a limb that must support it",
        Check(lambda v: 0.1 <= v <= 1, "lie between 0.1 and 1"),
        FREE,
    )
    min_joints: int = key(
        0,
        "people of fewer joints are left out; 0: a third of the skeleton's, 2 or 3",
        Check(lambda v: v == 0 or v >= 2, "be 0, or 2 or more"),
        FREE,
    )
    min_score: float = key(0.4, "people of a lower score are left out", NOT_NEGATIVE, FREE)
    upsample: int = key(
        1,
        "enlarge and smooth whole maps this many times before people are found: 8 as published, far slower, no better",
        Check(lambda v: 1 <= v <= 64, "lie between 1 and 64"),
        FREE,
    )


# What a model card says of decoding.
_MAP_STEP = (
    "Heat map i is of joints[i], the last one is the background; channels 2 i and 2 i + 1 of the fields are x and y of "
    "the vector from limbs[i][0] to limbs[i][1]. Values that are not finite or not between -1000 and 1000 count as 0."
)
_GROUPING_STEPS = (
    "Map cell (cx, cy) is input pixel stride * (cx, cy) + (stride - 1) / 2. s = sigma / stride, in cells.",
    "Joints are the cells of a heat map above peak_threshold that are higher than the cells left and above, and "
    "not lower than those right and below. With v the cell's value, V = ln(v), and A and B the logarithms of its "
    "neighbours on an axis (before, behind), each raised to at least min(0.01, v) first: the joint lies at the "
    "cell + d, d = (B - A) / (2 (2 V - A - B)), limited to -0.5 ... 0.5, on x and on y (the divisor at least "
    "2e-6). Where the map ends, the logarithm of the missing neighbour is 2 V - 1 / s^2 minus that of the other. "
    "The joint's score is v * exp(sum over x and y of d (B - A) / 4).",
    "Then the joints that hide in the flank of another: subtract from each heat map the maximum of its joints' "
    "Gaussians, score * exp(-distance^2 / (2 s^2)), of the joints with a score above 0.5, each in the square of "
    "ceil(3 s) cells around its nearest cell. Maxima above 0.5 of what remains, found in the same way, are joints "
    "too. Of each kind only the 96 best count.",
    "Each pair of joints of a limb's two kinds is a candidate. The field's component along the line from the first "
    "to the second is read, bilinearly (coordinates limited to the map), at 10 equidistant points, both ends "
    "included; at least limb_support of them must be above limb_threshold. The limb's score, their mean + min(0, "
    "map height / (2 length) - 1), length in cells, must be positive.",
    "Take the candidates of all limbs by falling score. Skip one if either joint already has a limb of that kind "
    "(the same entry of limbs); otherwise both have it now. Then, if both are of one person, its limb scores grow "
    "by this one; if they are of two (a joint alone is one) that have no kind of joint in common, the two become "
    "one person, with the limb scores of both and this one; else nothing.",
    "People of fewer than min_joints joints, or with a score, (sum of joint scores + sum of limb scores) / number "
    "of joints, below min_score, are left out.",
    "joints[i] is keypoint keypoints[i] of the skeleton; null: a joint that is no keypoint (the neck). A keypoint's "
    "score is its joint's. Keypoints that were not found are 0, 0, 0.",
)


@dataclass(frozen=True)
class PafCodec(Codec):
    """Converts between the keypoints of P people and K + 1 heat maps and 2 L PAF channels of H x W cells.

    Attributes:
        layout: what the channels are.
        stride: input pixels a cell.
        sigma: standard deviation of the target Gaussian in input pixels.
        paf_width: half the width of a limb in input pixels.
        grouping: how decoding makes people of the maps.
    """

    layout: PafLayout = OPENPOSE18
    stride: int = 8
    sigma: float = 7.0
    paf_width: float = 8.0
    grouping: Grouping = field(default_factory=Grouping)

    @property
    def skeleton(self) -> Skeleton:  # type: ignore[override]
        """What the keypoints are."""
        return self.layout.skeleton

    def cells(self, size: Size) -> Size:
        """(width, height) of the maps of an input."""
        return size[0] // self.stride, size[1] // self.stride

    def outputs(self, size: Size | None) -> tuple[MapSpec, ...]:
        """PAFs (2 L, H, W), then heat maps (K + 1, H, W)."""
        cells = (None, None) if size is None else self.cells(size)[::-1]
        joints = "one heat map a joint, in the order of decode.joints, and the background last"
        return (
            MapSpec("pafs", (self.layout.num_pafs, *cells), "part affinity fields: x and y for each of decode.limbs"),
            MapSpec("heatmaps", (self.layout.num_heatmaps, *cells), joints),
        )

    def targets(self, size: Size) -> tuple[tuple[int, ...], ...]:
        """Shapes of heat maps, PAFs and mask."""
        width, height = self.cells(size)
        return (self.layout.num_heatmaps, height, width), (self.layout.num_pafs, height, width), (1, height, width)

    def encode(self, keypoints: np.ndarray, size: Size, mask: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """Make training targets.

        Args:
            keypoints: (P, J, 3) x, y in pixels of the network input, and above 0 where labelled; P may be 0.
            size: (width, height) of the input.
            mask: (height, width) uint8, above 0 where the loss must not count.

        Returns:
            heat maps (K + 1, H, W) float32, exp(-d² / 2σ²) of the distance to the nearest person's joint (equations 6
            and 7 of the paper) and as last channel 1 minus their maximum; PAFs (2 L, H, W) float32, the unit vector
            along the limb in cells not further than `paf_width` from it, the mean vector where limbs of several people
            overlap (equations 8 and 9); and the mask (1, H, W) float32, 1 where the loss counts. A limb ends half a
            cell beyond its joints, so that short ones (a face far away) are not lost between two cells.
        """
        joints = self.layout.to_joints(keypoints)
        width, height = self.cells(size)
        x, y = (self.stride * np.arange(n, dtype=np.float32) + (self.stride - 1) / 2 for n in (width, height))
        counted = np.ones((1, height, width), np.float32)
        if mask is not None:
            counted[0] -= cells_touched(mask, self.stride)
        return self._draw_heatmaps(joints, x, y), self._draw_pafs(joints, x, y), counted

    def decode(self, maps: Maps, size: Size) -> Decoded:
        """Find the people of N pictures, picture by picture, best first.

        Keypoints that were not found are 0, 0, 0; scores are those of `grouping.group`. Values that no network should
        give (not finite, or in the thousands) count as 0.
        """
        self.check(maps, size)
        found = [self._people(pafs, heatmaps) for pafs, heatmaps in zip(*maps)]
        joints = self.skeleton.num_keypoints
        return Decoded(
            np.concatenate([np.zeros((0, joints, 3), np.float32), *(keypoints for keypoints, _ in found)]),
            np.concatenate([np.zeros(0, np.float32), *(scores for _, scores in found)]),
            np.repeat(np.arange(len(found)), [len(scores) for _, scores in found]),
        )

    def _people(self, pafs: np.ndarray, heatmaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints (P, J, 3) float32 and scores (P,) float32 of one picture's maps."""
        heatmaps, pafs = (_credible(np.ascontiguousarray(maps, np.float32)) for maps in (heatmaps[:-1], pafs))
        stride = self.stride / self.grouping.upsample
        if self.grouping.upsample > 1:
            heatmaps, pafs = enlarge(heatmaps, pafs, self.grouping.upsample, stride)
        limbs = np.array(self.layout.limbs)
        joints, scores = group(heatmaps, pafs, limbs, self.sigma / stride, self.grouping)
        joints[..., :2] = np.where(joints[..., 2:] > 0, stride * joints[..., :2] + (stride - 1) / 2, 0)
        return self.layout.to_keypoints(joints), scores

    def flip_back(self, maps: Maps) -> Maps:
        """PAFs (…, 2 L, H, W) and heat maps (…, K + 1, H, W) as if their inputs had not been mirrored.

        Raises:
            UsageError: a limb has no mirror image.
        """
        pafs, heatmaps = maps
        channels, signs = self.layout.paf_flip
        return pafs[..., channels, :, ::-1] * signs[:, None, None], heatmaps[..., self.layout.flip_index, :, ::-1]

    def merge(self, maps: Sequence[Maps], size: Size) -> Maps:
        """Means of PAFs and of heat maps, those of other scales resized to the maps of an input of `size`."""
        cells = self.cells(size)
        return super().merge([tuple(_resized(kind, cells) for kind in kinds) for kinds in maps], size)

    def heat(self, maps: Maps) -> tuple[np.ndarray, np.ndarray]:
        """The strongest of the joints' maps, without the background."""
        heatmaps = maps[1][:, :-1].max(axis=1)
        return heatmaps, np.repeat(self._cell_matrix[None], len(heatmaps), axis=0)

    def draw(self, maps: Maps, image: np.ndarray, to_image: np.ndarray) -> np.ndarray:
        """Heat maps and PAFs of the one input that shows a picture."""
        matrix = compose(to_image[0], self._cell_matrix)
        heat = draw_heatmaps(image, self.heat(maps)[0], matrix[None])
        fields = draw_pafs(image, strongest_vectors(maps[0][0]), matrix)
        return side_by_side(heat, fields, ("heat maps", "part affinity fields"))

    @property
    def _cell_matrix(self) -> np.ndarray:
        """(2, 3) from map cells to pixels of the input: the centre of cell i is pixel stride · i + (stride - 1) / 2."""
        offset = (self.stride - 1) / 2
        return np.array([[self.stride, 0, offset], [0, self.stride, offset]])

    def describe(self) -> dict[str, Any]:
        """Numbers and steps of grouping."""
        layout, times = self.layout, self.grouping.upsample
        enlarged = (
            f"Enlarge the maps {times} times with cv2.resize, INTER_CUBIC; then smooth the heat maps with "
            f"cv2.GaussianBlur of standard deviation 3 * {times} / stride. Below, stride means stride / {times}."
        )
        steps = [_MAP_STEP, *([enlarged] if times > 1 else []), *_GROUPING_STEPS]
        return {
            "kind": "pafs",
            "stride": self.stride,
            "offset": (self.stride - 1) / 2,
            "sigma": self.sigma,
            "joints": list(layout.joints),
            "keypoints": [source[0] if len(source) == 1 else None for source in layout.sources],
            "limbs": [list(limb) for limb in layout.limbs],
            "grouping": asdict(self.grouping),
            "steps": steps,
        }

    def describe_flip(self) -> str:
        """`flip_back` in words."""
        return (
            "mirror its maps back, exchange the heat maps of joints that are mirror images (skeleton.flip_pairs; as "
            "the names say) and the fields of limbs between such joints, and negate their x; where the mirrored limb "
            "is stored with its ends exchanged, negate y instead."
        )

    def _draw_heatmaps(self, joints: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        along_x, along_y = (
            np.exp(-np.minimum((cells - joints[..., axis, None]) ** 2 / (2 * self.sigma**2), _MAX_EXPONENT))
            for axis, cells in enumerate((x, y))
        )
        along_x *= joints[..., 2:]
        heatmaps = np.zeros((self.layout.num_heatmaps, len(y), len(x)), np.float32)
        people = heatmaps[:-1]
        for start in range(0, len(joints), _BLOCK):
            block = slice(start, start + _BLOCK)
            drawn = along_y[block, :, :, None] * along_x[block, :, None, :]
            np.maximum(people, drawn.max(axis=0), out=people)
        np.subtract(1, people.max(axis=0), out=heatmaps[-1])
        return heatmaps

    def _draw_pafs(self, joints: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        limbs = np.array(self.layout.limbs)
        first, second = joints[:, limbs[:, 0]], joints[:, limbs[:, 1]]
        vector = second[..., :2] - first[..., :2]
        length = np.sqrt((vector**2).sum(axis=-1))
        drawn = (first[..., 2] > 0) & (second[..., 2] > 0) & (length > 0)
        unit = vector / np.where(drawn, length, 1)[..., None]
        # Distance along the limb from its middle, and across it, are sums of a term in x and a term in y.
        middle = (first[..., :2] + second[..., :2]) / 2
        offset_x, offset_y = x - middle[..., :1], y - middle[..., 1:]
        half = np.where(drawn, (length + self.stride) / 2, -1).astype(np.float32)[..., None, None]
        along = (unit[..., 1:] * offset_y)[..., None], (unit[..., :1] * offset_x)[..., None, :]
        across = (unit[..., :1] * offset_y)[..., None], (unit[..., 1:] * offset_x)[..., None, :]

        # Rows x, y and 1 times the cells that each person covers: the sums of the vectors, and their number.
        total = np.zeros((len(limbs), 3, len(y) * len(x)), np.float32)
        rows = np.concatenate([unit, np.ones_like(unit[..., :1])], axis=-1).transpose(1, 2, 0)
        for start in range(0, len(joints), _BLOCK):
            block = slice(start, start + _BLOCK)
            inside = np.abs(along[0][block] + along[1][block]) <= half[block]
            inside &= np.abs(across[0][block] - across[1][block]) <= self.paf_width
            covered = inside.reshape(len(inside), len(limbs), -1).transpose(1, 0, 2).astype(np.float32)
            total += rows[..., block] @ covered
        pafs = total[:, :2] / np.maximum(total[:, 2:], 1)
        return pafs.reshape(self.layout.num_pafs, len(y), len(x))


def _credible(maps: np.ndarray) -> np.ndarray:
    good = np.abs(maps) < _LARGEST
    return maps if good.all() else np.where(good, maps, np.float32(0))


def _resized(maps: np.ndarray, cells: Size) -> np.ndarray:
    """Maps (N, C, h, w) with the given (width, height)."""
    if maps.shape[2:] == cells[::-1]:
        return maps
    planes = (np.ascontiguousarray(one.transpose(1, 2, 0)) for one in maps)
    return np.stack([cv2.resize(p, cells, interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1) for p in planes])


def cells_touched(mask: np.ndarray, stride: int) -> np.ndarray:
    """Cells (H / stride, W / stride), 0 or 1, that have a pixel of the mask (H, W) uint8 within a window of two
    strides around their centre; the published code dilates by 16 pixels and samples at the centres."""
    # OpenCV's even window reaches one pixel further to the left and top: it is centred half a pixel before its anchor.
    window = np.ones((2 * stride, 2 * stride), np.uint8)
    return cv2.dilate(mask, window)[stride // 2 :: stride, stride // 2 :: stride]
