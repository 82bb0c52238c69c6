"""What the golden numbers of all networks share: PyTorch's names, and the form of the files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import nn

from mspose.backends.checkpoint import MindSporeBackend
from tests.golden.formula import picture


def torch_keys(network: nn.Cell) -> dict[str, tuple[int, ...]]:
    """Names and shapes that a PyTorch checkpoint has whose backbone stands at its top level."""
    renamed = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    keys = {}
    for p in network.get_parameters():
        prefix, _, last = p.name.removeprefix("backbone.").rpartition(".")
        keys[f"{prefix}.{renamed.get(last, last)}"] = tuple(p.shape)
    return keys


def write_golden(path: Path, cases: Mapping[str, Mapping[str, Any]], make: Callable[..., nn.Cell]) -> None:
    """Write about sixty values of each case, of several outputs one after another; `make` builds a network of its
    arguments, with formula weights."""
    written = []
    for name, arguments in cases.items():
        outputs = MindSporeBackend(make(**arguments))(picture(7, (2, 3, 64, 96)))
        shapes = [list(maps.shape) for maps in outputs]
        maps = np.concatenate([maps.reshape(-1) for maps in outputs])
        every = max(1, maps.size // 60)
        values = [round(float(v), 6) for v in maps[::every]]
        written.append(
            {
                "name": name,
                "arguments": arguments,
                "shape": shapes if len(shapes) > 1 else shapes[0],
                "every": every,
                "largest": float(abs(maps).max()),
                "values": values,
            }
        )
    path.write_text(json.dumps(written, indent=1) + "\n")
