"""ONNX models in ONNX Runtime; nothing here needs MindSpore."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mspose.backends.exported import ExportedBackend, check_maps, cpu_threads, first_line, model_file, note_int8
from mspose.checkpoints.mmdeploy import Package, read_package
from mspose.config.schema import RuntimeConfig
from mspose.errors import PoseError, UsageError
from mspose.extras import need
from mspose.files import utf8_path

if TYPE_CHECKING:
    import onnxruntime


# ONNX Runtime's names for `runtime.device`; auto takes the first that the installed build has.
PROVIDERS = {"GPU": "CUDAExecutionProvider", "Ascend": "CANNExecutionProvider", "CPU": "CPUExecutionProvider"}


def open_onnx(path: str | Path, runtime: RuntimeConfig, beside: bool = False) -> ExportedBackend:
    """Open an exported pose network, or one in an archive as it was published, on `runtime.device`.

    Args:
        beside: see `open_session`.

    Raises:
        PoseError: no such file, not an ONNX model or one that takes no pictures, or ONNX Runtime is not installed.
        UsageError: ONNX Runtime was built without that device.
    """
    path, card = model_file(path)
    note_int8(path, card)
    session = open_session(read_package(path), runtime, beside)
    inputs, outputs = ([_shape(port) for port in ports] for ports in (session.get_inputs(), session.get_outputs()))
    check_maps(path, card, inputs, outputs, [output.name for output in session.get_outputs()])
    name = session.get_inputs()[0].name
    return ExportedBackend(path, lambda batch: session.run(None, {name: batch}), inputs[0], card)


def open_session(
    package: Package, runtime: RuntimeConfig, beside: bool = False, calls: int = 1
) -> onnxruntime.InferenceSession:
    """Open any ONNX model; errors are those of `open_onnx`.

    Args:
        beside: other threads compute too: while it waits, they have the cores. Alone, it is faster to keep them.
        calls: that are made at a time, and share the cores.
    """
    onnxruntime = need("onnxruntime")
    options = onnxruntime.SessionOptions()
    # Its own default counts the cores of the machine, not those that a container may use.
    options.intra_op_num_threads = max(cpu_threads() // calls, 1)
    if beside:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    there = [device for device, name in PROVIDERS.items() if name in onnxruntime.get_available_providers()]
    device = there[0] if runtime.device == "auto" else runtime.device
    if device not in there:
        raise UsageError(f"runtime.device={device}: the installed ONNX Runtime computes on {', '.join(there)} only")
    # What a device lacks is computed on the CPU.
    providers: list[str | tuple[str, dict[str, str]]] = [PROVIDERS["CPU"]]
    if device != "CPU":
        providers.insert(0, (PROVIDERS[device], {"device_id": str(runtime.device_id)}))
    # Where the CPU fails, it would print so and try the CPU again.
    given = {"providers": providers, "enable_fallback": int(device != "CPU")}
    try:
        if isinstance(package.model, bytes):
            session = onnxruntime.InferenceSession(package.model, options, **given)
        else:
            with utf8_path(package.model) as name:
                session = onnxruntime.InferenceSession(name, options, **given)
        # Reading a name that is not UTF-8 fails.
        if not all(node.name for node in (*session.get_inputs(), *session.get_outputs())):
            raise ValueError("an input or output without a name")
        return session
    except Exception as error:  # ONNX Runtime has an exception class for each kind of failure
        raise PoseError(
            f"not a readable ONNX model (damaged or cut short?): {package.name}: {first_line(error)}"
        ) from error


def _shape(port: onnxruntime.NodeArg) -> list[int | None]:
    return [side if isinstance(side, int) else None for side in port.shape]
