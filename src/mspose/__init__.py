"""Human pose estimation on MindSpore: one data pipeline and evaluator, interchangeable networks."""

from typing import TYPE_CHECKING

from mspose.version import __version__

if TYPE_CHECKING:
    from mspose.create import create_model, list_models
    from mspose.estimator import PoseEstimator
    from mspose.poses import Poses

__all__ = ["PoseEstimator", "Poses", "__version__", "create_model", "list_models"]

# Loaded when asked for: commands import this package for their help texts.
_HOMES = {
    "PoseEstimator": "mspose.estimator",
    "Poses": "mspose.poses",
    "create_model": "mspose.create",
    "list_models": "mspose.create",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
