"""MindIR models in MindSpore Lite: Ascend 310 and 310P, or CPU. Written to its documented Python API."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mspose.backends.exported import COMPILED, ExportedBackend, cpu_threads, model_file
from mspose.config.schema import RuntimeConfig
from mspose.errors import PoseError, UsageError


def open_lite(path: str | Path, runtime: RuntimeConfig) -> ExportedBackend:
    """Open a MindIR, as exported or as Lite's converter made it for a device, on an Ascend device or the CPU.

    `runtime.device=auto` takes the Ascend device, which is what Lite is installed for.

    Raises:
        PoseError: no such file, not a model that Lite can build, or Lite is not installed.
        UsageError: `runtime.device=GPU`.
    """
    path, card = model_file(path, converted=True)
    if runtime.device == "GPU":
        raise UsageError("runtime.backend=lite runs on runtime.device=Ascend or CPU, not GPU")
    try:
        import mindspore_lite as mslite
    except ImportError as error:
        raise PoseError(
            "mindspore_lite cannot be imported: install the wheel of MindSpore Lite that belongs to the "
            "device's toolkit (from MindSpore's site, it is on no package index), or take "
            "runtime.backend=mindir or onnx"
        ) from error
    context = mslite.Context()
    context.target = ["cpu"] if runtime.device == "CPU" else ["ascend"]
    if runtime.device == "CPU":
        context.cpu.thread_num = cpu_threads()
    else:
        context.ascend.device_id = runtime.device_id
    model = mslite.Model()
    try:
        model.build_from_file(str(path), mslite.ModelType.MINDIR, context)
        inputs = model.get_inputs()
    except (RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise PoseError(f"MindSpore Lite cannot build {path} for {context.target[0]}: {reason}") from error
    shape = [side if side > 0 else None for side in inputs[0].shape]  # -1: any
    current = list(inputs[0].shape)

    def run(batch: np.ndarray) -> Sequence[np.ndarray]:
        nonlocal current
        if list(batch.shape) != current:
            model.resize(inputs, [list(batch.shape)])
            current = list(batch.shape)
        inputs[0].set_data_from_numpy(batch)
        # The arrays lie in memory of the model, which the next run overwrites.
        return [output.get_data_to_numpy().copy() for output in model.predict(inputs)]

    return ExportedBackend(path, run, shape, card, COMPILED)
