"""ViTPose against the reference networks, its parts against their definitions."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mindspore import nn
from mindspore.nn.utils import no_init_parameters
from scipy.special import ndtr

from mspose.backends.checkpoint import MindSporeBackend
from mspose.checkpoints.io import assign
from mspose.checkpoints.origins import recognise
from mspose.models.attention import attend, has_fused_attention
from mspose.models.drop_path import DropPath, follow_steps
from mspose.models.gelu import GELU
from mspose.models.vitpose import EnlargedConv, ViTPose
from mspose.networks.vit import to_hugging_face
from tests.golden.formula import parameter, picture
from tests.graph import ms

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "golden_vitpose.json"


def hugging_face_keys(network: ViTPose) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's file at Hugging Face."""
    values = to_hugging_face({p.name: p.asnumpy() for p in network.get_parameters()})
    return {name: value.shape for name, value in values.items()}


def fill(network: ViTPose, keys: dict[str, tuple[int, ...]]) -> None:
    values = {name: parameter(name, tuple(shape)) for name, shape in keys.items()}
    translated = recognise(values, "formula").values
    own = network.backbone.pos_embed
    translated[own.name] = translated[own.name].reshape(own.shape)
    assert not assign(network, translated, "formula").unused


SIZES = {
    "vitpose_small": {"width": 384, "depth": 12, "heads": 12},
    "vitpose_base_simple": {"width": 768, "depth": 12, "heads": 12, "decoder": "simple"},
}


@pytest.mark.parametrize("name", SIZES)
def test_outputs_equal_the_reference(name: str, parity_dir: Path) -> None:
    with no_init_parameters():
        network = ViTPose(num_keypoints=17, norm_eps=1e-12, **SIZES[name])
    fill(network, json.loads((parity_dir / f"{name}.keys.json").read_text()))
    fixture = np.load(parity_dir / f"{name}.npz")
    (maps,) = MindSporeBackend(network)(picture(int(fixture["seed"]), tuple(fixture["shape"])))
    expected = fixture["output0"]
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text()), ids=lambda case: case["name"])
def test_outputs_equal_golden_numbers(case: dict) -> None:
    network = ViTPose(**case["arguments"])
    fill(network, hugging_face_keys(network))
    (maps,) = MindSporeBackend(network)(picture(7, (2, 3, 64, 96)))
    assert list(maps.shape) == case["shape"]
    np.testing.assert_allclose(maps.reshape(-1)[:: case["every"]], case["values"], rtol=0, atol=1e-4 * case["largest"])


# The published counts, those of files with a vector for a class token less that vector.
@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ({"width": 384, "depth": 12, "heads": 12}, 24_290_193),
        ({"width": 768, "depth": 12, "heads": 12}, 89_993_745),
        ({"width": 768, "depth": 12, "heads": 12, "decoder": "simple"}, 85_911_569),
        ({"width": 1024, "depth": 24, "heads": 16}, 308_543_761),
    ],
)
def test_parameter_count_is_the_published_one(sizes: dict, count: int) -> None:
    with no_init_parameters():
        network = ViTPose(num_keypoints=17, **sizes)
        assert sum(p.size for p in network.trainable_params()) == count


def exact_gelu(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64) * ndtr(x.astype(np.float64))


# To 1e8: what falls for large values must not come back, nor become no number.
VALUES = np.concatenate([np.linspace(-12, 12, 20001), [-1e8, -100, 0, 100, 1e8]]).astype(np.float32)


@pytest.mark.parametrize("exported", ["", "MINDIR"])
def test_gelu_is_that_of_erf(exported: str) -> None:
    cell = GELU()
    cell.exported = exported
    expected = exact_gelu(VALUES)
    error = np.abs(cell(ms.Tensor(VALUES)).asnumpy() - expected)
    assert np.all(error <= 1e-6 + 1e-7 * np.abs(expected))


class Sum(nn.Cell):
    def __init__(self, cell: nn.Cell) -> None:
        super().__init__()
        self.cell = cell

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        return self.cell(x).sum()


