"""The published files: published.yaml as data. docs/weights.md shows it, and tests compare it with docs/models."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

# What the demo shows people with where nobody names anything: both run without MindSpore.
NETWORK, DETECTOR = "rtmpose-m", "yolox-tiny"
# OpenMMLab and torchvision end the names of PyTorch files with the beginning of their SHA-256, and perhaps a date.
_HASH = re.compile(r"-([0-9a-f]{8})(_\d{8})?\.pth")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Published:
    """One published file.

    Attributes:
        name: what it is called here.
        title: what it is, for people.
        part: what it holds: a "network", a "backbone" to start one from, or a "detector" of people.
        network: `model.name` of what it holds or starts; empty for detectors.
        recipe: with which it is run and evaluated; empty for what is no network.
        keys: what the recipe must be changed by, as keys of the configuration.
        file: its name in the cache.
        url: where it is fetched; empty where a person must log in.
        source: page of whoever publishes it.
        publisher, licence: whose it is, and under what terms.
        ap: AP as published, in per cent; None: none is.
        measured: on what, and how.
        size: bytes; None: unknown.
        sha256: digest, hexadecimal, or the beginning of it that is known; empty: unknown.
        note: what else one should know.
    """

    name: str
    title: str
    publisher: str
    source: str
    licence: str
    file: str
    url: str = ""
    part: str = "network"
    network: str = ""
    recipe: str = ""
    keys: Mapping[str, Any] = field(default_factory=dict)
    ap: float | None = None
    measured: str = ""
    size: int | None = None
    sha256: str = ""
    note: str = ""

    @property
    def needs_mindspore(self) -> bool:
        """Whether MindSpore runs it; ONNX Runtime does the others."""
        return not self.file.endswith((".onnx", ".zip"))


@cache
def published() -> dict[str, Published]:
    """All of them by name, in the order of the table."""
    import yaml  # here: the overview of the commands needs no package

    groups = yaml.safe_load(Path(__file__).with_name("published.yaml").read_text(encoding="utf-8"))
    entries = [_entry({**group, **row}) for group in groups for row in group["files"]]
    return {entry.name: entry for entry in entries}


def _entry(row: dict[str, Any]) -> Published:
    del row["files"]
    base, path, save = row.pop("base", ""), row.pop("file", ""), row.pop("save", "")
    name = path.rpartition("/")[2]
    prefix = _HASH.search(name)
    row.setdefault("sha256", prefix[1] if prefix else "")
    return Published(url=base + path if base else "", file=save or name, **row)


def named(value: object) -> Published | None:
    """The published file that a value names; None: it names none, or a file that is there."""
    text = str(value)
    return published().get(text) if _NAME.fullmatch(text) and not Path(text).is_file() else None


def meant(value: object) -> str:
    """What follows in a message that a file is not there: which published file may be meant; "" where it is a path."""
    if not _NAME.fullmatch(_plain(value)):
        return ""
    close = nearest(value)
    return f"; did you mean the published {close}?" if close else "; mspose models lists those that are published"


def nearest(value: object) -> str:
    """The published name that a value is nearly; "" where it is near none."""
    return next(iter(difflib.get_close_matches(_plain(value), published(), n=1, cutoff=0.7)), "")


def _plain(value: object) -> str:
    return str(value).lower().replace("_", "-")


def found(pattern: str = "*", words: Sequence[str] = ()) -> list[Published]:
    """Those whose name matches a pattern of a shell, and in whose row every word stands, in any case."""

    def holds(entry: Published) -> bool:
        text = " ".join(map(str, vars(entry).values())).lower()
        return fnmatchcase(entry.name, pattern) and all(word.lower() in text for word in words)

    return [entry for entry in published().values() if holds(entry)]


def markdown() -> str:
    """The table of docs/weights.md."""
    lines = ["| name | AP | recipe | whose | licence | SHA-256 |", "|---|---|---|---|---|---|"]
    for entry in published().values():
        link = f"[`{entry.name}`]({entry.url})" if entry.url else f"`{entry.name}`"
        at = f" ([page]({entry.source}))" if not entry.url else ""
        ap = f"{entry.ap:.1f}" if entry.ap is not None else "–"
        recipe = " ".join(f"`{text}`" for text in (entry.recipe, *_written(entry.keys)) if text) or f"– ({entry.part})"
        digest = f"{entry.sha256[:8]}…" if entry.sha256 else "–"
        lines.append(f"| {link} | {ap} | {recipe} | {entry.publisher}{at} | {entry.licence} | {digest} |")
    return "\n".join(lines) + "\n"


def _written(keys: Mapping[str, Any]) -> list[str]:
    return [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in keys.items()]
