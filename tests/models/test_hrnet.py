"""HRNet against the reference networks, its initialisation and its size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mspose.backends.checkpoint import MindSporeBackend
from mspose.checkpoints.io import assign
from mspose.checkpoints.origins import recognise
from mspose.models.hrnet import HRNet
from mspose.models.layers import enlarge
from tests.golden.formula import parameter, picture
from tests.golden.networks import torch_keys
from tests.graph import ms, without_graph

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "golden_hrnet.json"


def fill(network: HRNet, keys: dict[str, tuple[int, ...]]) -> None:
    values = {name: parameter(name, tuple(shape)) for name, shape in keys.items()}
    report = assign(network, recognise(values, "formula").values, "formula")
    assert not report.unused


# The second one's batch norms have MindSpore's names, which the formula of the fixture sees as they are.
@pytest.mark.parametrize("name", ["hrnet_w32", "mindpose_hrnet_w32"])
def test_outputs_equal_the_reference(name: str, parity_dir: Path) -> None:
    network = HRNet(32, 17)
    fill(network, json.loads((parity_dir / f"{name}.keys.json").read_text()))
    fixture = np.load(parity_dir / f"{name}.npz")
    with without_graph():
        (maps,) = MindSporeBackend(network)(picture(int(fixture["seed"]), tuple(fixture["shape"])))
    expected = fixture["output0"]
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_compiled_it_gives_the_same() -> None:
    small, pixels = HRNet(8, 5, 16, modules=(1, 1, 1), blocks=1), picture(7, (2, 3, 64, 96))
    fill(small, torch_keys(small))
    (maps,) = MindSporeBackend(small)(pixels)
    with without_graph():
        (expected,) = MindSporeBackend(small)(pixels)
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("width", "count"), [(32, 28_536_113), (48, 63_595_745)])
def test_parameter_count_is_the_published_one(width: int, count: int) -> None:
    assert sum(p.size for p in HRNet(width, 17).trainable_params()) == count


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text()), ids=lambda case: case["name"])
def test_outputs_equal_golden_numbers(case: dict) -> None:
    network = HRNet(**case["arguments"])
    fill(network, torch_keys(network))
    with without_graph():
        (maps,) = MindSporeBackend(network)(picture(7, (2, 3, 64, 96)))
    assert list(maps.shape) == case["shape"]
    np.testing.assert_allclose(maps.reshape(-1)[:: case["every"]], case["values"], rtol=0, atol=1e-4 * case["largest"])


def test_modules_and_blocks_are_as_many_as_asked_for() -> None:
    names = [p.name for p in HRNet(4, 3, 8, modules=(1, 3, 2), blocks=2).trainable_params()]
    for stage, modules in ((2, 1), (3, 3), (4, 2)):
        assert {name.split(".")[2] for name in names if name.startswith(f"backbone.stage{stage}.")} == {
            str(number) for number in range(modules)
        }
    for branch in ("backbone.layer1.", "backbone.stage4.1.branches.3."):
        assert {name.removeprefix(branch)[0] for name in names if name.startswith(branch)} == {"0", "1"}


def test_convolutions_start_narrow() -> None:
    ms.set_seed(3)
    values = {p.name: p.asnumpy() for p in HRNet(8, 17).get_parameters()}
    for name in ("backbone.conv2.weight", "backbone.stage4.1.branches.3.2.conv1.weight"):
        assert values[name].std() == pytest.approx(0.001, rel=0.05)
    assert np.all(values["final_layer.bias"] == 0)


class Enlarge(ms.nn.Cell):
    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        return enlarge(x, self.factor)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_enlarging_repeats_each_value(factor: int) -> None:
    x = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)
    expected = x.repeat(factor, axis=2).repeat(factor, axis=3)
    np.testing.assert_array_equal(Enlarge(factor)(ms.Tensor(x)).asnumpy(), expected)
