"""Networks that need no weights, for tests of what lies around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mspose.config.builder import load_config
from mspose.config.schema import Config

ROOT = Path(__file__).resolve().parents[1]
TOP_DOWN = ROOT / "configs" / "quickstart" / "simplepose.yaml"
BOTTOM_UP = ROOT / "configs" / "quickstart" / "openpose.yaml"


class Sliced:
    """Top-down maps made of the input's own pixels: they differ from crop to crop. Records the shapes it is given."""

    batches = (4, 1)

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, inputs: np.ndarray) -> tuple[np.ndarray]:
        self.shapes.append(inputs.shape)
        channels = np.arange(17) % 3
        shifted = [np.roll(inputs[:, c, ::4, ::4], j, axis=2) for j, c in enumerate(channels)]
        return (np.abs(np.stack(shifted, axis=1)) / 4,)


def install(monkeypatch: pytest.MonkeyPatch, network: Any) -> None:
    """Let estimators run `network` instead of loading one; a plain function takes any number of inputs."""
    if not hasattr(network, "batches"):
        network.batches = None
    monkeypatch.setattr("mspose.estimator.open_backend", lambda config, any_size, beside: network)


def config_with(tmp_path: Path, recipe: Path = TOP_DOWN, **keys: object) -> Config:
    """A configuration whose checkpoint is an empty file; keys are written section__key."""
    (tmp_path / "net.ckpt").touch()
    overrides = {key.replace("__", "."): value for key, value in keys.items()}
    return load_config(
        recipe,
        {
            "runtime.ckpt": str(tmp_path / "net.ckpt"),
            **({"demo.detector": "whole"} if recipe == TOP_DOWN else {}),
            "demo.person_threshold": 0.0,
            "runtime.output": str(tmp_path / "out"),
            **overrides,
        },
    )
