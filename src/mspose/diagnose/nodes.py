"""The outputs of every node of an ONNX file, in the order in which they stand there, which is one in which they run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from mspose.backends.exported import ExportedBackend, to_pixels
from mspose.checkpoints.mmdeploy import read_package
from mspose.config.schema import RuntimeConfig
from mspose.diagnose.differences import Step
from mspose.extras import need


def run_nodes(runtime: RuntimeConfig, backend: ExportedBackend, inputs: np.ndarray) -> list[Step]:
    """Run inputs (1, 3, H, W) float32 through an ONNX file with every node's outputs among those of the graph.

    Args:
        runtime: with the backend and the device that run it.
        backend: the file, open.

    Raises:
        PoseError: the package onnx is not installed, or the file cannot be run like that.
    """
    onnx = need("onnx")
    package = read_package(backend.path)
    model = onnx.load_from_string(package.model) if isinstance(package.model, bytes) else onnx.load(str(package.model))
    known = {output.name for output in model.graph.output}
    constants = {constant.name for constant in model.graph.initializer}
    nodes = {name: node for node in model.graph.node for name in node.output if name and node.op_type != "Constant"}
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in nodes if name not in known)
    if backend.card is not None and backend.card.input["dtype"] == "uint8":
        inputs = to_pixels(inputs, backend.card)
    with tempfile.TemporaryDirectory(prefix="mspose-compare-") as folder:
        path = Path(folder) / "nodes.onnx"
        onnx.save(model, str(path))
        outputs = _open(path, runtime).run_raw(np.repeat(inputs, backend.batch or 1, axis=0))
    named = dict(zip([output.name for output in model.graph.output], outputs, strict=True))
    return [
        Step(name, node.op_type, named[name], next((given for given in node.input if given in constants), ""))
        for name, node in nodes.items()
    ]


def _open(path: Path, runtime: RuntimeConfig) -> ExportedBackend:
    from mspose.backends.onnx_runtime import open_onnx
    from mspose.backends.openvino import open_openvino

    return (open_openvino if runtime.backend == "openvino" else open_onnx)(path, runtime)
