"""How far apart two runs of a network are, and where they part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Step:
    """What a layer or a node gave.

    Attributes:
        name, kind: of the layer or node.
        values: its output.
        weights: name of its weights, where its own name says nothing.
    """

    name: str
    kind: str
    values: np.ndarray
    weights: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}{f' with {self.weights}' if self.weights else ''})"


@dataclass(frozen=True)
class Parting:
    """Where two runs part.

    Attributes:
        step: the first whose outputs differ, of the first run.
        share: how far, as a share of its largest value.
        before: the one before it, which agrees; empty: it is the first.
        agreeing: how many agree before it.
    """

    step: Step
    share: float
    before: str
    agreeing: int


def share_of(first: np.ndarray, second: np.ndarray) -> float:
    """Largest difference as a share of the largest value; infinite for other shapes, and where only one is a number."""
    if first.shape != second.shape:
        return float("inf")
    if not first.size:
        return 0.0
    a, b = first.astype(np.float64), second.astype(np.float64)
    if not np.isfinite(a).all() or not np.isfinite(b).all():
        return 0.0 if np.array_equal(a, b, equal_nan=True) else float("inf")
    largest = max(np.abs(a).max(), np.abs(b).max())
    return float(np.abs(a - b).max() / largest) if largest else 0.0


def first_parting(first: Sequence[Step], second: Sequence[Step], tolerance: float) -> Parting | None:
    """Where two runs of the same steps part by more than a tolerance; None: nowhere."""
    for place, (a, b) in enumerate(zip(first, second, strict=True)):
        share = share_of(a.values, b.values)
        if share > tolerance:
            return Parting(a, share, first[place - 1].name if place else "", place)
    return None


def paired(first: Sequence[Step], second: Sequence[Step]) -> tuple[list[Step], list[Step]]:
    """The steps of two runs that belong together: all, where they do the same in the same order; else those whose names
    both have."""
    if [step.kind for step in first] == [step.kind for step in second]:
        return list(first), list(second)
    others = {step.name: step for step in second}
    common = [step for step in first if step.name in others]
    return common, [others[step.name] for step in common]
