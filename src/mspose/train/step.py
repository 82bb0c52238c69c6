"""One training step as a graph: forward, loss, gradients, optimizer, averaged weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mindspore as ms
import numpy as np
from mindspore import amp, nn, ops

from mspose.config.schema import Config
from mspose.train.optimizer import build_optimizer

_average = ops.MultitypeFuncGraph("average")


@_average.register("Tensor", "Tensor", "Tensor")
def _average_one(decay: ms.Tensor, mean: ms.Tensor, value: ms.Tensor) -> ms.Tensor:
    return ops.assign(mean, mean * decay + value * (1 - decay))


_clip = ops.MultitypeFuncGraph("clip")


@_clip.register("Tensor", "Tensor")
def _clip_one(limit: ms.Tensor, gradient: ms.Tensor) -> ms.Tensor:
    norm = ops.sqrt(ops.square(gradient).sum())
    return gradient * (limit / ops.maximum(norm, limit))


def _square(gradient: ms.Tensor) -> ms.Tensor:
    return ops.square(gradient).sum()


class TrainStep(nn.Cell):
    """Takes a batch (image, *targets), updates the network and returns the loss.

    With mixed precision the loss is scaled. A step whose gradients overflow lowers the scale and changes no weight, nor
    does it advance the schedule; batch-norm statistics see its batch all the same.

    Args:
        network: already in the precision of `runtime.amp` (see `Runtime.adapt`).
        rates: learning rate of each step.
        world: ranks whose gradients are averaged.

    Attributes:
        values: all parameters of the network.
        averaged: their moving averages, named `ema.…`; empty where `train.ema` is 0.
    """

    def __init__(self, network: nn.Cell, loss: nn.Cell, rates: np.ndarray, config: Config, world: int = 1) -> None:
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
        self.clip_norm, self.clips_all = config.train.clip_norm, config.train.clip_scope == "global"
        self.decay, self.decay_steps = config.train.ema, config.train.ema_warmup_steps
        # Batch-norm statistics too: those of the latest weights would not fit averaged ones.
        self.values = ms.ParameterTuple(network.get_parameters())
        self.averaged = self.values.clone("ema") if config.train.ema else ()
        self.gradients = ops.value_and_grad(self._forward, None, self.params)
        self.reduce = nn.DistributedGradReducer(self.params, mean=True, degree=world) if world > 1 else None
        self.sum = ops.AllReduce() if world > 1 else None
        self.hyper_map = ops.HyperMap()
        self.set_train()

    @property
    def scaler_state(self) -> list[ms.Parameter]:
        """Parameters of the adapting loss scale; none without one."""
        state = (getattr(self.scaler, name, None) for name in ("scale_value", "counter"))
        return [p for p in state if isinstance(p, ms.Parameter)]

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Let the network hold its averaged weights, if there are any, for a while."""
        pairs = list(zip(self.values, self.averaged))
        kept = [value.asnumpy().copy() for value, _ in pairs]
        for value, mean in pairs:
            value.set_data(ms.Tensor(mean.asnumpy()))
        try:
            yield
        finally:
            for (value, _), old in zip(pairs, kept):
                value.set_data(ms.Tensor(old))

    def _forward(self, image: ms.Tensor, *targets: ms.Tensor) -> ms.Tensor:
        value = self.loss(self.network(image), *targets)
        return self.scaler.scale(value) if self.scaler is not None else value

    def construct(self, image: ms.Tensor, *targets: ms.Tensor) -> ms.Tensor:
        """Scalar loss, before the update, of a batch."""
        value, gradients = self.gradients(image, *targets)
        if self.scaler is not None:
            value, gradients = self.scaler.unscale(value), self.scaler.unscale(gradients)
        if self.reduce is not None:
            gradients = self.reduce(gradients)
        if self.scaler is not None:
            finite = amp.all_finite(gradients)
            if self.sum is not None:
                # Where float16 saturates (Ascend 910), an overflow leaves finite gradients and is seen only by the rank
                # that it happened on; all must skip the update, or their weights part.
                overflows = self.sum(ops.logical_not(finite).astype(ms.float32).reshape((1,)))
                finite = (overflows == 0).all()
            self.scaler.adjust(finite)
            if finite:
                value = ops.depend(value, self._update(gradients))
        else:
            value = ops.depend(value, self._update(gradients))
        return value

    def _update(self, gradients: tuple[ms.Tensor, ...]) -> bool:
        if self.clip_norm:
            gradients = self._clipped(gradients)
        done = self.optimizer(gradients)
        if self.averaged:
            decay = self._decay(self.optimizer.global_step[0].astype(ms.float32))
            done = ops.depend(done, self.hyper_map(ops.partial(_average, decay), self.averaged, self.values))
        return done

    def _clipped(self, gradients: tuple[ms.Tensor, ...]) -> tuple[ms.Tensor, ...]:
        limit = ms.Tensor(self.clip_norm, ms.float32)
        if not self.clips_all:
            return self.hyper_map(ops.partial(_clip, limit), gradients)
        norm = ops.sqrt(ops.addn(self.hyper_map(_square, gradients)))
        return self.hyper_map(ops.partial(ops.mul, limit / ops.maximum(norm, limit)), gradients)

    def _decay(self, step: ms.Tensor) -> ms.Tensor:
        """Share of the old average, after so many steps.

        The first steps count more, or the initial weights would stay in the average for 1 / (1 - decay) steps.
        """
        if self.decay_steps:
            # ExpMomentumEMA of MMDetection: 1 - ((1 - m) exp(-step / N) + m), where m is 1 - train.ema; the first
            # average is a copy.
            return -self.decay * ops.expm1(-step / self.decay_steps) * (step > 1).astype(ms.float32)
        return ops.minimum((1 + step) / (10 + step), ms.Tensor(self.decay, ms.float32))
