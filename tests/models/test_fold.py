"""Networks rewritten for inference give the outputs of the networks they were made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mindspore import nn

from mspose.config.schema import DataConfig
from mspose.data.topdown import Normalizer
from mspose.models.fold import FromPixels, fold_batch_norm, halve_weights
from mspose.models.resnet import MaxPool
from mspose.networks import networks
from tests.export.networks import build, small_config
from tests.graph import ms, without_graph


def run(network: nn.Cell, inputs: np.ndarray) -> list[np.ndarray]:
    with without_graph():
        outputs = network(ms.Tensor(inputs))
    return [o.asnumpy() for o in (outputs if isinstance(outputs, tuple) else (outputs,))]


def assert_alike(first: list[np.ndarray], second: list[np.ndarray], share: float) -> None:
    for a, b in zip(first, second):
        assert np.abs(a).max() > 1e-3
        np.testing.assert_allclose(a, b, rtol=0, atol=share * np.abs(a).max())


@pytest.mark.parametrize("name", networks())
def test_folding_keeps_the_outputs_and_leaves_no_batch_norm(name: str, tmp_path: Path) -> None:
    network = build(small_config(name, tmp_path))
    inputs = np.random.default_rng(0).standard_normal((2, 3, 64, 96)).astype(np.float32)
    folded = fold_batch_norm(network)
    assert_alike(run(network, inputs), run(folded, inputs), 1e-5)
    left, before = (sum(isinstance(cell, nn.BatchNorm2d) for _, cell in n.cells_and_names()) for n in (folded, network))
    assert (left, before > 1) == (0, True)


def test_a_batch_norm_without_convolution_stays() -> None:
    network = nn.SequentialCell(nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3)).set_train(False)
    assert [type(cell) for cell in fold_batch_norm(network)] == [nn.BatchNorm2d, nn.ReLU, nn.BatchNorm2d]


def test_folding_leaves_the_network_itself_alone(tmp_path: Path) -> None:
    network = build(small_config("simplepose", tmp_path))
    before = {p.name: p.asnumpy().copy() for p in network.get_parameters()}
    fold_batch_norm(network)
    for p in network.get_parameters():
        np.testing.assert_array_equal(p.asnumpy(), before[p.name], err_msg=p.name)


def test_half_weights_are_float16_and_close(tmp_path: Path) -> None:
    network = build(small_config("simplepose", tmp_path))
    half = halve_weights(fold_batch_norm(network))
    inputs = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    assert_alike(run(network, inputs), run(half, inputs), 1e-2)
    dtypes = {p.name.rpartition(".")[2]: p.dtype for p in half.get_parameters()}
    assert dtypes == {"weight": ms.float16, "bias": ms.float32}


def test_pooling_pads_alike_in_exported_graphs() -> None:
    inputs = np.random.default_rng(0).random((2, 3, 8, 12), np.float32)
    plain, exported = MaxPool("torch"), MaxPool("torch")
    exported.exported = True
    np.testing.assert_array_equal(run(plain, inputs)[0], run(exported, inputs)[0])


@pytest.mark.parametrize("color", ["bgr", "rgb"])
def test_normalisation_in_the_graph_is_that_of_the_data(color: str) -> None:
    data = DataConfig(color=color, scale=256.0, mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 2.0])
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    (given,) = run(FromPixels(nn.Identity(), data.color, data.scale, data.mean, data.std), pixels)
    expected = np.stack([Normalizer(data)(picture) for picture in pixels])
    np.testing.assert_allclose(given, expected, rtol=0, atol=2e-6)