@pytest.mark.parametrize("by_polynomial", [True, False])
def test_gradient_of_gelu(by_polynomial: bool) -> None:
    cell, x = GELU(), VALUES[:-5]
    cell.by_polynomial = by_polynomial
    _, gradient = ms.value_and_grad(Sum(cell), 0)(ms.Tensor(x))
    wide = x.astype(np.float64)
    expected = ndtr(wide) + wide * np.exp(-(wide**2) / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(gradient.asnumpy(), expected, rtol=0, atol=1e-5)


def test_gelu_of_half_precision_is_computed_in_float32() -> None:
    x = VALUES[np.abs(VALUES) < 100].astype(np.float16)
    given = GELU()(ms.Tensor(x)).asnumpy()
    assert given.dtype == np.float16
    np.testing.assert_allclose(given, exact_gelu(x), rtol=1e-3, atol=1e-6)


def test_enlarged_convolution_is_what_its_parts_are_one_after_another() -> None:
    rng, cell = np.random.default_rng(0), EnlargedConv(5, 3, (4, 6))
    weight, bias = rng.standard_normal((3, 5, 3, 3)), rng.standard_normal(3)
    cell.weight.set_data(ms.Tensor(weight, ms.float32))
    cell.bias.set_data(ms.Tensor(bias, ms.float32))
    x = rng.standard_normal((2, 5, 4, 6)).astype(np.float32)
    large = np.stack([cv2.resize(i.transpose(1, 2, 0), (24, 16)).transpose(2, 0, 1) for i in x])
    padded = np.pad(large, ((0, 0), (0, 0), (1, 1), (1, 1)))
    taps = [
        np.einsum("jc,nchw->njhw", weight[:, :, i, k], padded[:, :, i : i + 16, k : k + 24])
        for i in range(3)
        for k in range(3)
    ]
    np.testing.assert_allclose(cell(ms.Tensor(x)).asnumpy(), sum(taps) + bias[:, None, None], atol=1e-5)


class Attend(nn.Cell):
    def construct(self, x: ms.Tensor) -> ms.Tensor:
        return attend(x, 2)


def test_attention_is_that_of_each_head() -> None:
    rng = np.random.default_rng(0)
    qkv = rng.standard_normal((2, 5, 3 * 8)).astype(np.float32)
    expected = []
    for head in range(2):
        query, key, value = (qkv[..., 8 * part + 4 * head :][..., :4] for part in range(3))
        weights = np.exp(query @ key.swapaxes(1, 2) / 2)
        expected.append(weights / weights.sum(-1, keepdims=True) @ value)
    np.testing.assert_allclose(Attend()(ms.Tensor(qkv)).asnumpy(), np.concatenate(expected, -1), atol=1e-5)
    assert not has_fused_attention()


class Steps(nn.Cell):
    """Draws, one after another, for steps that are counted here."""

    def __init__(self, rates: np.ndarray, seed: int = 1, rank: int = 0, start: int = 0) -> None:
        super().__init__()
        self.drop, self.step = DropPath(rates), ms.Parameter(ms.Tensor([start], ms.int32), name="step")
        follow_steps(self, self.step, seed, rank)

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        self.step += 1
        return self.drop(x.shape[0])

    def draw(self, count: int) -> np.ndarray:
        """(count, branches, 64)."""
        x = ms.Tensor(np.zeros((64, 1), np.float32))
        return np.stack([self(x).asnumpy() for _ in range(count)])


RATES = np.array([0, 0.25, 0.5])


def test_drop_path_leaves_out_branches_at_their_rates_and_keeps_the_mean() -> None:
    factors = Steps(RATES).draw(60)
    np.testing.assert_allclose((factors == 0).mean((0, 2)), RATES, atol=0.03)
    for branch, rate in enumerate(RATES):
        np.testing.assert_allclose(np.unique(factors[:, branch])[-1], 1 / (1 - rate), rtol=1e-6)
    left_out = (factors[:, 1:] == 0).astype(float) - RATES[1:, None]
    for axis in range(3):  # one draw says nothing of the next: of steps, branches, people
        first, second = np.take(left_out, range(1), axis), np.take(left_out, range(1, 2), axis)
        assert abs((first * second).mean()) < 0.06


def test_drop_path_follows_from_step_seed_and_rank() -> None:
    whole = Steps(RATES).draw(4)
    np.testing.assert_array_equal(Steps(RATES, start=2).draw(2), whole[2:])
    for other in (Steps(RATES, seed=2), Steps(RATES, rank=1), Steps(RATES, start=1)):
        assert not np.array_equal(other.draw(1)[0], whole[0])


def test_drop_path_without_steps_is_an_error_and_none_outside_training() -> None:
    network = ViTPose(8, 2, 2, 3, (32, 32), drop_path=0.5, head_width=4)
    x = ms.Tensor(picture(0, (1, 3, 32, 32)))
    network.set_train(False)(x)
    with pytest.raises(ValueError, match="follow_steps"):
        network.set_train()(x)
