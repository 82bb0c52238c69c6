"""What a configuration key is: its type, default, line of help, values, and whether it belongs to weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, TypeVar

# Whether a key belongs to weights, and so is stored beside them and obeyed by whatever loads them:
# how pixels become input; what else is fixed once the network is trained; what may be chosen anew; what never does.
INPUT, FIXED, FREE, NEVER = "input", "fixed", "free", "never"


@dataclass(frozen=True)
class Check:
    """What a value must fulfil, and how to say so after "must"."""

    holds: Callable[[Any], bool]
    words: str


LARGEST_SIDE = 8192  # of an input; a batch of larger ones fits no memory


def _is_size(value: Any) -> bool:
    return len(value) == 2 and all(32 <= side <= LARGEST_SIDE and side % 8 == 0 for side in value)


# Counts that arrays are made of.
EPOCHS = Check(lambda v: 0 < v <= 100_000, "be from 1 to 100,000")
WARMUP = Check(lambda v: 0 <= v <= 10_000_000, "be from 0 to 10,000,000")
POSITIVE = Check(lambda v: v > 0, "be greater than 0")
NOT_NEGATIVE = Check(lambda v: v >= 0, "not be negative")
THREADS = Check(lambda v: 0 <= v <= 256, "lie between 0 and 256")
FRACTION = Check(lambda v: 0 <= v <= 1, "lie between 0 and 1")
BELOW_1 = Check(lambda v: 0 <= v < 1, "be 0 or more, and below 1")
ABOVE_0_TO_1 = Check(lambda v: 0 < v <= 1, "be above 0 and at most 1")
THREE = Check(lambda v: len(v) == 3, "be three numbers")
THREE_POSITIVE = Check(lambda v: len(v) == 3 and min(v) > 0, "be three positive numbers")
FROM_1 = Check(lambda v: all(n > 0 for n in v), "be numbers from 1 on")
INPUT_SIZE = Check(_is_size, f"be [width, height], multiples of 8 from 32 to {LARGEST_SIDE}")


def one_of(*choices: Any) -> Check:
    """One of some values."""
    return Check(lambda v: v in choices, f"be one of {', '.join(map(str, choices))}")


def key(default: Any, help: str, check: Check | tuple = (), role: str = NEVER, staged: bool = False) -> Any:
    """A dataclass field with a default, one line of help, the check or the only values it may have, and its role.

    `staged` keys may change in the course of training: see `mspose.config.stages`.
    """
    choices = check if isinstance(check, tuple) else ()
    wanted = one_of(*choices) if choices else None if isinstance(check, tuple) else check
    metadata = {"help": help, "choices": choices, "check": wanted, "role": role, "staged": staged}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def default_of(key: Field) -> Any:
    """Default value of a field."""
    return key.default if key.default_factory is MISSING else key.default_factory()


class Section:
    """A section of the configuration; its keys are the fields of the dataclass, its meaning the docstring."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Keys of this section whose values do not go together, and what each must do instead."""
        return iter(())


Kind = TypeVar("Kind")


def section_as(section: object, kind: type[Kind]) -> Kind:
    """A section as the dataclass that a network, codec or method has put there.

    Raises:
        TypeError: it is another one: the configuration was not built for that network.
    """
    if not isinstance(section, kind):
        raise TypeError(f"a section of {type(section).__name__} where {kind.__name__} belongs")
    return section


def keys_of(sections: Mapping[str, type[Section]]) -> dict[str, Field]:
    """All keys of some sections in order: dotted key → dataclass field."""
    return {f"{name}.{f.name}": f for name, kind in sections.items() for f in fields(kind)}  # type: ignore[arg-type]
