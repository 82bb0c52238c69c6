"""Networks behind one interface: a backend maps a batch of inputs to the network's maps, as NumPy arrays.

Importing this module does not import MindSpore; opening a backend that needs it does.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mspose.codecs.base import Maps
from mspose.config.schema import Config
from mspose.errors import PoseError, UsageError
from mspose.files import file_fault
from mspose.hub.table import meant
from mspose.networks import method_of
from mspose.runtime.ranks import launched

if TYPE_CHECKING:
    from mspose.backends.exported import ExportedBackend

log = logging.getLogger("pose")


class Backend(Protocol):
    """Runs a network.

    Attributes:
        batches: numbers of inputs that it is compiled for, the largest first; None: any number is as good.
    """

    @property
    def batches(self) -> Sequence[int] | None: ...

    def __call__(self, inputs: np.ndarray) -> Maps:
        """(B, 3, H, W) float32 → maps, each (B, …) float32."""


def check_checkpoint(config: Config, purpose: str) -> None:
    """Refuse a missing `runtime.ckpt` before any work is done; `purpose` ("to evaluate") is named in the error.

    Raises:
        UsageError: none is given.
        PoseError: there is no such file.
    """
    if not config.runtime.ckpt:
        raise UsageError(f"no checkpoint {purpose}: give --ckpt FILE")
    fault = file_fault(config.runtime.ckpt)
    if fault:
        raise PoseError(f"checkpoint {fault}: {config.runtime.ckpt}{meant(config.runtime.ckpt)}")


# Backends by the ending of the file they run; every other file is a checkpoint for MindSpore.
_ENDINGS = {".mindir": "mindir", ".onnx": "onnx", ".zip": "onnx"}
EXPORTED = (*_ENDINGS, ".air")
_RUNS = {"mindir": (".mindir",), "onnx": (".onnx", ".zip"), "openvino": (".onnx", ".zip"), "lite": (".mindir",)}


def backend_name(config: Config) -> str:
    """Which backend runs `runtime.ckpt`: as `runtime.backend` says, or by the file's ending.

    Raises:
        UsageError: the named backend does not run such files.
    """
    ending, name = Path(config.runtime.ckpt).suffix.lower(), config.runtime.backend
    if ending == ".air":
        raise UsageError(
            f"nothing here runs AIR, which is input for Ascend's own converter: {config.runtime.ckpt}; "
            "export it as MINDIR or ONNX too"
        )
    if name == "auto":
        return _ENDINGS.get(ending, "mindspore")
    if ending not in _RUNS[name] if name in _RUNS else ending in _ENDINGS:
        runs = " and ".join(_RUNS.get(name, ("checkpoints",)))
        raise UsageError(f"runtime.backend={name} runs {runs}, not {config.runtime.ckpt}; export.py makes other files")
    return name


def open_backend(config: Config, any_size: bool = False, beside: bool = False) -> Backend:
    """What runs `runtime.ckpt`: the network of a configuration with a checkpoint's weights, or an exported model.

    Args:
        any_size: inputs differ in size.
        beside: other threads compute too, and have the cores while it waits.

    Raises:
        PoseError, UsageError: the file is unreadable or of another network, or the device or a package is not there.
    """
    name = backend_name(config)
    if config.runtime.precision != "auto" and name != "openvino":
        raise UsageError(
            f"runtime.precision={config.runtime.precision} is for runtime.backend=openvino, and {name} runs "
            f"{config.runtime.ckpt}: add --backend openvino, or leave it out"
        )
    log.info(f"loading {config.runtime.ckpt}" + (f" into {name}" if name != "mindspore" else ""))
    if name != "mindspore":
        backend = _open_exported(name, config, beside)
        if backend.card is not None and backend.card.network != config.model.name:
            raise UsageError(
                f"{config.runtime.ckpt} is {backend.card.network}, the configuration's model.name is "
                f"{config.model.name}: leave out --config, its card says how it is run"
            )
        backend.codec = method_of(config).codec  # it must give the maps of the configured network
        return backend
    # This imports MindSpore.
    from mspose.backends.checkpoint import open_checkpoint

    return open_checkpoint(config, any_size)


def _open_exported(name: str, config: Config, beside: bool) -> ExportedBackend:
    if name != "mindir" and launched().world > 1:
        # Only MindSpore's collectives bring results together.
        raise UsageError(
            f"runtime.backend={name} runs in one process; RANK_SIZE in the environment asks for "
            f"{launched().world}: use scripts/run_eval.sh, or unset it"
        )
    if name == "onnx":
        from mspose.backends.onnx_runtime import open_onnx

        return open_onnx(config.runtime.ckpt, config.runtime, beside)
    if name == "openvino":
        from mspose.backends.openvino import open_openvino

        return open_openvino(config.runtime.ckpt, config.runtime, beside)
    if name == "mindir":
        from mspose.backends.mindir import open_mindir

        return open_mindir(config.runtime.ckpt, config.runtime)
    from mspose.backends.lite import open_lite

    return open_lite(config.runtime.ckpt, config.runtime)
