"""docs/keys.md: every key of the original systems has its key here or a reason for having none."""

from __future__ import annotations

import os
import re
from dataclasses import fields
from pathlib import Path

import pytest

from mspose.config.describe import all_keys
from mspose.config.originals import Row, markdown
from mspose.config.originals import rows as all_rows
from mspose.config.schema import FLAGS, Config
from mspose.networks import networks
from tests.conftest import ROOT

# Document number → the system's name in the table and the fewest keys that its document must be found to hold.
SYSTEMS = {
    "000": ("AlphaPose", 40),
    "001": ("OpenPose", 30),
    "002": ("SimplePoseNet", 55),
    "003": ("AlphaPose (Ascend-PyTorch)", 20),
    "004": ("simple_baselines", 25),
}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return list(all_rows())


@pytest.mark.parametrize("documented", [True, False])
def test_the_document_shows_the_table(documented: bool) -> None:
    """To write docs/keys.md anew, print `mspose.config.originals.markdown`."""
    assert markdown(documented) in (ROOT / "docs" / "keys.md").read_text(encoding="utf-8")


def test_every_key_here_exists(rows: list[Row]) -> None:
    assert [(row.name, key) for row in rows for key in row.here if key not in all_keys()] == []


def test_every_row_has_a_key_or_a_reason(rows: list[Row]) -> None:
    assert [row for row in rows if not row.here and len(row.note.split()) < 3] == []


def test_rows_are_unique(rows: list[Row]) -> None:
    names = [(row.system, row.name) for row in rows]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def test_systems_are_the_five(rows: list[Row]) -> None:
    assert {row.system for row in rows} == {name for name, _ in SYSTEMS.values()}


def test_keys_and_flags_named_in_notes_exist(rows: list[Row]) -> None:
    named = {word for row in rows for word in re.findall(r"`([^`]+)`", row.note)}
    known = {*all_keys(), "--config", *(f"--{flag}" for flag in FLAGS)}
    assert sorted(named - known) == []


def test_what_is_called_missing_is_missing(rows: list[Row]) -> None:
    """Whoever adds a section or a network is reminded to name its keys in the table."""
    there_now = {f.name for f in fields(Config)} | set(networks())
    promised = {match[1] for row in rows if (match := re.match(r"not yet: comes with (\w+)", row.note))}
    assert sorted(promised & there_now) == []


@pytest.mark.parametrize("number", SYSTEMS)
def test_every_documented_key_is_listed(number: str) -> None:
    name, fewest = SYSTEMS[number]
    documented = documented_keys(seed_document(number))
    assert len(documented) >= fewest
    listed = {row.name for row in all_rows() if row.documented and row.system == name}
    assert sorted(documented - listed) == []
    assert sorted(listed - documented) == [], "listed, but the document has no such key"


def seed_document(number: str) -> str:
    folder = Path(os.environ.get("POSE_SEEDS_DIR", ROOT.parent / "shared" / "seeds"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: set POSE_SEEDS_DIR to the folder of the original documents")
    (path,) = folder.glob(f"{number}_*.txt")
    return path.read_text(encoding="utf-8")


def documented_keys(text: str) -> set[str]:
    """Names of the keys and flags in a system's document, found by how they are written.

    Those are `--flag`, `SECTION.KEY`, a quoted "SECTION_KEY", "key=value" and "key: value" in quotes of any kind (the
    settings on ModelArts), and in code blocks `KEY = value`, `'key': value` and nested YAML.
    """
    keys = set(re.findall(r"(?<![\w-])--([a-z_]+)", text))
    keys |= set(re.findall(r"\b(?:config\.)?[A-Z][A-Z_]+\.[A-Z][A-Z_]+\b", text))
    keys |= set(re.findall(r'"([A-Z]+_[A-Z_]+)"', text))
    keys |= set(re.findall(r'["“”]([A-Za-z_.]+)[=:：]', text))
    for _, block in re.findall(r"^( *)```[^`\n]*\n(.*?)^\1```", text, flags=re.DOTALL | re.MULTILINE):
        keys |= set(re.findall(r"^([A-Za-z_.]+) = ", block, flags=re.MULTILINE))
        keys |= set(re.findall(r"^ *'([a-z_ ]+)':", block, flags=re.MULTILINE))
        keys |= yaml_keys(block)
    return keys


def yaml_keys(block: str) -> set[str]:
    """Dotted keys that have a value in a block that is YAML from its first to its last line; else none.

    A YAML parser does not do: the documents leave out the space after a colon.
    """
    lines = [line for line in block.splitlines() if line.strip() not in ("", "...") and line.lstrip()[0] != "#"]
    matches = [re.fullmatch(r"( *)(\w+) ?:(.*)", line) for line in lines]
    if len(matches) < 2 or not all(matches):
        return set()
    keys, parents = set(), []
    for indent, name, value in (match.groups() for match in matches):
        parents = [(depth, parent) for depth, parent in parents if depth < len(indent)]
        if value.strip() and not value.strip().startswith("#"):
            keys.add(".".join([*(parent for _, parent in parents), name]))
        else:
            parents.append((len(indent), name))
    return keys


def test_keys_are_found_in_every_notation() -> None:
    text = (
        'python x.py --imgpath_val A\nset “eval_file: x”, `TRAIN.LR` and "TEST_FILE"\n'
        "```python\nNUM_LAYERS = 50  # layers\n```\n  ```x\n  'loss scale': 16\n  ```\n"
        "```text\nDATASET:\n  TRAIN:\n    ROOT:../coco\n# next\nMODEL:\n  NAME : 'a'\n```\n"
        "```text\nresults saved\nAP: 0.7\n```\n"
    )
    assert documented_keys(text) == {
        "imgpath_val",
        "eval_file",
        "TRAIN.LR",
        "TEST_FILE",
        "NUM_LAYERS",
        "loss scale",
        "DATASET.TRAIN.ROOT",
        "MODEL.NAME",
    }
