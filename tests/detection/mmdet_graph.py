"""Tiny detectors of MMDeploy's form: suppression inside, outputs `dets` and `labels`."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 32
FOLDER = "20230928/yolox_onnx/yolox_nano_8xb8-300e_humanart"
# left, top, right, bottom in the input; the second overlaps the first, the third is of another class.
BOXES = np.array([[4, 4, 12, 12], [4, 4, 12, 11], [16, 4, 24, 12], [2, 2, 6, 14]], np.float32)
CLASSES = np.array([0, 0, 1, 0])


def write_detector(path: Path, scores: tuple[float, ...], stem: str = "Slice", sides: tuple = (SIDE, SIDE)) -> Path:
    """A detector of `BOXES`, whose scores are those given plus the mean of the input's first channel / 1000.

    Args:
        stem: what reads the input: Slice, as YOLOX's Focus does, or Conv.
    """
    values = np.zeros((1, 2, len(BOXES)), np.float32)
    values[0, CLASSES, np.arange(len(BOXES))] = scores
    constants = {
        "boxes": BOXES[None],
        "scores": values,
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "two": np.array([2], np.int64),
        "pixel": np.array(0.001, np.float32),
        "kernel": np.array([1, 0, 0], np.float32).reshape(1, 3, 1, 1),
        "present": (values > 0).astype(np.float32),
        "most": np.array([10], np.int64),
        "iou": np.array([0.65], np.float32),
        "least": np.array([0.01], np.float32),
    }
    readers = {"Slice": ["input", "zero", "one", "one"], "Conv": ["input", "kernel"]}
    nodes = [
        helper.make_node(stem, readers[stem], ["first"]),
        helper.make_node("Shape", ["input"], ["shape"]),
        helper.make_node("ReduceMean", ["first"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "pixel"], ["small"]),
        helper.make_node("Mul", ["present", "small"], ["more"]),
        helper.make_node("Add", ["scores", "more"], ["all"]),
        helper.make_node("NonMaxSuppression", ["boxes", "all", "most", "iou", "least"], ["chosen"]),
        helper.make_node("Gather", ["chosen", "one"], ["class_column"], axis=1),
        helper.make_node("Gather", ["chosen", "two"], ["box_column"], axis=1),
        helper.make_node("Squeeze", ["box_column", "one"], ["rows"]),
        helper.make_node("Gather", ["boxes", "rows"], ["kept"], axis=1),
        helper.make_node("GatherND", ["all", "chosen"], ["kept_scores"]),
        helper.make_node("Unsqueeze", ["kept_scores", "zero"], ["scores_row"]),
        helper.make_node("Unsqueeze", ["scores_row", "two"], ["scores_column"]),
        helper.make_node("Concat", ["kept", "scores_column"], ["dets"], axis=2),
        helper.make_node("Transpose", ["class_column"], ["labels"], perm=[1, 0]),
    ]
    graph = helper.make_graph(
        nodes,
        "end2end",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, *sides])],
        [
            helper.make_tensor_value_info("dets", TensorProto.FLOAT, ["batch", "num_dets", 5]),
            helper.make_tensor_value_info("labels", TensorProto.INT64, ["batch", "num_dets"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


def pipeline(**normalize: object) -> dict:
    """pipeline.json of YOLOX as MMDeploy writes it; `normalize` replaces arguments of Normalize."""
    return {
        "pipeline": {
            "input": ["img"],
            "output": ["post_output"],
            "tasks": [
                {
                    "type": "Task",
                    "module": "Transform",
                    "name": "Preprocess",
                    "input": ["img"],
                    "output": ["prep_output"],
                    "transforms": [
                        {"type": "LoadImageFromFile", "backend_args": None},
                        {"type": "Resize", "keep_ratio": True, "size": [SIDE, SIDE]},
                        {"type": "Pad", "pad_to_square": True, "pad_val": {"img": [114.0, 114.0, 114.0]}},
                        {"type": "Normalize", "to_rgb": False, "mean": [0, 0, 0], "std": [1, 1, 1], **normalize},
                        {"type": "Pad", "size_divisor": 32},
                        {"type": "DefaultFormatBundle"},
                        {"type": "Collect", "meta_keys": ["scale_factor", "img_shape"], "keys": ["img"]},
                    ],
                },
                {"name": "yolox", "type": "Task", "module": "Net", "input_map": {"img": "input"}},
                {
                    "type": "Task",
                    "module": "mmdet",
                    "name": "postprocess",
                    "component": "ResizeBBox",
                    "params": {"score_thr": 0.01, "nms": {"type": "nms", "iou_threshold": 0.65}},
                    "output": ["post_output"],
                },
            ],
        }
    }


def write_zip(path: Path, model: Path, content: object = None, folder: str = FOLDER, **others: bytes) -> Path:
    """An archive as OpenMMLab publishes them: FOLDER/end2end.onnx, pipeline.json and what else is given."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{folder}/", "")
        file.write(model, f"{folder}/end2end.onnx")
        if content is not None:
            file.writestr(f"{folder}/pipeline.json", json.dumps(content, indent=4))
        file.writestr(f"{folder}/deploy.json", "{}")
        for name, data in others.items():
            file.writestr(name, data)
    return path
