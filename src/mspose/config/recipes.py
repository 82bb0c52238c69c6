"""Where recipes are, and how they are found by name from any folder."""

from __future__ import annotations

import difflib
import os
from functools import cache
from pathlib import Path

from mspose.errors import UsageError

# Parts of recipes, and keypoint sets: not found by a bare name.
PARTS = ("base", "skeletons")


@cache
def recipe_folder() -> Path:
    """The recipes of this package: inside it where it is installed, else `configs` of the checkout."""
    inside = Path(__file__).resolve().parents[1] / "configs"
    return inside if inside.is_dir() else Path(__file__).resolve().parents[3] / "configs"


@cache
def recipes() -> dict[str, Path]:
    """Recipes by name: `simplepose_r50_256x192`, `quickstart/simplepose`; those in pretrained/ by either form."""
    folder = recipe_folder()
    found = {str(p.relative_to(folder).with_suffix("").as_posix()): p for p in sorted(folder.rglob("*.yaml"))}
    found = {name: path for name, path in found.items() if not name.startswith(tuple(f"{part}/" for part in PARTS))}
    short = {name.removeprefix("pretrained/"): path for name, path in found.items() if name.startswith("pretrained/")}
    return {**short, **found}


def find_recipe(named: str | Path, published: str = "") -> Path:
    """The file of a recipe: a path, or the name of one of `recipes()`, also written as configs/NAME.yaml.

    Args:
        published: name of published weights that may be meant instead; empty: none.

    Raises:
        UsageError: neither; the nearest name is suggested.
    """
    path = Path(os.path.expanduser(named))
    if path.is_file():
        return path
    name = path.as_posix().removeprefix("configs/").removesuffix(".yaml").removesuffix(".yml")
    part = recipe_folder() / f"{name}.yaml"
    if name in recipes():
        return recipes()[name]
    if part.is_file() and part.resolve().is_relative_to(recipe_folder().resolve()):
        return part
    if path.exists():  # what it is instead of a file, whoever reads it says
        return path
    # By the whole name, which tells quickstart/simplepose from others, or by its last part: it may be a path.
    last = {known.rpartition("/")[2]: known for known in reversed(recipes())}
    close = difflib.get_close_matches(name, recipes(), n=1, cutoff=0.7) or [
        last[found] for found in difflib.get_close_matches(name.rpartition("/")[2], last, n=1, cutoff=0.5)
    ]
    if published:
        close.append(f"the published {published}")
    hint = f"did you mean {' or '.join(close)}?" if close else f"recipes are in {recipe_folder()}"
    raise UsageError(f"configuration file not found: {named}; {hint}")
