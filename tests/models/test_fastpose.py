"""FastPose against the reference networks, its two upsamplings, orders of shuffling and squeeze-excitation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mspose.backends.checkpoint import MindSporeBackend
from mspose.checkpoints.initial import load_backbone
from mspose.checkpoints.io import assign, save
from mspose.config.builder import default_config
from mspose.models.fastpose import FastPose, PixelShuffle
from mspose.models.resnet import ResNet, SqueezeExcitation
from mspose.networks.fastpose import fastpose_from_torch
from tests.golden.formula import parameter, picture
from tests.graph import ms, without_graph

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "golden_fastpose.json"
SMALL = {"depth": 18, "num_keypoints": 5, "base_width": 8, "width": 32}


def torch_keys(network: FastPose) -> dict[str, tuple[int, ...]]:
    """Names and shapes that a checkpoint of this network from AlphaPose has (the numbered form of DUC layers)."""
    renamed = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    keys = {}
    for p in network.get_parameters():
        prefix, _, last = p.name.replace("backbone.", "preact.").replace("final_layer.", "conv_out.").rpartition(".")
        keys[f"{prefix}.{renamed.get(last, last)}"] = tuple(p.shape)
    return keys


def fill(network: FastPose, keys: dict[str, tuple[int, ...]]) -> None:
    values = {name: parameter(name, tuple(shape)) for name, shape in keys.items()}
    report = assign(network, fastpose_from_torch(values), "formula")
    assert not report.unused


@pytest.mark.parametrize(("name", "upsampling"), [("fastpose_res50", "shuffle"), ("fastpose_duc_res50", "duc")])
def test_outputs_equal_the_reference(name: str, upsampling: str, parity_dir: Path) -> None:
    keys = json.loads((parity_dir / f"{name}.keys.json").read_text())
    network = FastPose(50, 17, upsampling, se="first_block")
    fill(network, keys)
    fixture = np.load(parity_dir / f"{name}.npz")
    (maps,) = MindSporeBackend(network)(picture(int(fixture["seed"]), tuple(fixture["shape"])))
    expected = fixture["output0"]
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ({"depth": 50}, 29_428_945),
        ({"depth": 50, "se": "first_block"}, 40_577_745),
        ({"depth": 50, "se": "first_block", "upsampling": "duc"}, 48_564_049),
    ],
)
def test_parameter_count_is_the_published_one(arguments: dict, count: int) -> None:
    assert sum(p.size for p in FastPose(num_keypoints=17, **arguments).trainable_params()) == count


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text()), ids=lambda case: case["name"])
def test_outputs_equal_golden_numbers(case: dict) -> None:
    network = FastPose(**case["arguments"])
    fill(network, torch_keys(network))
    with without_graph():
        (maps,) = MindSporeBackend(network)(picture(7, (2, 3, 64, 96)))
    assert list(maps.shape) == case["shape"]
    np.testing.assert_allclose(maps.reshape(-1)[:: case["every"]], case["values"], rtol=0, atol=1e-4 * case["largest"])


@pytest.mark.parametrize("order", ["channel", "block"])
def test_pixel_shuffle_takes_each_pixel_from_the_channel_of_its_order(order: str) -> None:
    x = np.random.default_rng(0).random((2, 12, 3, 5), np.float32)
    expected = np.zeros((2, 3, 6, 10), np.float32)
    for c in range(3):
        for i in range(2):
            for j in range(2):
                source = 4 * c + 2 * i + j if order == "channel" else (2 * i + j) * 3 + c
                expected[:, c, i::2, j::2] = x[:, source]
    np.testing.assert_array_equal(PixelShuffle(order)(ms.Tensor(x)).asnumpy(), expected)


def test_squeeze_excitation_scales_channels_by_their_means() -> None:
    rng = np.random.default_rng(0)
    layer, x = SqueezeExcitation(6), rng.standard_normal((2, 6, 4, 3)).astype(np.float32)
    w0, b0, w1, b1 = (p.asnumpy() for p in layer.get_parameters())
    hidden = np.maximum(x.mean(axis=(2, 3)) @ w0.T + b0, 0)
    scale = 1 / (1 + np.exp(-(hidden @ w1.T + b1)))
    np.testing.assert_allclose(layer(ms.Tensor(x)).asnumpy(), x * scale[:, :, None, None], atol=1e-5)


@pytest.mark.parametrize("depth", [18, 50])
def test_squeeze_excitation_stands_in_the_first_block_of_each_stage(depth: int) -> None:
    network = ResNet(depth, base_width=8, se="first_block")
    blocks = {name.partition(".se.")[0] for name in (p.name for p in network.get_parameters()) if ".se." in name}
    assert blocks == {f"layer{stage}.0" for stage in (1, 2, 3, 4)}


def test_imagenet_resnet_leaves_squeeze_excitation_as_it_was(tmp_path: Path) -> None:
    plain = ResNet(18, base_width=8)
    save({p.name: p for p in plain.get_parameters()}, tmp_path / "resnet18.ckpt")
    network = FastPose(**SMALL, se="first_block")
    before = {p.name: p.asnumpy().copy() for p in network.get_parameters()}
    line = load_backbone(network, tmp_path / "resnet18.ckpt", default_config("fastpose"))
    assert f": {len(list(plain.get_parameters()))} parameters matched; not used: nothing" in line
    own = {f"backbone.{p.name}": p.asnumpy() for p in plain.get_parameters()}
    for p in network.get_parameters():
        np.testing.assert_array_equal(p.asnumpy(), own.get(p.name, before[p.name]), err_msg=p.name)


def test_any_size_compiles_once_for_all() -> None:
    network = FastPose(**SMALL, se="first_block", shuffle="block")
    fill(network, torch_keys(network))
    inputs = [picture(seed, shape) for seed, shape in enumerate([(1, 3, 64, 96), (2, 3, 96, 64)])]
    expected = [MindSporeBackend(network)(x) for x in inputs]
    dynamic = MindSporeBackend(network, any_size=True)
    for x, maps in zip(inputs, expected):
        np.testing.assert_allclose(dynamic(x), maps, atol=1e-6 * np.abs(maps).max())
