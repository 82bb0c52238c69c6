"""docs/models: a page for each network, with every recipe of it, figures that are computed, and commands that work."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from mspose.checkpoints.convert import main as convert
from mspose.cli import parse
from mspose.config.builder import load_config
from mspose.config.recipes import recipes
from mspose.networks import networks
from tests.checkpoints.mmpose_graph import pipeline, write_vectors
from tests.conftest import ROOT
from tests.detection.mmdet_graph import write_zip
from tests.messages import tells_of
from tests.test_readme import blocks, links
from tests.test_scripts import GRAMMAR

FOLDER = ROOT / "docs" / "models"
PAGES = sorted(networks())
HASH = re.compile(r"[0-9a-f]{8}")
# Programs whose arguments are those of `mspose.cli`.
PROGRAMS = ("train.py", "eval.py", "demo.py", "export.py")
# Networks that take well under a second to build and run.
SMALL = ("quickstart/simplepose", "quickstart/fastpose", "fastpose_coco_mini", "quickstart/openpose")

each = pytest.mark.parametrize("page", PAGES)


@cache
def text(page: str) -> str:
    return (FOLDER / f"{page}.md").read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    """What stands below a heading."""
    return re.split(r"^## ", text(page), flags=re.MULTILINE)[titles(page).index(title) + 1]


def titles(page: str) -> list[str]:
    return re.findall(r"^## (.*)$", text(page), flags=re.MULTILINE)


def rows(page: str, title: str) -> list[dict[str, str]]:
    """Of the first table of a section each row, column → cell."""
    lines = re.findall(r"^\|(.*)\|$", section(page, title).partition("\n\nHow ")[0], flags=re.MULTILINE)
    head, _, *body = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    return [dict(zip(head, cells)) for cells in body]


@cache
def network_names() -> dict[str, str]:
    """Recipe → its network; those in pretrained/ by their short names."""
    return {n: load_config(path).model.name for n, path in recipes().items() if not n.startswith("pretrained/")}


def recipes_of(page: str, pretrained: bool = False) -> list[str]:
    """Recipes of a network: those that train, or those for published weights."""
    own = [name for name, network in network_names().items() if network == page]
    return [name for name in own if (recipes()[name].parent.name == "pretrained") == pretrained]


def names_in(cell: str) -> list[str]:
    """What is in backticks and is no key=value."""
    return [span for span in re.findall(r"`([^`]+)`", cell) if "=" not in span]


@cache
def model_table() -> ModuleType:
    """scripts/model_table.py, which makes the computed columns."""
    spec = importlib.util.spec_from_file_location("model_table", ROOT / "scripts" / "model_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- what a page holds


def test_there_is_a_page_for_each_network() -> None:
    assert sorted(path.stem for path in FOLDER.iterdir()) == PAGES


@each
def test_sections_are_the_same(page: str) -> None:
    assert titles(page) == [
        "Recipes",
        "Published weights",
        "Train",
        "Evaluate",
        "Use weights elsewhere",
        "What has been run",
    ]


@each
def test_every_recipe_is_in_the_table_once(page: str) -> None:
    named = [name for row in rows(page, "Recipes") for name in names_in(row["recipe"])]
    assert sorted(named) == sorted(recipes_of(page))


@each
def test_weights_name_recipes_of_the_network(page: str) -> None:
    named = {name for row in rows(page, "Published weights") for name in names_in(row["recipe"])}
    assert named <= {*recipes_of(page), *recipes_of(page, pretrained=True)}
    assert named >= set(recipes_of(page, pretrained=True))


@each
def test_hashes_are_those_in_the_names(page: str) -> None:
    """Eight digits in an address are the hash of the row, which is no other's."""
    table = rows(page, "Published weights")
    hashes = [row.get("hash", "–") for row in table]
    assert all(HASH.fullmatch(value) or value == "–" for value in hashes)
    known = [value for value in hashes if value != "–"]
    assert len(set(known)) == len(known)
    for row, value in zip(table, hashes):
        in_address = re.findall(r"-([0-9a-f]{8})_\d{8}\.pth", row["file"])
        assert in_address in ([], [value])


