"""Which software this is: the version, and the commit where it runs from a git checkout of its own."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

__version__ = "1.0.0"


@cache
def commit() -> str:
    """Commit of the checkout that this package runs from, `-dirty` behind it where files differ from it.

    Empty where the package is installed, also inside somebody else's checkout, or git cannot tell.
    """
    root = Path(__file__).resolve().parents[2]
    if not ((root / ".git").exists() and (root / "src" / "mspose").is_dir()):
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


def software() -> dict[str, str]:
    """Version and commit (empty: unknown), as they are written into cards, metrics and configurations."""
    return {"mspose": __version__, "commit": commit()}
