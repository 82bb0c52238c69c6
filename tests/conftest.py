"""Fixtures shared by the tests: where reference numerics and real pictures are."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# For the commands that tests start.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))


def _folder(variable: str, default: str) -> Path:
    path = Path(os.environ.get(variable, ROOT.parent / "shared" / default))
    if not path.is_dir():
        pytest.skip(f"{path} is absent: set {variable} to the folder of {default}")
    return path


@pytest.fixture(autouse=True)
def _plain_logger() -> None:
    """Undo what a command run inside the test process did to the logger."""
    logger = logging.getLogger("pose")
    logger.propagate, logger.handlers = True, []


@pytest.fixture(scope="session")
def parity_dir() -> Path:
    """Folder of the reference numerics (`POSE_PARITY_DIR`)."""
    return _folder("POSE_PARITY_DIR", "parity")


@pytest.fixture(scope="session")
def coco_mini() -> Path:
    """A small part of COCO 2017 in the standard layout (`POSE_COCO_MINI_DIR`)."""
    return _folder("POSE_COCO_MINI_DIR", "coco-mini")


@pytest.fixture(scope="session")
def sample_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generated data set of drawn people: 24 training and 10 evaluation pictures."""
    from mspose.synthetic.sample import generate

    root = tmp_path_factory.mktemp("sample")
    generate(root, 24, 10)
    return root
