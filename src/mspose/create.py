"""Networks by name, for whoever builds something of his own on them; nothing heavy is imported before one is built."""

from __future__ import annotations

from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mspose.config.recipes import recipes
from mspose.errors import PoseError, UsageError
from mspose.files import file_fault
from mspose.hub.cache import local
from mspose.hub.table import meant, named
from mspose.networks import networks
from mspose.resolve import resolve
from mspose.runtime.device import prepare_environment

if TYPE_CHECKING:
    from mindspore import nn


def list_models(pattern: str = "*") -> list[str]:
    """What `create_model` knows by name: the networks with their defaults, and the recipes.

    Args:
        pattern: of a shell, such as "fastpose*" or "*384x288".
    """
    short = [name for name in recipes() if not name.startswith("pretrained/")]
    return [name for name in (*networks(), *sorted(short)) if fnmatchcase(name, pattern)]


def create_model(model: str | Path, ckpt: str | Path = "", backbone: str | Path = "", **keys: Any) -> nn.Cell:
    """Build a network in MindSpore and, where files are named, load its weights.

    Args:
        model: a recipe, by name or file; or a network with its defaults: one of `list_models()`, or package.module of
            one outside this package.
        ckpt: weights of the whole network, in any form that `--ckpt` takes, or the name of published ones; what lies
            beside them sets its variant.
        backbone: ImageNet weights to start from.
        keys: keys of the section `model` with their values (`depth=101`), and `skeleton`.

    Returns:
        The network in training mode, as every new one; `set_train(False)` before it predicts. Its input is
        (N, 3, height, width); its outputs are the maps that its codec names.

    Raises:
        UsageError: unknown name or key.
        PoseError: a file that is missing or holds another network.
    """
    for path in (ckpt, backbone):
        fault = file_fault(path) if path and named(path) is None else ""
        if fault:
            raise PoseError(f"file of weights {fault}: {path}{meant(path)}")
    name = str(model)
    overrides = {"data.skeleton" if key == "skeleton" else f"model.{key}": value for key, value in keys.items()}
    if ckpt:
        overrides["runtime.ckpt"] = str(ckpt)
    is_recipe = name in recipes() or Path(name).suffix == ".yaml"
    if not is_recipe:
        if name not in networks() and "." not in name:
            close = get_close_matches(name, list_models(), n=1, cutoff=0.5)
            raise UsageError(
                f"no model called {name!r}: " + (f"did you mean {close[0]}?" if close else "see list_models()")
            )
        overrides["model.name"] = name
    config = resolve(model if is_recipe else None, overrides, "create_model")
    prepare_environment()
    from mspose.checkpoints.initial import load_backbone, load_checkpoint
    from mspose.networks import build_model

    network = build_model(config)
    backbone = local(backbone or config.model.pretrained, config.runtime)
    if backbone:
        load_backbone(network, backbone, config)
    if ckpt:
        load_checkpoint(network, config)
    return network
