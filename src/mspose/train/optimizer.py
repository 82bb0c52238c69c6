"""Optimizers: which parameter learns at what rate, and which of them weight decay reaches."""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from mspose.config.schema import Config
from mspose.networks import find_network


def build_optimizer(network: nn.Cell, rates: np.ndarray, config: Config) -> nn.Optimizer:
    """The optimizer of `train.optimizer`.

    Parameters of `network.backbone` learn at `train.backbone_lr` times the rate, and those of a layer at
    `train.layer_decay` times the rate of the layer behind it. Weight decay reaches what the network's entry says.

    Args:
        rates: learning rate of each step.
    """
    train, entry, params = config.train, find_network(config.model.name), network.trainable_params()
    scales = np.array([train.backbone_lr if p.name.startswith("backbone.") else 1 for p in params], np.float32)
    if train.layer_decay != 1 and entry.layer is not None:
        scales *= layer_scales([entry.layer(p.name) for p in params], train.layer_decay)
    decays = [train.weight_decay if entry.decays(p.name, p.ndim) else 0.0 for p in params]
    if train.optimizer == "adamw":
        return AdamW(params, rates, scales, decays, train.betas)
    groups = _groups(params, rates, scales, decays)
    if train.optimizer == "momentum":
        return nn.Momentum(groups, ms.Tensor(rates), momentum=0.9)
    return nn.Adam(groups, ms.Tensor(rates), *train.betas)


def layer_scales(layers: Sequence[int | None], decay: float) -> np.ndarray:
    """What the learning rates of parameters are multiplied by (N,): `decay` to the power of the layers behind each.

    Args:
        layers: number of each parameter's layer, from 0 on; None: the one behind all numbered ones.
    """
    last = max((layer for layer in layers if layer is not None), default=-1) + 1
    depths = [0 if layer is None else last - layer for layer in layers]
    return np.float32(decay) ** np.array(depths)


class AdamW(nn.Optimizer):
    """Adam with decoupled weight decay (arXiv 1711.05101, algorithm 2) and bias correction, as in PyTorch.

    MindSpore's own `nn.AdamWeightDecay` corrects no bias.

    Args:
        rates: learning rate of each step.
        scales: (N,) multiples of the rate, one a parameter.
        decays: (N,) likewise; a parameter loses `rate * scale * decay` of itself in a step.
        betas: decays of the mean gradient and of the mean square.
    """

    def __init__(
        self,
        params: list[ms.Parameter],
        rates: np.ndarray,
        scales: np.ndarray,
        decays: Sequence[float],
        betas: Sequence[float],
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(ms.Tensor(rates), params)
        self.moment1 = self.parameters.clone("moment1", "zeros")
        self.moment2 = self.parameters.clone("moment2", "zeros")
        self.scales = tuple(ms.Tensor(scale, ms.float32) for scale in scales)
        self.decays = tuple(float(decay) for decay in decays)
        self.betas = tuple(ms.Tensor(beta, ms.float32) for beta in betas)
        self.log_betas = tuple(float(np.log(beta)) for beta in betas)
        self.epsilon = epsilon
        self.kernel = ops.Adam()

    def construct(self, gradients: tuple[ms.Tensor, ...]) -> tuple:
        """Update the parameters, whose order that of the gradients is."""
        rate = self.get_lr()
        self.assignadd(self.global_step, self.global_step_increase_tensor)
        step = self.global_step[0].astype(ms.float32)
        # 1 - beta**step, without the digits that a difference of nearly equal numbers loses.
        correction1 = -ops.expm1(step * self.log_betas[0])
        correction2 = ops.sqrt(-ops.expm1(step * self.log_betas[1]))
        # The kernel computes p -= rate * m / (sqrt(v) + epsilon); given powers of 0, it corrects nothing by itself.
        update = ops.partial(
            _adamw, self.kernel, self.betas, rate, correction2 / correction1, self.epsilon * correction2
        )
        return self.hyper_map(update, self.scales, self.decays, self.parameters, self.moment1, self.moment2, gradients)


_adamw = ops.MultitypeFuncGraph("adamw")


@_adamw.register(
    "Function", "Tuple", "Tensor", "Tensor", "Tensor", "Tensor", "Number", "Tensor", "Tensor", "Tensor", "Tensor"
)
def _adamw_one(
    kernel: ops.Primitive,
    betas: tuple[ms.Tensor, ms.Tensor],
    rate: ms.Tensor,
    correction: ms.Tensor,
    epsilon: ms.Tensor,
    scale: ms.Tensor,
    decay: float,
    parameter: ms.Parameter,
    mean: ms.Parameter,
    square: ms.Parameter,
    gradient: ms.Tensor,
) -> tuple:
    rate = rate * scale
    if decay > 0:
        ops.assign(parameter, parameter * (1 - rate * decay))
    none = ms.Tensor(0, ms.float32)
    return kernel(parameter, mean, square, none, none, rate * correction, betas[0], betas[1], epsilon, gradient)


def _groups(params: list[ms.Parameter], rates: np.ndarray, scales: np.ndarray, decays: list[float]) -> list:
    """Parameters as MindSpore's own optimizers take them: in groups of one scale and one decay, in their order."""
    groups: dict[tuple[np.float32, float], list[ms.Parameter]] = {}
    for parameter, scale, decay in zip(params, scales, decays):
        groups.setdefault((scale, decay), []).append(parameter)
    if set(groups) == {(1, 0)}:
        return params
    parts = [
        {"params": members, "lr": ms.Tensor(rates * scale), "weight_decay": decay}
        for (scale, decay), members in groups.items()
    ]
    return [*parts, {"order_params": params}]
