"""Learning rate of every step of a run."""

from __future__ import annotations

import numpy as np

from mspose.config.schema import TrainConfig


def learning_rates(config: TrainConfig, steps_per_epoch: int) -> np.ndarray:
    """Learning rates (epochs · steps_per_epoch,) float32.

    `multistep` multiplies by `gamma` after each of the `milestones` (in epochs) or `milestone_steps`; after
    `restart_epoch` it is `lr` again, and only later milestones count. `cosine` falls from `lr` to 0 along half a
    cosine. The first `warmup_steps` are additionally scaled from 1/warmup_steps up to 1.
    """
    steps = np.arange(config.epochs * steps_per_epoch)
    if config.schedule == "cosine":
        rates: np.ndarray = 0.5 * config.lr * (1 + np.cos(np.pi * steps / len(steps)))
    else:
        milestones = config.milestone_steps or [epoch * steps_per_epoch for epoch in config.milestones]
        drops = np.searchsorted(np.sort(milestones), steps, side="right")
        if config.restart_epoch:
            restart = config.restart_epoch * steps_per_epoch
            drops -= (steps >= restart) * np.searchsorted(np.sort(milestones), restart, side="right")
        rates = config.lr * config.gamma**drops
    if config.warmup_steps:
        rates = rates * np.minimum(1, (steps + 1) / config.warmup_steps)
    return rates.astype(np.float32)
