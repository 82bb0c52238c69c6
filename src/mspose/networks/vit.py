"""Names in files of vision transformers, and what makes such a file fit a network. No network itself."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from mspose.checkpoints.names import batch_norm_from_torch, batch_norm_to_torch
from mspose.errors import PoseError, UsageError
from mspose.networks.base import Shapes, Values

log = logging.getLogger("pose")

POSITIONS = "backbone.pos_embed"
# Heads of the published widths, which no shape shows.
HEADS = {384: 12, 768: 12, 1024: 16, 1280: 16}

_HUGGING_FACE = (
    (r"^backbone\.embeddings\.position_embeddings$", POSITIONS),
    (r"^backbone\.embeddings\.patch_embeddings\.projection\.", "backbone.patch_embed.proj."),
    (r"^backbone\.encoder\.layer\.", "backbone.blocks."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"^backbone\.layernorm\.", "backbone.last_norm."),
    (r"^head\.deconv1\.", "deconv_layers.0."),
    (r"^head\.batchnorm1\.", "deconv_layers.1."),
    (r"^head\.deconv2\.", "deconv_layers.3."),
    (r"^head\.batchnorm2\.", "deconv_layers.4."),
    (r"^head\.conv\.", "final_layer."),
)
_MMPOSE = (
    (r"(^|\.)patch_embed\.projection\.", r"\1patch_embed.proj."),
    (r"(^|\.)layers\.(\d+)\.ln([12])\.", r"\1blocks.\2.norm\3."),
    (r"(^|\.)layers\.(\d+)\.ffn\.layers\.0\.0\.", r"\1blocks.\2.mlp.fc1."),
    (r"(^|\.)layers\.(\d+)\.ffn\.layers\.1\.", r"\1blocks.\2.mlp.fc2."),
    (r"(^|\.)layers\.(\d+)\.attn\.", r"\1blocks.\2.attn."),
    (r"^(backbone\.)?ln1\.", r"\1last_norm."),
    (r"^head\.", ""),
)
_AUTHORS = ((r"^keypoint_head\.", ""), (r"^norm\.", "last_norm."))
_NORM = re.compile(r"(^|\.)(norm[12]|last_norm)\.(weight|bias)$")


def from_hugging_face(values: Values) -> dict[str, np.ndarray]:
    """State dict of `VitPoseForPoseEstimation` → names of `mspose.models.vitpose`."""
    renamed = _renamed(values, _HUGGING_FACE)
    merged = {}
    for name, value in renamed.items():
        stem, found, last = name.partition(".attention.attention.query.")
        if found:
            parts = [f"{stem}.attention.attention.{part}.{last}" for part in ("query", "key", "value")]
            merged[f"{stem}.attn.qkv.{last}"] = _joined(renamed, parts)
        elif ".attention.attention." not in name:
            merged[name] = value
    return _with_grid(merged)


def from_mmpose(values: Values) -> dict[str, np.ndarray]:
    """State dict of MMPose 1.x, or of MMPretrain's transformer → names of `mspose.models.vitpose`."""
    return _with_grid(_renamed(values, _MMPOSE), has_extra=False)


def from_authors(values: Values) -> dict[str, np.ndarray]:
    """State dict of the authors (MMPose 0.x), or of MAE's encoder → names of `mspose.models.vitpose`."""
    return _with_grid(_renamed(values, _AUTHORS))


def _joined(values: Values, names: Sequence[str]) -> np.ndarray:
    """Several arrays one after another, along the first axis.

    Raises:
        PoseError: one is missing, or they do not go together.
    """
    missing = [name for name in names if name not in values]
    if missing:
        raise PoseError(f"weights of a transformer without {missing[0]}, which belongs to {names[0]} (cut short?)")
    shapes = [values[name].shape for name in names]
    if len({shape[1:] for shape in shapes}) > 1 or () in shapes:
        raise PoseError(f"weights of a transformer whose {' and '.join(names)} do not go together: {shapes}")
    return np.concatenate([values[name] for name in names])


def _renamed(values: Values, rules: Sequence[tuple[str, str]]) -> dict[str, np.ndarray]:
    result = {}
    for name, value in batch_norm_from_torch(values).items():
        for pattern, ours in rules:
            name = re.sub(pattern, ours, name)
        match = _NORM.search(name)
        if match:
            name = f"{name.removesuffix(match[3])}{'gamma' if match[3] == 'weight' else 'beta'}"
        result[name] = value
    return result


def _with_grid(values: dict[str, np.ndarray], has_extra: bool = True) -> dict[str, np.ndarray]:
    """Position vectors (1, N, D), row by row, as (1, rows, columns, D) where their number shows both.

    Args:
        has_extra: whether the first is that of a class token, which the authors add to all others.
    """
    name = next((n for n in (POSITIONS, POSITIONS.removeprefix("backbone.")) if n in values), None)
    if name is None or values[name].ndim != 3:
        return values
    vectors = values[name]
    if has_extra or (_grid(vectors.shape[1]) is None and _grid(vectors.shape[1] - 1) is not None):
        vectors = vectors[:, 1:] + vectors[:, :1]
    grid = _grid(vectors.shape[1])
    return {**values, name: vectors.reshape(1, *grid, -1) if grid else vectors}


