"""RTMPose (arXiv 2303.07399): CSPNeXt, one token a keypoint, attention among them, and two vectors a keypoint (SimCC).

Parameter names are MMPose's with MindSpore's batch-norm names.
"""

from __future__ import annotations

from math import sqrt

import mindspore as ms
from mindspore import nn, ops
from mindspore.common.initializer import Normal, One, Uniform, initializer

from mspose.models.cspnext import CSPNeXt
from mspose.models.layers import Conv2d

STRIDE = 32
# Numbers a token, of its query and key, and of its gate and value.
TOKEN, QUERY, VALUE = 256, 128, 512


def _dense(inputs: int, outputs: int) -> nn.Dense:
    return nn.Dense(inputs, outputs, weight_init=Normal(0.01), has_bias=False)


def _between_0_and_1(*shape: int) -> ms.Parameter:
    return ms.Parameter(ms.Tensor(initializer(Uniform(0.5), shape).init_data().asnumpy() + 0.5))


class ScaleNorm(nn.Cell):
    """Rows divided by the root of their mean square, times one learnt number (arXiv 1910.05895)."""

    def __init__(self) -> None:
        super().__init__()
        self.g = ms.Parameter(initializer(One(), (1,)))

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(…, D) → the same shape, float32."""
        values = x.astype(ms.float32)  # float16 has no room for squares
        # At least 1e-5: below, where the root has no slope, neither has this.
        root = ops.sqrt(ops.maximum(ops.square(values).mean(-1, keep_dims=True), 1e-10))
        return values / root * self.g


class Scale(nn.Cell):
    """Each of D numbers times a learnt one."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.scale = ms.Parameter(initializer(One(), (size,)))

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(…, D) → the same shape."""
        return x * self.scale


class GatedAttention(nn.Cell):
    """The gated attention unit of arXiv 2202.10447 over the tokens of a person, with the input added.

    Args:
        tokens: K, of a person.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.gamma, self.beta = _between_0_and_1(2, QUERY), _between_0_and_1(2, QUERY)
        self.o = _dense(VALUE, TOKEN)
        self.uv = _dense(TOKEN, 2 * VALUE + QUERY)
        self.ln = ScaleNorm()
        self.res_scale = Scale(TOKEN)
        self.activate = nn.SiLU()
        self.tokens = tokens

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N K, TOKEN) → the same shape."""
        mixed = self.activate(self.uv(self.ln(x)))
        gate, value, base = mixed[:, :VALUE], mixed[:, VALUE : 2 * VALUE], mixed[:, 2 * VALUE :]
        query, key = (
            (base * self.gamma[i] + self.beta[i]).astype(ms.float32).reshape(-1, self.tokens, QUERY) for i in (0, 1)
        )
        weights = ops.square(ops.relu(ops.bmm(query, key.swapaxes(1, 2)) / sqrt(QUERY))).astype(value.dtype)
        attended = ops.bmm(weights, value.reshape(-1, self.tokens, VALUE)).reshape(-1, VALUE)
        return self.res_scale(x) + self.o(gate * attended)


class SimCCHead(nn.Cell):
    """Features → for each keypoint how likely it lies at each place along x, and along y.

    Args:
        channels: C of the features.
        num_keypoints: K.
        size: (width, height) of the network's input.
        split: places a pixel.
    """

    def __init__(self, channels: int, num_keypoints: int, size: tuple[int, int], split: int) -> None:
        super().__init__()
        self.places = (size[0] // STRIDE) * (size[1] // STRIDE)
        self.num_keypoints = num_keypoints
        self.final_layer = Conv2d(channels, num_keypoints, 7, has_bias=True, weight_init=Normal(0.001))
        self.mlp = nn.SequentialCell(ScaleNorm(), _dense(self.places, TOKEN))
        self.gau = GatedAttention(num_keypoints)
        self.cls_x = _dense(TOKEN, size[0] * split)
        self.cls_y = _dense(TOKEN, size[1] * split)

    def construct(self, features: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
        """(N, C, H/32, W/32) → (N, K, W split), (N, K, H split)."""
        # One row a keypoint: with two axes, layers need not know how many people there are.
        tokens = self.gau(self.mlp(self.final_layer(features).reshape(-1, self.places)))
        x, y = self.cls_x(tokens), self.cls_y(tokens)
        return x.reshape(-1, self.num_keypoints, x.shape[1]), y.reshape(-1, self.num_keypoints, y.shape[1])


class RTMPose(nn.Cell):
    """Maps pictures to two vectors a keypoint.

    Args:
        width, blocks: of the backbone.
        num_keypoints: K.
        size: (width, height) of the input, multiples of 32.
        split: places a pixel.
    """

    def __init__(self, width: int, blocks: int, num_keypoints: int, size: tuple[int, int], split: int = 2) -> None:
        super().__init__()
        self.backbone = CSPNeXt(width, blocks)
        self.head = SimCCHead(width, num_keypoints, size, split)

    def construct(self, x: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
        """(N, 3, H, W) → (N, K, W split), (N, K, H split)."""
        return self.head(self.backbone(x))
