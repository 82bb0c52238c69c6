"""Whose weights a file holds, by the names in it, and what the names do not show: the input conventions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mspose.checkpoints import names
from mspose.checkpoints.beside import description_file, stamp_of
from mspose.checkpoints.ckpt_file import read_ckpt
from mspose.checkpoints.safetensors_file import read_safetensors
from mspose.checkpoints.torch_file import check_compressed, read_torch
from mspose.errors import PoseError, one_line
from mspose.files import file_fault
from mspose.networks import networks
from mspose.networks.base import Origin, Values, same

_YOLOV3 = Origin(
    "MindSpore YOLOv3",
    ("feature_map.backbone.conv0.0.weight", "feature_map.backblock0.conv0.0.weight"),
    names.yolov3_from_zoo,
    part="detector",
)
OWN = Origin("a checkpoint of this repository", (), same, is_own=True)


@cache
def origins() -> tuple[tuple[Origin, str], ...]:
    """Every kind of file that is known, with the network that it holds, or "".

    Whole networks come first: they hold the names of their backbone too.
    """
    entries = [(origin, entry.name) for entry in networks().values() for origin in entry.weights]
    whole = [(origin, name) for origin, name in entries if origin.part == "network"]
    backbones = {origin.title: (origin, "") for origin, _ in entries if origin.part == "backbone"}
    return (*whole, (_YOLOV3, ""), *backbones.values())


@dataclass(frozen=True)
class Recognised:
    """A file's weights under our names.

    Attributes:
        origin: whose they are.
        values: arrays by our names; what our networks lack keeps its own name. A backbone's begin with `backbone.`.
        model: what the shapes show of the network, and of the input that it is for, as keys of the configuration.
    """

    origin: Origin
    values: dict[str, np.ndarray]
    model: dict[str, Any]

    @property
    def conventions(self) -> dict[str, Any]:
        """What must be set for these weights to see what they were trained on; empty for our own files."""
        if self.origin.is_own:
            return {}
        shown = {key: self.model[key] for key in self.origin.shown if key in self.model}
        return {**self.origin.conventions, **shown}


def recognise_file(path: str | Path) -> Recognised:
    """Read a file and find out whose weights it holds.

    A checkpoint whose description carries the stamp of this repository is ours, whatever the names in it.

    Raises:
        PoseError: unreadable, or the names belong to no known network.
    """
    values = read_weights(path)
    stamp = stamp_of(description_file(path)) if Path(path).suffix == ".ckpt" else {}
    if "network" not in stamp:
        return recognise(values, path)
    weights = names.network_weights(values)
    return Recognised(OWN, weights, {"model.name": stamp["network"]})


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Read a file of PyTorch, safetensors, MindSpore or NumPy (`.npz`); its content says which. Nothing in it is run.

    Raises:
        PoseError: missing, of another kind, damaged, or holding anything but data.
    """
    path = Path(path)
    fault = file_fault(path)
    if fault:
        raise PoseError(f"file of weights {fault}: {path}")
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise PoseError(f"weights cannot be read: {path}: {error.strerror}") from error
    values = _read(path, head)
    strange = next((name for name in values if not name.isprintable()), None)
    if strange is not None:
        raise PoseError(f"not a file of weights: {path} holds a parameter called {strange[:100]!r}")
    return values


def _read(path: Path, head: bytes) -> dict[str, np.ndarray]:
    """The arrays of a file that begins with `head`."""
    # The first eight bytes of safetensors are a length, which may begin like any other kind.
    if head[5:9] == b"\0\0\0{":
        return read_safetensors(path)
    if head[:4] == b"PK\3\4":
        first_name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        return _read_npz(path) if first_name.endswith(b".npy") else read_torch(path)
    if head[:1] == b"\x80" or head[257:262] == b"ustar":
        return read_torch(path)
    if head[:1] == b"\n":
        return read_ckpt(path)
    if path.suffix.lower() == ".weights":
        raise PoseError(f"{path} is a detector's (Darknet), no pose network: use it with demo.detector_file={path}")
    what = "is empty" if not head else "is none of PyTorch, safetensors, MindSpore .ckpt or .npz"
    raise PoseError(f"not a file of weights: {path} {what}")


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            if len(set(file.files)) != len(file.files):
                raise ValueError("it holds a name twice")
            check_compressed(file.zip)
            values = {name: file[name] for name in file.files}
        for name, value in values.items():
            if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
                raise ValueError(f"{name} is no array of numbers")
        return values
    except Exception as error:  # NumPy and zipfile raise various types for a broken file
        reason = one_line(error) or type(error).__name__
        raise PoseError(f"not a readable .npz file (cut short?): {path}: {reason}") from error


