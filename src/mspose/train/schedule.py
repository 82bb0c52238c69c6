"""Learning rate of every step of a run."""

from __future__ import annotations

import numpy as np

from mspose.config.schema import TrainConfig


def learning_rates(config: TrainConfig, steps_per_epoch: int) -> np.ndarray:
    """Learning rates (epochs · steps_per_epoch,) float32.

    `multistep` multiplies by `gamma` after each of the `milestones` (in epochs) or `milestone_steps`; after
    `restart_epoch` it is `lr` again, and only later milestones count. `cosine` stays at `lr` for `flat_epochs`, then
    falls along half a cosine, which would reach `end_factor` times `lr` in the step after the last. The first
    `warmup_steps` are additionally scaled from `warmup_factor` (1/warmup_steps where that is 0) linearly up to 1.
    """
    steps = np.arange(config.epochs * steps_per_epoch)
    rates: np.ndarray
    if config.schedule == "cosine":
        flat = config.flat_epochs * steps_per_epoch
        # In a run that is cut short the fall may never begin.
        wave = np.cos(np.pi * np.maximum(steps - flat, 0) / max(len(steps) - flat, 1))
        rates = config.end_factor * config.lr + (1 - config.end_factor) * (0.5 * config.lr * (1 + wave))
    else:
        milestones = config.milestone_steps or [epoch * steps_per_epoch for epoch in config.milestones]
        drops = np.searchsorted(np.sort(milestones), steps, side="right")
        if config.restart_epoch:
            restart = config.restart_epoch * steps_per_epoch
            drops -= (steps >= restart) * np.searchsorted(np.sort(milestones), restart, side="right")
        rates = config.lr * config.gamma**drops
    if config.warmup_steps:
        rise = np.linspace(config.warmup_factor or 1 / config.warmup_steps, 1, config.warmup_steps)[: len(rates)]
        rates[: len(rise)] *= rise
    return rates.astype(np.float32)
