"""The course of a training run as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mspose.files import atomic_path


def plot_curves(records: Sequence[Mapping[str, object]], path: str | Path) -> Path:
    """Draw training loss and learning rate per step, and AP per epoch, as a PNG.

    Args:
        records: `{"epoch", "step", "loss", "lr"}` of training, `step` being counted from the start of the run, and
            `{"epoch", "AP"}` of evaluations. A step or epoch that stands there twice, as after a resumed run, counts as
            it was written last.
        path: the picture.

    Raises:
        PoseError: the picture cannot be written.
    """
    # Imported here: half a second, and 60 MB, that nothing else needs. The object interface chooses no global backend.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps, loss, rate = _series(records, "step", "loss", "lr")
    epochs, precision = _series(records, "epoch", "AP")

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(steps, loss, color="#f4a261", linewidth=0.8, alpha=0.6 if len(loss) > 50 else 1)
    if len(loss) > 50:
        left.plot(steps, _smooth(loss), color="#d1495b", linewidth=1.8)
    positive = loss[loss > 0]
    if len(positive) and positive.max() > 10 * positive.min():
        left.set_yscale("log")
    left.set(title="training", xlabel="step", ylabel="loss")
    other = left.twinx()
    other.plot(steps, rate, color="#457b9d", linewidth=0.8, linestyle="--")
    other.set_ylabel("learning rate", color="#457b9d")
    right.plot(epochs, precision, color="#2a9d8f", marker="o", markersize=3.5, linewidth=1.5)
    if np.isfinite(precision).any():
        best = int(np.nanargmax(precision))
        right.annotate(
            f"best {precision[best]:.3f}",
            (epochs[best], precision[best]),
            xytext=(0, 7),
            textcoords="offset points",
            ha="left" if 2 * best < len(precision) - 1 else "right",
        )
    right.set(title="validation", xlabel="epoch", ylabel="AP", ylim=(0, max(0.1, min(1, _top(precision) * 1.15))))
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines["top"].set_visible(False)
    other.spines["top"].set_visible(False)
    with atomic_path(path) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))
    return Path(path)


def _series(records: Sequence[Mapping[str, object]], key: str, value: str, *extra: str) -> list[np.ndarray]:
    """Columns `key`, `value` and `extra` of the records that have the first two, sorted by `key`; NaN where absent."""
    latest = {record[key]: record for record in records if key in record and value in record}
    rows = [[latest[at].get(name) for name in (key, value, *extra)] for at in sorted(latest)]  # type: ignore[type-var]
    return list(np.array(rows, np.float64).reshape(-1, 2 + len(extra)).T)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Centred running mean over a twentieth of the curve, ignoring NaN."""
    kernel = np.ones(2 * (len(values) // 40) + 1)
    valid = np.isfinite(values)
    total = np.convolve(np.where(valid, values, 0), kernel, "same")
    return total / np.maximum(np.convolve(valid, kernel, "same"), 1)


def _top(values: np.ndarray) -> float:
    return float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