def _grid(count: int) -> tuple[int, int] | None:
    """Rows and columns of so many patches: 4 by 3 as people are cropped, or a square."""
    third, side = math.isqrt(count // 12), math.isqrt(count)
    if count > 0 and 12 * third**2 == count:
        return 4 * third, 3 * third
    return (side, side) if count > 0 and side**2 == count else None


def vit_keys(shapes: Shapes) -> dict[str, Any]:
    """What the shapes show of the transformer."""
    width = shapes[POSITIONS][-1]
    blocks = {match[1] for match in map(re.compile(r"backbone\.blocks\.(\d+)\.").match, shapes) if match}
    return {"width": width, "depth": len(blocks)}


def published_heads(shapes: Shapes) -> dict[str, Any]:
    """Heads of a published width: with others its weights would give senseless maps, and no word."""
    width = shapes[POSITIONS][-1]
    return {"heads": HEADS[width]} if width in HEADS else {}


def chosen_expert(values: Values, expert: int) -> dict[str, np.ndarray]:
    """One plain network of a ViTPose++ file: behind the outputs of each MLP come those of one expert.

    Where the file holds the heads of the other data sets, the expert's comes with it.

    Raises:
        UsageError: there is no such expert.
    """
    found = {int(m[1]) for m in map(re.compile(r".*\.mlp\.experts\.(\d+)\.weight$").match, values) if m}
    if not found:
        if expert:
            log.warning(f"note: model.expert={expert} does not count: these weights are no ViTPose++ with experts")
        return dict(values)
    if expert not in found:
        raise UsageError(f"model.expert={expert}: the file holds experts {', '.join(map(str, sorted(found)))}")
    head = f"associate_keypoint_heads.{expert - 1}."
    has_head = any(name.startswith(head) for name in values)
    result = {}
    for name, value in values.items():
        stem, is_second, last = name.partition(".mlp.fc2.")
        if is_second:
            value = _joined(values, [name, f"{stem}.mlp.experts.{expert}.{last}"])
        if name.startswith(head):
            name = name.removeprefix(head)
        elif has_head and name.startswith(("deconv_layers.", "final_layer.")):
            continue
        if ".mlp.experts." not in name:
            result[name] = value
    return result


def positions_for(vectors: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Position vectors (1, rows, columns, D), or (1, N, D) of this grid, for a grid (rows, columns).

    Bicubic (a = -0.75) between the centres of the patches, with the outermost repeated beyond the border, as PyTorch
    interpolates without aligned corners. MindSpore's own differs by up to 11 %.

    Raises:
        PoseError: how many rows and columns N is cannot be told.
    """
    if vectors.ndim == 3:
        if vectors.shape[1] != grid[0] * grid[1]:
            raise PoseError(
                f"{POSITIONS} holds vectors of {vectors.shape[1]} patches, data.input_size has {grid[0]} rows of "
                f"{grid[1]}: only those of a square or of 4 by 3 can be interpolated"
            )
        return vectors.reshape(1, *grid, -1)
    if vectors.shape[1:3] == grid:
        return vectors
    before = vectors.shape[1:3]
    log.info(f"position vectors of {before[0]} x {before[1]} patches interpolated to {grid[0]} x {grid[1]}")
    rows, columns = (_bicubic(*sides) for sides in zip(before, grid))
    resized = np.einsum("ri,cj,nijd->nrcd", rows, columns, vectors.astype(np.float64), optimize=True)
    return resized.astype(np.float32)


def _bicubic(before: int, after: int) -> np.ndarray:
    """Interpolation along an axis as a matrix (after, before)."""
    a = -0.75
    place = (np.arange(after) + 0.5) * before / after - 0.5
    cells = np.floor(place).astype(int)[:, None] + np.arange(-1, 3)
    t = np.abs(place[:, None] - cells)
    near = ((a + 2) * t - (a + 3)) * t**2 + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    matrix = np.zeros((after, before))
    np.add.at(
        matrix,
        (np.arange(after)[:, None], np.clip(cells, 0, before - 1)),
        np.where(t <= 1, near, np.where(t < 2, far, 0)),
    )
    return matrix


def to_authors(values: Values) -> dict[str, np.ndarray]:
    """ViTPose under its authors' names; the position vector of the class token, which is in all others, is zero."""
    result = {}
    for name, value in _to_torch(values).items():
        result[name if name.startswith("backbone.") else f"keypoint_head.{name}"] = value
    return result


def to_hugging_face(values: Values) -> dict[str, np.ndarray]:
    """ViTPose under the names of `VitPoseForPoseEstimation`; positions as for the authors."""
    result: dict[str, np.ndarray] = {}
    for name, value in _to_torch(values).items():
        stem, is_qkv, last = name.partition(".attn.qkv.")
        if is_qkv:
            parts = zip(("query", "key", "value"), np.split(value, 3))
            result |= {_to_hugging_face(f"{stem}.attention.attention.{part}.{last}"): third for part, third in parts}
        else:
            result[_to_hugging_face(name)] = value
    return result


def _to_hugging_face(name: str) -> str:
    for theirs, ours in _HUGGING_FACE:
        plain = re.sub(r"[\\^$]", "", theirs)
        if name.startswith(ours) or (plain.startswith(".") and ours in name):
            name = name.replace(ours, plain, 1)
    return name


def _to_torch(values: Values) -> dict[str, np.ndarray]:
    rows = values[POSITIONS].reshape(1, -1, values[POSITIONS].shape[-1])
    extra = {POSITIONS: np.concatenate([np.zeros_like(rows[:, :1]), rows], axis=1)}
    renamed = batch_norm_to_torch({**values, **extra})
    return {re.sub(r"\.beta$", ".bias", re.sub(r"\.gamma$", ".weight", name)): v for name, v in renamed.items()}
