"""Small networks with weights in which nothing cancels: random batch norms, outputs that have clear maxima."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mspose.checkpoints.io import save
from mspose.config.builder import load_config
from mspose.config.schema import Config
from mspose.networks import build_model
from tests.conftest import ROOT
from tests.graph import ms

SMALL = {
    "simplepose": {
        "model.depth": 18,
        "model.base_width": 8,
        "model.deconv_filters": [16, 16, 16],
        "model.deconv_kernels": [4, 3, 2],
        "data.input_size": [64, 96],
        "codec.refine": "quarter",
    },
    "fastpose": {
        "model.base_width": 8,
        "model.upsampling_width": 32,
        "model.se": "first_block",
        "data.input_size": [64, 96],
        "codec.refine": "quarter",
    },
    "hrnet": {
        "model.width": 8,
        "model.stem_width": 16,
        "model.modules": [1, 1, 1],
        "model.blocks": 1,
        "data.input_size": [64, 96],
        "codec.refine": "quarter",
    },
    "rtmpose": {"model.width": 64, "data.input_size": [64, 96]},
    "vitpose": {
        "model.width": 16,
        "model.depth": 2,
        "model.heads": 2,
        "model.head_width": 8,
        "data.input_size": [64, 96],
        "codec.refine": "quarter",
    },
    "openpose": {
        "model.base_width": 8,
        "model.stage_width": 8,
        "model.norm": "backbone",
        "data.input_size": [96, 64],
        "codec.min_score": 0.0,
        "codec.peak_threshold": 0.02,
        "codec.limb_threshold": 0.0,
        "codec.min_joints": 2,
    },
}


def build(config: Config, seed: int = 0) -> ms.nn.Cell:
    """The network of a configuration, in evaluation mode."""
    network, rng = build_model(config), np.random.default_rng(seed)
    for parameter in network.get_parameters():
        shape, last = parameter.shape, parameter.name.rpartition(".")[2]
        if last in ("gamma", "moving_variance"):
            values = rng.uniform(0.5, 1.5, shape)
        elif last in ("beta", "moving_mean", "bias"):
            values = rng.normal(0, 0.2, shape)
        else:
            values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        parameter.set_data(ms.Tensor(values.astype(np.float32)))
    return network.set_train(False)


def small_config(name: str, folder: Path, **overrides: object) -> Config:
    """Configuration of a small network whose checkpoint is written to `folder`."""
    keys = {key.replace("__", "."): value for key, value in overrides.items()}
    config = load_config(
        ROOT / f"configs/quickstart/{name}.yaml", {**SMALL[name], "runtime.output": str(folder / "out"), **keys}
    )
    if not config.runtime.ckpt:
        config.runtime.ckpt = str(folder / "network.ckpt")
        values = {p.name: ms.Tensor(p.asnumpy()) for p in build(config).get_parameters()}
        save(values, config.runtime.ckpt)
    return config
