"""The networks: one entry file each, found by itself. Nothing here imports MindSpore before a network is built."""

from __future__ import annotations

import os
import pkgutil
import sys
from dataclasses import replace
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
    """The networks of this package by name: what modules beside this one call NETWORK."""
    modules = (import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))
    entries = (module.NETWORK for module in modules if hasattr(module, "NETWORK"))
    return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}


def find_network(name: str) -> Network:
    """The entry that `model.name` names: one of `networks()`, or package.module of one outside this package.

    Such a module is looked for on Python's path and in the current folder, and calls its entry NETWORK.

    Raises:
        UsageError: there is none.
    """
    if name in networks():
        return networks()[name]
    if "." not in name or not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"model.name must be one of {', '.join(networks())}, or package.module, not {name!r}")
    return _outside(name)


@cache
def _outside(name: str) -> Network:
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last: nothing there hides an installed package
    try:
        entry = getattr(import_module(name), "NETWORK", None)
    except ImportError as error:
        raise UsageError(f"model.name={name} cannot be imported: {error}") from error
    if not isinstance(entry, Network):
        raise UsageError(f"model.name={name}: the module has no mspose.networks.base.Network called NETWORK")
    # The configuration names it as it was found here.
    return replace(entry, name=name)


def method_of(config: Config) -> Method:
    """The method of the configured network, with its codec.

    Raises:
        UsageError: a value of `codec`, or the skeleton, cannot be used.
    """
    entry = find_network(config.model.name)
    return entry.method(config, entry.codec(config, load_skeleton(config.data.skeleton)))


def build_model(config: Config) -> nn.Cell:
    """The configured network in MindSpore, with the outputs that its skeleton needs and random weights."""
    return find_network(config.model.name).build(config, load_skeleton(config.data.skeleton))
