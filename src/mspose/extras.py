"""Packages that only some uses need, and how to install them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from mspose.errors import PoseError

# Package → the extra of this package that brings it (see pyproject.toml).
EXTRAS = {
    "mindspore": "train",
    "pycocotools": "train",
    "matplotlib": "train",
    "onnx": "train",
    "gradio": "page",
}


def need(module: str) -> ModuleType:
    """Import a module of an optional package.

    Raises:
        PoseError: the package is not installed, or cannot be imported; the message names what to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise PoseError(missing(error)) from error


def is_optional(error: Exception) -> bool:
    """Whether an optional package is missing."""
    return isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in EXTRAS


def missing(error: Exception) -> str:
    """One line on a package that cannot be imported, and the command that installs it."""
    package = str(getattr(error, "name", "") or "").partition(".")[0]
    if package not in EXTRAS:
        return f"{package or 'a package'} cannot be imported: {error}"
    return f"this needs {package}, which cannot be imported ({error}): pip install 'mspose[{EXTRAS[package]}]', or " + (
        f"'.[{EXTRAS[package]}]' in the checkout"
    )
