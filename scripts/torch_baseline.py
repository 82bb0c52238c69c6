"""PyTorch baseline of scripts/benchmark.py: the same network in eager mode, in a process of its own.

Reads one line a round from standard input and answers with milliseconds an image. Started by benchmark.py:
    python scripts/torch_baseline.py forward|train MODEL BATCH WIDTH HEIGHT
"""

from __future__ import annotations

import argparse
import json
import sys
import time


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=("forward", "train"))
    parser.add_argument("model", type=json.loads, help="section `model` of the recipe, in JSON")
    for name in ("batch", "width", "height"):
        parser.add_argument(name, type=int)
    return parser.parse_args()


ARGUMENTS = parse()  # here: --help and a wrong argument are answered where there is no PyTorch

import torch
from torch import nn

STAGES = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}


class Block(nn.Module):
    """Basic block or bottleneck of a ResNet."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        outputs = width * (4 if bottleneck else 1)
        shapes = (
            [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
            if bottleneck
            else [(inputs, width, 3, stride), (width, outputs, 3, 1)]
        )
        layers: list[nn.Module] = []
        for i, (a, b, kernel, s) in enumerate(shapes):
            layers += [nn.Conv2d(a, b, kernel, s, kernel // 2, bias=False), nn.BatchNorm2d(b)]
            layers += [nn.ReLU(inplace=True)] if i + 1 < len(shapes) else []
        self.body = nn.Sequential(*layers)
        same = stride == 1 and inputs == outputs
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) → (N, C', H/stride, W/stride)."""
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet(depth: int) -> list[nn.Module]:
    """Layers of a ResNet without its classifier."""
    counts, bottleneck = STAGES[depth]
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    channels = 64
    for i, count in enumerate(counts):
        for j in range(count):
            layers.append(Block(channels, 64 * 2**i, 2 if i and not j else 1, bottleneck))
            channels = 64 * 2**i * (4 if bottleneck else 1)
    return layers


def pose_resnet(depth: int, joints: int = 17) -> nn.Module:
    """ResNet, three deconvolutions, 1×1 convolution."""
    layers, channels = resnet(depth), 2048 if STAGES[depth][1] else 512
    for _ in range(3):
        layers += [nn.ConvTranspose2d(channels, 256, 4, 2, 1, bias=False), nn.BatchNorm2d(256), nn.ReLU(inplace=True)]
        channels = 256
    return nn.Sequential(*layers, nn.Conv2d(channels, joints, 1))


