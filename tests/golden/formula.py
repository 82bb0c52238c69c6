"""Weights and inputs that follow from names and seeds, so that golden numbers need no weight files.

The same formula as that of the reference numerics in `POSE_PARITY_DIR`: PCG64 seeded with the CRC-32 of the name.
"""

from __future__ import annotations

import zlib

import numpy as np


def parameter(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Value of the PyTorch parameter `name`; kernels have variance 1 / fan-in, batch norms stay near the identity."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    draw = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        return 1 + 0.2 * np.abs(draw)
    if name.endswith(("running_mean", "bias")):
        return 0.1 * draw
    return 1 + 0.1 * draw if len(shape) == 1 else draw * np.float32(np.sqrt(1.0 / np.prod(shape[1:])))


def picture(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal input (B, 3, H, W) float32."""
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(shape).astype(np.float32)
