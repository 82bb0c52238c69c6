"""The toy: a codec of its own, whose maps are two vectors a keypoint, and what else a network tells of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mspose.codecs.base import Codec, Decoded, Maps, MapSpec, Size
from mspose.config.keys import FIXED, FREE, POSITIVE, key, section_as
from mspose.config.schema import CodecConfig, Config, ModelConfig
from mspose.methods.topdown import TopDown
from mspose.networks.base import Network, OnnxForm
from mspose.skeleton import Skeleton

if TYPE_CHECKING:
    from mindspore import nn


@dataclass
class ToyKeys(ModelConfig):
    """A few convolutions, and a place for each keypoint along x and along y."""

    width: int = key(16, "channels", POSITIVE, FIXED)


@dataclass
class VectorKeys(CodecConfig):
    """Where a keypoint lies along x and along y."""

    spread: float = key(2.0, "standard deviation of the targets in cells", POSITIVE, FIXED)
    least: float = key(0.0, "keypoints with a lower score are not found", role=FREE)


@dataclass(frozen=True)
class VectorCodec(Codec):
    """Two vectors a keypoint: along x (J, W / 4) and along y (J, H / 4)."""

    skeleton: Skeleton
    spread: float
    least: float
    stride: int = 4

    def outputs(self, size: Size | None) -> tuple[MapSpec, ...]:
        """Along x, then along y."""
        joints = self.skeleton.num_keypoints
        lengths = (None, None) if size is None else (size[0] // self.stride, size[1] // self.stride)
        return tuple(MapSpec(name, (joints, n), f"place along {name}") for name, n in zip("xy", lengths))

    def targets(self, size: Size) -> tuple[tuple[int, ...], ...]:
        """Both vectors, and the weights of the keypoints."""
        joints = self.skeleton.num_keypoints
        return (joints, size[0] // self.stride), (joints, size[1] // self.stride), (joints,)

    def encode(self, keypoints: np.ndarray, size: Size, mask: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """Gaussians."""
        points = keypoints[0, :, :2] / self.stride
        vectors = [
            np.exp(-((np.arange(side // self.stride) - points[:, axis, None]) ** 2) / (2 * self.spread**2))
            for axis, side in enumerate(size)
        ]
        seen = (keypoints[0, :, 2] > 0) & (vectors[0].max(axis=1) > 0.5) & (vectors[1].max(axis=1) > 0.5)
        return vectors[0].astype(np.float32), vectors[1].astype(np.float32), seen.astype(np.float32)

    def flip_back(self, maps: Maps) -> Maps:
        """Left and right exchanged, x mirrored."""
        along_x, along_y = (values[:, self.skeleton.flip_index] for values in maps)
        return along_x[..., ::-1], along_y

    def decode(self, maps: Maps, size: Size) -> Decoded:
        """The largest of each vector."""
        self.check(maps, size)
        scores = np.minimum(maps[0].max(axis=-1), maps[1].max(axis=-1))
        cells = np.stack([values.argmax(axis=-1) for values in maps], axis=-1)
        keypoints = np.concatenate([self.stride * cells, scores[..., None]], axis=-1).astype(np.float32)
        keypoints[scores < self.least] = 0
        return Decoded(keypoints, scores.mean(axis=1).astype(np.float32), np.arange(len(scores)))

    def merge(self, maps: Sequence[Maps], size: Size) -> Maps:
        """The mean."""
        return super().merge(maps, size)

    def describe(self) -> dict[str, Any]:
        """For the card."""
        return {"kind": "vectors", "stride": self.stride, "steps": ["Input pixel = stride * the place of the maximum."]}

    def describe_flip(self) -> str:
        """For the card."""
        return "mirror x back, exchange skeleton.flip_pairs, and take the mean of both."


def _codec(config: Config, skeleton: Skeleton) -> VectorCodec:
    keys = section_as(config.codec, VectorKeys)
    return VectorCodec(skeleton, keys.spread, keys.least)


def _build(config: Config, skeleton: Skeleton) -> nn.Cell:
    from tests.toy.model import Toy

    keys = section_as(config.model, ToyKeys)
    return Toy(keys.width, skeleton.num_keypoints)


def _loss() -> nn.Cell:
    from tests.toy.model import VectorLoss

    return VectorLoss()


def _layer(name: str) -> int | None:
    """A convolution with its norm is a layer: `backbone.3.weight` and `backbone.4.gamma` are of layer 1."""
    part, number, *_ = name.split(".")
    return int(number) // 3 if part == "backbone" else None


def _onnx_keys(size: Size, shapes: Sequence[tuple[int | None, ...]], parameters: Mapping[str, Any]) -> dict[str, Any]:
    if [shape[-1] for shape in shapes] != [size[0] // 4, size[1] // 4]:
        raise ValueError(f"vectors {shapes} are none of an input of {size}")
    return {"codec.spread": parameters.get("sigma", 2.0)}


# Files of this form are known by the names of their outputs alone, and are fed like that unless they say otherwise.
ONNX = OnnxForm(
    "a toy",
    ("along_x", "along_y"),
    "AlongDecode",
    _onnx_keys,
    {"data.color": "bgr", "data.scale": 255.0},
    is_proof=True,
)

NETWORK = Network(
    "toy", ToyKeys, TopDown, VectorKeys, _codec, _build, _loss, stride=lambda keys: 4, onnx=(ONNX,), layer=_layer
)
