"""What postprocess.py does: raw results become keypoints and AP, without MindSpore and without pictures."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from mspose.codecs.heatmap import merge_flipped
from mspose.config.builder import save_config
from mspose.config.schema import Config
from mspose.data.coco import annotation_file
from mspose.deploy.bins import Manifest, read_bin, read_manifest
from mspose.errors import PoseError
from mspose.evaluation.coco import evaluate_keypoints, format_table, to_coco_results
from mspose.files import read_json, write_json
from mspose.methods import bottomup, topdown
from mspose.skeleton import load_skeleton

log = logging.getLogger("pose")

# People whose maps are decoded at a time, which bounds the memory.
BLOCK = 64
REMEDY = "run the inference again"


def evaluate_results(config: Config) -> dict[str, float]:
    """COCO's figures of the results in `runtime.output`, also written there, as eval.py gives them.

    Raises:
        PoseError, UsageError: no manifest or results, results of other inputs, a result that is missing or cut short,
            or annotations that cannot be used.
    """
    folder = Path(config.runtime.output)
    manifest = read_manifest(folder, config)
    record = read_json(folder / "results" / "run.json", f"record of the results ({REMEDY})")
    if not isinstance(record, dict) or record.get("inputs") != manifest.run:
        raise PoseError(f"the results in {folder / 'results'} are of other inputs: {REMEDY}")
    if not isinstance(record.get("outputs"), list) or "model" not in record:
        raise PoseError(f"the record of the results is damaged: {folder / 'results' / 'run.json'}; {REMEDY}")
    shapes = record["outputs"]
    expected = 2 if config.model.name == "openpose" else 1
    if len(shapes) != expected:
        raise PoseError(
            f"the model {record['model']} gave {len(shapes)} outputs, model.name={config.model.name} has "
            f"{expected}: another network?"
        )
    decode = _bottom_up if config.model.name == "openpose" else _top_down
    log.info(f"decoding {len(manifest.samples)} results of {record['model']}")
    results = decode(config, manifest, folder / "results", shapes)
    skeleton = load_skeleton(config.data.skeleton)
    figures = evaluate_keypoints(annotation_file(config.data, "val"), results, skeleton.sigmas)
    write_json(folder / "keypoints_results.json", results)
    write_json(folder / "metrics.json", figures, indent=2)
    save_config(config, folder / "postprocess_config.yaml")
    log.info(f"results in {folder}")
    log.info(format_table(figures))
    log.info(f"AP: {figures['AP']}")
    return figures


def _read(results: Path, stem: str, output: int, shapes: list[list[int]]) -> np.ndarray:
    return read_bin(results / f"{stem}_{output}.bin", shapes[output], "float32", REMEDY)


def _top_down(config: Config, manifest: Manifest, results: Path, shapes: list[list[int]]) -> list[dict]:
    skeleton, codec = load_skeleton(config.data.skeleton), topdown.build_codec(config)
    if shapes[0][0] != skeleton.num_keypoints:
        raise PoseError(
            f"the model gave {shapes[0][0]} heat maps, data.skeleton has {skeleton.num_keypoints} "
            "keypoints: another network?"
        )
    centers, sizes = manifest.column("center", np.float32), manifest.column("size", np.float32)
    keypoints = []
    for start in range(0, len(manifest.samples), BLOCK):
        rows = range(start, min(start + BLOCK, len(manifest.samples)))
        maps = np.stack([_read(results, f"{row:06d}", 0, shapes) for row in rows])
        if manifest.flip:
            mirrored = np.stack([_read(results, f"{row:06d}_flip", 0, shapes) for row in rows])
            maps = merge_flipped(maps, mirrored, skeleton.flip_index, config.eval.shift_heatmap)
        keypoints.append(codec.decode(maps, centers[rows.start : rows.stop], sizes[rows.start : rows.stop]))
    image_ids = manifest.column("image_id", np.int64)
    rows, kept, scores = topdown.choose_people(
        np.concatenate(keypoints),
        manifest.column("box", np.float64),
        manifest.column("score", np.float32),
        sizes,
        image_ids,
        config,
        skeleton,
    )
    return to_coco_results(kept, scores, image_ids[rows], manifest.category_id)


def _bottom_up(config: Config, manifest: Manifest, results: Path, shapes: list[list[int]]) -> list[dict]:
    codec = bottomup.build_codec(config)
    found: list[dict] = []
    for row, sample in enumerate(manifest.samples):
        view = bottomup.View([], np.array(sample["to_image"]), tuple(sample["size"]))
        stem = f"{row:06d}"
        pafs, heatmaps = _read(results, stem, 0, shapes), _read(results, stem, 1, shapes)
        maps = [(heatmaps, pafs)]
        if manifest.flip:
            pafs, heatmaps = (_read(results, f"{stem}_flip", output, shapes) for output in (0, 1))
            maps.append(codec.flip_back(heatmaps, pafs))
        people, scores = bottomup.decode_people(codec, view, *bottomup.merge_maps(maps, view.size))
        found += to_coco_results(people, scores, np.full(len(scores), sample["image_id"]), manifest.category_id)
    return found
