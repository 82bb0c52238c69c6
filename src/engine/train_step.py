"""One training step as a graph: forward, loss, gradients, optimizer, averaged weights."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import amp, nn, ops

from src.schema import Config

_average = ops.MultitypeFuncGraph("average")


@_average.register("Tensor", "Tensor", "Tensor")
def _average_one(decay: ms.Tensor, mean: ms.Tensor, value: ms.Tensor) -> ms.Tensor:
    return ops.assign(mean, mean * decay + value * (1 - decay))


class TrainStep(nn.Cell):
    """Takes a batch (image, *targets), updates the network and returns the loss.

    With mixed precision the loss is scaled, and a step whose gradients overflow changes nothing but the scale; such a
    step does not advance the schedule either.

    Args:
        network: already in the precision of `runtime.amp` (see `Runtime.adapt`).
        rates: learning rate of each step.

    Attributes:
        values: all parameters of the network.
        averaged: their moving averages, named `ema.…`; empty where `train.ema` is 0.
    """

    def __init__(self, network: nn.Cell, loss: nn.Cell, rates: np.ndarray, config: Config) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.loss = loss
        self.params = ms.ParameterTuple(network.trainable_params())
        self.optimizer = build_optimizer(network, rates, config)
        self.scaler = None
        if config.runtime.amp != "O0":
            fixed = config.runtime.loss_scale
            self.scaler = amp.StaticLossScaler(fixed) if fixed else amp.DynamicLossScaler(2.0**14, 2, 1000)
            for parameter, name in zip(self.scaler_state, ("scaler.scale_value", "scaler.counter")):
                parameter.name = name
        self.decay = config.train.ema
        # Batch-norm statistics too: those of the latest weights would not fit averaged ones.
        self.values = ms.ParameterTuple(network.get_parameters())
        self.averaged = self.values.clone("ema") if config.train.ema else ()
        self.gradients = ops.value_and_grad(self._forward, None, self.params)
        self.hyper_map = ops.HyperMap()
        self.set_train()

    @property
    def scaler_state(self) -> list[ms.Parameter]:
        """Parameters of the adapting loss scale; none without one."""
        state = (getattr(self.scaler, name, None) for name in ("scale_value", "counter"))
        return [p for p in state if isinstance(p, ms.Parameter)]

    def _forward(self, image: ms.Tensor, *targets: ms.Tensor) -> ms.Tensor:
        value = self.loss(self.network(image), *targets)
        return self.scaler.scale(value) if self.scaler is not None else value

    def construct(self, image: ms.Tensor, *targets: ms.Tensor) -> ms.Tensor:
        """Scalar loss, before the update, of a batch."""
        value, gradients = self.gradients(image, *targets)
        if self.scaler is not None:
            value, gradients = self.scaler.unscale(value), self.scaler.unscale(gradients)
            finite = amp.all_finite(gradients)
            self.scaler.adjust(finite)
            if finite:
                value = ops.depend(value, self._update(gradients))
        else:
            value = ops.depend(value, self._update(gradients))
        return value

    def _update(self, gradients: tuple[ms.Tensor, ...]) -> bool:
        done = self.optimizer(gradients)
        if self.averaged:
            # The first steps count more, or the initial weights would stay in the average for 1 / (1 - decay) steps.
            step = self.optimizer.global_step[0].astype(ms.float32)
            decay = ops.minimum((1 + step) / (10 + step), ms.Tensor(self.decay, ms.float32))
            done = ops.depend(done, self.hyper_map(ops.partial(_average, decay), self.averaged, self.values))
        return done


OPTIMIZERS = {"adam": nn.Adam}


def build_optimizer(network: nn.Cell, rates: np.ndarray, config: Config) -> nn.Optimizer:
    """The optimizer of `train.optimizer` with one learning rate a step; weight decay reaches convolutions only."""
    params = network.trainable_params()
    if config.train.weight_decay:
        kernels = [p for p in params if p.ndim > 1]
        others = [p for p in params if p.ndim <= 1]
        params = [{"params": kernels, "weight_decay": config.train.weight_decay},
                  {"params": others, "weight_decay": 0.0}, {"order_params": params}]
    return OPTIMIZERS[config.train.optimizer](params, learning_rate=ms.Tensor(rates))
