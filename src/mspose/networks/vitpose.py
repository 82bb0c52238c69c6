"""ViTPose and ViTPose++ (arXiv 2204.12484, 2212.04246)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mspose.codecs.heatmap import HeatmapKeys
from mspose.config.keys import BELOW_1, FIXED, NOT_NEGATIVE, POSITIVE, key, section_as
from mspose.config.schema import Config, ModelConfig
from mspose.errors import UsageError
from mspose.methods.topdown import TopDown
from mspose.networks.base import IMAGENET_RGB, Network, Origin, Shapes, Values, same
from mspose.networks.heatmaps import HEATMAP_ONNX, HEATMAP_SECTIONS, heatmap_codec, joints_mse
from mspose.networks.vit import (
    POSITIONS,
    chosen_expert,
    from_authors,
    from_hugging_face,
    from_mmpose,
    positions_for,
    published_heads,
    to_authors,
    to_hugging_face,
    vit_keys,
)
from mspose.skeleton import Skeleton, load_skeleton

if TYPE_CHECKING:
    from mindspore import nn


@dataclass
class ViTPoseKeys(ModelConfig):
    """ViTPose: a plain vision transformer, heat maps."""

    width: int = key(768, "length of the vectors: S 384, B 768, L 1024, H 1280", POSITIVE, FIXED)
    depth: int = key(12, "blocks: S and B 12, L 24, H 32", POSITIVE, FIXED)
    heads: int = key(12, "heads of each attention: S and B 12, L and H 16", POSITIVE, FIXED)
    decoder: str = key(
        "classic",
        "what makes maps: two deconvolutions, or enlargement and one convolution",
        ("classic", "simple"),
        FIXED,
    )
    head_width: int = key(256, "channels of the deconvolutions", POSITIVE, FIXED)
    norm_eps: float = key(
        1e-6, "added to the variance in norms: 1e-6 (authors, MMPose), 1e-12 (Hugging Face)", POSITIVE, FIXED
    )
    drop_path: float = key(
        0.0,
        "rate at which training leaves out branches of the last block, growing from 0: S .1, B .3, L .5, H .55",
        BELOW_1,
    )
    expert: int = key(
        0,
        "which part of a ViTPose++ file is read: 0 COCO, 1 AIC, 2 MPII, 3 AP-10K, 4 APT-36K, 5 COCO-WholeBody",
        NOT_NEGATIVE,
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Heads of one length."""
        if self.width % self.heads:
            yield "heads", f"divide model.width, {self.width}"


def _build(config: Config, skeleton: Skeleton) -> nn.Cell:
    from mspose.models.vitpose import ViTPose

    keys = section_as(config.model, ViTPoseKeys)
    return ViTPose(
        keys.width,
        keys.depth,
        keys.heads,
        skeleton.num_keypoints,
        config.data.input_size,
        keys.decoder,
        keys.norm_eps,
        keys.drop_path,
        keys.head_width,
    )


def _keys(shapes: Shapes) -> dict[str, Any]:
    """What the shapes of others' files show, all of which are of the published sizes."""
    return {**_own_keys(shapes), **published_heads(shapes)}


def _backbone_keys(shapes: Shapes) -> dict[str, Any]:
    return {**vit_keys(shapes), **published_heads(shapes)}


def _own_keys(shapes: Shapes) -> dict[str, Any]:
    deconv = shapes.get("deconv_layers.0.weight")
    head = {"decoder": "classic", "head_width": deconv[1]} if deconv else {"decoder": "simple"}
    return {**vit_keys(shapes), **(head if "final_layer.weight" in shapes else {})}


