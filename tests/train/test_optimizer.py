"""Optimizers: against their formulas, with a rate and a decay for each parameter."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from mindspore import nn

from mspose.config.builder import default_config
from mspose.models.simplepose import SimplePose
from mspose.train.optimizer import build_optimizer, layer_scales
from tests.graph import ms
from tests.toy.model import Toy
from tests.toy.network import NETWORK

TOY = "tests.toy.network"


def rates(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def gradients(network: nn.Cell, step: int) -> list[np.ndarray]:
    rng = np.random.default_rng(step)
    # Down to where epsilon counts.
    return [
        (rng.standard_normal(p.shape) * 10.0 ** rng.uniform(-9, 0, p.shape)).astype(np.float32)
        for p in network.trainable_params()
    ]


def first_changes(network: nn.Cell, name: str, **train: object) -> dict[str, np.ndarray]:
    """What one step at a rate of 0.1 takes off each parameter where all gradients are 1."""
    config = default_config(name, {f"train.{key}": value for key, value in train.items()})
    before = {p.name: p.asnumpy().copy() for p in network.trainable_params()}
    ones = tuple(ms.ops.ones_like(p) for p in network.trainable_params())
    build_optimizer(network, rates(0.1, 0.1), config)(ones)
    return {p.name: before[p.name] - p.asnumpy() for p in network.trainable_params()}


def adamw(
    values: Sequence[np.ndarray], steps: Sequence[Sequence[np.ndarray]], rate: np.ndarray, betas: tuple[float, float]
) -> list[np.ndarray]:
    """Algorithm 2 of arXiv 1711.05101 in float64, as PyTorch computes it; kernels decay by 0.3."""
    result = []
    for index, value in enumerate(values):
        value, decay = value.astype(np.float64), 0.3 if value.ndim > 1 else 0.0
        mean, square = np.zeros_like(value), np.zeros_like(value)
        for count, of_step in enumerate(steps, start=1):
            gradient = of_step[index].astype(np.float64)
            mean = betas[0] * mean + (1 - betas[0]) * gradient
            square = betas[1] * square + (1 - betas[1]) * gradient**2
            value = value * (1 - rate[count - 1] * decay)
            unbiased = np.sqrt(square / (1 - betas[1] ** count)) + 1e-8
            value = value - rate[count - 1] * mean / (1 - betas[0] ** count) / unbiased
        result.append(value)
    return result


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.8, 0.95)])
def test_adamw_follows_its_formula(betas: tuple[float, float]) -> None:
    network, rate = Toy(4, 2), rates(0.01, 0.02, 0.005, 0.01)
    config = default_config(TOY, {"train.optimizer": "adamw", "train.weight_decay": 0.3, "train.betas": list(betas)})
    optimizer = build_optimizer(network, rate, config)
    before = [p.asnumpy().copy() for p in network.trainable_params()]
    steps = [gradients(network, step) for step in range(4)]
    for of_step in steps:
        optimizer(tuple(map(ms.Tensor, of_step)))
    expected = adamw(before, steps, rate.astype(np.float64), betas)
    for parameter, value in zip(network.trainable_params(), expected):
        # Four roundings of float32; they change weights by 1e-3 and more.
        np.testing.assert_allclose(parameter.asnumpy(), value, rtol=0, atol=2e-6, err_msg=parameter.name)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_betas_reach_the_optimizer(optimizer: str) -> None:
    """With a gradient that is there in the first step alone, the second moves by what the betas remember."""
    network = Toy(4, 2)
    config = default_config(TOY, {"train.optimizer": optimizer, "train.betas": [0.5, 0.75]})
    update = build_optimizer(network, rates(0.1, 0.1), config)
    update(tuple(ms.ops.ones_like(p) for p in network.trainable_params()))
    before = network.final_layer.bias.asnumpy().copy()
    update(tuple(ms.ops.zeros_like(p) for p in network.trainable_params()))
    mean, square = 0.5 * 0.5 / (1 - 0.5**2), 0.75 * 0.25 / (1 - 0.75**2)
    np.testing.assert_allclose(before - network.final_layer.bias.asnumpy(), 0.1 * mean / np.sqrt(square), rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
def test_weight_decay_reaches_kernels_only(optimizer: str) -> None:
    network = Toy(4, 2)
    config = default_config(TOY, {"train.weight_decay": 0.1, "train.optimizer": optimizer})
    built = build_optimizer(network, rates(0.1), config)
    decays = {p.name: float(decay) for p, decay in zip(built.group_params, built.weight_decay)}
    assert decays["backbone.0.weight"] == decays["final_layer.weight"] == pytest.approx(0.1)
    assert decays["backbone.1.gamma"] == decays["backbone.1.beta"] == decays["final_layer.bias"] == 0


def test_weight_decay_reaches_a_network_of_kernels_alone() -> None:
    config = default_config(TOY, {"train.weight_decay": 0.1})
    network = nn.Dense(2, 3, has_bias=False)
    assert [float(decay) for decay in build_optimizer(network, rates(0.1), config).weight_decay] == [pytest.approx(0.1)]


def test_an_entry_may_say_what_decays(monkeypatch: pytest.MonkeyPatch) -> None:
    """ViTPose's table of positions has three dimensions and does not decay."""
    network = Toy(4, 2)
    entry = dataclasses.replace(NETWORK, decays=lambda name, ndim: ndim > 1 and name != "final_layer.weight")
    monkeypatch.setattr("mspose.train.optimizer.find_network", lambda name: entry)
    config = default_config(TOY, {"train.weight_decay": 0.1, "train.optimizer": "adamw"})
    built = build_optimizer(network, rates(0.1), config)
    decaying = {p.name for p, decay in zip(built.parameters, built.decays) if float(decay)}
    assert decaying == {"backbone.0.weight", "backbone.3.weight", "backbone.6.weight"}


