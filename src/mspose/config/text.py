"""Configurations as text: YAML files, values of a command line, and what is written beside results."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mspose.config.schema import Config
from mspose.errors import UsageError
from mspose.files import file_fault, parse_yaml, write_text
from mspose.version import software

# The form of configuration files that this version writes; files without the key are of the first one.
FORMAT = 2


class Text(str):
    """A value from a command line: still text, to be read as the type of its key."""

    __slots__ = ()


def read_text(path: Path) -> str:
    """The text of a configuration file.

    Raises:
        UsageError: it is missing or cannot be read.
    """
    fault = file_fault(path)
    if fault:
        raise UsageError(f"configuration file {fault}: {path}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"configuration file is not text in UTF-8: {path}") from error
    except OSError as error:
        raise UsageError(f"configuration file cannot be read: {path}: {error.strerror}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping safely; `1e-4` is a number.

    Raises:
        UsageError: missing file, invalid YAML or not a mapping.
    """
    content = parse_yaml(read_text(path), str(path))
    if not isinstance(content, dict):
        raise UsageError(f"{path}: must be a mapping of sections")
    return content


def parse_value(text: str) -> Any:
    """Value of a `key=value` argument, read as YAML: `[192, 256]`, `true`, `1e-4`, `null`; else the text itself."""
    if not text:
        return ""
    try:
        return parse_yaml(f"value: {text}", "")["value"]
    except UsageError:
        return text


def to_yaml(config: Config) -> str:
    """The configuration as YAML text that `--config` reads back."""
    written = " ".join(f"{name} {value}" for name, value in software().items() if value)
    return f"# {written}\nformat: {FORMAT}\n{OmegaConf.to_yaml(OmegaConf.create(_utf8(asdict(config))))}"


def _utf8(value: Any) -> Any:
    """The value with bytes of file names that are not UTF-8 as numbers: YAML has no form for them."""
    if isinstance(value, dict):
        return {key: _utf8(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_utf8(item) for item in value]
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def save_config(config: Config, path: str | Path) -> None:
    """Write the resolved configuration beside a result."""
    write_text(path, to_yaml(config))
