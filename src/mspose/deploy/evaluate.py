"""What postprocess.py does: raw results become keypoints and AP, without MindSpore and without pictures."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from mspose.codecs.base import Decoded, Maps
from mspose.config.schema import Config
from mspose.data.coco import load_split
from mspose.deploy.bins import Manifest, read_bin, read_manifest, read_record
from mspose.errors import PoseError, one_line
from mspose.evaluation.coco import evaluate_keypoints, format_table, to_coco_results
from mspose.extras import need
from mspose.files import read_json
from mspose.methods.base import Instances, Method, describe_faults
from mspose.networks import method_of
from mspose.outputs import check_targets, result_files, save_results
from mspose.runtime.results import locked

log = logging.getLogger("pose")

# People whose maps are decoded at a time, which bounds the memory.
BLOCK = 64
REMEDY, REMEDY_INPUTS = "run the inference again", "run data_to_bin.py again"
LARGEST = 1e6  # pixels; no picture is as large
REMEDY_LATER = "run postprocess.py again when the inference has ended"


def evaluate_results(config: Config) -> dict[str, float]:
    """COCO's figures of the results in `runtime.output`, also written there, as eval.py gives them; none of a test set.

    Raises:
        PoseError, UsageError: no manifest or results, results of other inputs, a result that is missing or cut short,
            or annotations that cannot be used.
    """
    folder = Path(config.runtime.output)
    manifest = read_manifest(folder, config)
    need("pycocotools.coco")  # before everything is decoded
    with locked(folder, "eval"):  # they are the same files
        return _evaluate(config, folder, manifest)


def _evaluate(config: Config, folder: Path, manifest: Manifest) -> dict[str, float]:
    check_targets(config, *result_files(folder, "postprocess_config.yaml"))
    content = read_json(folder / "results" / "run.json", f"record of the results ({REMEDY})")
    if not isinstance(content, dict) or content.get("inputs") != manifest.run:
        raise PoseError(f"the results in {folder / 'results'} are of other inputs: {REMEDY}")
    record = read_record(folder / "results")
    if record is None:
        raise PoseError(f"the record of the results is damaged: {folder / 'results' / 'run.json'}; {REMEDY}")
    shapes = record["outputs"]
    method = method_of(config)
    expected = [list(spec.shape) for spec in method.codec.outputs(method.size)]
    if shapes != expected:
        raise PoseError(
            f"the model {one_line(record['model'])} gave outputs of {shapes}, model.name={config.model.name} with "
            f"data.skeleton={config.data.skeleton} has {expected}: another network?"
        )
    log.info(f"decoding {len(manifest.samples)} results of {one_line(record['model'])}")
    annotations = load_split(config.data, "val", method.skeleton, truth=True, pictures=False)
    results = to_results(method, manifest, folder / "results", shapes)
    if read_record(folder / "results") != record:  # another model began to replace them
        raise PoseError(f"the results in {folder / 'results'} were replaced while they were read: {REMEDY_LATER}")
    if method.faults:
        log.warning(f"warning: {describe_faults(method.faults, len(manifest.samples), method.unit)}")
    figures: dict[str, float] = {}
    if annotations.is_annotated:
        figures = evaluate_keypoints(annotations.truth or {}, results, method.skeleton.sigmas)
    save_results(config, folder, "postprocess_config.yaml", results, figures)
    log.info(f"results in {folder}")
    if not figures:
        log.info(f"no figures: {annotations.path} annotates nobody")
        return figures
    log.info(format_table(figures))
    log.info(f"AP: {figures['AP']}")
    return figures


def _read(results: Path, stem: str, output: int, shapes: list[list[int]]) -> np.ndarray:
    return read_bin(results / f"{stem}_{output}.bin", shapes[output], "float32", REMEDY)


def _check_samples(manifest: Manifest, instances: Instances, matrices: np.ndarray) -> None:
    """
    Raises:
        ValueError: numbers that no picture gives; the results would be as odd, and nobody could tell.
    """
    numbers = matrices, instances.boxes, instances.scores, instances.sizes
    if not all((np.abs(values) < LARGEST).all() for values in numbers) or not (instances.sizes > 0).all():
        raise ValueError("impossible numbers")
    if not all(type(sample["image_id"]) is int for sample in manifest.samples):
        raise ValueError("image_id is no whole number")


def to_results(method: Method, manifest: Manifest, results: Path, shapes: list[list[int]]) -> list[dict]:
    """COCO results of all raw results."""
    try:
        instances, matrices = method.read_samples(manifest.samples)
        _check_samples(manifest, instances, matrices)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise PoseError(
            f"{results.parent / 'manifest.json'} lacks what {method.unit} need, or is damaged; {REMEDY_INPUTS}"
        ) from error
    found: list[Decoded] = []
    for start in range(0, len(manifest.samples), BLOCK):
        rows = range(start, min(start + BLOCK, len(manifest.samples)))

        def stacked(suffix: str, rows: range = rows) -> Maps:
            kinds = range(len(shapes))
            return tuple(np.stack([_read(results, f"{row:06d}{suffix}", k, shapes) for row in rows]) for k in kinds)

        maps = method.merge([(stacked(""), stacked("_flip") if manifest.flip else None)], method.size)
        people = method.people(maps, matrices[rows.start : rows.stop], method.size)
        found.append(replace(people, source=people.source + start))
    chosen, _ = method.choose(Decoded.joined(found, method.skeleton.num_keypoints), instances)
    return to_coco_results(chosen.keypoints, chosen.scores, instances.image_ids[chosen.source], manifest.category_id)
