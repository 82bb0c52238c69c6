"""ONNX models of others with a model card: what is known of how they run lies beside them from then on."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from mspose.backends.onnx_runtime import open_onnx
from mspose.checkpoints.card import ModelCard, card_path, file_hash, is_exported, read_card
from mspose.checkpoints.mmdeploy import Package, read_package
from mspose.checkpoints.onnx_file import read_graph
from mspose.config.schema import Config, RuntimeConfig
from mspose.errors import UsageError
from mspose.export.card_text import make_card
from mspose.files import atomic_group, check_writable
from mspose.networks import method_of
from mspose.outputs import check_targets
from mspose.runtime.results import locked

log = logging.getLogger("pose")


def keep_published(config: Config, src: Path, dst: Path) -> Path:
    """Write a published ONNX model as a file of its own, and its card: with that, it runs like one of our exports.

    Args:
        config: with which it runs, what it tells itself applied.
        src: the archive or the file.
        dst: ends in .onnx.

    Raises:
        PoseError, UsageError: it is unreadable or does not give the maps of the configured network, has a card already,
            or a file is in the way. Nothing is written then.
    """
    if dst.suffix.lower() != ".onnx":
        raise UsageError(f"--to onnx writes a file that ends in .onnx, not {dst}")
    if read_card(src) is not None:
        raise UsageError(f"{src} has its model card already: {card_path(src)}")
    check_targets(config, [dst, card_path(dst)], [card_path(dst)], is_record=is_exported)
    package = read_package(src)
    _prove(config, src)
    with locked(check_writable(dst.parent), "convert", dst), atomic_group(dst, card_path(dst)) as (temporary, card):
        if isinstance(package.model, bytes):
            temporary.write_bytes(package.model)
        else:
            shutil.copyfile(package.model, temporary)
        _make_card(config, package, src, dst, file_hash(temporary)).save(card)
    log.info(f"written: {dst}, card {card_path(dst)}")
    return dst


def _prove(config: Config, src: Path) -> None:
    """Refuse a model that does not give the maps of the configured network for inputs of its size."""
    method, (width, height) = method_of(config), config.data.input_size
    backend = open_onnx(src, RuntimeConfig(device="CPU"))
    backend.codec = method.codec
    method.codec.check(backend(np.zeros((1, 3, height, width), np.float32)), (width, height))


def _make_card(config: Config, package: Package, src: Path, dst: Path, model_hash: str) -> ModelCard:
    graph, method = read_graph(package.model, package.name), method_of(config)
    name, shape = next(iter(graph.inputs.items()))
    size = [shape[3], shape[2]] if shape[2] and shape[3] else None
    specs = method.codec.outputs(None)
    card = make_card(
        method,
        {"file": dst.name, "format": "ONNX", "sha256": model_hash},
        {"name": name, "dtype": "float32", "layout": "NCHW", "shape": list(shape), "size": size},
        [
            {"name": output, "shape": list(sides), "meaning": spec.meaning}
            for (output, sides), spec in zip(graph.outputs.items(), specs, strict=True)
        ],
        {"checkpoint": src.name, "sha256": file_hash(src), "difference": {}},
        ("numpy", "onnxruntime"),
    )
    # Of the network, nothing is known but its name: it is never built here.
    model = {"name": config.model.name}
    return replace(card, config={**card.config, "model": model})
