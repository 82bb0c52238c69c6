"""RTMPose against the reference network, its sizes, its layers and its loss."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mspose.backends.checkpoint import MindSporeBackend
from mspose.checkpoints.io import assign
from mspose.checkpoints.names import batch_norm_to_torch
from mspose.checkpoints.origins import recognise
from mspose.models.cspnext import PyramidPooling
from mspose.models.losses import SimCCLoss
from mspose.models.rtmpose import RTMPose, ScaleNorm
from mspose.runtime.device import Runtime
from tests.golden.formula import parameter, picture
from tests.graph import ms, without_graph

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "golden_rtmpose.json"
# Width and blocks of the published sizes.
SIZES = {"t": (384, 1), "s": (512, 2), "m": (768, 4), "l": (1024, 6)}


def mmpose_keys(network: RTMPose) -> dict[str, tuple[int, ...]]:
    """Names and shapes that a PyTorch checkpoint has."""
    own = {p.name: np.empty(p.shape, np.float32) for p in network.get_parameters()}
    return {name: value.shape for name, value in batch_norm_to_torch(own).items()}


def fill(network: RTMPose, keys: dict[str, tuple[int, ...]]) -> None:
    values = {name: parameter(name, tuple(shape)) for name, shape in keys.items()}
    report = assign(network, recognise(values, "formula").values, "formula")
    assert not report.unused


def test_outputs_equal_the_reference(parity_dir: Path) -> None:
    network = RTMPose(*SIZES["t"], 17, (192, 256))
    fill(network, json.loads((parity_dir / "rtmpose_t.keys.json").read_text()))
    fixture = np.load(parity_dir / "rtmpose_t.npz")
    outputs = MindSporeBackend(network)(picture(int(fixture["seed"]), tuple(fixture["shape"])))
    for values, expected in zip(outputs, (fixture["output0"], fixture["output1"]), strict=True):
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("size", "count"), [("t", 3_337_007), ("s", 5_473_251), ("m", 13_587_611), ("l", 27_660_339)])
def test_parameter_count_is_the_published_one(size: str, count: int) -> None:
    assert sum(p.size for p in RTMPose(*SIZES[size], 17, (192, 256)).trainable_params()) == count


@pytest.mark.parametrize("size", SIZES)
def test_names_and_shapes_are_the_published_ones(size: str, parity_dir: Path) -> None:
    published = json.loads((parity_dir / f"names/rtmpose-{size}_256x192.keys.json").read_text())
    keys = mmpose_keys(RTMPose(*SIZES[size], 17, (192, 256)))
    assert list(keys.items()) == [(name, tuple(shape)) for name, shape in published.items()]


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text()), ids=lambda case: case["name"])
def test_outputs_equal_golden_numbers(case: dict) -> None:
    network = RTMPose(**case["arguments"])
    fill(network, mmpose_keys(network))
    with without_graph():
        outputs = MindSporeBackend(network)(picture(7, (2, 3, 64, 96)))
    assert [list(maps.shape) for maps in outputs] == case["shape"]
    values = np.concatenate([maps.reshape(-1) for maps in outputs])[:: case["every"]]
    np.testing.assert_allclose(values, case["values"], rtol=0, atol=1e-4 * case["largest"])


def test_three_pools_of_five_see_five_nine_and_thirteen_cells() -> None:
    x = np.random.default_rng(0).standard_normal((1, 2, 15, 17)).astype(np.float32)
    pooled, pool = ms.Tensor(x), PyramidPooling(32).pool
    for reach in (2, 4, 6):
        pooled = pool(pooled)
        padded = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)), constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1,) * 2, axis=(2, 3))
        np.testing.assert_array_equal(pooled.asnumpy(), windows.max(axis=(4, 5)))


def test_scale_norm_of_rows_near_zero_is_finite_and_so_is_its_slope() -> None:
    x = np.zeros((2, 48), np.float32)
    x[1] = 3
    norm = ScaleNorm()
    gradient = ms.grad(norm)(ms.Tensor(x)).asnumpy()
    np.testing.assert_allclose(norm(ms.Tensor(x)).asnumpy(), [[0] * 48, [1] * 48], rtol=1e-5)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("level", ["O1", "O2", "O3"])
def test_mixed_precision_gives_nearly_the_same(level: str) -> None:
    plain, mixed = (RTMPose(32, 1, 5, (96, 64)) for _ in range(2))
    for network in (plain, mixed):
        fill(network, mmpose_keys(network))
    inputs = picture(7, (2, 3, 64, 96))
    expected = MindSporeBackend(plain)(inputs)
    for given, wanted in zip(MindSporeBackend(Runtime("CPU", amp=level).adapt(mixed))(inputs), expected, strict=True):
        np.testing.assert_allclose(given, wanted, rtol=0, atol=0.05 * np.abs(wanted).max())


def kl_loss(outputs: list[np.ndarray], targets: list[np.ndarray], weights: np.ndarray) -> float:
    """The published loss, one keypoint after another."""
    total = 0.0
    for output, target in zip(outputs, targets):
        for person in range(len(output)):
            for joint in range(output.shape[1]):
                p, q = (np.exp(10 * v[person, joint].astype(np.float64)) for v in (target, output))
                p, q = p / p.sum(), q / q.sum()
                total += weights[person, joint] * np.mean(p * np.log(p / q))
    return total / weights.shape[1]


def test_loss_equals_the_published_formula() -> None:
    rng = np.random.default_rng(0)
    shapes = (3, 4, 20), (3, 4, 30)
    outputs, targets = ([f(shape).astype(np.float32) for shape in shapes] for f in (rng.standard_normal, rng.random))
    weights = (rng.random((3, 4)) < 0.6).astype(np.float32)
    value = SimCCLoss()(tuple(map(ms.Tensor, outputs)), *map(ms.Tensor, targets), ms.Tensor(weights))
    assert float(value) == pytest.approx(kl_loss(outputs, targets, weights), rel=1e-5)


def test_loss_of_the_targets_themselves_is_nothing_whatever_is_added() -> None:
    targets = [np.random.default_rng(1).random((2, 3, n)).astype(np.float32) for n in (20, 30)]
    outputs = tuple(ms.Tensor(target + 2) for target in targets)
    assert float(SimCCLoss()(outputs, *map(ms.Tensor, targets), ms.Tensor(np.ones((2, 3), np.float32)))) < 1e-6
