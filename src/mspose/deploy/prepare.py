"""What data_to_bin.py does: the evaluation set as raw network inputs with a manifest, for devices without this code."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from mspose.backends.exported import to_pixels
from mspose.checkpoints.card import ModelCard, file_hash, read_card
from mspose.config.schema import Config
from mspose.data.coco import image_folder
from mspose.deploy.bins import Manifest, has_length, input_settings, run_hash, write_bin, write_manifest
from mspose.errors import PoseError
from mspose.files import check_writable
from mspose.methods.evaluator import Evaluator
from mspose.networks import method_of
from mspose.runtime.progress import Progress
from mspose.runtime.read_ahead import worker_threads
from mspose.runtime.results import locked

log = logging.getLogger("pose")


def write_inputs(config: Config) -> Manifest:
    """Write the inputs of the evaluation set into `runtime.output`; those that are there already stay.

    Of a few pictures that cannot be read there are none, and the manifest does not list them: whoever is annotated in
    them counts as missed, as in evaluation.

    With a model card beside `runtime.ckpt` the inputs are as that model takes them.

    Raises:
        PoseError, UsageError: the set cannot be used, too many pictures cannot be read, or the folder not be written.
    """
    with locked(check_writable(config.runtime.output), "prepare") as folder:
        return _write_inputs(config, folder)


def _write_inputs(config: Config, folder: Path) -> Manifest:
    card = read_card(config.runtime.ckpt) if config.runtime.ckpt else None
    dtype = card.input["dtype"] if card else "float32"
    method = method_of(config)
    evaluator = Evaluator(method)
    instances, unread = evaluator.set.instances, evaluator.check_pictures()
    rows = {i: row for i, row in enumerate(evaluator.set.rows.tolist()) if row not in unread}
    if not rows:
        raise PoseError(f"none of the images of the evaluation set can be read: {evaluator.annotations.path}")
    samples = [method.fixed_sample(instances, i, evaluator.images, row) for i, row in rows.items()]
    places = list(rows)  # in the evaluation set, of each sample
    width, height = config.data.input_size
    shape = [height, width, 3] if dtype == "uint8" else [3, height, width]
    run = run_hash(input_settings(config), shape, dtype, samples, _fingerprint(evaluator))
    manifest = Manifest(run, shape, dtype, input_settings(config), evaluator.annotations.category_id, samples)
    write_manifest(folder, manifest)
    missing = [i for i in range(len(samples)) if not _is_written(folder, manifest, i)]
    log.info(
        f"writing {len(missing)} of {len(samples)} {method.unit} to {folder / 'inputs'}"
        + (", each with its mirror image" if manifest.flip else "")
    )
    cv2.setNumThreads(0)  # one picture a thread

    def write(index: int) -> None:
        original, mirrored = _stems(index)
        values = _as_taken(evaluator.set.view(places[index]).inputs[0][0], card)
        write_bin(folder / "inputs" / f"{original}.bin", values)
        if manifest.flip:
            write_bin(folder / "inputs" / f"{mirrored}.bin", values[:, ::-1] if dtype == "uint8" else values[..., ::-1])

    with Progress(len(missing), "writing", method.unit) as progress:
        pool = ThreadPoolExecutor(worker_threads(config.data.workers))
        try:
            for _ in pool.map(write, missing):
                progress.advance(1)
        finally:
            pool.shutdown(cancel_futures=True)
    log.info(f"inputs in {folder / 'inputs'}, described by {folder / 'manifest.json'}")
    return manifest


def _stems(index: int) -> tuple[str, str]:
    return f"{index:06d}", f"{index:06d}_flip"


def _is_written(folder: Path, manifest: Manifest, index: int) -> bool:
    stems = _stems(index)[: 1 + manifest.flip]
    return all(has_length(folder / "inputs" / f"{stem}.bin", manifest.shape, manifest.dtype) for stem in stems)


def _as_taken(inputs: np.ndarray, card: ModelCard | None) -> np.ndarray:
    return to_pixels(inputs[None], card)[0] if card and card.input["dtype"] == "uint8" else inputs


def _fingerprint(evaluator: Evaluator) -> list[object]:
    """What changes when the annotations, the detections or a picture do."""
    folder = image_folder(evaluator.config.data, "val")
    pictures = [
        (os.path.relpath(path, folder), path.stat().st_size, path.stat().st_mtime_ns) for path in evaluator.images.files
    ]
    detections = evaluator.method.detections()
    boxes = file_hash(detections) if detections else ""
    return [file_hash(evaluator.annotations.path), boxes, pictures]