def test_backbone_learns_at_its_own_rate() -> None:
    network = SimplePose(18, 3, [8, 8, 8], base_width=8)
    for name, change in first_changes(network, "simplepose", backbone_lr=0.25, optimizer="momentum").items():
        rate = 0.025 if name.startswith("backbone.") else 0.1
        np.testing.assert_allclose(change, rate, atol=1e-6, err_msg=name)


def test_layers_of_a_vit_learn_as_published() -> None:
    """lr · rate ** (L + 2 - layer - 1), where L blocks count from 1, what is before them is 0, and the rest L + 1."""
    blocks = 12
    numbers = [0, *range(1, blocks + 1), None]
    published = [0.75 ** (blocks + 2 - layer - 1) for layer in [0, *range(1, blocks + 1), blocks + 1]]
    np.testing.assert_allclose(layer_scales(numbers, 0.75), published, rtol=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "momentum"])
def test_each_layer_learns_at_its_own_rate(optimizer: str) -> None:
    """The toy's three convolutions are layers 0 to 2, its last one comes behind them."""
    expected = {"backbone.0": 0.0125, "backbone.1": 0.0125, "backbone.3": 0.025, "backbone.4": 0.025}
    expected |= {"backbone.6": 0.05, "backbone.7": 0.05, "final_layer": 0.1}
    for name, change in first_changes(Toy(4, 2), TOY, layer_decay=0.5, optimizer=optimizer).items():
        np.testing.assert_allclose(change, expected[name.rpartition(".")[0]], atol=1e-6, err_msg=name)


def test_backbone_and_layer_decay_multiply() -> None:
    changes = first_changes(Toy(4, 2), TOY, layer_decay=0.5, backbone_lr=0.5, optimizer="adamw")
    np.testing.assert_allclose(changes["backbone.3.weight"], 0.0125, atol=1e-6)
    np.testing.assert_allclose(changes["final_layer.weight"], 0.1, atol=1e-6)


def test_decoupled_decay_is_a_share_of_a_layers_own_rate() -> None:
    network = Toy(4, 2)
    keys = {"train.optimizer": "adamw", "train.weight_decay": 0.5, "train.layer_decay": 0.5}
    update = build_optimizer(network, rates(0.1, 0.1), default_config(TOY, keys))
    before = {p.name: p.asnumpy().copy() for p in network.trainable_params()}
    update(tuple(ms.ops.zeros_like(p) for p in network.trainable_params()))
    for name, share in {
        "backbone.0.weight": 0.0125 * 0.5,
        "final_layer.weight": 0.1 * 0.5,
        "final_layer.bias": 0,
    }.items():
        (now,) = (p.asnumpy() for p in network.trainable_params() if p.name == name)
        np.testing.assert_allclose(now, before[name] * (1 - share), rtol=1e-6, err_msg=name)
