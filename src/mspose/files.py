"""Writing results so that a reader never meets half a file."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mspose.errors import PoseError


@contextmanager
def atomic_path(path: str | Path, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it into place when the block ends well, remove it otherwise.

    The temporary name keeps the suffix of `path`, since writers such as OpenCV choose the format by it.

    Args:
        durable: wait until the content is on the disk, so that a power cut leaves the old file or the new one.

    Raises:
        PoseError: the folder cannot be written to or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
        os.close(handle)
    except OSError as error:
        raise _cannot_write(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; results get the permissions any other new file would have.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        if durable:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> Path:
    """Write `text` to `path` atomically, as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: str | Path, value: object, indent: int | None = None) -> Path:
    """Write `value` as JSON to `path` atomically; NumPy scalars and arrays become numbers and lists."""
    return write_text(path, json.dumps(value, indent=indent, default=_plain))


def read_json(path: str | Path, what: str) -> Any:
    """Read a JSON file; `what` names its role in the error ("annotation file").

    Raises:
        PoseError: the file is missing, unreadable or not JSON (the place is named).
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return json.load(file)
    except FileNotFoundError as error:
        raise PoseError(f"{what} not found: {path}") from error
    except OSError as error:
        raise PoseError(f"{what} cannot be read: {path}: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PoseError(f"{what} is not valid JSON (cut short?): {path}: {error}") from error


def check_writable(folder: str | Path) -> Path:
    """Create `folder` and prove that files can be written there, before any work is done for it.

    Raises:
        PoseError: it cannot.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PoseError(
            f"output folder cannot be written: {folder}: {error.strerror}; choose another with output=DIR"
        ) from error
    return folder


def _cannot_write(path: Path, error: OSError) -> PoseError:
    return PoseError(f"cannot write {path}: {error.strerror or error}")


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON serialisable")
