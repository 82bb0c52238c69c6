"""ViTPose (arXiv 2204.12484): a plain vision transformer on patches of 16 × 16 pixels, and heat maps at stride 4.

Parameter names are the authors' with MindSpore's names of norms.
"""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import nn, ops
from mindspore.common.initializer import Normal, TruncatedNormal, initializer

from mspose.models.attention import attend, has_fused_attention
from mspose.models.drop_path import DropPath
from mspose.models.gelu import GELU
from mspose.models.layers import BatchNorm2d, Conv2d, Deconv2d, Dense

PATCH = 16
# Width of the layer between the two of an MLP, as a multiple of the network's.
MLP_RATIO = 4
# Of the weights behind the backbone, as the authors start them.
SPREAD = 0.001


class PatchEmbed(nn.Cell):
    """A vector for each patch of 16 × 16 pixels; the patches lie two pixels up and left, as the authors pad.

    Args:
        width: D, its length.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(
            3,
            width,
            PATCH,
            PATCH,
            pad_mode="pad",
            padding=2,
            has_bias=True,
            weight_init=TruncatedNormal(0.02),
            bias_init="zeros",
        )

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, 3, H, W) → (N, D, H/16, W/16)."""
        return self.proj(x)


class Attention(nn.Cell):
    """Multi-head self-attention.

    Args:
        width: D.
        heads: into which D is divided.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Dense(width, 3 * width)
        self.proj = Dense(width, width)
        self.is_fused = has_fused_attention()

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, T, D) → (N, T, D)."""
        return self.proj(attend(self.qkv(x), self.heads, self.is_fused))