def fastpose(depth: int, joints: int = 17) -> nn.Module:
    """ResNet, pixel shuffles with convolutions, 3×3 convolution; without squeeze and excitation."""
    channels = (2048 if STAGES[depth][1] else 512) // 4
    layers = [*resnet(depth), nn.PixelShuffle(2)]
    for width in (1024, 512):
        layers += [
            nn.Conv2d(channels, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.PixelShuffle(2),
        ]
        channels = width // 4
    return nn.Sequential(*layers, nn.Conv2d(channels, joints, 3, 1, 1))


def _convolutions(inputs: int, shapes: list[tuple[int, int]]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width, kernel in shapes:
        layers += [nn.Conv2d(inputs, width, kernel, 1, kernel // 2), nn.ReLU(inplace=True)]
        inputs = width
    return layers


class OpenPose(nn.Module):
    """VGG19's first ten convolutions and six stages of two branches."""

    def __init__(self) -> None:
        super().__init__()
        layers, inputs = [], 3
        for width, count in ((64, 2), (128, 2), (256, 4), (512, 2)):
            layers += [*_convolutions(inputs, [(width, 3)] * count), nn.MaxPool2d(2)]
            inputs = width
        self.features = nn.Sequential(*layers[:-1], *_convolutions(512, [(256, 3), (128, 3)]))
        first, other = [(128, 3)] * 3 + [(512, 1)], [(128, 7)] * 5 + [(128, 1)]
        self.stages = nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(*_convolutions(185 if i else 128, [*(other if i else first), (maps, 1)])[:-1])
                for maps in (38, 19)
            )
            for i in range(6)
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, H, W) → fields and heat maps of the last stage."""
        features = self.features(x)
        maps = [stage(features) for stage in self.stages[0]]
        for stages in self.stages[1:]:
            maps = [stage(torch.cat([*maps, features], 1)) for stage in stages]
        return maps[0], maps[1]


def _conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, relu: bool = True) -> nn.Sequential:
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class HRNetModule(nn.Module):
    """Four blocks on each branch, then the sum of all in each branch's resolution."""

    def __init__(self, widths: list[int], outputs: int, blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*[Block(width, width, 1, False) for _ in range(blocks)]) for width in widths
        )
        self.fuse = nn.ModuleList(
            nn.ModuleList(self._path(widths, i, j) for j in range(len(widths))) for i in range(outputs)
        )

    @staticmethod
    def _path(widths: list[int], i: int, j: int) -> nn.Module:
        if i == j:
            return nn.Identity()
        if i < j:
            return nn.Sequential(
                _conv_norm(widths[j], widths[i], 1, relu=False), nn.Upsample(scale_factor=2 ** (j - i), mode="nearest")
            )
        steps = [_conv_norm(widths[j], widths[j], 3, 2) for _ in range(i - j - 1)]
        return nn.Sequential(*steps, _conv_norm(widths[j], widths[i], 3, 2, relu=False))

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        """Maps of the branches → the same, exchanged."""
        maps = [branch(x) for branch, x in zip(self.branches, maps)]
        return [torch.relu(sum(path(x) for path, x in zip(row, maps))) for row in self.fuse]


class HRNet(nn.Module):
    """Stem, four bottlenecks, three stages of modules, 1×1 convolution."""

    def __init__(self, model: dict, joints: int = 17) -> None:
        super().__init__()
        width, stem, blocks = model["width"], model["stem_width"], model["blocks"]
        first = [Block(stem if not i else 4 * stem, stem, 1, True) for i in range(blocks)]
        self.stem = nn.Sequential(_conv_norm(3, stem, 3, 2), _conv_norm(stem, stem, 3, 2), *first)
        self.new, self.kept, self.stages = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        before = [4 * stem]
        for branches, modules in zip((2, 3, 4), model["modules"]):
            widths = [width * 2**i for i in range(branches)]
            self.kept.append(
                nn.ModuleList(nn.Identity() if a == b else _conv_norm(a, b, 3) for a, b in zip(before, widths))
            )
            self.new.append(_conv_norm(before[-1], widths[-1], 3, 2))
            counts = [branches] * modules
            counts[-1] = 1 if branches == 4 else branches
            self.stages.append(nn.Sequential(*[HRNetModule(widths, count, blocks) for count in counts]))
            before = widths
        self.head = nn.Conv2d(width, joints, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) → (N, J, H/4, W/4)."""
        maps = [self.stem(x)]
        for kept, new, stage in zip(self.kept, self.new, self.stages):
            maps = stage([*[cell(x) for cell, x in zip(kept, maps)], new(maps[-1])])
        return self.head(maps[0])


class TransformerBlock(nn.Module):
    """Fused attention and two dense layers, each behind a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, T, D) → (N, T, D)."""
        parts = self.qkv(self.norms[0](x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(*parts)
        x = x + self.proj(attended.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norms[1](x))


class ViTPose(nn.Module):
    """Patches of 16×16, a transformer, the classic or the simple decoder."""

    def __init__(self, model: dict, joints: int = 17) -> None:
        super().__init__()
        width = model["width"]
        self.patches = nn.Conv2d(3, width, 16, 16, 2)
        self.positions = nn.Parameter(torch.randn(1, (ARGUMENTS.height // 16) * (ARGUMENTS.width // 16), width))
        self.blocks = nn.Sequential(*[TransformerBlock(width, model["heads"]) for _ in range(model["depth"])])
        self.norm = nn.LayerNorm(width, eps=1e-6)
        if model["decoder"] == "simple":
            large = nn.Upsample(scale_factor=4, mode="bilinear", align_corners=False)
            self.head = nn.Sequential(nn.ReLU(), large, nn.Conv2d(width, joints, 3, 1, 1))
        else:
            layers: list[nn.Module] = []
            for inputs in (width, model["head_width"]):
                outputs = model["head_width"]
                layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            self.head = nn.Sequential(*layers, nn.Conv2d(model["head_width"], joints, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) → (N, J, H/4, W/4)."""
        x = self.patches(x)
        tokens = self.norm(self.blocks(x.flatten(2).transpose(1, 2) + self.positions))
        return self.head(tokens.transpose(1, 2).reshape(x.shape))


def _silu(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.SiLU(inplace=True))


