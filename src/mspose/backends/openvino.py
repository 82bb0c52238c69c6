"""ONNX models in OpenVINO, on the CPU, in the precision that it is fastest in; nothing here needs MindSpore."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from mspose.backends.exported import ExportedBackend, check_maps, cpu_threads, first_line, model_file, note_int8
from mspose.checkpoints.mmdeploy import Package, read_package
from mspose.config.schema import RuntimeConfig
from mspose.errors import PoseError, UsageError
from mspose.extras import need
from mspose.files import utf8_path
from mspose.runtime.device import every_instruction

if TYPE_CHECKING:
    import openvino

log = logging.getLogger("pose")

# OpenVINO's names of what a processor computes in.
CAPABILITIES = {"bf16": "BF16", "f16": "FP16", "f32": "FP32"}
_REPORTER = "openvino_telemetry"
# A side of the first input of a model that takes any; a multiple of every network's stride.
_SIDE = 256


def open_openvino(path: str | Path, runtime: RuntimeConfig, beside: bool = False) -> ExportedBackend:
    """Open an exported pose network, or one in an archive as it was published.

    It is run once, so that what a processor cannot do is found here: then it computes in float32, and says so.

    Args:
        beside: other threads compute too: its own are not bound to cores.

    Raises:
        PoseError: no such file, not an ONNX model or one that takes no pictures, or OpenVINO is not installed.
        UsageError: another device than the CPU is asked for.
    """
    path, card = model_file(path)
    if runtime.device not in ("auto", "CPU"):
        raise UsageError(f"runtime.device={runtime.device}: the backend openvino computes on the CPU")
    with every_instruction():
        core = import_openvino().Core()
        can = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        int8 = note_int8(path, card, os.environ.get("ONEDNN_MAX_CPU_ISA", ""))
    model = _read(core, read_package(path))
    inputs, outputs = ([_shape(port) for port in ports] for ports in (model.inputs, model.outputs))
    check_maps(path, card, inputs, outputs, [next(iter(port.names), "") for port in model.outputs])
    shape = [side or (_SIDE if axis else 1) for axis, side in enumerate(inputs[0])]
    first = np.zeros(shape, model.inputs[0].element_type.to_dtype())
    request = _start(core, model, _precision(can, runtime.precision), first, int8, beside)

    def run(batch: np.ndarray) -> Sequence[np.ndarray]:
        request.infer([batch], share_inputs=True)
        return [np.array(tensor.data) for tensor in request.output_tensors]

    return ExportedBackend(path, run, inputs[0], card)


def import_openvino() -> ModuleType:
    """OpenVINO, without the package that tells its makers of each import and writes into the home folder.

    Raises:
        PoseError: it is not installed.
    """
    # Where that package is missing, OpenVINO takes one that does nothing; None says that it is.
    kept = sys.modules.get(_REPORTER, _REPORTER)
    sys.modules.setdefault(_REPORTER, None)  # type: ignore[arg-type]
    try:
        return need("openvino")
    finally:
        if kept is _REPORTER:
            del sys.modules[_REPORTER]


def _read(core: openvino.Core, package: Package) -> openvino.Model:
    try:
        if isinstance(package.model, bytes):
            return core.read_model(package.model)
        with utf8_path(package.model) as name:
            return core.read_model(name)
    except Exception as error:  # RuntimeError, with the place in its sources first
        raise PoseError(
            f"not a readable ONNX model (damaged or cut short?): {package.name}: {first_line(error)}"
        ) from error


def _shape(port: openvino.ConstOutput) -> list[int | None]:
    return [side.get_length() if side.is_static else None for side in port.partial_shape]


def _precision(can: Sequence[str], asked: str) -> str:
    """What to compute in: as asked, or float32 where the processor lacks it; auto: bfloat16 where it has it."""
    if asked == "auto":
        return "bf16" if CAPABILITIES["bf16"] in can else "f32"
    if CAPABILITIES[asked] not in can:
        log.warning(f"note: runtime.precision={asked}: this processor has no {asked}; OpenVINO computes in f32")
        return "f32"
    return asked


def _start(
    core: openvino.Core, model: openvino.Model, precision: str, first: np.ndarray, int8: bool, beside: bool
) -> openvino.InferRequest:
    """Compile the model, run it once, and say in which precision it does."""
    keys = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": cpu_threads(),
        "INFERENCE_PRECISION_HINT": precision,
        "ENABLE_CPU_PINNING": not beside,
    }
    try:
        with every_instruction():
            request = core.compile_model(model, "CPU", keys).create_infer_request()
            request.infer([first])
    except RuntimeError as error:
        if precision == "f32":
            raise PoseError(f"OpenVINO cannot run the model: {first_line(error)}") from error
        log.warning(f"note: OpenVINO cannot compute in {precision} here ({first_line(error)}); it does in f32")
        return _start(core, model, "f32", first, int8, beside)
    log.info(
        f"OpenVINO computes in {'int8 and ' if int8 else ''}{precision} with {keys['INFERENCE_NUM_THREADS']} threads"
    )
    return request
