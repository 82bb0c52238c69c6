"""Repair of the ONNX graphs that MindSpore writes, which work for one shape only or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from mspose.errors import PoseError

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, ValueInfoProto

# Names of the axes that take any size.
BATCH, SIDES = "batch", ("height", "width")


def repair(
    path: Path,
    other: Path | None,
    input_name: str,
    output_names: Sequence[str],
    any_batch: bool,
    any_size: bool,
    channels_last: bool,
    pads: Mapping[int, tuple[int, int]],
    stand_ins: Mapping[str, str],
) -> None:
    """Correct the graph of an ONNX file, in place.

    MindSpore 2.7 to 2.10 gives transposed convolutions an `output_shape` that ONNX Runtime rejects, writes reshapes to
    the traced shape, knows no symbolic axes, and lacks some operators.

    Args:
        other: the same network traced with another shape, where the graph is to take any.
        input_name, output_names: that its input and outputs get.
        any_batch, any_size: make these axes symbolic.
        channels_last: where height and width are in the input.
        pads: of transposed convolutions, before and behind, by their kernel.
        stand_ins: operators that were written in place of others of one input, and those.

    Raises:
        PoseError: the `onnx` package is missing, or the repaired graph is not valid ONNX.
    """
    onnx = import_onnx()
    model = onnx.load(str(path))
    graph = model.graph
    for node in graph.node:
        if node.op_type == "ConvTranspose":
            _drop_attributes(node, "output_shape", "pads", "auto_pad")
            kernel = next(attribute.ints[0] for attribute in node.attribute if attribute.name == "kernel_shape")
            before, behind = pads[kernel]
            node.attribute.append(onnx.helper.make_attribute("pads", [before, before, behind, behind]))
        node.op_type = stand_ins.get(node.op_type, node.op_type)
    if other is not None:
        _free_reshapes(onnx, graph, onnx.load(str(other)).graph)
    _rename(graph, {graph.input[0].name: input_name} | dict(zip([o.name for o in graph.output], output_names)))
    _symbolic(graph.input[0], any_batch, any_size, (1, 2) if channels_last else (2, 3), SIDES)
    for output in graph.output:
        _symbolic(output, any_batch, any_size, (2, 3), tuple(f"map_{side}" for side in SIDES))
    del graph.value_info[:]
    # MindSpore counts as IR 4, which says nothing of opset 11's other needs; 6 is the IR of that opset.
    model.ir_version = max(model.ir_version, 6)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise PoseError(f"the exported graph is not valid ONNX: {' '.join(str(error).split())[:200]}") from error
    onnx.save(model, str(path))


def import_onnx() -> ModuleType:
    """The `onnx` package.

    Raises:
        PoseError: it is not installed.
    """
    try:
        import onnx
        import onnx.checker
        import onnx.shape_inference
    except ImportError as error:
        raise PoseError(
            "export to ONNX needs the packages onnx and onnxruntime: pip install onnx onnxruntime"
        ) from error
    return onnx


def _drop_attributes(node: NodeProto, *dropped: str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name not in dropped]
    del node.attribute[:]
    node.attribute.extend(kept)


def _constants(onnx: ModuleType, graph: GraphProto) -> dict[str, np.ndarray]:
    values = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer if i.data_type == onnx.TensorProto.INT64}
    for node in graph.node:
        if node.op_type == "Constant":
            values[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    return values


def _free_reshapes(onnx: ModuleType, graph: GraphProto, other: GraphProto) -> None:
    """Let each reshape work out (-1) the side that differs from its twin's in the graph of another shape."""
    ours, theirs = _constants(onnx, graph), _constants(onnx, other)
    for node, twin in zip(*([n for n in g.node if n.op_type == "Reshape"] for g in (graph, other))):
        shape, differs = ours[node.input[1]].copy(), ours[node.input[1]] != theirs[twin.input[1]]
        if differs.sum() > 1:
            raise PoseError(
                f"the graph cannot take any shape: {node.name} reshapes to {shape.tolist()}, of which more "
                "than one side depends on the input; set export.batch_size and export.size"
            )
        shape[differs] = -1
        name = f"{node.name}_shape"
        graph.initializer.append(onnx.numpy_helper.from_array(shape.astype(np.int64), name))
        node.input[1] = name
    _drop_unused_constants(graph)


def _drop_unused_constants(graph: GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    for node in [node for node in graph.node if node.op_type == "Constant" and node.output[0] not in used]:
        graph.node.remove(node)


def _rename(graph: GraphProto, names: dict[str, str]) -> None:
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        for values in (node.input, node.output):
            for i, name in enumerate(values):
                values[i] = names.get(name, name)


def _symbolic(
    value: ValueInfoProto, any_batch: bool, any_size: bool, sides: tuple[int, int], names: Sequence[str]
) -> None:
    dims = value.type.tensor_type.shape.dim
    if any_batch:
        dims[0].dim_param = BATCH
    if any_size:
        for axis, name in zip(sides, names):
            dims[axis].dim_param = name
