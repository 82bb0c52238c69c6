"""The attention of transformers: one function, whatever device computes it."""

from __future__ import annotations

import re

import mindspore as ms
from mindspore import ops


def attend(qkv: ms.Tensor, heads: int, is_fused: bool = False) -> ms.Tensor:
    """Softmax(Q Kᵀ / √d) V of each head (arXiv 1706.03762, section 3.2).

    Args:
        qkv: (N, T, 3 · heads · d): queries, keys and values, each head by head.
        is_fused: whether numbers of 16 bits go to the device's own operator, see `has_fused_attention`.

    Returns:
        (N, T, heads · d).
    """
    _, tokens, width = qkv.shape
    depth = width // (3 * heads)
    query, key, value = qkv.reshape(-1, tokens, 3, heads, depth).transpose(2, 0, 3, 1, 4)
    if is_fused and qkv.dtype in (ms.float16, ms.bfloat16):
        # Written by its documentation; not run.
        result = ops.flash_attention_score(query, key, value, heads, scalar_value=depth**-0.5, input_layout="BNSD")
    else:
        scores = ops.matmul(query * depth**-0.5, key.swapaxes(2, 3))
        result = ops.matmul(ops.softmax(scores, -1), value)
    return result.swapaxes(1, 2).reshape(-1, tokens, heads * depth)


def has_fused_attention() -> bool:
    """Whether the device has `flash_attention_score`: Ascend's second generation, Atlas A2 and A3. Not run there."""
    if ms.get_context("device_target") != "Ascend":
        return False
    # The first generation's are called Ascend910A, Ascend910B, Ascend910ProB …, without a number behind.
    name = ms.hal.get_device_name(ms.get_context("device_id"))
    return re.match(r"Ascend910(B\d|_93)", name) is not None
