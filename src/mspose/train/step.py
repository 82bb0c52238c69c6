"""One training step as a graph: forward, loss, gradients, optimizer, averaged weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mindspore as ms
import numpy as np
from mindspore import amp, nn, ops

from mspose.config.schema import Config

_average = ops.MultitypeFuncGraph("average")


@_average.register("Tensor", "Tensor", "Tensor")
def _average_one(decay: ms.Tensor, mean: ms.Tensor, value: ms.Tensor) -> ms.Tensor:
    return ops.assign(mean, mean * decay + value * (1 - decay))


_clip = ops.MultitypeFuncGraph("clip")


@_clip.register("Tensor", "Tensor")
def _clip_one(limit: ms.Tensor, gradient: ms.Tensor) -> ms.Tensor:
    norm = ops.sqrt(ops.square(gradient).sum())
    return gradient * (limit / ops.maximum(norm, limit))


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
        self.clip_norm, self.decay = config.train.clip_norm, config.train.ema
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
            gradients = self.hyper_map(ops.partial(_clip, ms.Tensor(self.clip_norm, ms.float32)), gradients)
        done = self.optimizer(gradients)
        if self.averaged:
            # The first steps count more, or the initial weights would stay in the average for 1 / (1 - decay) steps.
            step = self.optimizer.global_step[0].astype(ms.float32)
            decay = ops.minimum((1 + step) / (10 + step), ms.Tensor(self.decay, ms.float32))
            done = ops.depend(done, self.hyper_map(ops.partial(_average, decay), self.averaged, self.values))
        return done


def build_optimizer(network: nn.Cell, rates: np.ndarray, config: Config) -> nn.Optimizer:
    """The optimizer of `train.optimizer` with one learning rate a step.

    Weight decay reaches convolution kernels only; parameters of `network.backbone` learn at `train.backbone_lr` times
    the rate.
    """
    train, params = config.train, network.trainable_params()
    groups: dict[tuple[bool, bool], list[ms.Parameter]] = {}
    for p in params:
        is_slow = train.backbone_lr != 1 and p.name.startswith("backbone.")
        groups.setdefault((is_slow, train.weight_decay > 0 and p.ndim > 1), []).append(p)
    if len(groups) > 1:
        params = [
            {
                "params": members,
                "lr": ms.Tensor(rates * np.float32(train.backbone_lr if is_slow else 1)),
                "weight_decay": train.weight_decay if decays else 0.0,
            }
            for (is_slow, decays), members in groups.items()
        ] + [{"order_params": params}]
    return OPTIMIZERS[train.optimizer](params, ms.Tensor(rates))


def _adam(params: list, rates: ms.Tensor) -> nn.Optimizer:
    return nn.Adam(params, learning_rate=rates)


def _momentum(params: list, rates: ms.Tensor) -> nn.Optimizer:
    return nn.Momentum(params, learning_rate=rates, momentum=0.9)


OPTIMIZERS = {"adam": _adam, "momentum": _momentum}
