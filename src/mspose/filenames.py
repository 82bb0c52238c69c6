"""Names of files that are made for others: short enough for any file system, and distinct."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

LONGEST_NAME = 255  # bytes of a file name


def short_name(name: str, room: int = 60) -> str:
    """The name, cut and made distinct by its hash where a file system would not take `room` more bytes behind it."""
    data = os.fsencode(name)
    if len(data) + room <= LONGEST_NAME:
        return name
    tail = "~" + hashlib.sha256(data).hexdigest()[:8]
    return data[: LONGEST_NAME - room - len(tail)].decode("utf-8", "ignore") + tail


def common_folder(paths: Sequence[Path]) -> Path:
    """The deepest folder that files are in, directly or in folders of it; absolute."""
    return Path(os.path.commonpath([path.parent.absolute() for path in paths]))


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Names for the outputs of files: their stems; where some have the same, their folders and suffix besides.

    Names that differ in case alone count as the same, as some file systems see it; long ones are cut.
    """
    stems = Counter(path.stem.casefold() for path in paths)
    common = common_folder(paths)
    names, used = [], {stem for stem, count in stems.items() if count == 1}
    for path in paths:
        if stems[path.stem.casefold()] == 1:
            names.append(short_name(path.stem))
            continue
        parts = path.absolute().relative_to(common).parts
        base = "_".join(parts).replace(".", "_")
        name = short_name(base)
        number = 1
        while name.casefold() in used:
            number += 1
            name = short_name(f"{base}_{number}")
        used.add(name.casefold())
        names.append(name)
    return names
