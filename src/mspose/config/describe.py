"""The keys in words: what `--help` prints, and what is said of a key that a network does not have."""

from __future__ import annotations

from dataclasses import Field
from typing import Any

from mspose.config.hints import nearest_key
from mspose.config.keys import default_of, keys_of
from mspose.config.schema import SECTIONS
from mspose.networks import networks
from mspose.networks.base import Network


def describe_keys(entry: Network | None = None) -> str:
    """Keys with their defaults and one line of meaning, section by section, as `--help` prints them.

    Args:
        entry: whose keys; None: those of all networks, each behind the networks that have it where not all do.
    """
    entries = [entry] if entry else list(networks().values())
    lines = []
    for section in SECTIONS:
        kinds = [(one.name, one.schema[section]) for one in entries]
        lines.append(f"\n{section}: {(kinds[0][1] if entry else SECTIONS[section]).__doc__}")
        found: dict[tuple[str, str, str], list[str]] = {}
        for network, kind in kinds:
            for f in keys_of({section: kind}).values():
                choices = f.metadata["choices"]
                text = f.metadata["help"] + (f" ({'|'.join(map(str, choices))})" if choices else "")
                default = network if (section, f.name) == ("model", "name") and entry else default_of(f)
                found.setdefault((f.name, _plain(default), text), []).append(network)
        for (name, default, text), owners in found.items():
            whose = f"{', '.join(owners)}: " if len(owners) < len(entries) else ""
            lines.append(f"  {f'{section}.{name}={default}':42} {whose}{text}")
    return "\n".join(lines)


def all_keys() -> dict[str, Field]:
    """The keys of all networks of this package: dotted key → a dataclass field of that name."""
    return {key: field for entry in networks().values() for key, field in keys_of(entry.schema).items()}


def owners(key: str) -> list[str]:
    """Networks of this package that have a key."""
    return [name for name, entry in networks().items() if key in keys_of(entry.schema)]


def what_is(key: str, entry: Network, section: str) -> str:
    """Why a key cannot be set for a network, and what to do.

    Args:
        section: whose keys the command uses most.
    """
    if key in entry.renamed:
        return f"is called {entry.renamed[key]} for {entry.name}"
    if whose := owners(key):
        return f"is a key of {', '.join(whose)}, not of {entry.name}: leave it out"
    return nearest_key(key, keys_of(entry.schema), section)


def type_name(f: Field) -> str:
    """What the values of a key are, for messages."""
    names = {
        "str": "text",
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "list[int]": "a list of whole numbers",
        "list[float]": "a list of numbers",
        "list[str]": "a list of texts",
        "list[dict[str, Any]]": "a list of mappings",
    }
    kind = str(f.type)
    optional = kind.endswith(" | None")
    return names[kind.removesuffix(" | None")] + (" or null" if optional else "")


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(_plain, value))}]"
    return str(value)
