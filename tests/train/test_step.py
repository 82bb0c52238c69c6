"""The training step: what one update does to loss, averages, scale and weights."""

from __future__ import annotations

import numpy as np
import pytest
from mindspore import nn
from mindspore.common.initializer import Normal

from mspose.config.builder import default_config
from mspose.config.schema import Config
from mspose.models.drop_path import follow_steps
from mspose.models.layers import Conv2d
from mspose.models.losses import JointsMSELoss
from mspose.models.simplepose import SimplePose
from mspose.models.vitpose import ViTPose
from mspose.runtime.device import Runtime
from mspose.train.step import TrainStep
from tests.golden.formula import picture
from tests.golden.networks import torch_keys
from tests.graph import ms
from tests.models.test_simplepose import fill


class Tiny(nn.Cell):
    """One convolution and a batch norm: maps of the input's size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = Conv2d(3, 2, 3, has_bias=True, weight_init=Normal(0.01))
        self.bn = nn.BatchNorm2d(2)

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        return self.bn(self.conv(x))


def batch(scale: float = 1.0) -> list[ms.Tensor]:
    rng = np.random.default_rng(0)
    image = rng.standard_normal((4, 3, 8, 6), np.float32) * scale
    return [ms.Tensor(image), ms.Tensor(rng.random((4, 2, 8, 6), np.float32)), ms.Tensor(np.ones((4, 2), np.float32))]


def config(**runtime: object) -> Config:
    result = default_config()
    for key, value in runtime.items():
        setattr(result.runtime, key, value)
    return result


def rates(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_loss_is_half_the_weighted_mean_square() -> None:
    rng = np.random.default_rng(1)
    maps, target = rng.random((2, 3, 4, 5), np.float32), rng.random((2, 3, 4, 5), np.float32)
    weight = np.array([[1, 0, 1], [0, 0, 1]], np.float32)
    expected = 0.5 * (((maps - target) * weight[:, :, None, None]) ** 2).mean()
    assert float(JointsMSELoss()(*map(ms.Tensor, (maps, target, weight)))) == pytest.approx(expected, rel=1e-5)


def test_steps_follow_the_rates_and_lower_the_loss() -> None:
    network = Tiny()
    step = TrainStep(network, JointsMSELoss(), rates(0.0, *[0.02] * 20), config())
    before = network.conv.weight.asnumpy().copy()
    losses = [float(step(*batch()))]
    np.testing.assert_array_equal(network.conv.weight.asnumpy(), before)  # the first rate is 0
    losses += [float(step(*batch())) for _ in range(20)]
    assert losses[-1] < 0.5 * losses[0]


def test_average_follows_its_decay() -> None:
    settings = config()
    settings.train.ema = 0.75
    network = Tiny()
    step = TrainStep(network, JointsMSELoss(), rates(*[0.1] * 40), settings)
    names = ("conv.weight", "bn.moving_mean")
    values = {p.name: p for p in network.get_parameters()}
    expected = {name: values[name].asnumpy().copy() for name in names}
    for count in range(1, 41):
        step(*batch())
        decay = min(0.75, (1 + count) / (10 + count))  # the first steps count more
        for name in names:
            expected[name] = decay * expected[name] + (1 - decay) * values[name].asnumpy()
    averaged = {p.name: p for p in step.averaged}
    for name in names:
        np.testing.assert_allclose(averaged[f"ema.{name}"].asnumpy(), expected[name], atol=1e-5)


def test_average_follows_its_warm_up() -> None:
    """MMDetection's ExpMomentumEMA: the first average is a copy, later ones count the updates before them."""
    settings = config()
    settings.train.ema, settings.train.ema_warmup_steps = 0.9, 7
    network = Tiny()
    step = TrainStep(network, JointsMSELoss(), rates(*[0.1] * 20), settings)
    expected = None
    for updates in range(20):
        step(*batch())
        value = network.conv.weight.asnumpy().astype(np.float64)
        momentum = (1 - 0.1) * np.exp(-(1 + updates) / 7) + 0.1
        expected = value if expected is None else (1 - momentum) * expected + momentum * value
        (averaged,) = (p.asnumpy() for p in step.averaged if p.name == "ema.conv.weight")
        np.testing.assert_allclose(averaged, expected, rtol=0, atol=1e-6, err_msg=str(updates))


@pytest.mark.parametrize("level", ["O1", "O2", "O3"])
def test_mixed_precision_trains(level: str) -> None:
    network = Runtime("CPU", amp=level).adapt(Tiny())
    step = TrainStep(network, JointsMSELoss(), rates(*[0.02] * 20), config(amp=level, loss_scale=128.0))
    losses = [float(step(*batch())) for _ in range(20)]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_mixed_precision_runs_the_whole_network(level: str) -> None:
    """Deconvolutions, shortcuts and pooling too; the result stays near that of float32."""
    outputs = []
    for amp in ("O0", level):
        network = SimplePose(18, 3, [8, 8, 8], base_width=8)
        fill(network, torch_keys(network))
        network = Runtime("CPU", amp=amp).adapt(network).set_train(False)
        outputs.append(network(ms.Tensor(picture(0, (1, 3, 64, 64)))).asnumpy().astype(np.float32))
    np.testing.assert_allclose(outputs[1], outputs[0], atol=0.02 * np.abs(outputs[0]).max())
    assert not np.array_equal(outputs[1], outputs[0])


