"""OpenPose against the reference network, its initialisation and its options."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mindspore import nn

from mspose.checkpoints.io import assign
from mspose.models.losses import OpenPoseLoss
from mspose.models.openpose import OpenPose
from mspose.networks.openpose import openpose_from_torch
from tests.golden.formula import parameter, picture
from tests.graph import ms

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "golden_openpose.json"
SMALL = {"num_pafs": 4, "num_heatmaps": 5, "width": 8, "base_width": 4}


def fill(network: OpenPose) -> None:
    """Formula weights of our own names."""
    assign(network, {p.name: parameter(p.name, tuple(p.shape)) for p in network.get_parameters()}, "formula")


def small(stages: int = 3, **options: object) -> OpenPose:
    network = OpenPose(**SMALL, stages=stages, **options)
    fill(network)
    return network


class Training(nn.Cell):
    """Loss of a network in training mode."""

    def __init__(self, network: OpenPose) -> None:
        super().__init__(auto_prefix=False)
        self.network, self.loss = network, OpenPoseLoss()
        self.set_train()

    def construct(self, image: ms.Tensor, pafs: ms.Tensor, heatmaps: ms.Tensor, mask: ms.Tensor) -> ms.Tensor:
        return self.loss(self.network(image), heatmaps, pafs, mask)


def value_and_gradients(network: OpenPose) -> tuple[float, dict[str, np.ndarray]]:
    """Loss and gradients by name on a batch of noise."""
    shapes = (2, 3, 32, 48), (2, 4, 4, 6), (2, 5, 4, 6)
    arrays = [picture(seed, shape) for seed, shape in enumerate(shapes)]
    batch = [ms.Tensor(values) for values in (*arrays, np.ones((2, 1, 4, 6), np.float32))]
    params = ms.ParameterTuple(network.trainable_params())
    value, gradients = ms.value_and_grad(Training(network), None, params)(*batch)
    return float(value), {p.name: g.asnumpy() for p, g in zip(params, gradients)}


def test_outputs_equal_the_reference(parity_dir: Path) -> None:
    keys = json.loads((parity_dir / "openpose_body_coco.keys.json").read_text())
    values = {name: parameter(name, tuple(shape)) for name, shape in keys.items()}
    network = OpenPose()
    assert not assign(network, openpose_from_torch(values), "formula").unused
    fixture = np.load(parity_dir / "openpose_body_coco.npz")
    pafs, heatmaps = network(ms.Tensor(picture(int(fixture["seed"]), tuple(fixture["shape"]))))
    for maps, expected in ((pafs, fixture["output0"]), (heatmaps, fixture["output1"])):
        np.testing.assert_allclose(maps.asnumpy(), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_parameter_count_is_the_published_one() -> None:
    assert sum(p.size for p in OpenPose().trainable_params()) / 1e6 == pytest.approx(52.31, abs=0.006)


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text()), ids=lambda case: case["name"])
def test_outputs_equal_golden_numbers(case: dict) -> None:
    network = OpenPose(**case["arguments"])
    fill(network)
    for maps, expected in zip(network(ms.Tensor(picture(7, (2, 3, 64, 96)))), case["outputs"]):
        assert list(maps.shape) == expected["shape"]
        np.testing.assert_allclose(
            maps.asnumpy().reshape(-1)[:: expected["every"]],
            expected["values"],
            rtol=0,
            atol=1e-4 * expected["largest"],
        )


@pytest.mark.parametrize("stages", [1, 3])
def test_training_returns_every_stage_and_evaluation_the_last(stages: int) -> None:
    image = ms.Tensor(picture(1, (2, 3, 32, 48)))
    last, outputs = small(stages)(image), small(stages).set_train()(image)
    assert len(outputs) == stages
    for pafs, heatmaps in outputs:
        assert (pafs.shape, heatmaps.shape) == ((2, 4, 4, 6), (2, 5, 4, 6))
    for maps, expected in zip(outputs[-1], last):
        np.testing.assert_array_equal(maps.asnumpy(), expected.asnumpy())


def test_width_and_skeleton_set_the_channels() -> None:
    shapes = {p.name: tuple(p.shape) for p in small(stages=2).get_parameters()}
    assert shapes["backbone.layers.conv4_2.weight"] == (32, 32, 3, 3)
    assert shapes["cpm.conv4_3.weight"] == (16, 32, 3, 3)
    assert shapes["stages.0.paf.conv4.weight"] == (32, 8, 1, 1)
    assert shapes["stages.1.paf.conv1.weight"] == (8, 8 + 4 + 5, 7, 7)
    assert shapes["stages.1.heatmap.conv7.weight"] == (5, 8, 1, 1)
    assert "stages.2.paf.conv1.weight" not in shapes


@pytest.mark.parametrize("norm", ["none", "backbone", "all"])
def test_every_parameter_gets_a_gradient(norm: str) -> None:
    _, gradients = value_and_gradients(small(norm=norm))
    assert ("backbone.layers.bn1_1.gamma" in gradients) == (norm != "none")
    assert ("stages.1.paf.conv1_bn.gamma" in gradients) == (norm == "all")
    for name, gradient in gradients.items():
        # A batch norm takes away what the bias before it adds.
        cancelled = norm == "all" or (norm == "backbone" and name.startswith("backbone."))
        if not (cancelled and name.endswith("bias")):
            assert np.any(gradient != 0), name


def test_training_one_stage_is_training_the_first_of_many() -> None:
    """The first stage does not see what the later ones make of its maps."""
    image = ms.Tensor(picture(1, (2, 3, 32, 48)))
    for first, alone in zip(small(3).set_train()(image)[0], small(1)(image)):
        np.testing.assert_array_equal(first.asnumpy(), alone.asnumpy())


def test_starts_narrow_as_the_original_or_he_normal() -> None:
    ms.set_seed(3)
    network = OpenPose(stages=2)
    values = {p.name: p.asnumpy() for p in network.get_parameters()}
    for name in ("cpm.conv4_3.weight", "stages.0.paf.conv1.weight", "stages.1.heatmap.conv5.weight"):
        assert values[name].std() == pytest.approx(0.01, rel=0.02), name
    assert all(np.all(value == 0) for name, value in values.items() if name.endswith("bias"))
    assert values["backbone.layers.conv4_1.weight"].std() == pytest.approx(np.sqrt(2 / (512 * 9)), rel=0.02)
    kernel = OpenPose(stages=2, init_std=0).stages[1].paf[0].weight.asnumpy()
    assert kernel.std() == pytest.approx(np.sqrt(2 / (185 * 49)), rel=0.02)
