"""Kernels of MindSpore on a processor beside PyTorch's, one at a time: the reproduction of docs/mindspore_cpu.md.

    python scripts/mindspore_cpu.py [--torch-python PYTHON] [--rounds 5]

It needs nothing of this repository. Each side has a process of its own; they take turns, and medians are printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

# Layers of the networks at batch 8, 192x256. Name: kind, shape of the input, further numbers.
CASES: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]] = {
    "addition of 8 numbers: the call itself": ("addition", (8, 1), ()),
    "convolution 3x3, 32 to 32 channels, 64x48": ("convolution", (8, 32, 64, 48), (32, 3, 1)),
    "convolution 3x3, 64 to 64 channels, 64x48": ("convolution", (8, 64, 64, 48), (64, 3, 1)),
    "convolution 3x3, 256 to 256 channels, 8x6": ("convolution", (8, 256, 8, 6), (256, 3, 1)),
    "convolution 1x1, 64 to 256 channels, 64x48": ("convolution", (8, 64, 64, 48), (256, 1, 1)),
    "depthwise convolution 5x5, 96 channels, 32x24": ("convolution", (8, 96, 32, 24), (96, 5, 96)),
    "deconvolution 4x4, 256 to 256 channels, 32x24": ("deconvolution", (8, 256, 32, 24), (256, 4)),
    "dense layer, 1536x768 to 3072": ("dense", (1536, 768), (3072,)),
    "matrix products, 96 of 192x64 by 64x192": ("products", (96, 192, 64), (192,)),
    "softmax, 96x192x192": ("softmax", (96, 192, 192), ()),
    "layer norm, 1536x768": ("layer_norm", (1536, 768), ()),
    "GELU, 1536x3072": ("gelu", (1536, 3072), ()),
    "SiLU, 8x96x32x24": ("silu", (8, 96, 32, 24), ()),
    "batch norm, 8x64x64x48": ("batch_norm", (8, 64, 64, 48), ()),
    "addition, 8x64x64x48": ("addition", (8, 64, 64, 48), ()),
    "transposition of 8x192x12x64": ("transposition", (8, 192, 12, 64), ()),
}
SECONDS = 0.3  # of a round


def in_mindspore(kind: str, shape: tuple[int, ...], numbers: tuple[int, ...]) -> Callable[[], np.ndarray]:
    """What runs a kernel once and waits for its result."""
    import mindspore as ms
    from mindspore import nn, ops

    def drawn(*size: int) -> ms.Tensor:
        return ms.Tensor(np.random.default_rng(0).standard_normal(size).astype(np.float32))

    class Products(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.other = drawn(shape[0], shape[2], numbers[0])

        def construct(self, x: ms.Tensor) -> ms.Tensor:
            return ops.bmm(x, self.other)

    class Addition(nn.Cell):
        def construct(self, x: ms.Tensor) -> ms.Tensor:
            return x + x

    class Transposition(nn.Cell):
        def construct(self, x: ms.Tensor) -> ms.Tensor:
            return ops.transpose(x, (0, 2, 1, 3))

    channels = shape[1]
    make: dict[str, Callable[[], nn.Cell]] = {
        "convolution": lambda: nn.Conv2d(
            channels, numbers[0], numbers[1], pad_mode="pad", padding=numbers[1] // 2, group=numbers[2]
        ),
        "deconvolution": lambda: nn.Conv2dTranspose(channels, numbers[0], numbers[1], 2, "pad", 1),
        "dense": lambda: nn.Dense(channels, numbers[0]),
        "products": Products,
        "softmax": lambda: nn.Softmax(-1),
        "layer_norm": lambda: nn.LayerNorm((channels,)),
        "gelu": lambda: nn.GELU(approximate=False),
        "silu": nn.SiLU,
        "batch_norm": lambda: nn.BatchNorm2d(channels),
        "addition": Addition,
        "transposition": Transposition,
    }
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    cell, values = make[kind]().set_train(False), drawn(*shape)
    return lambda: cell(values).asnumpy()


def in_torch(kind: str, shape: tuple[int, ...], numbers: tuple[int, ...]) -> Callable[[], np.ndarray]:
    """The same in PyTorch."""
    import torch
    from torch import nn

    torch.set_grad_enabled(False)
    values, channels = torch.randn(shape), shape[1]
    other = torch.randn(shape[0], shape[-1], numbers[0]) if kind == "products" else None
    make: dict[str, Callable[[], Any]] = {
        "convolution": lambda: nn.Conv2d(
            channels, numbers[0], numbers[1], padding=numbers[1] // 2, groups=numbers[2], bias=False
        ),
        "deconvolution": lambda: nn.ConvTranspose2d(channels, numbers[0], numbers[1], 2, 1, bias=False),
        "dense": lambda: nn.Linear(channels, numbers[0]),
        "products": lambda: lambda x: torch.bmm(x, other),
        "softmax": lambda: nn.Softmax(-1),
        "layer_norm": lambda: nn.LayerNorm(channels),
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "batch_norm": lambda: nn.BatchNorm2d(channels).eval(),
        "addition": lambda: lambda x: x + x,
        "transposition": lambda: lambda x: x.transpose(1, 2).contiguous(),
    }
    call = make[kind]()
    return lambda: call(values).numpy()


def work(framework: str) -> None:
    """Answer each line, the name of a case, with the milliseconds that it takes."""
    made: dict[str, Callable[[], np.ndarray]] = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in made:
            made[name] = (in_mindspore if framework == "mindspore" else in_torch)(*CASES[name])
            made[name]()
        times: list[float] = []
        while sum(times) < SECONDS:
            begin = time.perf_counter()
            made[name]()
            times.append(time.perf_counter() - begin)
        print(statistics.median(times) * 1e3, flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter that has PyTorch")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds (default: 5)")
    parser.add_argument("--work", choices=("mindspore", "torch"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work)
        return
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ONEDNN_")}
    sides = {
        "PyTorch": (arguments.torch_python, "torch", plain),
        "MindSpore": (sys.executable, "mindspore", plain),
        "MindSpore, ONEDNN_MAX_CPU_ISA=AVX2": (sys.executable, "mindspore", {**plain, "ONEDNN_MAX_CPU_ISA": "AVX2"}),
    }
    workers = [
        subprocess.Popen(
            [python, __file__, "--work", framework], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        for python, framework, env in sides.values()
    ]
    print(f"| ms, median of {arguments.rounds} | {' | '.join(sides)} | last / PyTorch |\n{'|---' * (len(sides) + 2)}|")
    for name in CASES:
        values: list[list[float]] = [[] for _ in workers]
        for _ in range(arguments.rounds):
            for worker, series in zip(workers, values):
                print(name, file=worker.stdin, flush=True)
                line = worker.stdout.readline()
                if not line:
                    sys.exit(f"error: {' '.join(worker.args)} ended at {name}; see its message above")
                series.append(float(line))
        ratio = statistics.median(last / first for first, last in zip(values[0], values[-1]))
        columns = [f"{statistics.median(series):.2f}" for series in values]
        print(f"| {name} | {' | '.join(columns)} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
