"""Device, seed, precision and logs of a process: called before anything else imports MindSpore."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from mspose.config.schema import RuntimeConfig
from mspose.errors import PoseError, UsageError
from mspose.extras import missing
from mspose.runtime.ranks import Ranks, launched, local_device, meet

if TYPE_CHECKING:
    from mindspore import nn

log = logging.getLogger("pose")


_MAX_ISA = "ONEDNN_MAX_CPU_ISA"
# Variables that `prepare_environment` set itself.
_ours: set[str] = set()

# MindSpore keeps why it cannot load a device's libraries to its log.
REMEDY = {
    "Ascend": "; is CANN's set_env.sh sourced, and of the version that this MindSpore needs? GLOG_v=2 in the "
    "environment shows what is missing",
    "GPU": "; is this MindSpore's CUDA wheel? GLOG_v=2 in the environment shows what is missing",
}


@dataclass(frozen=True)
class Runtime:
    """Where and how this process computes.

    Attributes:
        device: "CPU", "GPU" or "Ascend".
        ranks: the processes of this run.
        amp: mixed precision, O0 to O3.
    """

    device: str
    ranks: Ranks = field(default_factory=Ranks)
    amp: str = "O0"

    def adapt(self, network: nn.Cell) -> nn.Cell:
        """The network in the configured precision; parameters are shared."""
        if self.amp in ("O2", "O3"):
            from mindspore import amp

            return amp.auto_mixed_precision(network, self.amp)
        if self.amp == "O1":
            import mindspore as ms
            from mindspore import nn

            # MindSpore's own O1 rewrites source files into the working folder and fails on subclasses of its layers.
            for _, cell in network.cells_and_names():
                if isinstance(cell, (nn.Conv2d, nn.Conv2dTranspose)) or getattr(cell, "takes_half", False):
                    cell.to_float(ms.float16)
                elif isinstance(cell, nn.BatchNorm2d):
                    cell.to_float(ms.float32)
        return network


def prepare_environment() -> None:
    """Set the environment variables that MindSpore and oneDNN read once; the user's own values stay."""
    # With AVX-512, oneDNN as MindSpore calls it falls back to its reference convolution: 40 to 100 times slower. It
    # reads this for its first convolution, so setting it after the import of MindSpore is in time.
    if _MAX_ISA not in os.environ:
        os.environ[_MAX_ISA] = "AVX2"
        _ours.add(_MAX_ISA)
    # Errors only: availability probes and graph passes print pages of warnings that no user can act on.
    os.environ.setdefault("GLOG_v", "3")
    if _needs_protobuf_in_python():
        os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")


def _needs_protobuf_in_python() -> bool:
    """MindSpore 2.7 holds code that an old protobuf generated: today's refuses it, unless it runs in Python."""
    spec = find_spec("mindspore")
    if spec is None or not spec.origin:
        return False
    try:
        generated = (Path(spec.origin).parent / "train/mind_ir_pb2.py").read_text(errors="replace")
    except OSError:
        return False
    return "_descriptor.FileDescriptor(" in generated


@contextlib.contextmanager
def every_instruction() -> Iterator[None]:
    """Take our limit for MindSpore's oneDNN away while that of another library, which reads it once, starts.

    A limit that the user set stays.
    """
    limit = os.environ.pop(_MAX_ISA, "") if _MAX_ISA in _ours else ""
    try:
        yield
    finally:
        if limit:
            os.environ[_MAX_ISA] = limit


@contextlib.contextmanager
def without_graph() -> Iterator[None]:
    """Run networks operator by operator: the same numbers where a large graph would be compiled to run once, and each
    layer's own hooks are called."""
    import mindspore as ms

    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        # MindSpore 2.10 looks for NumPy 1's interface once: under NumPy 2 an operator fails of it, over many lines.
        with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemError):
            ms.ops.zeros((1,), ms.float32)
        yield
    finally:
        ms.set_context(mode=ms.GRAPH_MODE)


def start(config: RuntimeConfig) -> Runtime:
    """Import MindSpore, choose the device, seed everything, meet the other processes of a distributed run.

    Raises:
        PoseError: MindSpore is not installed.
        UsageError: the device asked for is not there.
    """
    ranks = launched()
    prepare_environment()
    try:
        import mindspore as ms
    except ImportError as error:
        raise PoseError(f"{missing(error)} (exported models run without it: --backend onnx or lite)") from error
    counts = devices()
    present = list(counts)
    if config.device == "auto":
        log.info(f"runtime.device=auto: using {present[0]}")
    elif config.device not in present:
        raise UsageError(
            f"runtime.device={config.device} is not available to MindSpore here; there is "
            f"{', '.join(present)}{REMEDY.get(config.device, '')}"
        )
    device = present[0] if config.device == "auto" else config.device
    device_id = config.device_id if ranks.world == 1 else local_device()
    if device != "CPU" and device_id >= counts[device]:
        key = "runtime.device_id" if ranks.world == 1 else "DEVICE_ID"
        raise UsageError(f"{key}={device_id}: there are {counts[device]} {device} devices")
    ms.set_context(mode=ms.GRAPH_MODE)
    _set_device(device, device_id if device != "CPU" else 0)
    if ranks.world > 1:
        meet(ranks)
    ms.set_seed(config.seed)
    return Runtime(device, ranks, config.amp)


def devices() -> dict[str, int]:
    """How many cards of each kind MindSpore can use, those first that `runtime.device=auto` takes; and the CPU."""
    import mindspore as ms

    counts = {"Ascend": _device_count(ms.device_context.ascend), "GPU": _device_count(ms.device_context.gpu), "CPU": 1}
    return {name: count for name, count in counts.items() if count}


def _set_device(device: str, device_id: int) -> None:
    import mindspore as ms

    try:
        ms.set_device(device, device_id)
    except RuntimeError as error:
        # MindSpore has computed in this process already; from then on the device stays what it is.
        present, number = ms.get_context("device_target"), ms.get_context("device_id")
        if (present, number) != (device, device_id):
            raise UsageError(
                f"runtime.device={device} (card {device_id}): this process already computes on {present} "
                f"(card {number})"
            ) from error


def _device_count(context: ModuleType) -> int:
    return context.device_count() if context.is_available() else 0
