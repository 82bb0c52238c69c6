"""Packages that are not there, and the one line that says how to install them. Imports none of them itself."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from mspose.errors import PoseError

# Module → what pip installs: what everything here needs, and what only some uses do (see pyproject.toml).
BASE = {
    "numpy": "numpy>=1.26,<3",
    "cv2": "opencv-python-headless>=4.8,<5",
    "omegaconf": "omegaconf>=2.4,<3",
    "yaml": "pyyaml>=6,<7",
    "scipy": "scipy>=1.11,<2",
    "tqdm": "tqdm>=4.66,<5",
    "onnxruntime": "onnxruntime>=1.18,<2",
    "pycocotools": "pycocotools>=2.0.7,<3",
}
# Package → the extra of this package that brings it.
EXTRAS = {
    "mindspore": "train",
    "matplotlib": "train",
    "onnx": "train",
    "gradio": "page",
    "PIL": "page",
    "openvino": "openvino",
}


def need(module: str) -> ModuleType:
    """Import a module of a package that may be missing.

    Raises:
        PoseError: the package is not installed, or cannot be imported; the message names what to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise PoseError(missing(error)) from error


def check_installed(module: str) -> None:
    """Raise as `need` does where a package is not installed; import nothing where it is."""
    if not is_there(module):
        need(module)


def is_missing(error: Exception) -> bool:
    """Whether an error says that one of these packages is not installed, or lacks what it builds on."""
    return isinstance(error, ImportError) and _package(error) in (*BASE, *EXTRAS)


def missing(error: Exception) -> str:
    """One line on a package that cannot be imported, and the command that installs it."""
    package = _package(error)
    if package in BASE:
        wanted = [requirement for name, requirement in BASE.items() if name == package or not is_there(name)]
        return (
            f"this needs {package}, which cannot be imported ({error}): "
            f"python -m pip install {' '.join(map(repr, wanted))}"
        )
    if package not in EXTRAS:
        return f"{package or 'a package'} cannot be imported: {error}"
    return f"this needs {package}, which cannot be imported ({error}): pip install 'mspose[{EXTRAS[package]}]', or " + (
        f"'.[{EXTRAS[package]}]' in the checkout"
    )


def _package(error: Exception) -> str:
    return str(getattr(error, "name", "") or "").partition(".")[0]


def is_there(name: str) -> bool:
    """Whether a package is installed."""
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False
