"""What an error or a warning names: tests ask for it, and leave its wording free."""

from __future__ import annotations

import re


def naming(*things: object) -> str:
    """Pattern of a message that names all of these as whole words, in any order.

    A key, a file, an option, a number; one telling word where two faults of one file are told apart.
    """
    return r"(?s)\A" + "".join(f"(?=.*{_whole(str(thing))})" for thing in things)


def tells_of(message: str, *things: object) -> bool:
    """Whether a message names all of these."""
    return re.search(naming(*things), message) is not None


def _whole(thing: str) -> str:
    before = r"(?<![\w-])" if thing[0].isalnum() else ""
    return before + re.escape(thing) + (r"(?!\w)" if thing[-1].isalnum() else "")


def names(text: str, *things: object) -> bool:
    """Whether a line of a text, such as a log, names all of these."""
    return any(tells_of(line, *things) for line in text.splitlines())
