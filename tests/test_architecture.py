"""The floors of the package: no import runs upward, no two modules need each other, and MindSpore stays where it is."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from mspose.networks import networks
from tests.conftest import ROOT

SOURCE = ROOT / "src"
# From the ground up. A module may import from its own floor and those below it. A longer name counts before a shorter.
FLOORS = (
    ("errors", "version", "extras", "archives", "config.originals", "config.recipes", "config.hints"),
    ("files", "filenames", "skeleton", "images", "geometry", "config.keys", "config.schema", "config.format1"),
    ("config.topdown", "config.bottomup", "config.text", "visual", "evaluation", "tracking"),
    ("poses", "codecs", "checkpoints.names", "synthetic", "runtime"),
    ("data", "detection.boxes"),
    ("methods", "hub"),
    ("models",),
    ("networks",),
    ("config.builder", "config.describe", "config.stages", "config.values"),
    ("checkpoints",),
    ("resolve", "outputs", "backends"),
    ("convert_data", "detection", "migrate", "export", "deploy", "train", "evaluate", "estimator", "create"),
    ("demo", "checkpoints.convert", "cli", "diagnose"),
    ("commands", "__main__"),
)
# What is written in Gradio, which comes with the extra `page`.
GRADIO = ("demo.page_components", "demo.page_layout")
# What computes with MindSpore; everything else can be imported without it.
MINDSPORE = ("models", "train", "checkpoints.io", "checkpoints.initial")


@cache
def modules() -> dict[str, Path]:
    """Name behind `mspose.` → file."""
    root = SOURCE / "mspose"
    names = {path: ".".join(path.relative_to(root).with_suffix("").parts) for path in root.rglob("*.py")}
    return {re.sub(r"(^|\.)__init__$", "", name): path for path, name in names.items()}


def imports(name: str, everywhere: bool = True) -> set[str]:
    """Modules of the package that a module imports; also those inside of functions if `everywhere`."""
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mspose":
            base = node.module.removeprefix("mspose").lstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".lstrip(".")
                found.add(inner if inner in modules() else base)
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("mspose.") for alias in node.names if alias.name.startswith("mspose.")}
    return found - {name, ""}


def floor(name: str) -> int:
    matches = [
        (len(prefix), level)
        for level, prefixes in enumerate(FLOORS)
        for prefix in prefixes
        if name == prefix or name.startswith(f"{prefix}.")
    ]
    return max(matches)[1] if matches else -1


def test_every_module_has_a_floor() -> None:
    assert [name for name in modules() if name and floor(name) < 0 and name != "config"] == []


def test_no_import_runs_upward() -> None:
    upward = [
        f"{name} (floor {floor(name)}) imports {other} (floor {floor(other)})"
        for name in modules()
        for other in imports(name)
        if name and floor(other) > floor(name)
    ]
    assert upward == []


def test_no_two_modules_need_each_other() -> None:
    graph = {name: imports(name) for name in modules()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " → ".join([*path[path.index(name) :], name])
        if name not in done:
            for other in graph[name]:
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def is_free(name: str) -> bool:
    return not any(name == prefix or name.startswith(f"{prefix}.") for prefix in MINDSPORE)


def test_everything_but_what_computes_can_be_imported_without_mindspore() -> None:
    free = [f"mspose.{name}".rstrip(".") for name in modules() if is_free(name) and name not in ("__main__", *GRADIO)]
    exceptions = ["mspose.train.schedule", "mspose.train.records", "mspose.train.curves", "mspose.train.trainer"]
    code = (
        "import sys; sys.modules['mindspore'] = None\nfrom importlib import import_module\n"
        f"for name in {[*free, *exceptions]!r}:\n    import_module(name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr[-500:]) == (0, "")


@pytest.mark.parametrize("name", [name for name in modules() if "networks" not in name and "migrate" not in name])
def test_no_code_asks_for_a_network_by_its_name(name: str) -> None:
    """Frozen facts about files of earlier versions may name them."""
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    compared = [
        constant.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        for constant in ast.walk(node)
        if isinstance(constant, ast.Constant) and constant.value in networks()
    ]
    assert compared == []


def test_no_file_is_longer_than_a_reader_can_bear() -> None:
    allowed = {"checkpoints/torch_file.py", "checkpoints/pickled.py", "synthetic/figure.py"}
    long = {
        str(path.relative_to(SOURCE / "mspose"))
        for path in modules().values()
        if len(path.read_text(encoding="utf-8").splitlines()) > 420
    }
    assert long <= allowed


def test_mindspore_reads_no_checkpoint_itself() -> None:
    """A damaged one makes it write beyond an array, and the process crashes; `checkpoints.ckpt_file` reads them."""
    call = re.compile(r"\b(ms|mindspore|serialization)\.load_checkpoint\b|from mindspore.* import .*load_checkpoint")
    assert [name for name, path in modules().items() if call.search(path.read_text(encoding="utf-8"))] == []