class CSPLayer(nn.Module):
    """Blocks on half of the channels, and a factor for each channel of both halves."""

    def __init__(self, channels: int, blocks: int, identity: bool) -> None:
        super().__init__()
        half = channels // 2
        self.main, self.short, self.final = (
            _silu(channels, half, 1),
            _silu(channels, half, 1),
            _silu(channels, channels, 1),
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(_silu(half, half, 3), _silu(half, half, 5, groups=half), _silu(half, half, 1))
            for _ in range(blocks)
        )
        self.identity = identity
        self.factor = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.Hardsigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) → the same shape."""
        y = self.main(x)
        for block in self.blocks:
            y = y + block(y) if self.identity else block(y)
        both = torch.cat((y, self.short(x)), 1)
        return self.final(both * self.factor(both))


class PyramidPooling(nn.Module):
    """Maxima of 5, 9 and 13 cells beside the map itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.last = _silu(channels, channels // 2, 1), _silu(2 * channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) → the same shape."""
        x = self.first(x)
        return self.last(torch.cat([x, *(nn.functional.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13))], 1))


class RTMPose(nn.Module):
    """CSPNeXt, a map a keypoint, gated attention over the keypoints, two vectors each."""

    def __init__(self, model: dict, joints: int = 17) -> None:
        super().__init__()
        width, middle = model["width"], model["blocks"]
        channels = width // 16
        layers = [
            _silu(3, channels // 2, 3, 2),
            _silu(channels // 2, channels // 2, 3),
            _silu(channels // 2, channels, 3),
        ]
        for i, count in enumerate(((middle + 1) // 2, middle, middle, (middle + 1) // 2)):
            layers.append(_silu(channels, 2 * channels, 3, 2))
            channels *= 2
            layers += [PyramidPooling(channels)] if i == 3 else []
            layers.append(CSPLayer(channels, count, identity=i < 3))
        self.backbone = nn.Sequential(*layers, nn.Conv2d(width, joints, 7, 1, 3))
        places = (ARGUMENTS.height // 32) * (ARGUMENTS.width // 32)
        self.mlp, self.uv = nn.Linear(places, 256, bias=False), nn.Linear(256, 1152, bias=False)
        self.out, self.gamma = nn.Linear(512, 256, bias=False), nn.Parameter(torch.rand(2, 128))
        self.x, self.y = (nn.Linear(256, 2 * side, bias=False) for side in (ARGUMENTS.width, ARGUMENTS.height))

    @staticmethod
    def _scaled(x: torch.Tensor) -> torch.Tensor:
        return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-5) * x.shape[-1] ** 0.5

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, H, W) → (N, J, 2 W), (N, J, 2 H)."""
        x = self.mlp(self._scaled(self.backbone(image).flatten(2)))
        gate, value, base = nn.functional.silu(self.uv(self._scaled(x))).split((512, 512, 128), -1)
        query, key = (base * gamma for gamma in self.gamma)
        weights = torch.relu(query @ key.transpose(1, 2) / 128**0.5).square()
        x = x + self.out(gate * (weights @ value))
        return self.x(x), self.y(x)


NETWORKS = {
    "simplepose": lambda model: pose_resnet(model["depth"]),
    "fastpose": lambda model: fastpose(model["depth"]),
    "openpose": lambda model: OpenPose(),
    "hrnet": HRNet,
    "rtmpose": RTMPose,
    "vitpose": ViTPose,
}


def main() -> None:
    """Answer each line on standard input with the milliseconds an image of one round."""
    batch, width, height = ARGUMENTS.batch, ARGUMENTS.width, ARGUMENTS.height
    torch.manual_seed(0)
    network = NETWORKS[ARGUMENTS.model["name"]](ARGUMENTS.model)
    image = torch.randn(batch, 3, height, width)
    target = torch.rand(batch, 17, height // 4, width // 4)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)

    def step() -> None:
        optimizer.zero_grad()
        (0.5 * (network(image) - target).square().mean()).backward()
        optimizer.step()

    def forward() -> None:
        with torch.inference_mode():
            network(image)

    network.train(ARGUMENTS.mode == "train")
    run = step if ARGUMENTS.mode == "train" else forward
    run()
    run()
    print("ready", flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        for _ in range(int(line)):
            run()
        print((time.perf_counter() - begin) / int(line) / batch * 1e3, flush=True)


if __name__ == "__main__":
    main()
