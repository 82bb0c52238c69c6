"""Tiny pose networks as ONNX files of MMDeploy's form, and the pipeline.json of such."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH, HEIGHT, JOINTS = 64, 96, 17
FOLDER = "20230831/rtmpose_onnx/rtmpose-m_simcc-body7_pt-body7_420e-256x192"


def write_vectors(
    path: Path, batch: int | str = "batch", names: tuple[str, str] = ("along_x", "along_y"), cell: int = 4
) -> Path:
    """Two vectors a keypoint, in cells of `cell` pixels: means of the input's first channel over columns and rows."""
    nodes, constants = [helper.make_node("Gather", ["input", "zero"], ["first"], axis=1)], {"zero": np.array(0)}
    for name, axis, side in zip(names, (1, 2), (WIDTH, HEIGHT)):
        constants |= {f"{name} cells": np.array([0, side // cell, cell]), f"{name} times": np.array([1, JOINTS, 1])}
        nodes += [
            helper.make_node("ReduceMean", ["first"], [f"{name} line"], axes=[axis], keepdims=0),
            helper.make_node("Reshape", [f"{name} line", f"{name} cells"], [f"{name} parts"]),
            helper.make_node("ReduceMean", [f"{name} parts"], [f"{name} row"], axes=[2], keepdims=0),
            helper.make_node("Unsqueeze", [f"{name} row", "one"], [f"{name} one"]),
            helper.make_node("Tile", [f"{name} one", f"{name} times"], [name]),
        ]
    constants["one"] = np.array([1])
    shapes = {name: [batch, JOINTS, side // cell] for name, side in zip(names, (WIDTH, HEIGHT))}
    return _save(path, nodes, constants, batch, shapes)


def write_heatmaps(path: Path, batch: int | str = "batch") -> Path:
    """One heat map a keypoint: the mean of the input's first channel over cells of four by four pixels."""
    nodes = [
        helper.make_node("Gather", ["input", "zero"], ["first"], axis=1),
        helper.make_node("AveragePool", ["first"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Tile", ["pooled", "times"], ["output"]),
    ]
    constants = {"zero": np.array([0]), "times": np.array([1, JOINTS, 1, 1])}
    return _save(path, nodes, constants, batch, {"output": [batch, JOINTS, HEIGHT // 4, WIDTH // 4]})


def _save(path: Path, nodes: list, constants: dict, batch: int | str, shapes: dict[str, list]) -> Path:
    graph = helper.make_graph(
        nodes,
        "end2end",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


def pipeline(decoder: str = "AlongDecode", **parameters: object) -> dict[str, Any]:
    """pipeline.json of a pose network as MMDeploy writes it; `parameters` are added to those of its decoder."""
    size = [WIDTH, HEIGHT]
    meta_keys = ["img_shape", "pad_shape", "ori_shape", "img_norm_cfg", "scale_factor", "bbox_score", "center", "scale"]
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
                        {"type": "LoadImageFromFile"},
                        {"type": "TopDownGetBboxCenterScale", "padding": 1.25, "image_size": size},
                        {"type": "TopDownAffine", "image_size": size},
                        {
                            "type": "Normalize",
                            "mean": [123.675, 116.28, 103.53],
                            "std": [58.395, 57.12, 57.375],
                            "to_rgb": True,
                        },
                        {"type": "ImageToTensor", "keys": ["img"]},
                        {"type": "Collect", "keys": ["img"], "meta_keys": meta_keys},
                    ],
                },
                {
                    "name": "topdownposeestimator",
                    "type": "Task",
                    "module": "Net",
                    "is_batched": False,
                    "input": ["prep_output"],
                    "output": ["infer_output"],
                    "input_map": {"img": "input"},
                    "output_map": {},
                },
                {
                    "type": "Task",
                    "module": "mmpose",
                    "name": "postprocess",
                    "component": decoder,
                    "params": {"flip_test": False, "input_size": size, "sigma": 2.5, **parameters},
                    "output": ["post_output"],
                    "input": ["prep_output", "infer_output"],
                },
            ],
        }
    }
