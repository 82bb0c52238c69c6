"""Names of numbered checkpoints: NETWORK-EPOCH_STEP.ckpt, each with its NETWORK-EPOCH_STEP.yaml."""

from __future__ import annotations

import re

_NAME = re.compile(r".+-(?P<epoch>\d+)_(?P<step>\d+)\.(ckpt|yaml)")


def place(name: str) -> tuple[int, int] | None:
    """Epoch and step of a checkpoint by its name or that of its YAML file; None for any other."""
    found = _NAME.fullmatch(name)
    return (int(found["epoch"]), int(found["step"])) if found else None
