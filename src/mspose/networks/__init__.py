"""The networks: one entry file each, found by itself. Nothing here imports MindSpore before a network is built."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from mspose.config.schema import Config
from mspose.errors import UsageError
from mspose.methods.base import Method
from mspose.networks.base import Network
from mspose.skeleton import load_skeleton

if TYPE_CHECKING:
    from mindspore import nn


@cache
def networks() -> dict[str, Network]:
    """The networks of this package by name: what each module beside this one calls NETWORK."""
    modules = (module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")
    entries = (import_module(f"{__name__}.{name}").NETWORK for name in sorted(modules))
    return {entry.name: entry for entry in entries}


def find_network(name: str) -> Network:
    """The entry that `model.name` names.

    Raises:
        UsageError: there is none.
    """
    if name not in networks():
        raise UsageError(f"model.name must be one of {', '.join(networks())}, not {name!r}")
    return networks()[name]


def method_of(config: Config) -> Method:
    """The method of the configured network, with its codec.

    Raises:
        UsageError: a value of `codec`, or the skeleton, cannot be used.
    """
    entry = find_network(config.model.name)
    return entry.method(config, entry.codec(config, load_skeleton(config.data.skeleton)))


def build_model(config: Config) -> nn.Cell:
    """The configured network in MindSpore, with the outputs that its skeleton needs and random weights."""
    return find_network(config.model.name).build(config.model, load_skeleton(config.data.skeleton))
