"""Human pose estimation on MindSpore: one data pipeline and evaluator, interchangeable networks."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from src.estimator import PoseEstimator

__all__ = ["PoseEstimator"]


def __getattr__(name: str) -> object:
    # Loaded when asked for: the scripts import this package for their help texts.
    if name == "PoseEstimator":
        from src.estimator import PoseEstimator

        return PoseEstimator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
