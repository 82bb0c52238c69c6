"""Running the small network with one backend on one device, in a process of its own: a broken library may crash it.

Files in the folder that both processes know: small.onnx, small.mindir, and for each probe NAME.npz with the outputs and
NAME.json with what else it found.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mspose.config.schema import RuntimeConfig
from mspose.diagnose import small
from mspose.errors import PoseError, one_line

ONNX, MINDIR = "small.onnx", "small.mindir"
# Seconds after which a probe is ended. A card's first network may compile for minutes.
LIMIT, CARD_LIMIT = 60, 300
# Largest differences from NumPy's outputs, as a share of the largest: float32 on a CPU; what cards and bf16 round to.
EXACT, ROUNDED = 1e-4, 3e-2
# What tells a process that it is one of several: a probe is alone, also where a platform sets them.
RANKS = ("RANK_ID", "RANK_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")


@dataclass(frozen=True)
class Probe:
    """A backend on a device.

    Attributes:
        backend: one of `RUNNERS`.
        device: "CPU", "GPU" or "Ascend".
        precision: that OpenVINO is asked for.
    """

    backend: str
    device: str = "CPU"
    precision: str = "auto"

    @property
    def name(self) -> str:
        """Of its files, and how it is listed."""
        return " ".join([self.backend, self.device, *([self.precision] if self.backend == "openvino" else [])])

    @property
    def tolerance(self) -> float:
        """Largest difference from NumPy's outputs."""
        rounds = self.device != "CPU" or (self.backend == "openvino" and self.precision != "f32")
        return ROUNDED if rounds else EXACT


@dataclass(frozen=True)
class Outcome:
    """What came of a probe.

    Attributes:
        fault: why there are no outputs; empty: there are.
        differences: of each output from what NumPy computes, as a share of the largest.
        facts: what else it found.
    """

    fault: str = ""
    differences: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def run(probe: Probe, folder: Path) -> Outcome:
    """Run a probe in a process of its own, and compare what it computes."""
    limit = LIMIT if probe.device == "CPU" else CARD_LIMIT
    paths = [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    alone = {name: value for name, value in os.environ.items() if name not in RANKS}
    command = [sys.executable, "-m", __name__, probe.backend, probe.device, probe.precision, str(folder)]
    try:
        done = subprocess.run(
            command,
            env={**alone, "PYTHONPATH": os.pathsep.join(paths)},
            cwd=folder,  # python -m looks into the current folder first
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(f"did not end within {limit} s")
    if done.returncode:
        return Outcome(_reason(done.returncode, done.stderr))
    facts = json.loads((folder / f"{probe.name}.json").read_text(encoding="utf-8"))
    with np.load(folder / f"{probe.name}.npz") as outputs:
        return Outcome(differences=compare(list(outputs.values())), facts=facts)


def compare(outputs: Sequence[np.ndarray]) -> dict[str, float]:
    """Largest difference of each output from NumPy's, as a share of the largest; infinite: not of its shape."""
    found = {}
    for name, values, wanted in zip(small.OUTPUTS, outputs, small.expected(), strict=True):
        share = np.abs(values - wanted).max() / np.abs(wanted).max() if values.shape == wanted.shape else np.inf
        found[name] = float(share) if np.isfinite(share) else np.inf
    return found


def _reason(code: int, errors: str) -> str:
    """Why a process failed, on one line."""
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"the process died of {name}: a library crashed"
    lines = [line for line in errors.splitlines() if line.strip()]
    return one_line(lines[-1], 300) if lines else f"the process ended with code {code}"


def main(argv: Sequence[str]) -> int:
    """What the process of a probe does; returns its exit code."""
    backend, device, precision, where = argv
    probe, folder = Probe(backend, device, precision), Path(where)
    try:
        outputs, facts = RUNNERS[backend](probe, folder)
    except PoseError as error:
        print(error, file=sys.stderr)
        return 1
    except Exception as error:  # MindSpore's take many lines, of which the last says nothing
        print(f"{type(error).__name__}: {one_line(error)}", file=sys.stderr)
        return 1
    np.savez(folder / f"{probe.name}.npz", *outputs)
    (folder / f"{probe.name}.json").write_text(json.dumps(facts), encoding="utf-8")
    return 0


Found = tuple[Sequence[np.ndarray], dict[str, Any]]


def _mindspore(probe: Probe, folder: Path) -> Found:
    from mspose.runtime.device import devices, start
    from mspose.runtime.logs import mindspore_silent

    start(RuntimeConfig(device=probe.device))
    import mindspore as ms

    from mspose.models.small import Small

    network = Small(small.weights(), small.CHANNELS, small.CELLS).set_train(False)
    image = ms.Tensor(small.picture())
    outputs = [output.asnumpy() for output in network(image)]
    facts: dict[str, Any] = {"devices": devices()}
    if probe.device == "CPU":
        with mindspore_silent():
            ms.export(network, image, file_name=str(folder / MINDIR), file_format="MINDIR")
        facts |= {"convolution": _convolution_rate(), "product": _product_rate()}
    return outputs, facts


def _convolution_rate() -> float:
    """Thousand million operations a second of MindSpore's 3×3 convolutions."""
    import mindspore as ms
    from mindspore import nn

    side, channels = 48, 64
    layer = nn.Conv2d(channels, channels, 3, pad_mode="pad", padding=1)
    image = ms.Tensor(np.ones((4, channels, side, side), np.float32))
    return _rate(lambda: layer(image).asnumpy(), 4 * side * side * channels * channels * 9 * 2)


def _product_rate() -> float:
    """The same of NumPy's matrix product."""
    matrix = np.ones((1024, 1024), np.float32)
    return _rate(lambda: matrix @ matrix, 1024**3 * 2)


def _rate(work: Callable[[], object], operations: float) -> float:
    work()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return operations / min(seconds) / 1e9


def _mindir(probe: Probe, folder: Path) -> Found:
    from mspose.backends.mindir import open_mindir

    return open_mindir(folder / MINDIR, RuntimeConfig(device=probe.device))(small.picture()), {}


def _onnx(probe: Probe, folder: Path) -> Found:
    from mspose.backends.onnx_runtime import PROVIDERS, open_onnx

    there = import_module("onnxruntime").get_available_providers()
    devices = [device for device, name in PROVIDERS.items() if name in there]
    return open_onnx(folder / ONNX, RuntimeConfig(device=probe.device))(small.picture()), {"devices": devices}


def _openvino(probe: Probe, folder: Path) -> Found:
    from mspose.backends.openvino import open_openvino

    return open_openvino(folder / ONNX, RuntimeConfig(precision=probe.precision))(small.picture()), {}


def _lite(probe: Probe, folder: Path) -> Found:
    from mspose.backends.lite import open_lite

    return open_lite(folder / MINDIR, RuntimeConfig(device=probe.device))(small.picture()), {}


RUNNERS: dict[str, Callable[[Probe, Path], Found]] = {
    "mindspore": _mindspore,
    "mindir": _mindir,
    "onnx": _onnx,
    "openvino": _openvino,
    "lite": _lite,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
