"""What somebody may have meant by a name that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from mspose.config.originals import counterpart


def nearest_key(key: str, known: Iterable[str], section: str = "") -> str:
    """A clause that begins with a semicolon: the key of ours that is meant, what the originals' key is here, or help.

    Args:
        known: dotted keys, or sections.
        section: whose keys a command uses most, and its user means first.
    """
    known = list(known)
    name = key.rpartition(".")[2]
    tails: dict[str, list[str]] = {}
    for full in known:
        tails.setdefault(full.partition(".")[2], []).append(full)
    if key not in tails and (clause := counterpart(key)):
        return f"; {clause}"
    if "." not in key and key in tails:  # its section was left out
        return _meant(_preferred(tails[key], section))
    match = difflib.get_close_matches(key, known, n=1, cutoff=0.5) if "." in key or not tails.keys() - {""} else []
    if not match:
        close = difflib.get_close_matches(name, [tail for tail in tails if tail], n=1, cutoff=0.6)
        match = _preferred(tails[close[0]], section) if close else []
    return _meant(match) if match else "; --help lists all keys"


def _preferred(keys: list[str], section: str) -> list[str]:
    own = [key for key in keys if key.partition(".")[0] == section]
    return own or keys


def _meant(keys: list[str]) -> str:
    return f"; did you mean {' or '.join(map(repr, keys))}?"