def _fit(values: Values, config: Config) -> dict[str, np.ndarray]:
    """Weights of a file → those of the configured network: one expert, and positions for the size of its input."""
    fitting = chosen_expert(values, section_as(config.model, ViTPoseKeys).expert)
    width, height = config.data.input_size
    if POSITIONS in fitting and fitting[POSITIONS].ndim in (3, 4):
        fitting[POSITIONS] = positions_for(fitting[POSITIONS], (height // 16, width // 16))
    return fitting


def _to_hf(values: Values, config: Config) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    keys, names = section_as(config.model, ViTPoseKeys), load_skeleton(config.data.skeleton).keypoints
    if keys.decoder == "classic" and keys.head_width != 256:
        raise UsageError(f"--to hf: model.head_width must be 256 there, not {keys.head_width}")
    width, height = config.data.input_size
    backbone = {
        "model_type": "vitpose_backbone",
        "hidden_size": keys.width,
        "num_hidden_layers": keys.depth,
        "num_attention_heads": keys.heads,
        "mlp_ratio": 4,
        "image_size": [height, width],
        "patch_size": [16, 16],
        "layer_norm_eps": keys.norm_eps,
        "out_features": [f"stage{keys.depth}"],
        "out_indices": [keys.depth],
    }
    return to_hugging_face(values), {
        "architectures": ["VitPoseForPoseEstimation"],
        "model_type": "vitpose",
        "backbone_config": backbone,
        "use_simple_decoder": keys.decoder == "simple",
        "scale_factor": 4,
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
    }


# All of them were trained with UDP.
_UDP_RGB = {**IMAGENET_RGB, "data.unbiased": True}
_AUTHORS = {**_UDP_RGB, "model.norm_eps": 1e-6}
WEIGHTS = (
    Origin(
        "ViTPose of this repository",
        ("backbone.blocks.0.attn.qkv.weight", "backbone.last_norm.gamma", "final_layer.weight", POSITIONS),
        same,
        _own_keys,
        is_own=True,
    ),
    Origin(
        "ViTPose of its authors (PyTorch)",
        ("backbone.blocks.0.attn.qkv.weight", POSITIONS, "keypoint_head.final_layer.weight"),
        from_authors,
        _keys,
        _AUTHORS,
    ),
    Origin(
        "ViTPose of MMPose 1.x (PyTorch)",
        ("backbone.layers.0.attn.qkv.weight", POSITIONS, "head.final_layer.weight"),
        from_mmpose,
        _keys,
        _AUTHORS,
    ),
    Origin(
        "ViTPose of Hugging Face (PyTorch)",
        (
            "backbone.encoder.layer.0.attention.attention.query.weight",
            "backbone.embeddings.position_embeddings",
            "head.conv.weight",
        ),
        from_hugging_face,
        _keys,
        {**_UDP_RGB, "model.norm_eps": 1e-12},
        merges=True,
    ),
    Origin(
        "vision transformer of MAE (PyTorch)",
        ("blocks.0.attn.qkv.weight", "patch_embed.proj.weight", "pos_embed", "norm.weight"),
        from_authors,
        _backbone_keys,
        part="backbone",
    ),
    Origin(
        "vision transformer of MMPretrain (PyTorch)",
        ("layers.0.attn.qkv.weight", "patch_embed.projection.weight", "pos_embed", "ln1.weight"),
        from_mmpose,
        _backbone_keys,
        part="backbone",
    ),
)


def _layer(name: str) -> int | None:
    """0: patches and positions; block N: N + 1; None: last norm and head, behind them."""
    if name.startswith(("backbone.patch_embed.", POSITIONS)):
        return 0
    return int(name.split(".")[2]) + 1 if name.startswith("backbone.blocks.") else None


NETWORK = Network(
    "vitpose",
    ViTPoseKeys,
    TopDown,
    HeatmapKeys,
    heatmap_codec,
    _build,
    joints_mse,
    stride=lambda keys: 4,
    size_multiple=16,
    weights=WEIGHTS,
    decays=lambda name, ndim: ndim > 1 and name != POSITIONS,
    layer=_layer,
    onnx=(HEATMAP_ONNX,),
    fit=_fit,
    to_torch=lambda values, keys: to_authors(values),
    to_hf=_to_hf,
    sections=HEATMAP_SECTIONS,
)
