"""README and docs: each command line that they show is one that the programs take.

A line is in a bash block, or stands in backticks and begins with a program. Recipes, options and keys must be there and
keys must be of the recipe's network; files of the reader need not. What follows "…" is left to the reader.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from mspose.cli import Usage, parse, split_arguments
from mspose.commands import COMMANDS
from mspose.config.describe import all_keys
from mspose.config.recipes import find_recipe
from mspose.errors import PoseError, UsageError
from mspose.hub.table import named
from tests.conftest import ROOT
from tests.test_readme import PAGES, blocks, page, spans
from tests.test_scripts import GRAMMAR

SCRIPTS = {command.script: name for name, command in COMMANDS.items() if command.script}
PROGRAM = re.compile(r"(?:[A-Z_]+=\S+ )*(?:mspose [a-z]|python [\w/]+\.py\b|python -m mspose|bash scripts/)")
RECIPE = "configs/simplepose_r50_256x192.yaml"
# What stands for a file or a recipe; the letters are those of docs/commands.md.
MEANT = {
    "CONFIG": RECIPE,
    "RECIPE": RECIPE,
    "R": RECIPE,
    "F": "configs/fastpose_r50_256x192.yaml",
    "A": "configs/fastpose_r50_256x192_alphapose.yaml",
    "O": "configs/openpose_vgg19_368.yaml",
    "O8": "configs/openpose_vgg19_368_8p.yaml",
    "…": RECIPE,
}
# Options of the scripts that start several hosts.
HOSTS = ("--hosts", "--host_rank", "--master", "--restarts")
PAGES_WITH_COMMANDS = [name for name in PAGES if name != "CHANGELOG.md"]


class Taken(Exception):
    """The arguments are those of the command."""


def lines(text: str) -> Iterator[str]:
    """Each command of a text; of a table that says what other programs took and what is typed here, the latter."""
    if "| there | here |" in text:
        text = "\n".join(line.rstrip("| ").rpartition(" | ")[2] for line in text.splitlines())
    for block in blocks(text):
        if block.startswith(("```bash", "```\n")):
            body = block.partition("\n")[2].replace("\\\n", " ")
            yield from (line.strip() for line in body.splitlines() if PROGRAM.match(line.strip()))
    for span in spans(text):
        if PROGRAM.match(span):
            yield span


def written(text: str) -> frozenset[str]:
    """Files that the reader saves or makes while following a text: recipes of their own, and weights."""
    return frozenset(re.findall(r"[\w./-]*mine[\w./-]*\.yaml", text))


def words(line: str) -> list[str]:
    """As a shell splits it: without variables before it, comments, what is optional, and what is left out."""
    line = re.sub(r"\[[A-Z_]+(?:=\w+)?\]", "", re.sub(r"^(?:[A-Z_]+=\S+ )+", "", line))
    given = shlex.split(line, comments=True)
    return [word for word in given if word != "--fg" and word != "section.key=value"]


def without_rest(argv: list[str]) -> list[str]:
    """Arguments but for "…" that stands for more of them; behind an option it stands for its value."""
    return [word for before, word in zip(["", *argv], argv) if word != "…" or before.startswith("--")]


def keys_fault(overrides: dict[str, object]) -> str:
    unknown = [key for key in overrides if key not in all_keys()]
    return f"no keys: {unknown}" if unknown else ""


def config_fault(name: str, argv: list[str], own: frozenset[str]) -> str:
    """What is wrong with the arguments of a command that takes a configuration."""
    command = COMMANDS[name]
    usage = Usage(section=command.section, argument=command.argument, weights=command.weights)
    argv = [MEANT.get(word, word) for word in without_rest(argv) if word != "--help"]
    try:
        recipe, overrides = split_arguments(argv, usage)
        fault = keys_fault(overrides)
        if fault or recipe in own:
            return fault
        if recipe:
            find_recipe(recipe)
        weights = str(overrides.get("runtime.ckpt", ""))
        if re.fullmatch(r"[a-z][\w-]*", weights) and not named(weights):
            return f"no published weights {weights}"
        if recipe or named(weights) or (not weights and command.weights):
            parse(without_values(argv if named(weights) else without(argv, "--ckpt", "runtime.ckpt")), usage)
        elif argv and not weights and "model.name" not in overrides:
            return "neither a recipe nor weights"
    except PoseError as error:
        # Offline, a published file is missed when all else is known to be right.
        return str(error) if isinstance(error, UsageError) else ""
    return ""


def without(argv: list[str], *names: str) -> list[str]:
    """Arguments but for those options and their values."""
    kept, skip = list[str](), False
    for word in argv:
        if not skip and word.partition("=")[0] not in names:
            kept.append(word)
        skip = not skip and word in names
    return kept


def without_values(argv: list[str]) -> list[str]:
    """Arguments but for keys whose value the reader chooses: data.root=DATASET, eval.nms=oks|none, data.mask_dir=…"""
    return [word for word in argv if "…" not in word and not re.search(r"=(?:[A-Z]+|\w+(?:\|\w+)+)$", word)]


def plain_fault(name: str, argv: list[str]) -> str:
    """What is wrong with the arguments of a command that parses them itself."""
    read = argparse.ArgumentParser.parse_args
    options = list[argparse.Namespace]()

    def parse_only(self: argparse.ArgumentParser, args: object = None, namespace: object = None) -> None:
        options.append(read(self, args, namespace))
        raise Taken

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "parse_args", parse_only)
        try:
            COMMANDS[name].function()(argv)
        except Taken:
            pass
        except SystemExit as stop:
            return "" if stop.code == 0 else "the command refuses its arguments"
    return conversion_fault(options[0]) if name == "convert" else ""


def conversion_fault(options: argparse.Namespace) -> str:
    overrides = [word.partition("=")[0] for word in options.overrides]
    try:
        find_recipe(MEANT.get(options.config, options.config) if options.config else RECIPE)
    except UsageError as error:
        return str(error)
    return keys_fault(dict.fromkeys(overrides))


def script_fault(path: str, argv: list[str], own: frozenset[str]) -> str:
    """What is wrong with the arguments of a shell script."""
    script = Path(path).stem
    if path == "scripts/…":
        return ""
    if not (ROOT / path).is_file():
        return f"no script {path}"
    if script == "quickstart":
        known = re.findall(r"^    (\w+)\)", (ROOT / path).read_text(encoding="utf-8"), flags=re.MULTILINE)
        return "" if set(argv) <= {*known, "|"} else f"networks are {known}"
    if script not in GRAMMAR:
        return ""
    if "several_hosts=true" in (ROOT / path).read_text(encoding="utf-8"):
        argv = without([word for word in argv if word != "--dry_run"], *HOSTS)
    usage = GRAMMAR[script].split()
    positional = [word for word in argv if "=" not in word]
    least = sum("[" not in name for name in usage)
    if not least <= len(positional) <= len(usage) and "…" not in " ".join(argv):
        return f"arguments are {' '.join(usage)}"
    given = dict(zip((name.strip("[]").partition("=")[0] for name in usage), positional))
    recipe = given.get("CONFIG", RECIPE)
    command = "eval" if "eval" in script or "310" in script else "train"
    return config_fault(command, ["--config", recipe, *argv[len(positional) :]], own)


@cache
def benchmark_parts() -> list[str]:
    spec = importlib.util.spec_from_file_location("benchmark", ROOT / "scripts" / "benchmark.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.PARTS)


@cache
def fault(line: str, own: frozenset[str] = frozenset()) -> str:
    """What is wrong with a command line; empty: nothing."""
    program, first, *argv = words(line)
    if program == "bash":
        return script_fault(first, argv, own)
    if (program, first) == ("python", "-m"):
        program, first, *argv = argv
    if program == "python":
        if first == "scripts/benchmark.py":
            unknown = set(argv[0].split("|")) - set(benchmark_parts())
            return f"no parts: {sorted(unknown)}" if unknown else ""
        if first not in SCRIPTS:
            return "" if (ROOT / first).is_file() else f"no program {first}"
        program, first = "mspose", SCRIPTS[first]
    if first == "COMMAND":
        return ""
    if first not in COMMANDS:
        return f"no command {first}"
    if COMMANDS[first].takes_config:
        return config_fault(first, argv, own)
    return plain_fault(first, without_rest(argv)) if argv or first == "models" else ""


@pytest.mark.parametrize("name", PAGES_WITH_COMMANDS)
def test_commands_are_taken(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSPOSE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MSPOSE_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    own = written(page(name))
    faults = {line: fault(line, own) for line in dict.fromkeys(lines(page(name)))}
    assert [f"{line}: {found}" for line, found in faults.items() if found] == []


def test_faults_are_found() -> None:
    wrong = {
        "mspose lost": "no command lost",
        "mspose train --config simplepose_r51_256x192": "simplepose_r50_256x192",
        "python train.py --config configs/simplepose_r50_256x192.yaml train.lost=1": "train.lost",
        "python train.py --config configs/simplepose_r50_256x192.yaml codec.paf_width=1": "codec.paf_width",
        "python eval.py --ckpt best.ckpt eval.lost=1": "eval.lost",
        "python eval.py --config configs/simplepose_r50_256x192.yaml --lost 1": "--lost",
        "python eval.py data.root=x": "neither",
        "mspose eval --ckpt rtmpose-q": "no published weights",
        "python lost.py": "no program lost.py",
        "mspose sample x --lost": "refuses",
        "mspose convert --config configs/lost.yaml --src a --dst b": "lost.yaml",
        "mspose convert --src a --dst b data.lost=1": "data.lost",
        "mspose ignore-mask --train_ann … …": "refuses",
        "bash scripts/lost.sh": "no script",
        "bash scripts/run_eval.sh CPU CONFIG CKPT": "arguments are",
        "bash scripts/run_eval.sh CPU CONFIG CKPT DATASET eval.lost=1": "eval.lost",
        "bash scripts/quickstart.sh lost": "networks are",
        "python scripts/benchmark.py lost|nms": "lost",
    }
    for line, clause in wrong.items():
        assert clause in fault(line), line


def test_lines_of_blocks_and_spans_are_found() -> None:
    text = "`mspose demo\nx.jpg`, `mspose`\n\n```bash\nA=1 bash scripts/test.sh  # y\ncd z\n```\n| `python demo.py` |\n"
    assert list(lines(text)) == ["A=1 bash scripts/test.sh  # y", "mspose demo x.jpg", "python demo.py"]
    assert words("A=1 bash scripts/x.sh CONFIG [N=8] …  # y") == ["bash", "scripts/x.sh", "CONFIG", "…"]