class MLP(nn.Cell):
    """Two layers with a GELU between them.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = Dense(width, MLP_RATIO * width)
        self.act = GELU()
        self.fc2 = Dense(MLP_RATIO * width, width)

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, T, D) → (N, T, D)."""
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Cell):
    """Attention and MLP, each behind a norm and beside a shortcut.

    Args:
        width, heads: of the attention.
        norm_eps: added to the variance in norms.
    """

    def __init__(self, width: int, heads: int, norm_eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm((width,), epsilon=norm_eps)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm((width,), epsilon=norm_eps)
        self.mlp = MLP(width)

    def construct(self, x: ms.Tensor, kept: tuple[ms.Tensor, ...] = ()) -> ms.Tensor:
        """(N, T, D), and where drop path draws the factors (N, 1, 1) of both branches → (N, T, D)."""
        if kept:
            x = x + self.attn(self.norm1(x)) * kept[0]
            return x + self.mlp(self.norm2(x)) * kept[1]
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Cell):
    """The transformer.

    Args:
        width: D.
        depth: blocks.
        heads: of each attention.
        grid: patches (rows, columns) of the input.
        norm_eps: added to the variance in norms.
        drop_path: rate at which training leaves out the branches of the last block; it grows evenly from 0.
    """

    def __init__(
        self, width: int, depth: int, heads: int, grid: tuple[int, int], norm_eps: float, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.grid, self.width = grid, width
        self.patch_embed = PatchEmbed(width)
        self.pos_embed = ms.Parameter(initializer(TruncatedNormal(0.02), (1, *grid, width)), "pos_embed")
        self.blocks = nn.CellList([Block(width, heads, norm_eps) for _ in range(depth)])
        self.last_norm = nn.LayerNorm((width,), epsilon=norm_eps)
        # Both branches of a block have its rate and draw each for itself.
        self.drop_path = DropPath(np.repeat(np.linspace(0, drop_path, depth), 2)) if drop_path else None

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, 3, H, W) → (N, D, H/16, W/16)."""
        (rows, columns), width = self.grid, self.width
        x = self.patch_embed(x).reshape(-1, width, rows * columns).swapaxes(1, 2)
        x = x + self.pos_embed.reshape(1, rows * columns, width).astype(x.dtype)
        if self.training and self.drop_path is not None:
            kept = self.drop_path(x.shape[0]).astype(x.dtype).reshape(2 * len(self.blocks), -1, 1, 1)
            for i, block in enumerate(self.blocks):
                x = block(x, (kept[2 * i], kept[2 * i + 1]))
        else:
            for block in self.blocks:
                x = block(x)
        return self.last_norm(x).swapaxes(1, 2).reshape(-1, width, rows, columns)


class EnlargedConv(nn.Cell):
    """Bilinear enlargement by 4 (corners not aligned), and a 3 × 3 convolution of the large maps.

    Both are linear, so the channels are mixed first, where the maps are small: each of the nine places of the kernel
    gives a map for each output. Then every map is enlarged and moved to its place, along x and along y by a matrix of
    its own, and what lands on one output is added up.

    Args:
        in_channels, out_channels: C and J.
        grid: rows h and columns w of the input.
    """

    FACTOR = 4

    def __init__(self, in_channels: int, out_channels: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.grid = in_channels, out_channels, grid
        self.weight = ms.Parameter(initializer(Normal(SPREAD), (out_channels, in_channels, 3, 3)), "weight")
        self.bias = ms.Parameter(initializer("zeros", (out_channels,)), "bias")
        self.along_y, self.along_x = (ms.Tensor(self._matrix(side), ms.float32) for side in grid)
        self.matmul = ops.MatMul()

    @classmethod
    def _matrix(cls, side: int) -> np.ndarray:
        """(3 · side, 4 · side): cells of the three maps of a row of the kernel → cells of the enlarged sum."""
        large = cls.FACTOR * side
        place = np.clip((np.arange(large) + 0.5) / cls.FACTOR - 0.5, 0, side - 1)
        enlarged = np.maximum(1 - np.abs(np.arange(side)[:, None] - place), 0)
        around = np.pad(enlarged, ((0, 0), (1, 1)))  # the convolution's padding: zeros around the large map
        return np.concatenate([around[:, tap : tap + large] for tap in range(3)])

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, C, h, w) → (N, J, 4h, 4w)."""
        (rows, columns), joints, large = self.grid, self.out_channels, self.FACTOR
        mixing = self.weight.transpose(1, 0, 2, 3).reshape(self.in_channels, -1).astype(x.dtype)
        # (N · h · w, C) → (N, h, w, J, 3 of y, 3 of x)
        maps = self.matmul(x.transpose(0, 2, 3, 1).reshape(-1, self.in_channels), mixing)
        maps = maps.reshape(-1, rows, columns, joints, 3, 3)
        # (N, J, 3 of y, h, 4w)
        maps = self.matmul(maps.transpose(0, 3, 4, 1, 5, 2).reshape(-1, 3 * columns), self.along_x.astype(x.dtype))
        maps = maps.reshape(-1, joints, 3 * rows, large * columns).transpose(0, 1, 3, 2)
        maps = self.matmul(maps.reshape(-1, 3 * rows), self.along_y.astype(x.dtype))
        maps = maps.reshape(-1, joints, large * columns, large * rows).transpose(0, 1, 3, 2)
        return maps + self.bias.reshape(1, -1, 1, 1).astype(x.dtype)


class ViTPose(nn.Cell):
    """Maps pictures to one heat map a keypoint.

    Args:
        width, depth, heads, norm_eps, drop_path: of the transformer.
        num_keypoints: J, channels of the output.
        input_size: (width, height) of the pictures.
        decoder: "classic", two deconvolutions; "simple", enlargement and one convolution.
        head_width: channels of the deconvolutions.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        num_keypoints: int,
        input_size: Sequence[int] = (192, 256),
        decoder: str = "classic",
        norm_eps: float = 1e-6,
        drop_path: float = 0.0,
        head_width: int = 256,
    ) -> None:
        super().__init__()
        grid = (input_size[1] // PATCH, input_size[0] // PATCH)
        self.backbone = ViT(width, depth, heads, grid, norm_eps, drop_path)
        if decoder == "classic":
            layers: list[nn.Cell] = []
            for channels in (width, head_width):
                deconv = Deconv2d(channels, head_width, 4, False, Normal(SPREAD))
                layers += [deconv, BatchNorm2d(head_width), nn.ReLU()]
            self.deconv_layers = nn.SequentialCell(*layers)
            self.final_layer = Conv2d(head_width, num_keypoints, 1, has_bias=True, weight_init=Normal(SPREAD))
        else:
            self.deconv_layers = nn.ReLU()
            self.final_layer = EnlargedConv(width, num_keypoints, grid)

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(N, 3, H, W) → (N, J, H/4, W/4)."""
        return self.final_layer(self.deconv_layers(self.backbone(x)))