@each
def test_input_sizes_of_weights_are_those_of_their_recipes(page: str) -> None:
    for row in rows(page, "Published weights"):
        size = re.search(r"(256|384)[x_](192|288)", row["file"])
        if size:
            (recipe,) = names_in(row["recipe"])[:1]
            assert load_config(recipes()[recipe]).data.input_size == [int(size[2]), int(size[1])], recipe


@each
def test_published_figures_are_among_those_of_the_recipes(page: str) -> None:
    """The AP of a file stands in the row of its recipe, if that is one that trains."""
    published = {names_in(row["recipe"])[0]: row for row in rows(page, "Recipes")}
    for row in rows(page, "Published weights"):
        recipe = names_in(row["recipe"])[0]
        if recipe in published and "UDP" not in row["whose"]:
            (column,) = [name for name in published[recipe] if name.startswith("published AP")]
            assert row["AP"][:4] in published[recipe][column], row


# ---- computed columns


def compare(page: str, recipe: str) -> None:
    table = model_table()
    (row,) = [row for row in rows(page, "Recipes") if names_in(row["recipe"]) == [recipe]]
    config = load_config(recipes()[recipe])
    cells = table.row(recipe, size_of(recipe), config).strip("| ").split(" | ")
    assert [row[column] for column in ("recipe", "input", "parameters", "GMACs")] == cells


SIZES: dict[str, tuple[int, int]] = {}


def size_of(recipe: str) -> tuple[int, int]:
    """Counted once for recipes of the same network and input."""
    config = load_config(recipes()[recipe])
    same = str((config.model, config.data.input_size))
    SIZES[same] = SIZES.get(same) or model_table().count(config)
    return SIZES[same]


@pytest.mark.parametrize("recipe", SMALL)
def test_figures_of_small_networks_are_computed(recipe: str) -> None:
    compare(network_names()[recipe], recipe)


@each
def test_figures_of_all_networks_are_computed(page: str) -> None:
    for recipe in recipes_of(page):
        compare(page, recipe)


def test_multiply_adds_are_counted_as_defined() -> None:
    """By hand, for a small network: each convolution, deconvolution and dense layer."""
    from mindspore import nn

    table, counted = model_table(), list[int]()
    image = table.ms.Tensor(table.np.zeros((1, 4, 6, 8), table.np.float32))
    cells = {
        nn.Conv2d(4, 10, 3, 2, pad_mode="pad", padding=1): 10 * 3 * 4 * 4 * 9,
        nn.Conv2d(4, 8, 3, pad_mode="same", group=4): 8 * 6 * 8 * 1 * 9,
        nn.Conv2dTranspose(4, 6, 4, 2, pad_mode="pad", padding=1): 4 * 6 * 8 * 6 * 16,
    }
    for cell, expected in cells.items():
        counted.clear()
        output = table._count_call(counted, cell, cell.weight.shape[1:], image)
        assert (counted, output.shape) == ([expected], cell(image).shape)
    dense = nn.Dense(8, 5)
    counted.clear()
    table._count_call(counted, dense, dense.weight.shape[1:], image)
    assert counted == [4 * 6 * 8 * 5]


# ---- what a page names is there


@pytest.mark.parametrize("readme", ["README.md", "README_CN.md", "docs/architecture.md"])
def test_pages_are_linked(readme: str) -> None:
    targets = links((ROOT / readme).read_text(encoding="utf-8"))
    prefix = "models/" if readme.startswith("docs/") else "docs/models/"
    expected = [f"{prefix}{page}.md" for page in PAGES]
    assert sorted(target for target in targets if target.startswith(prefix) and target.endswith(".md")) == expected


def measured(page: str) -> str:
    """ms/image of a network in ONNX Runtime, as docs/benchmarks.md says; a dash where it does not."""
    lines = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8").partition("## Backends")[2].splitlines()
    head = next(line for line in lines if line.startswith("| ms/image")).strip("| ").split(" | ")
    found = [line.strip("| ").split(" | ") for line in lines if line.lower().startswith(f"| {page}")]
    return found[0][head.index("ONNX Runtime")] if found else "–"


