"""Messages are tested by what they name: keys, files, annotations, numbers; their sentences are free to change."""

from __future__ import annotations

import re


def naming(*things: object) -> str:
    """Pattern of a line that names all of these as whole words, in any order."""
    return "".join(rf"(?=.*(?<!\w){re.escape(str(thing))}(?!\w))" for thing in things)


def names(text: str, *things: object) -> bool:
    """Whether a line of the text names all of these as whole words."""
    return re.search(naming(*things), text) is not None
