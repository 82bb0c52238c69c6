"""Which versions of MindSpore, CANN, driver and firmware belong together, as published.

The rows are those that MindSpore Transformers publishes (its cards are Atlas A2 and A3), and, where that table ends,
what the wheel of MindSpore itself accepts. No row is here that was not read at its source.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# When the sources were read.
AS_OF = "2026-11"
TABLE = "https://www.mindspore.cn/mindformers/docs/en/r1.9.0/installation.html"
WHEEL = "mindspore/run_check/_check_version.py in MindSpore's wheel"


@dataclass(frozen=True)
class Row:
    """Versions that belong together.

    Attributes:
        mindspore: of MindSpore.
        cann: of CANN that it was published with or accepts, the first two numbers.
        driver: of driver and firmware (Ascend HDK), as published; empty: the sources do not say.
        source: where this is written.
    """

    mindspore: str
    cann: tuple[str, ...]
    driver: str
    source: str


ROWS = (
    Row("2.7.0", ("8.2",), "25.2.0", TABLE),
    Row("2.7.1", ("8.3",), "25.3.RC1", TABLE),
    Row("2.7.2", ("8.5",), "25.5.0", TABLE),
    Row("2.9.0", ("9.0",), "26.0.RC1", TABLE),
    Row("2.10.0", ("8.2", "8.3", "8.5", "9.0", "9.1"), "", WHEEL),
)


def row_of(mindspore: str) -> Row | None:
    """The row of a version of MindSpore; None: the sources have none."""
    return next((row for row in ROWS if numbers(row.mindspore, 3) == numbers(mindspore, 3)), None)


def mismatches(mindspore: str, cann: str, driver: str) -> list[str]:
    """What does not belong together, a line each; empty versions are unknown and say nothing."""
    row = row_of(mindspore) if mindspore else None
    found = []
    if row is not None and cann and numbers(cann, 2) not in [numbers(one, 2) for one in row.cann]:
        found.append(
            f"MindSpore {mindspore} belongs to CANN {' or '.join(row.cann)}, and CANN {cann} is installed: install one "
            f"of those, or the MindSpore of this CANN{_mindspore_of(cann)} ({row.source})"
        )
    if row is not None and driver and row.driver and numbers(driver, 2) < numbers(row.driver, 2):
        found.append(
            f"MindSpore {mindspore} was published with driver and firmware {row.driver}, and driver {driver} is older: "
            f"install that version of the Ascend HDK ({row.source})"
        )
    return found


def is_within(version: str, requirement: str) -> bool:
    """Whether a version is one that a requirement such as `numpy>=1.26,<3` asks for."""
    for sign, bound in re.findall(r"(>=|<)([\d.]+)", requirement):
        limit = numbers(bound, 3)
        has = numbers(version, len(limit))
        if (has < limit) if sign == ">=" else (has >= limit):
            return False
    return True


def _mindspore_of(cann: str) -> str:
    fitting = [row.mindspore for row in ROWS if numbers(cann, 2) in [numbers(one, 2) for one in row.cann]]
    return f", {' or '.join(fitting)}" if fitting else ""


def numbers(version: str, count: int) -> tuple[int, ...]:
    """The first numbers of a version: 8.2.RC1 → (8, 2)."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:count])
