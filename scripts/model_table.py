"""The computed columns of the tables in docs/models: input, parameters and multiply-adds of the network of a recipe.

    python scripts/model_table.py [RECIPE ...]

A network is run once on a black picture of the recipe's input size; its convolutions, deconvolutions and dense layers
are counted where they would run, and give zeros. Other operators (batch norm, activations, sums) are not, and a
multiplication with its addition is one. Parameters are what training changes: no running averages of batch norms.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import numpy as np

from mspose.config.builder import load_config
from mspose.config.recipes import find_recipe, recipes
from mspose.config.schema import Config
from mspose.errors import PoseError
from mspose.runtime.device import prepare_environment

prepare_environment()

import mindspore as ms
from mindspore import nn
from mindspore.nn.utils import no_init_parameters

from mspose.networks import build_model


class Size(NamedTuple):
    """What a network costs.

    Attributes:
        parameters: numbers that training changes.
        macs: multiply-adds of its convolutions, deconvolutions and dense layers for one picture.
    """

    parameters: int
    macs: int


def count(config: Config) -> Size:
    """Size of the configured network at `data.input_size`."""
    with no_init_parameters():
        network = build_model(config)
    parameters = sum(parameter.size for parameter in network.trainable_params())
    counted, unused = list[int](), set[int]()
    for _, cell in network.cells_and_names():
        if isinstance(cell, (nn.Conv2d, nn.Conv2dTranspose, nn.Dense)):
            cell.construct = partial(_count_call, counted, cell, tuple(cell.weight.shape[1:]))
            unused |= {id(parameter) for parameter in cell.get_parameters()}
    for parameter in network.get_parameters():
        shape = (1,) if id(parameter) in unused else parameter.shape
        parameter.set_data(ms.Tensor(np.zeros(shape, np.float32)), slice_shape=True)
    width, height = config.data.input_size
    mode = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)  # graphs would not call what counts
    try:
        _start_numpy()
        network.set_train(False)(ms.Tensor(np.zeros((1, 3, height, width), np.float32)))
    finally:
        ms.set_context(mode=mode)
    return Size(parameters, sum(counted))


def _count_call(counted: list[int], cell: nn.Cell, kernel: tuple[int, ...], values: ms.Tensor) -> ms.Tensor:
    """Zeros in the shape of a layer's output: the product itself, and gigabytes of weights, would tell nothing more.

    One number of the output takes a whole kernel; a deconvolution lays one kernel down for a number of its input.
    """
    if isinstance(cell, nn.Dense):
        shape = (*values.shape[:-1], cell.out_channels)
    else:
        pads = cell.padding if isinstance(cell.padding, tuple) else (cell.padding,) * 4
        sides = zip(values.shape[2:], cell.kernel_size, cell.stride, cell.dilation, (pads[:2], pads[2:]), strict=True)
        shape = (len(values), cell.out_channels, *(_side(cell, *numbers) for numbers in sides))
    counted.append(
        (values.size if isinstance(cell, nn.Conv2dTranspose) else int(np.prod(shape))) * int(np.prod(kernel))
    )
    return ms.Tensor(np.zeros(shape, np.float32))


def _side(cell: nn.Cell, side: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int]) -> int:
    """A side of what a convolution or deconvolution makes."""
    enlarge = isinstance(cell, nn.Conv2dTranspose)
    if cell.pad_mode == "same":
        return side * stride if enlarge else -(-side // stride)
    reach, pad = (kernel - 1) * dilation + 1, sum(pads) if cell.pad_mode == "pad" else 0
    return (side - 1) * stride + reach - pad if enlarge else (side + pad - reach) // stride + 1


def _start_numpy() -> None:
    """Let MindSpore 2.10 look for NumPy 1's interface, once: under NumPy 2 an operator fails of it, over many lines."""
    with redirect_stderr(io.StringIO()), suppress(SystemError):
        ms.ops.zeros((1,), ms.float32)


def row(recipe: str, size: Size, config: Config) -> str:
    """The row of a table; input as height × width."""
    width, height = config.data.input_size
    return f"| `{recipe}` | {height}×{width} | {size.parameters / 1e6:.2f} M | {size.macs / 1e9:.2f} |"


def main(named: Sequence[str]) -> int:
    """Print the table; returns 0, or 2 where a recipe is wrong."""
    try:
        names = named or [name for name, path in recipes().items() if path.parent.name != "pretrained"]
        configs = {name: load_config(find_recipe(name)) for name in names}
    except PoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("| recipe | input | parameters | GMACs |\n|---|---|---|---|")
    known: dict[str, Size] = {}
    for name, config in configs.items():
        same = str((config.model, config.data.input_size))  # such as the same network with other targets
        known[same] = known.get(same) or count(config)
        print(row(name, known[same], config), flush=True)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="default: all of configs/ and configs/quickstart/")
    sys.exit(main(parser.parse_args().recipes))
