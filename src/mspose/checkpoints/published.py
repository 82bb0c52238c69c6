"""ONNX files of others, as they were published: which network they compute, and how pictures are fed to them.

They are known by the names of their input and outputs, and by the pipeline.json of MMDeploy where that is there. Which
names and decoders are whose, the entries of `mspose.networks` say (`OnnxForm`). Names of files play no part.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from mspose.checkpoints.mmdeploy import DETECTIONS, ENDING, INPUT, Package, Pipeline, read_package
from mspose.checkpoints.onnx_file import Graph, read_graph
from mspose.config.builder import WEIGHTS, Layer
from mspose.errors import PoseError, UsageError
from mspose.geometry import BOX_PADDING
from mspose.networks import find_network, networks
from mspose.networks.base import Network, OnnxForm

log = logging.getLogger("pose")

ENDINGS = (".onnx", ENDING)


def published_layer(path: Path, network: str = "") -> Layer | None:
    """The keys with which a published model runs; None where it does not tell whose it is.

    Args:
        network: `model.name` where it is given: several networks may have files of one form.

    Raises:
        UsageError: it is a detector, or of several networks' form and none of them is given.
        PoseError: damaged, or made in a way that is not known here; what is wrong is named.
    """
    package = read_package(path)
    graph = read_graph(package.model, package.name)
    if tuple(graph.outputs) == DETECTIONS:
        raise UsageError(f"{path} gives boxes, as a detector does, no maps: use it with demo.detector_file={path}")
    found = _forms(graph, package.pipeline, network)
    if not found:
        if package.pipeline is not None:
            pipeline = package.pipeline
            raise PoseError(
                f"{pipeline.source}: {pipeline.decoder} of the outputs {', '.join(graph.outputs)} is not known here"
            )
        return None
    names = [entry.name for entry, _ in found]
    if len(found) > 1 and network not in names:
        raise UsageError(
            f"{path}: {found[0][1].title}, which {', '.join(names)} give alike: say whose they are, with "
            f"model.name={names[0]}, say, or --config"
        )
    entry, form = found[names.index(network) if network in names else 0]
    values = {"model.name": entry.name, **form.conventions, **_shown(package, graph, form)}
    return Layer(values, _source(package), WEIGHTS)


def _source(package: Package) -> str:
    return package.pipeline.source if package.pipeline is not None else package.name


def _forms(graph: Graph, pipeline: Pipeline | None, network: str) -> list[tuple[Network, OnnxForm]]:
    """The entries that know such a file, each with its form."""
    is_theirs = list(graph.inputs) == [INPUT]  # an export of ours that has lost its card is none of them
    entries = list(networks().values())
    if network and network not in networks():  # somebody's own, and named by its user
        entries.append(find_network(network))
    return [
        (entry, form)
        for entry in entries
        for form in entry.onnx
        if form.outputs == tuple(graph.outputs)
        and (form.is_proof and is_theirs if pipeline is None else form.decoder == pipeline.decoder)
    ]


def _shown(package: Package, graph: Graph, form: OnnxForm) -> dict[str, Any]:
    """Keys of the configuration that the file and its pipeline.json show."""
    pipeline, source = package.pipeline, _source(package)
    if len(graph.inputs) != 1 or len(next(iter(graph.inputs.values()))) != 4:
        raise PoseError(f"{package.name}: must have one input, N x 3 x height x width; it has {graph.inputs}")
    _, channels, height, width = next(iter(graph.inputs.values()))
    if channels not in (None, 3):
        raise PoseError(f"{package.name}: must take three channels; it takes {channels}")
    size = (width, height) if width and height else None
    if pipeline is not None:
        size = _size(pipeline, size)
    if size is None:
        raise PoseError(f"{package.name}: leaves the size of its input open, and no pipeline.json says it")
    try:
        keys = form.keys(size, [shape[1:] for shape in graph.outputs.values()], pipeline.parameters if pipeline else {})
    except ValueError as error:
        raise PoseError(f"{source}: {error}") from error
    keys = {**keys, "data.input_size": list(size)}
    return keys if pipeline is None else {**keys, **_input(pipeline, keys)}


def _size(pipeline: Pipeline, size: tuple[int, int] | None) -> tuple[int, int] | None:
    """The size of the input: the graph's, else the decoder's, which must be the same."""
    if "input_size" in pipeline.parameters:
        decoded = pipeline.size("input_size", pipeline.parameters["input_size"])
        if size not in (None, decoded):
            raise PoseError(f"{pipeline.source}: input_size is {list(decoded)}, the model takes {list(size or ())}")
        size = decoded
    cropped = pipeline.transform("TopDownAffine").get("image_size")
    if cropped is not None and size is not None and pipeline.size("TopDownAffine.image_size", cropped) != size:
        # As in the published file of hands, which has that of a body there.
        log.warning(
            f"note: {pipeline.source}: TopDownAffine.image_size {cropped} does not count, the model takes {size}"
        )
    return size


def _input(pipeline: Pipeline, keys: dict[str, Any]) -> dict[str, Any]:
    """How pictures become input."""
    boxes, crop = "TopDownGetBboxCenterScale", "TopDownAffine"
    pipeline.only(boxes, crop, "Normalize")
    padding = pipeline.transform(boxes).get("padding", BOX_PADDING)
    if padding != BOX_PADDING:
        raise PoseError(f"{pipeline.source}: {boxes}.padding is {padding}; boxes are padded by {BOX_PADDING} here")
    unbiased = pipeline.transform(crop).get("use_udp", False)
    if unbiased != keys.get("data.unbiased", False):
        raise PoseError(f"{pipeline.source}: {crop}.use_udp is {unbiased}, which does not go with {pipeline.decoder}")
    color, mean, std = pipeline.normalisation()
    return {
        "data.color": color,
        "data.scale": 255.0,
        # To a digit, so that 0.485 is 0.485 again.
        "data.mean": [round(value / 255, 12) for value in mean],
        "data.std": [round(value / 255, 12) for value in std],
    }
