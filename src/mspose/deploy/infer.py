"""Runs a model over the raw inputs of data_to_bin.py, through any backend:

mspose infer --ckpt MODEL output=DIR [--config FILE] [--backend lite|mindir|onnx] [section.key=value]
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from mspose.backends.exported import ExportedBackend
from mspose.backends.open import Backend, backend_name, check_checkpoint, open_backend
from mspose.checkpoints.card import file_hash
from mspose.codecs.base import Maps
from mspose.config.schema import Config
from mspose.deploy.bins import (
    Manifest,
    chunks,
    clear_results,
    has_length,
    read_bin,
    read_manifest,
    read_record,
    run_hash,
    write_bin,
)
from mspose.errors import PoseError
from mspose.files import check_writable, write_json
from mspose.networks import method_of
from mspose.runtime.progress import Progress
from mspose.runtime.results import locked

log = logging.getLogger("pose")


def infer(config: Config) -> None:
    """Write the outputs for every input in `runtime.output`; those of the same model that are there already stay.

    Raises:
        PoseError, UsageError: no manifest, an input that is missing or cut short, an unusable model, a full disk.
    """
    check_checkpoint(config, "to run")
    folder = Path(config.runtime.output)
    manifest = read_manifest(folder, config)
    with locked(check_writable(folder / "results"), "infer") as results:
        _infer(config, folder, manifest, results)


def _infer(config: Config, folder: Path, manifest: Manifest, results: Path) -> None:
    identity = run_hash(manifest.run, file_hash(config.runtime.ckpt), backend_name(config))
    shapes = _known_shapes(results, identity, manifest)
    todo = [name for name in manifest.names() if shapes is None or not _is_done(results, name, shapes)]
    log.info(f"{len(todo)} of {len(manifest.names())} inputs to run")
    if not todo:
        return
    backend = open_backend(config)
    count = backend.batch if isinstance(backend, ExportedBackend) and backend.batch else method_of(config).batch_size
    with Progress(len(todo), "running", "inputs") as progress:
        for names in chunks(todo, count):
            # The last batch is filled up: each new shape costs some backends a compilation.
            padded = [*names, *[names[-1]] * (count - len(names))]
            outputs = _forward(backend, np.stack([_read(folder, name, manifest) for name in padded]))
            if shapes is None:
                shapes = [list(output.shape[1:]) for output in outputs]
                write_json(
                    results / "run.json",
                    {"run": identity, "inputs": manifest.run, "outputs": shapes, "model": str(config.runtime.ckpt)},
                )
            for number, output in enumerate(outputs):
                for name, values in zip(names, output):
                    write_bin(results / f"{name}_{number}.bin", values)
            progress.advance(len(names))
    log.info(f"results in {results}")


def _forward(backend: Backend, inputs: np.ndarray) -> Maps:
    if inputs.dtype == np.uint8:
        if not isinstance(backend, ExportedBackend):
            raise PoseError(
                "the inputs are pixels, and this network takes normalised ones: run data_to_bin.py again, "
                "with this --ckpt"
            )
        return backend.run_raw(inputs)
    return backend(inputs)


def _read(folder: Path, name: str, manifest: Manifest) -> np.ndarray:
    return read_bin(folder / "inputs" / f"{name}.bin", manifest.shape, manifest.dtype, "run data_to_bin.py again")


def _known_shapes(results: Path, identity: str, manifest: Manifest) -> list[list[int]] | None:
    """Shapes of the outputs if these results are of the same inputs, model and backend; else they are removed."""
    record = read_record(results)
    if record is not None and record["run"] == identity:
        return record["outputs"]
    clear_results(results, manifest)
    return None


def _is_done(results: Path, name: str, shapes: list[list[int]]) -> bool:
    return all(has_length(results / f"{name}_{i}.bin", shape, "float32") for i, shape in enumerate(shapes))
