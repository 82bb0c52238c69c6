"""Single values of keys: typed as the key is, or refused with its name."""

from __future__ import annotations

from dataclasses import Field
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mspose.config.describe import type_name
from mspose.config.text import Text, parse_value
from mspose.errors import UsageError

LARGEST_NUMBER = 2**32  # of any key; the sizes of arrays overflow far beyond it


class KeyProblem(UsageError):
    """A key that cannot have its value, or cannot be set at all.

    Attributes:
        key: the key.
        words: what is wrong, behind the key; of an unknown key a hint, which begins with a semicolon.
    """

    def __init__(self, key: str, words: str, source: str = "") -> None:
        text = f"unknown key {key!r}{words}" if words[:1] == ";" else f"{key} {words}"
        super().__init__(f"{source}: {text}" if source else text)
        self.key, self.words = key, words


def store(section: DictConfig, wanted: Field, key: str, value: Any, source: str) -> None:
    """Put a value into a section, typed as its key is.

    Args:
        section: structured, with the key.
        wanted: the key.
        key: what messages call it.

    Raises:
        KeyProblem: the value is of another type, or none of the choices.
    """
    if isinstance(value, Text):
        # Paths and names stay text: a folder called 2017 or a name like 1e5 must not turn into a number.
        parsed = str(value) if wanted.type == "str" else parse_value(value)
        value = str(value) if wanted.type == "list[str]" and not isinstance(parsed, list | dict) else parsed
    if wanted.type == "list[str]" and isinstance(value, str | int):
        value = [str(value)] if value != "" else []
    try:
        # OmegaConf gives "${…}" (interpolation) and "???" (missing) a meaning that nothing here uses.
        if "${" in str(value) or "???" in str(value):
            raise ValueError
        OmegaConf.update(section, wanted.name, value)
        now = stored(section, wanted.name)
        # OmegaConf lets anything into a list of numbers.
        flat = isinstance(now, list) and wanted.type != "list[dict[str, Any]]"
        if flat and any(isinstance(one, (dict, list)) for one in now):
            raise ValueError
    except (OmegaConfBaseException, ValueError) as error:
        raise KeyProblem(key, f"must be {type_name(wanted)}, not {value!r}", source) from error
    if any(isinstance(one, str) and "\0" in one for one in (now if isinstance(now, list) else [now])):
        raise KeyProblem(key, f"must hold no null character, as {value!r} does", source)
    if not all(_is_bounded(one) for one in (now if isinstance(now, list) else [now])):
        raise KeyProblem(key, f"must be finite, and below 2^32, not {value!r}", source)
    choices = wanted.metadata["choices"]
    if choices and now not in choices and isinstance(now, str):  # onnx for ONNX, cpu for CPU
        same = [choice for choice in choices if str(choice).casefold() == now.casefold()]
        if same:
            now = same[0]
            OmegaConf.update(section, wanted.name, now)
    if choices and now not in choices:
        raise KeyProblem(key, f"must be one of {', '.join(map(str, choices))}, not {value!r}", source)


def _is_bounded(value: Any) -> bool:
    """Whether a value, if it is a number, is one that can be counted or computed with."""
    return not isinstance(value, int | float) or abs(value) < LARGEST_NUMBER


def stored(section: DictConfig, name: str) -> Any:
    """The value of a key of a section, in plain Python."""
    value = OmegaConf.select(section, name)
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
