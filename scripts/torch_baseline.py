"""PyTorch baseline of scripts/benchmark.py: the same network in eager mode, in a process of its own.

Reads one line a round from standard input and answers with milliseconds an image. Started by benchmark.py:
    python scripts/torch_baseline.py forward|train DEPTH BATCH WIDTH HEIGHT
"""

from __future__ import annotations

import sys
import time

import torch
from torch import nn

STAGES = {18: ((2, 2, 2, 2), False), 34: ((3, 4, 6, 3), False), 50: ((3, 4, 6, 3), True), 101: ((3, 4, 23, 3), True),
          152: ((3, 8, 36, 3), True)}  # fmt: skip


class Block(nn.Module):
    """Basic block or bottleneck of a ResNet."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        outputs = width * (4 if bottleneck else 1)
        shapes = [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)] if bottleneck else [
            (inputs, width, 3, stride), (width, outputs, 3, 1)]
        layers: list[nn.Module] = []
        for i, (a, b, kernel, s) in enumerate(shapes):
            layers += [nn.Conv2d(a, b, kernel, s, kernel // 2, bias=False), nn.BatchNorm2d(b)]
            layers += [nn.ReLU(inplace=True)] if i + 1 < len(shapes) else []
        self.body = nn.Sequential(*layers)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                                                                 nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) → (N, C', H/stride, W/stride)."""
        return torch.relu(self.body(x) + self.shortcut(x))


def pose_resnet(depth: int, joints: int = 17) -> nn.Module:
    """ResNet, three deconvolutions, 1×1 convolution."""
    counts, bottleneck = STAGES[depth]
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
                               nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for i, count in enumerate(counts):
        for j in range(count):
            layers.append(Block(channels, 64 * 2**i, 2 if i and not j else 1, bottleneck))
            channels = 64 * 2**i * (4 if bottleneck else 1)
    for _ in range(3):
        layers += [nn.ConvTranspose2d(channels, 256, 4, 2, 1, bias=False), nn.BatchNorm2d(256), nn.ReLU(inplace=True)]
        channels = 256
    return nn.Sequential(*layers, nn.Conv2d(channels, joints, 1))


def main() -> None:
    """Answer each line on standard input with the milliseconds an image of one round."""
    mode, depth, batch, width, height = sys.argv[1], *map(int, sys.argv[2:6])
    torch.manual_seed(0)
    network = pose_resnet(depth)
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

    network.train(mode == "train")
    run = step if mode == "train" else forward
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
