"""Disks that fail while something is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


def fill(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the disk be full when a text file is written that becomes `name`, under whatever temporary name."""
    write, becomes = Path.write_text, Path(name)

    def write_text(path: Path, *args: object, **kwargs: object) -> int:
        if path.name.lstrip(".").startswith(becomes.stem) and path.suffix == becomes.suffix:
            write(path, "half")
            raise OSError(28, os.strerror(28))
        return write(path, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "write_text", write_text)


def interrupt(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Let Ctrl-C come while files are written: "amid" the first, "between" two getting their names."""
    done: list[object] = []

    def stopping(function: Callable, after: int) -> Callable:
        def stopped(*args: object, **kwargs: object) -> object:
            if len(done) == after:
                raise KeyboardInterrupt
            done.append(args)
            return function(*args, **kwargs)

        return stopped

    if moment == "amid":
        monkeypatch.setattr(Path, "write_text", stopping(Path.write_text, 0))
    else:
        monkeypatch.setattr(Path, "replace", stopping(Path.replace, 1))


def contents(folder: Path) -> dict[str, bytes]:
    """What the files of a folder hold, those of the lock and list of results left out."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name[0] != "."}
