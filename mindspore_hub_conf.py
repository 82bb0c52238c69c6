"""Entry point for MindSpore Hub: `create_network(name)` builds a network of this repository."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))  # a bare checkout needs no installation

from mspose import create_model, list_models
from mspose.config.recipes import recipes
from mspose.errors import UsageError
from mspose.networks import networks

if TYPE_CHECKING:
    from mindspore import nn

# What MindSpore's model zoo calls its OpenPose.
ALIASES = {"openposenet": "openpose"}


def create_network(name: str, ckpt: str | Path = "", vggpath: str | Path = "", **options: Any) -> nn.Cell:
    """Build a network and, where files are named, load its weights.

    Args:
        name: a network with its defaults ("hrnet"; openposenet, as the OpenPose of MindSpore's model zoo is called, is
            openpose), or a recipe in configs/ or configs/pretrained/ by the name of its file ("fast_res50_256x192").
        ckpt: weights of the whole network, in any form that `--ckpt` takes; what is known about their origin sets the
            variant of the network.
        vggpath: backbone to start from (vgg19.ckpt, resnet50.ckpt), by the name that openposenet gives it.
        options: keys of the section `model` with their values (`depth=101`), and `skeleton`.

    Returns:
        The network in training mode, as every new one; `set_train(False)` before it predicts.

    Raises:
        UsageError: unknown name or option.
        PoseError: a file that is missing or holds another network.
    """
    model = ALIASES.get(name, name)
    if model not in (*list_models(), *recipes()):
        raise UsageError(
            f"no network called {name!r}: there are {', '.join([*networks(), *ALIASES])}, and the recipes in configs/ "
            "and configs/pretrained/"
        )
    return create_model(model, ckpt, vggpath, **options)
