"""Maps of everybody in a picture: heat maps of joints and part affinity fields (PAFs) of limbs.

The method is that of OpenPose (Cao, Simon, Wei, Sheikh: Realtime Multi-Person 2D Pose Estimation using Part Affinity
Fields, arXiv 1611.08050). The centre of map cell i is pixel stride · i + (stride - 1) / 2 of the network input.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mspose.codecs.grouping import Grouping, enlarge, group
from mspose.errors import PoseError
from mspose.skeleton import OPENPOSE18, PafLayout

# People drawn at a time: their temporaries stay in the cache, and a crowd needs no more memory than a few people.
_BLOCK = 4
# Larger values are an accident, and their products would overflow.
_LARGEST = 1000.0
# Gaussians end at exp(-40): invisible, and products of two of them are still normal float32 numbers (others are slow).
_MAX_EXPONENT = 40.0


@dataclass(frozen=True)
class PafCodec:
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

    def encode(self, keypoints: np.ndarray, output_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Make training targets.

        Args:
            keypoints: (P, J, 3) x, y in pixels of the network input, and above 0 where labelled; P may be 0.
            output_size: (width, height) of the maps in cells.

        Returns:
            heat maps (K + 1, H, W) float32, exp(-d² / 2σ²) of the distance to the nearest person's joint (equations 6
            and 7 of the paper) and as last channel 1 minus their maximum; and PAFs (2 L, H, W) float32, the unit vector
            along the limb in cells not further than `paf_width` from it, the mean vector where limbs of several people
            overlap (equations 8 and 9). A limb ends half a cell beyond its joints, so that short ones (a face far
            away) are not lost between two cells.
        """
        joints = self.layout.to_joints(keypoints)
        width, height = output_size
        x, y = (self.stride * np.arange(n, dtype=np.float32) + (self.stride - 1) / 2 for n in (width, height))
        return self._draw_heatmaps(joints, x, y), self._draw_pafs(joints, x, y)

    def decode(self, heatmaps: np.ndarray, pafs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the people of one picture.

        Args:
            heatmaps: (K + 1, H, W) network outputs; the background channel is not read.
            pafs: (2 L, H, W) network outputs.

        Returns:
            keypoints (P, J, 3) float32: x, y in pixels of the network input and the joint's score, or 0, 0, 0 where
            none was found; and scores (P,) float32, see `grouping.group`, highest first. P is 0 where nobody is.
            Values that no network should give (not finite, or in the thousands) count as 0.

        Raises:
            PoseError: the maps have other shapes.
        """
        expected = self.layout.num_heatmaps, self.layout.num_pafs
        if (len(heatmaps), len(pafs)) != expected or heatmaps.shape[1:] != pafs.shape[1:]:
            raise PoseError(
                f"the network gives heat maps {heatmaps.shape} and PAFs {pafs.shape} but the skeleton "
                f"needs {expected[0]} and {expected[1]} channels of one size; make them agree"
            )
        heatmaps, pafs = (_credible(np.ascontiguousarray(maps, np.float32)) for maps in (heatmaps[:-1], pafs))
        stride = self.stride / self.grouping.upsample
        if self.grouping.upsample > 1:
            heatmaps, pafs = enlarge(heatmaps, pafs, self.grouping.upsample, stride)
        limbs = np.array(self.layout.limbs)
        joints, scores = group(heatmaps, pafs, limbs, self.sigma / stride, self.grouping)
        joints[..., :2] = np.where(joints[..., 2:] > 0, stride * joints[..., :2] + (stride - 1) / 2, 0)
        return self.layout.to_keypoints(joints), scores

    def flip_back(self, heatmaps: np.ndarray, pafs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn the maps (…, K + 1, H, W) and (…, 2 L, H, W) of mirrored inputs into maps of the inputs as they were."""
        channels, signs = self.layout.paf_flip
        return (heatmaps[..., self.layout.flip_index, :, ::-1], pafs[..., channels, :, ::-1] * signs[:, None, None])

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
