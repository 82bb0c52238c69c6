"""Int8: an exported float32 file becomes one that computes most layers in whole numbers of 8 bits.

ONNX Runtime's quantiser does the work: weights channel by channel, activations by the ranges that they have on pictures
of the evaluation set. The result must keep its AP on that set, or it is refused.
"""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mspose.backends.exported import ExportedBackend, to_pixels
from mspose.backends.onnx_runtime import open_onnx
from mspose.checkpoints.card import ModelCard, card_path, file_hash
from mspose.config.schema import Config, RuntimeConfig
from mspose.errors import PoseError, UsageError, one_line
from mspose.export.onnx_graph import import_onnx
from mspose.extras import is_installed, need
from mspose.images import ImageError
from mspose.methods.evaluator import Evaluator
from mspose.networks import find_network, method_of

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

log = logging.getLogger("pose")

# Opens a file as `runtime` says.
Open = Callable[[Path, RuntimeConfig], ExportedBackend]
# The first version in which a channel has a scale of its own is 13.
OPSET = 17
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
PERCENTILE = 99.999  # of a layer's activations that its range holds


def open_evaluator(config: Config) -> Evaluator:
    """What int8 is calibrated and proved with; asked for before any work is done.

    Raises:
        PoseError, UsageError: the evaluation set or a package cannot be used, or other keys do not go with int8.
    """
    export = config.export
    if export.file_format != "ONNX":
        raise UsageError(
            f"export.quantize=int8 makes ONNX files, not {export.file_format}: add export.file_format=ONNX; MindIR and "
            "AIR are quantised by the converter of the device that runs them"
        )
    if export.half:
        raise UsageError("export.quantize=int8 starts from float32 weights: leave out export.half=true")
    import_onnx()
    need("onnxruntime.quantization")
    need("pycocotools.coco")
    evaluator = Evaluator(method_of(config))
    if not evaluator.annotations.is_annotated:
        raise UsageError(
            f"export.quantize=int8 proves that AP stays, and {evaluator.annotations.path} annotates nobody: name "
            "another set, data.val_set or data.val_annotations"
        )
    return evaluator


def quantize(path: Path, card: ModelCard, config: Config, evaluator: Evaluator) -> dict[str, Any]:
    """Put an int8 file in the place of an exported float32 file, if it keeps its AP.

    Args:
        path: the float32 file; when an error is raised, it is as it was.
        card: of that file.

    Returns:
        what the model card says of it: library, calibration, layers that stay in float32, AP before and after.

    Raises:
        PoseError: AP falls by more than `export.max_ap_drop`, or the quantiser cannot handle the graph.
    """
    with tempfile.TemporaryDirectory() as folder:
        old, new = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        shutil.copyfile(path, old)
        pictures, indices = calibration(evaluator, config.export.calibration)
        log.info(
            f"int8: calibrating on {len(indices)} {evaluator.method.unit} in {pictures} of "
            f"{len(np.unique(evaluator.set.rows))} pictures"
        )

        def batches(number: int) -> list[np.ndarray]:
            """What the file is fed: a fixed batch is made up by repetition."""
            seen = evaluator.set.view(indices[number]).inputs
            seen = [np.repeat(inputs, card.input["shape"][0] or 1, axis=0) for inputs in seen]
            return [to_pixels(inputs, card) for inputs in seen] if card.input["dtype"] == "uint8" else seen

        try:
            layers = find_network(config.model.name).float_layers
            kept = write_int8(old, new, len(indices), batches, card.input["name"], layers)
        except (PoseError, ImageError):
            raise
        except Exception as error:  # of various types, from the quantiser, onnx and the disk
            raise PoseError(
                f"export.quantize=int8: ONNX Runtime cannot quantise the network: {one_line(error)}"
            ) from error
        log.info(f"int8: {len(kept)} layers stay in float32; the model card names them")
        figures = _prove(old, new, card, config, evaluator)
        shutil.copyfile(new, path)
    return {
        "precision": "int8 weights in 7 bits, one scale a channel; uint8 activations",
        "quantizer": "onnxruntime.quantization",
        "calibration": {"annotations": evaluator.annotations.path.name, "pictures": pictures},
        "float_layers": kept,
        "AP": figures,
    }


def calibration(evaluator: Evaluator, count: int) -> tuple[int, list[int]]:
    """So many pictures of the evaluation set or all of them, evenly spread: their number, and the rows of the set that
    show them."""
    rows = np.unique(evaluator.set.rows)
    chosen = rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)]
    return len(chosen), np.flatnonzero(np.isin(evaluator.set.rows, chosen)).tolist()


