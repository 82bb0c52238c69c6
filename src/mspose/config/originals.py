"""What each key and flag of the five original systems is called here: originals.csv, which docs/keys.md shows."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

NONE = "—"


class Row(NamedTuple):
    """A key or flag of an original system.

    Attributes:
        documented: whether the system's document tells of it; otherwise only its configuration file holds it.
        system: the system.
        there: what it is called there; flags begin with two dashes.
        here: our keys for it; none where it has no counterpart.
        note: what differs, or why there is no counterpart, in Markdown.
    """

    documented: bool
    system: str
    there: str
    here: tuple[str, ...]
    note: str

    @property
    def name(self) -> str:
        """`there` without dashes."""
        return self.there.removeprefix("--")


@cache
def rows() -> tuple[Row, ...]:
    """All keys and flags, in the order of docs/keys.md."""
    with Path(__file__).with_name("originals.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            Row(row["documented"] == "yes", row["system"], row["there"], tuple(row["here"].split()), row["note"])
            for row in csv.DictReader(file)
        )


def counterpart(name: str) -> str:
    """One clause on what a key or flag of the original systems is here; empty where none of them has it."""
    systems: dict[str, list[str]] = {}
    for row in rows():
        if row.name == name:
            clause = f"is {', '.join(row.here)} here" if row.here else f"is no key here: {row.note.replace('`', '')}"
            systems.setdefault(clause, []).append(row.system)
    return "; ".join(f"{name} of {', '.join(names)} {clause}" for clause, names in systems.items())


def markdown(documented: bool) -> str:
    """The table of docs/keys.md of the documented keys, or of the others."""
    lines = ["| system | key there | key here | note |", "|---|---|---|---|"]
    for row in rows():
        if row.documented == documented:
            here = ", ".join(f"`{key}`" for key in row.here) or NONE
            lines.append(f"| {row.system} | `{row.there}` | {here} | {row.note} |".replace("|  |", "| |"))
    return "\n".join(lines)