def recognise(values: Values, path: str | Path) -> Recognised:
    """Find out whose weights these are and give them our names; optimizer state is left out.

    A prefix that all names share, such as `module.` of PyTorch's parallel training, is no hindrance.

    Raises:
        PoseError: the names belong to no known network, or two of them are the same without the prefix.
    """
    weights = names.network_weights(values)
    for origin, network in origins():
        prefix = _prefix(origin.anchors, weights)
        if prefix is None:
            continue
        if origin.part == "backbone":
            _check_alone(prefix, weights, origin, path)
        plain = {name.removeprefix(prefix): value for name, value in weights.items()}
        _check_unmixed(origin, network, prefix, weights, path)
        translated = origin.translate(plain)
        if len(plain if origin.merges else translated) < len(weights):
            raise PoseError(f"two parameters have the same name (but for {prefix!r}): {path}")
        if origin.part == "backbone":
            translated = {f"backbone.{name}": value for name, value in translated.items()}
        keys = origin.keys({name: value.shape for name, value in translated.items()})
        model = {key if "." in key else f"model.{key}": value for key, value in keys.items()}
        return Recognised(origin, translated, {"model.name": network, **model} if network else model)
    some = ", ".join(list(values)[:3]) or "nothing"
    raise PoseError(
        f"the weights are of no network known here: {path} holds {len(values)} parameters, such as {some}"
        f"{_nearest(weights)}"
    )


def _check_unmixed(origin: Origin, network: str, prefix: str, values: Values, path: str | Path) -> None:
    """Refuse a file with the names of two kinds of file of one network: only one of them can be meant.

    Raises:
        PoseError: it has what tells another kind from this one.
    """
    for other, its_network in origins():
        own = [prefix + anchor for anchor in origin.anchors if anchor not in other.anchors]
        others = [prefix + anchor for anchor in other.anchors if anchor not in origin.anchors]
        if its_network == network and own and others and all(name in values for name in others):
            raise PoseError(
                f"{path} mixes the names of two kinds of file: {own[0]} is of {origin.title}, {others[0]} of "
                f"{other.title}"
            )


def _nearest(values: Values) -> str:
    """Which kind of file a cut or mixed one would be, by all of its anchors but one; "" where none is so near."""
    found = []
    for origin, _ in origins():
        for place, anchor in enumerate(reversed(origin.anchors)):
            others = tuple(name for name in origin.anchors if name != anchor)
            prefix = _prefix(others, values) if len(others) > 1 else None
            if prefix is not None:
                found.append((place, len(prefix), f"{origin.title} if it had {prefix}{anchor}"))
    # Most files that lack one lack the last: that of the head, which is saved last.
    best = min(found, key=lambda one: one[:2], default=None)
    return f"; it would be {best[2]} (cut short, or names of two kinds of file?)" if best else ""


def _check_alone(prefix: str, weights: Values, origin: Origin, path: str | Path) -> None:
    """Refuse a backbone that is part of a larger network, such as MMPose's `backbone.` and `keypoint_head.`.

    Raises:
        PoseError: there is more than the backbone, the parts that its origin's anchors name, and what classifies
            pictures.
    """
    known = tuple(f"{prefix}{anchor.partition('.')[0]}." for anchor in origin.anchors)
    others = [name for name in weights if not name.startswith(prefix) or re.match(r"(keypoint_)?head\.", name)]
    others = [name for name in others if not name.startswith(known)]
    others = [name for name in others if not re.search(r"(^|\.)(fc|classifier|linear|end_point)\.\w+$", name)]
    if others:
        parts = ", ".join(dict.fromkeys(f"{name.partition('.')[0]}." for name in others[:100]))
        named = " (MMPose's names)" if "keypoint_head." in parts or "head." in parts.split(", ") else ""
        raise PoseError(
            f"{path} is no {origin.title} but a larger network around one, of a kind that is not read here{named}: "
            f"besides {prefix or 'the backbone'} it has {parts} such as {others[0]}"
        )


def _prefix(anchors: tuple[str, ...], values: Values) -> str | None:
    """What stands before all anchors; the shortest of several; None if they are not there."""
    first = anchors[0]
    prefixes = [name.removesuffix(first) for name in values if name.endswith(first)]
    prefixes = [p for p in prefixes if (not p or p.endswith(".")) and all(p + anchor in values for anchor in anchors)]
    return min(prefixes, key=len, default=None)