def test_overflow_skips_the_update_and_halves_the_scale() -> None:
    network = Tiny()
    adapted = Runtime("CPU", amp="O2").adapt(network)
    step = TrainStep(adapted, JointsMSELoss(), rates(0.1, 0.1), config(amp="O2"))
    before, scale = network.conv.weight.asnumpy().copy(), float(step.scaler.scale_value)
    step(*batch(scale=1e7))  # beyond float16
    np.testing.assert_array_equal(network.conv.weight.asnumpy(), before)
    assert float(step.scaler.scale_value) == scale / 2


def test_overflow_on_another_rank_skips_the_update_here_too() -> None:
    class Sum(nn.Cell):
        """All-reduce in which one other rank has overflowed, though the gradients here are finite."""

        def construct(self, x: ms.Tensor) -> ms.Tensor:
            return x + 1

    network = Tiny()
    step = TrainStep(Runtime("CPU", amp="O2").adapt(network), JointsMSELoss(), rates(0.1, 0.1), config(amp="O2"))
    step.sum = Sum()
    before, scale = network.conv.weight.asnumpy().copy(), float(step.scaler.scale_value)
    step(*batch())
    np.testing.assert_array_equal(network.conv.weight.asnumpy(), before)
    assert float(step.scaler.scale_value) == scale / 2


def test_each_gradient_is_clipped() -> None:
    settings = config()
    settings.train.clip_norm, settings.train.optimizer = 0.01, "momentum"
    network = Tiny()
    step = TrainStep(network, JointsMSELoss(), rates(1.0), settings)
    before = {p.name: p.asnumpy().copy() for p in network.trainable_params()}
    step(*batch())
    for p in network.trainable_params():
        change = np.linalg.norm(p.asnumpy() - before[p.name])
        assert change <= 0.01 * 1.001
        if p.name == "bn.beta":
            assert change == pytest.approx(0.01, rel=1e-3)


def changes(level: str = "O0", factor: float = 1.0, **train: object) -> dict[str, np.ndarray]:
    """What the first step takes off each parameter, at a rate of 1; its gradients come `factor` times as large."""

    class Reduce(nn.Cell):
        """Gradients averaged with those of other ranks."""

        def construct(self, gradients: tuple) -> tuple:
            return tuple([gradient * factor for gradient in gradients])

    settings = config(amp=level, loss_scale=128.0 if level != "O0" else 0.0)
    for key, value in {"optimizer": "momentum", **train}.items():
        setattr(settings.train, key, value)
    ms.set_seed(1)
    network = Tiny()
    step = TrainStep(Runtime("CPU", amp=level).adapt(network), JointsMSELoss(), rates(1.0, 1.0), settings)
    step.reduce = Reduce() if factor != 1 else None
    before = {p.name: p.asnumpy().copy() for p in network.trainable_params()}
    step(*batch())
    return {p.name: before[p.name] - p.asnumpy() for p in network.trainable_params()}


def norm(gradients: dict[str, np.ndarray]) -> float:
    return float(np.sqrt(sum(np.square(gradient, dtype=np.float64).sum() for gradient in gradients.values())))


def test_all_gradients_are_clipped_as_one_vector() -> None:
    plain = changes()
    assert norm(plain) > 0.02
    clipped = changes(clip_norm=0.01, clip_scope="global")
    for name, gradient in plain.items():
        np.testing.assert_allclose(clipped[name], gradient * 0.01 / norm(plain), atol=1e-7, err_msg=name)


def test_gradients_below_the_bound_stay() -> None:
    plain = changes()
    for name, gradient in changes(clip_norm=1.01 * norm(plain), clip_scope="global").items():
        np.testing.assert_array_equal(gradient, plain[name], err_msg=name)


@pytest.mark.parametrize(("level", "factor"), [("O2", 1.0), ("O0", 100.0)])
def test_what_is_clipped_is_free_of_the_loss_scale_and_averaged(level: str, factor: float) -> None:
    clipped = changes(level, factor, clip_norm=0.01, clip_scope="global")
    assert norm(clipped) == pytest.approx(0.01, rel=1e-4)


def test_drop_path_goes_on_as_it_would_have() -> None:
    def step_of(state: dict[str, np.ndarray]) -> TrainStep:
        network = ViTPose(8, 2, 2, 2, (32, 32), drop_path=0.8, head_width=4)
        step = TrainStep(network, JointsMSELoss(), rates(*[0.01] * 4), config())
        follow_steps(network, step.optimizer.global_step, seed=1)
        for p in step.get_parameters():
            if p.name in state:
                p.set_data(ms.Tensor(state[p.name]))
        return step

    def state_of(step: TrainStep) -> dict[str, np.ndarray]:
        return {p.name: p.asnumpy().copy() for p in step.get_parameters()}

    rng = np.random.default_rng(0)
    shapes = (4, 3, 32, 32), (4, 2, 8, 8), (4, 2)
    inputs = [ms.Tensor(rng.random(shape, np.float32)) for shape in shapes]
    whole = step_of({})
    before = [state_of(whole) for _ in range(2) if whole(*inputs) is not None][-1]
    whole(*inputs)
    resumed = step_of(before)
    resumed(*inputs)
    expected, given = state_of(whole), state_of(resumed)
    assert expected.keys() == given.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(given[name], value, err_msg=name)
