"""Device, seed, precision and logs of a process: called before anything else imports MindSpore."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from src.errors import PoseError, UsageError
from src.schema import RuntimeConfig

if TYPE_CHECKING:
    from mindspore import nn

log = logging.getLogger("pose")


@dataclass(frozen=True)
class Runtime:
    """Where this process computes: device "CPU", "GPU" or "Ascend", its rank and the number of ranks."""

    device: str
    rank: int = 0
    world: int = 1


def prepare_environment() -> None:
    """Set the environment variables that MindSpore reads while it is imported; the user's own values stay."""
    # With AVX-512, oneDNN as MindSpore calls it falls back to its reference convolution: 40 to 80 times slower.
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    # Errors only: availability probes and graph passes print pages of warnings that no user can act on.
    os.environ.setdefault("GLOG_v", "3")


def start(config: RuntimeConfig) -> Runtime:
    """Import MindSpore, choose the device, seed everything.

    Raises:
        PoseError: MindSpore is not installed.
        UsageError: the device asked for is not there.
    """
    prepare_environment()
    try:
        import mindspore as ms
    except ImportError as error:
        raise PoseError(f"MindSpore cannot be imported ({error}); pip install -r requirements.txt") from error
    present = [name for name in ("Ascend", "GPU") if ms.hal.is_available(name)] + ["CPU"]
    if config.device == "auto":
        log.info(f"runtime.device=auto: using {present[0]}")
    elif config.device not in present:
        raise UsageError(f"runtime.device={config.device} is not available to MindSpore here; there is "
                         f"{', '.join(present)}")
    device = present[0] if config.device == "auto" else config.device
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device(device, config.device_id if device != "CPU" else 0)
    ms.set_seed(config.seed)
    return Runtime(device)


def apply_precision(network: nn.Cell, level: str) -> nn.Cell:
    """The network in mixed precision O1, O2 or O3 (see `mindspore.amp.auto_mixed_precision`); O0 leaves it as it is."""
    if level == "O0":
        return network
    from mindspore import amp

    return amp.auto_mixed_precision(network, level)
