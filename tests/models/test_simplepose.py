"""SimplePose against the reference networks, its initialisation and its options."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mindspore.common.initializer import Normal

from mspose.backends.checkpoint import MindSporeBackend
from mspose.checkpoints.io import assign
from mspose.checkpoints.names import batch_norm_from_torch
from mspose.models.layers import Deconv2d
from mspose.models.resnet import MaxPool
from mspose.models.simplepose import SimplePose
from mspose.networks.simplepose import simplepose_from_torch
from tests.golden.formula import parameter, picture
from tests.golden.networks import torch_keys
from tests.graph import ms, without_graph

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "golden_simplepose.json"


def fill(network: SimplePose, keys: dict[str, tuple[int, ...]]) -> None:
    values = {name: parameter(name, tuple(shape)) for name, shape in keys.items()}
    report = assign(network, simplepose_from_torch(values), "formula")
    assert not report.unused


@pytest.mark.parametrize("depth", [18, 50])
def test_outputs_equal_the_reference(depth: int, parity_dir: Path) -> None:
    keys = json.loads((parity_dir / f"pose_resnet_{depth}.keys.json").read_text())
    network = SimplePose(depth, 17)
    fill(network, keys)
    fixture = np.load(parity_dir / f"pose_resnet_{depth}.npz")
    (maps,) = MindSporeBackend(network)(picture(int(fixture["seed"]), tuple(fixture["shape"])))
    expected = fixture["output0"]
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_parameter_count_is_the_published_one(depth: int) -> None:
    millions = {18: 15.38, 34: 25.48, 50: 34.00, 101: 52.99, 152: 68.64}
    count = sum(p.size for p in SimplePose(depth, 17).trainable_params())
    assert count / 1e6 == pytest.approx(millions[depth], abs=0.006)


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text()), ids=lambda case: case["name"])
def test_outputs_equal_golden_numbers(case: dict) -> None:
    network = SimplePose(**case["arguments"])
    fill(network, torch_keys(network))
    with without_graph():
        (maps,) = MindSporeBackend(network)(picture(7, (2, 3, 64, 96)))
    assert list(maps.shape) == case["shape"]
    np.testing.assert_allclose(maps.reshape(-1)[:: case["every"]], case["values"], rtol=0, atol=1e-4 * case["largest"])


def test_head_starts_narrow_and_backbone_he_normal() -> None:
    ms.set_seed(3)
    network = SimplePose(18, 17)
    values = {p.name: p.asnumpy() for p in network.get_parameters()}
    assert values["deconv_layers.0.weight"].std() == pytest.approx(0.001, rel=0.02)
    assert values["final_layer.weight"].std() == pytest.approx(0.001, rel=0.1)
    assert np.all(values["final_layer.bias"] == 0)
    kernel = values["backbone.layer3.0.conv2.weight"]
    assert kernel.std() == pytest.approx(np.sqrt(2 / (kernel.shape[0] * 9)), rel=0.02)
    assert np.all(values["deconv_layers.1.gamma"] == 1)


def test_max_pool_paddings_differ_only_in_where_they_pad() -> None:
    x = np.random.default_rng(0).random((1, 2, 8, 6), np.float32)
    padded = {"torch": np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), "same": np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)))}
    for name, source in padded.items():
        windows = np.lib.stride_tricks.sliding_window_view(source, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
        np.testing.assert_array_equal(MaxPool(name)(ms.Tensor(x)).asnumpy(), windows.max(axis=(-1, -2))[:, :, :4, :3])


def test_torch_batch_norm_names_need_a_running_mean_beside() -> None:
    one = np.ones(1)
    named = batch_norm_from_torch(
        {"bn.weight": one, "bn.running_mean": one, "bn.num_batches_tracked": one, "conv.weight": one, "conv.bias": one}
    )
    assert sorted(named) == ["bn.gamma", "bn.moving_mean", "conv.bias", "conv.weight"]


@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_deconvolution_spreads_each_pixel_over_its_kernel(kernel: int) -> None:
    """Against the definition: out[2y + i - before, 2x + j - before] += x[y, x] · kernel[i, j]."""
    rng = np.random.default_rng(0)
    layer = Deconv2d(2, 3, kernel, has_bias=True, weight_init=Normal(1.0))
    layer.bias.set_data(ms.Tensor(rng.standard_normal(3).astype(np.float32)))
    x, weight = rng.standard_normal((1, 2, 4, 5)).astype(np.float32), layer.weight.asnumpy()
    before = {4: 1, 3: 1, 2: 0}[kernel]
    expected = np.zeros((3, 4 * 2 + 4, 5 * 2 + 4))
    for row in range(4):
        for column in range(5):
            patch = np.einsum("c,cokl->okl", x[0, :, row, column], weight)
            expected[:, 2 * row : 2 * row + kernel, 2 * column : 2 * column + kernel] += patch
    expected = expected[:, before : before + 8, before : before + 10] + layer.bias.asnumpy()[:, None, None]
    np.testing.assert_allclose(layer(ms.Tensor(x)).asnumpy()[0], expected, atol=1e-5)
