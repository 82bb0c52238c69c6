"""How fast training runs: the time of each step, split into waiting for data and computing, and peak memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mspose.config.schema import Config
from mspose.config.text import save_config
from mspose.files import write_json
from mspose.runtime.device import Runtime
from mspose.runtime.progress import Progress

if TYPE_CHECKING:
    from mindspore import nn

log = logging.getLogger("pose")

# Left out of the figures, or half of all steps if those are fewer: the first step compiles the network while batches
# pile up, and the next ones find them ready.
WARMUP_STEPS = 10


def measure(
    batches: Iterable[tuple[np.ndarray, ...]], step: nn.Cell, count: int, config: Config, runtime: Runtime, folder: Path
) -> None:
    """Time all steps, log a table, write performance.json and, beside it, the configuration as performance.yaml.

    Args:
        batches: of `count` steps.
        step: a `TrainStep`.
    """
    import mindspore as ms

    network, amp, batch_size = config.model.name, config.runtime.amp, config.train.batch_size
    world = runtime.ranks.world
    log.info(
        f"measuring {count} steps of {network}: {runtime.device}, amp {amp}, {world} x {batch_size} samples a step"
    )
    with Progress(count, "measuring", "steps") as progress:
        # Reading the loss waits for the device.
        waits, steps = time_steps(
            batches, lambda batch: step(*map(ms.Tensor.from_numpy, batch)).asnumpy(), progress.advance
        )
    report = {
        "network": network,
        "device": runtime.device,
        "devices": world,
        "amp": amp,
        "batch_size": batch_size,
        "mindspore": ms.__version__,
        **summarize(waits, steps, batch_size * world),
        "peak_memory": peak_memory(runtime.device),
    }
    if not runtime.ranks.is_first:
        return
    (path, _), (record,) = report_files(folder)
    save_config(config, record)
    write_json(path, report, indent=2)
    log.info(f"{describe(report)}\nwritten to {path}")


def report_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files that `measure` writes, and the record among them of what was measured."""
    record = folder / "performance.yaml"
    return [folder / "performance.json", record], [record]


def time_steps(
    batches: Iterable[tuple[np.ndarray, ...]],
    step: Callable[[tuple[np.ndarray, ...]], object],
    progress: Callable[[int], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Run all steps and time each.

    Args:
        step: trains on a batch, and returns only once the device is done with it.
        progress: called with 1 after each step.

    Returns:
        Seconds (N,) spent waiting for each batch and (N,) in each step.
    """
    waits, steps = [], []
    begin = time.perf_counter()
    for batch in batches:
        ready = time.perf_counter()
        step(batch)
        done = time.perf_counter()
        waits.append(ready - begin)
        steps.append(done - ready)
        progress(1)
        begin = time.perf_counter()
    return np.array(waits), np.array(steps)


def summarize(waits: np.ndarray, steps: np.ndarray, samples: int) -> dict:
    """Figures of the steps after warm-up.

    Args:
        waits, steps: (N,) seconds, as `time_steps` returns them; at least two.
        samples: in a step, on all devices together.
    """
    warmup = min(WARMUP_STEPS, len(waits) // 2)
    total = (waits + steps)[warmup:]
    return {
        "steps": len(total),
        "warmup_steps": warmup,
        "samples_per_second": samples / float(total.mean()),
        "ms_per_step": _milliseconds(total),
        "data_ms": _milliseconds(waits[warmup:]),
        "step_ms": _milliseconds(steps[warmup:]),
        "data_share": float(waits[warmup:].sum() / total.sum()),
        "first_step_seconds": float(steps[0]),
    }


def _milliseconds(seconds: np.ndarray) -> dict[str, float]:
    return {"mean": 1e3 * float(seconds.mean()), "median": 1e3 * float(np.median(seconds))}


def peak_memory(device: str) -> dict[str, int | None]:
    """Most bytes this process has held so far: `host` (resident) and `device`; None where that is not known."""
    peak: int | None = None
    if device != "CPU":
        import mindspore as ms

        peak = ms.runtime.max_memory_allocated()
    return {"host": _peak_resident(), "device": peak}


def _peak_resident() -> int | None:
    # Not getrusage: its maximum is inherited from the process that started this one.
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def describe(report: dict) -> str:
    """A small table of `summarize`, and of `peak_memory` as `peak_memory`."""
    total, data, step = report["ms_per_step"], report["data_ms"], report["step_ms"]
    memory = [f"{name} {size / 2**30:.2f} GiB" for name, size in report["peak_memory"].items() if size is not None]
    return (
        f"{report['steps']} steps after {report['warmup_steps']} of warm-up\n"
        f"  samples/s    {report['samples_per_second']:10.1f}\n"
        f"  ms/step      {total['mean']:10.1f}  (median {total['median']:.1f})\n"
        f"    data wait  {data['mean']:10.1f}  (median {data['median']:.1f}), "
        f"{report['data_share']:.1%} of the time\n"
        f"    step       {step['mean']:10.1f}  (median {step['median']:.1f})\n"
        f"  first step   {report['first_step_seconds']:10.1f}  s, with compilation\n"
        f"  peak memory  {', '.join(memory) or 'unknown'}"
    )