@pytest.mark.parametrize("readme", ["README.md", "README_CN.md"])
def test_figures_of_the_readme_are_those_of_the_pages(readme: str) -> None:
    lines = re.findall(
        r"^\| \[.*docs/models/(\w+)\.md\)(.*) \|$", (ROOT / readme).read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(page for page, _ in lines) == PAGES
    for page, line in lines:
        _, _, recipe, ap, parameters, gmacs, speed = line.split(" | ")
        (row,) = [row for row in rows(page, "Recipes") if row["recipe"] == recipe]
        (published,) = [cell for column, cell in row.items() if column.startswith("published AP")]
        assert (row["parameters"], row["GMACs"]) == (parameters, gmacs), page
        assert published.startswith(ap), page
        assert measured(page) == speed, page


# ---- commands


def commands(page: str) -> list[list[str]]:
    """Each command line of the blocks, as a shell splits it."""
    lines = [line for block in blocks(text(page)) if block.startswith("```bash") for line in block.splitlines()[1:-1]]
    return [shlex.split(line, comments=True) for line in lines]


def configured(page: str, argv: list[str]) -> None:
    """The arguments are those of a program here, and about this network."""
    assert parse(argv).model.name == page


def put_published(folder: Path, argv: list[str]) -> None:
    """Stand-ins for the archives that are named without a recipe: they alone say what they are."""
    for name in argv:
        if name.endswith(".zip") and "=" not in name and "--config" not in argv:
            model = write_vectors(folder / "end2end.onnx", names=("simcc_x", "simcc_y"), cell=1)
            write_zip(folder / name, model, pipeline("SimCCLabelDecode", type="SimCCLabel", sigma=[4.9, 5.66]))


@each
def test_programs_take_their_arguments(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no other file of a page is there
    given = [words for words in commands(page) if words[0] == "python"]
    assert {words[1] for words in given} == set(PROGRAMS)
    for words in given:
        put_published(tmp_path, words[2:])
        configured(page, words[2:])


@each
def test_programs_of_the_quickstart_take_their_arguments(page: str, tmp_path: Path) -> None:
    """Those that it runs, and those that it names in the end; a stand-in for Python writes them down."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(f'#!/bin/sh\nprintf "%s\\n" "python $*" >> "{tmp_path}/lines"\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    stamp = "cksum < requirements.txt"
    (tmp_path / "requirements.stamp").write_bytes(subprocess.check_output(["sh", "-c", stamp], cwd=ROOT))
    environment = {**os.environ, "POSE_VENV": str(tmp_path)}
    command = ["bash", str(ROOT / "scripts" / "quickstart.sh"), page]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    lines = [*(tmp_path / "lines").read_text().splitlines(), *re.findall(r"^  (python .*)$", output, re.MULTILINE)]
    given = [shlex.split(line)[1:] for line in lines if not line.startswith("python -m mspose sample")]
    assert [words[0] for words in given] == ["train.py", "eval.py", "demo.py", "train.py", "eval.py"]
    for words in given:
        configured(page, words[1:])


@each
def test_scripts_take_their_arguments(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = [words for words in commands(page) if words[0] == "bash"]
    assert given[0] == ["bash", "scripts/quickstart.sh", page]
    for _, script, *words in given[1:]:
        usage = GRAMMAR[Path(script).stem].split()
        positional = [word for word in words if "=" not in word]
        assert sum("[" not in name for name in usage) <= len(positional) <= len(usage)
        assert words[: len(positional)] == positional
        named = dict(zip((name.strip("[]").partition("=")[0] for name in usage), positional))
        configured(page, ["--config", named["CONFIG"], *words[len(positional) :]])


def conversions(page: str) -> Iterator[list[str]]:
    return (words[2:] for words in commands(page) if words[:2] == ["mspose", "convert"])


@each
def test_conversions_lack_nothing_but_the_file(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    given = list(conversions(page))
    assert given
    for words in given:
        put_published(tmp_path, words)
        is_there = (tmp_path / words[words.index("--src") + 1]).is_file()
        assert convert(words) == (0 if is_there else 1)  # wrong usage is 2
        assert is_there or tells_of(capsys.readouterr().err, words[words.index("--src") + 1])


@each
def test_every_command_is_of_a_kind_that_is_checked(page: str) -> None:
    kinds = {"python", "bash", "mspose"}
    assert {words[0] for words in commands(page)} == kinds