def write_int8(
    old: Path,
    new: Path,
    count: int,
    batches: Callable[[int], list[np.ndarray]],
    input_name: str,
    float_layers: tuple[str, ...],
) -> list[str]:
    """Write an ONNX file of ours as one of int8, proved by nothing; other files in the folder of `new` are left over.

    Args:
        count, batches: what to calibrate on: for each number below `count`, arrays that the file can be fed.
        float_layers: see `mspose.networks.base.Network`.

    Returns:
        the layers that stay in float32.
    """
    onnx, version_converter = import_onnx(), need("onnx.version_converter")
    from onnxruntime import quantization
    from onnxruntime.quantization import CalibrationDataReader

    newer, prepared = new.with_name("newer.onnx"), new.with_name("prepared.onnx")
    onnx.save(version_converter.convert_version(onnx.load(str(old)), OPSET), str(newer))
    quantization.quant_pre_process(str(newer), str(prepared), skip_symbolic_shape=True)
    kept = layers_in_float(onnx.load(str(prepared)).graph, float_layers)

    class Reader(CalibrationDataReader):
        """Gives one number's arrays at a time: the quantiser holds the activations of all that it is given."""

        def __len__(self) -> int:
            return count

        def set_range(self, start_index: int, end_index: int) -> None:
            self.left = batches(start_index)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return {input_name: self.left.pop()} if self.left else None

    def write(method: object) -> None:
        quantization.quantize_static(
            str(prepared),
            str(new),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            # Sums of two products of 8 bits overflow 16 bits on processors without VNNI; with weights of 7 they fit.
            reduce_range=True,
            weight_type=quantization.QuantType.QInt8,
            activation_type=quantization.QuantType.QUInt8,
            op_types_to_quantize=list(LAYERS),
            nodes_to_exclude=list(kept),
            # A few outliers among the activations would take the others' precision.
            calibrate_method=method,
            extra_options={"CalibPercentile": PERCENTILE, "CalibStridedMinMax": 1},
        )

    with contextlib.redirect_stdout(io.StringIO()):  # it prints its steps
        try:
            write(quantization.CalibrationMethod.Percentile)
        except ValueError:  # activations as good as equal have no histogram
            write(quantization.CalibrationMethod.MinMax)
    return list(kept.values())


def layers_in_float(graph: GraphProto, beginnings: tuple[str, ...]) -> dict[str, str]:
    """Layers that stay in float32: node → its weights' name, or its own where it has no weights.

    They are those that see the picture and those that give the maps, where errors count most; products of two
    activations, as in attention, next to the softmax; and those whose weights' names begin with one of `beginnings`.
    """
    weights = {constant.name for constant in graph.initializer}
    layers = [node for node in graph.node if node.op_type in LAYERS]
    learnt = {node.name for node in layers if len(node.input) > 1 and node.input[1] in weights}
    edges = _edge([port.name for port in graph.input], graph.node, learnt, forward=True)
    edges |= _edge([port.name for port in graph.output], list(reversed(graph.node)), learnt, forward=False)
    return {
        node.name: node.input[1].removesuffix(".weight") if node.name in learnt else node.name
        for node in layers
        if node.name not in learnt or node.name in edges or node.input[1].startswith(beginnings)
    }


def _edge(ends: list[str], nodes: Iterable[NodeProto], learnt: set[str], forward: bool) -> set[str]:
    """The layers with weights that the ends of a graph reach without passing another one."""
    reached, found = set(ends), set[str]()
    for node in nodes:
        come, go = (node.input, node.output) if forward else (node.output, node.input)
        if reached.isdisjoint(come):
            continue
        if node.name in learnt:
            found.add(node.name)
        else:
            reached.update(go)
    return found


def _prove(old: Path, new: Path, card: ModelCard, config: Config, evaluator: Evaluator) -> dict[str, float]:
    """AP of the float32 file, and of the int8 file in every backend that is installed here.

    Raises:
        PoseError: it falls by more than `export.max_ap_drop`.
    """
    runs: dict[str, tuple[Path, Open]] = {"float32": (old, open_onnx), "int8 in onnx": (new, open_onnx)}
    if is_installed("openvino"):
        from mspose.backends.openvino import open_openvino

        runs["int8 in openvino"] = new, open_openvino
    figures = {}
    for name, (path, open_file) in runs.items():
        source = card.source if path == old else {**card.source, "int8": {}}
        replace(card, model={**card.model, "sha256": file_hash(path)}, source=source).save(card_path(path))
        backend = open_file(path, RuntimeConfig(device="CPU"))
        backend.codec = evaluator.method.codec
        outcome = evaluator.run(backend)
        figures[name] = float(outcome.figures["AP"]) if outcome else 0.0
    drop = figures["float32"] - min(figures.values())
    said = ", ".join(f"{name} {ap:.4f}" for name, ap in figures.items())
    limit = config.export.max_ap_drop
    log.info(f"AP on {evaluator.annotations.path.name}: {said} (may fall by {limit:g})")
    if figures["float32"] <= 0:
        raise PoseError(
            f"export.quantize=int8 proves that AP stays, and the float32 network has AP {figures['float32']:.4f} on "
            f"{evaluator.annotations.path}: nothing was written; name a set that it can do, data.val_set"
        )
    if drop > limit:
        raise PoseError(
            f"int8 loses {drop:.4f} AP on {evaluator.annotations.path} ({said}), export.max_ap_drop is {limit:g}: "
            "nothing was written; calibrate on more pictures (export.calibration), or stay with float32"
        )
    return figures
