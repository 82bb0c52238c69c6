"""Configuration files of the original systems, translated into recipes of ours.

    mspose import-config OLD.yaml [--output NEW.yaml]

OLD may be the default_config.yaml of SimplePoseNet, AlphaPose or OpenPose (with the documents of help texts and
choices behind the values), the src/config.py of simple_baselines (its assignments are read, nothing is executed), or
a 256x192_res50_lr1e-3_1x.yaml of AlphaPose on PyTorch. docs/keys.md says which key became which;
`mspose.migrate.values` converts the values.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mspose.config.builder import ConfigBuilder
from mspose.config.describe import all_keys
from mspose.config.originals import Row, rows
from mspose.config.recipes import find_recipe, recipes
from mspose.config.schema import SECTIONS, Config, get
from mspose.config.text import read_text
from mspose.config.values import KeyProblem
from mspose.errors import PoseError, UsageError
from mspose.files import parse_yaml, user_path, write_text
from mspose.migrate.values import Old, Untranslatable, Values, convert

PYTORCH = "AlphaPose (Ascend-PyTorch)"
# What a system's code does whatever its configuration says.
IMPLIED: dict[str, Values] = {
    "SimplePoseNet": {"model.maxpool": "same"},
    "AlphaPose": {"model.shuffle": "block"},
    PYTORCH: {
        "data.color": "rgb",
        "data.scale": 255.0,
        "data.mean": [0.406, 0.457, 0.480],
        "data.std": [1.0, 1.0, 1.0],
        "eval.rescore": "alphapose",
    },
}


@dataclass
class Translation:
    """What became of an original file.

    Attributes:
        system: the system it belongs to, as docs/keys.md calls it.
        base: names of the recipe or parts of recipes that the values complete.
        values: key of ours → value, where it differs from the base.
        same: how many of its values the base holds already.
        left: original key → value and why it could not be translated.
        empty: original keys without a value.
    """

    system: str
    base: list[str]
    values: Values
    same: int = 0
    left: dict[str, str] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)

    def text(self, source: str) -> str:
        """The new file; what was left out follows as comments."""
        text = f"# Translated from {source} ({self.system}). {self.same} of its values are those of the base.\n"
        text += "format: 2\n" + _line("base", self.base[0] if len(self.base) == 1 else self.base)
        for section in SECTIONS:
            keys = [key for key in all_keys() if key in self.values and key.startswith(f"{section}.")]
            if keys:
                text += f"{section}:\n" + "".join(f"  {_line(key.partition('.')[2], self.values[key])}" for key in keys)
        notes = [f"{key}: {reason}" for key, reason in self.left.items()]
        if self.empty:
            notes.append(f"without a value there: {', '.join(self.empty)}")
        if any(str(v).startswith(".") or "/" in str(v) for v in self.values.values()):
            notes.append("paths are taken over as they are: relative ones begin where a command is run")
        if notes:
            text += "\n# Not translated, or to be known:\n" + "".join(f"# {line}\n" for line in notes)
        return text


def _line(key: str, value: Any) -> str:
    text = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=10**6)
    return f"{key}: {text[1:-2]}\n"


def translate(path: str | Path) -> Translation:
    """Translate an original system's configuration file.

    Raises:
        UsageError: the file is missing, cannot be read, or belongs to none of the five systems.
    """
    values = read_values(Path(path))
    known = {(row.system, row.name): row for row in rows()}
    system = _recognise(Path(path), values, known)
    old = Old(system, values)
    translation = Translation(system, [], {})
    found: dict[str, tuple[Any, str]] = {key: (value, system) for key, value in IMPLIED.get(system, {}).items()}
    for key, value in values.items():
        row = known.get((system, key))
        if value is None or value == "" or value == [] or value == {}:
            translation.empty.append(key)
        elif isinstance(value, Expression):
            translation.left[key] = f"{value}: an expression, and nothing of the file is executed"
        elif row is None:
            translation.left[key] = f"{_short(value)}: {system} is not known to have this key"
        elif not row.here:
            translation.left[key] = f"{_short(value)}: {row.note.replace('`', '')}"
        else:
            try:
                _collect(found, key, convert(key, value, row.here, old))
            except Untranslatable as error:
                translation.left[key] = f"{_short(value)}: {error}"
    _compare_with_base(translation, found)
    return translation


def _collect(found: dict[str, tuple[Any, str]], key: str, values: Values) -> None:
    """Add converted values; the first of two that disagree stands (SimplePoseNet's short names come first)."""
    for name, value in values.items():
        before, source = found.setdefault(name, (value, key))
        if before != value:
            raise Untranslatable(f"{name} is {before} already, from {source}")


def _compare_with_base(translation: Translation, found: dict[str, tuple[Any, str]]) -> None:
    """Choose the base, keep what differs from it, and take out what no configuration here can have."""
    translation.base = _base(translation.system, {key: value for key, (value, _) in found.items()})
    base, kept = _built(translation.base, {}), dict(found)
    while True:
        try:
            config = _built(translation.base, kept)
            break
        except KeyProblem as error:
            if error.key not in kept:
                raise UsageError(f"no configuration here can hold these values: {error}") from error
            value, source = kept.pop(error.key)
            translation.left[source] = f"{_short(value)}: {error.key} {error.words}"
    for key in kept:
        if get(config, key) == get(base, key):
            translation.same += 1
        elif key != "codec.heatmap_size":  # which follows from the input
            translation.values[key] = get(config, key)


def _built(base: list[str], values: dict[str, tuple[Any, str]]) -> Config:
    builder = ConfigBuilder()
    for name in base:
        builder.add_file(find_recipe(name))
    for key, (value, source) in values.items():
        builder.set(key, value, source)
    return builder.build()


def _base(system: str, values: Values) -> list[str]:
    """The recipe that a file resembles most, or the parts that recipes of its network are made of."""
    if system == "OpenPose":
        return ["openpose_vgg19_368"]
    default = "fastpose" if system in ("AlphaPose", PYTORCH) else "simplepose"
    network, duc = values.get("model.name", default), values.get("model.upsampling") == "duc"
    sides = values.get("data.input_size", [192, 256])  # whose number is looked at later
    size = f"r{values.get('model.depth', 50)}_{'x'.join(map(str, reversed(sides)))}"
    if network == "simplepose":
        recipe, schedule = f"simplepose_{size}", "simplepose_140e"
    elif system == PYTORCH:
        recipe, schedule = f"fastpose_duc_{size}" if duc else f"fastpose_{size}_alphapose", "alphapose_200e"
    else:
        recipe, schedule = f"fastpose_{size}", "fastpose_270e"
    return [recipe] if recipe in recipes() else ["base/coco", "base/detections", f"base/{schedule}"]


def read_values(path: Path) -> dict[str, Any]:
    """Dotted key → value of an original configuration file, in its order: YAML, or Python assignments.

    Raises:
        UsageError: the file is missing, cannot be read, or is neither.
    """
    text = read_text(path)
    if path.suffix == ".py":
        try:
            return _python_values(path, text)
        except (MemoryError, RecursionError) as error:  # of Python's parser
            raise UsageError(f"{path}: too deeply nested") from error
    # OpenPose's document has 'key':'' without a space, which is no YAML.
    text = re.sub(r"""^( *(['"])[^'"\n]+\2):(?=\S)""", r"\1: ", text, flags=re.MULTILINE)
    # Values, help texts and choices: three documents.
    documents = re.split(r"^---(?=\s)", text, flags=re.MULTILINE)
    first = next((d for d in documents if re.search(r"^\s*[^#\s]", d, re.MULTILINE)), None)
    content = parse_yaml(first, str(path)) if first else None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: not a configuration file: it holds no keys with values")
    return dict(_flatten(content))


def _flatten(content: dict[Any, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in content.items():
        name = f"{prefix}{key}"
        pairs += _flatten(value, f"{name}.") if isinstance(value, dict) and value else [(name, value)]
    return pairs


def _python_values(path: Path, text: str) -> dict[str, Any]:
    """Assignments of plain values to `config.SECTION.KEY`, whatever the first name is; nothing is executed."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{path}: not valid Python: {error}") from error
    values: dict[str, Any] = {}
    for node in body:
        if not isinstance(node, ast.Assign) or len(node.targets) != 1:
            continue
        names = _names(node.targets[0])
        if len(names) < 2:
            continue
        try:
            value = ast.literal_eval(node.value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            if len(names) == 2:  # config.SECTION = edict()
                continue
            value = Expression(ast.unparse(node.value))
        if len(names) == 2 and isinstance(value, str):
            continue  # help texts, which stand beside the sections there
        values[".".join(["config", *names[1:]])] = value
    return values


class Expression(str):
    """A value that only running the file would tell."""

    __slots__ = ()


def _names(target: ast.expr) -> list[str]:
    if isinstance(target, ast.Attribute):
        inner = _names(target.value)
        return [*inner, target.attr] if inner else []
    return [target.id] if isinstance(target, ast.Name) else []


def _recognise(path: Path, values: dict[str, Any], rows: dict[tuple[str, str], Row]) -> str:
    """The system that knows most of the keys, and at least half of them."""
    systems = dict.fromkeys(system for system, _ in rows)
    counts = {system: sum((system, key) in rows for key in values) for system in systems}
    best = max(counts, key=lambda system: counts[system])
    ties = [system for system, count in counts.items() if count == counts[best]]
    if counts[best] * 2 >= len(values) and len(ties) == 1 and values:
        return best
    sections = {*SECTIONS, "base", "format"}
    if values and all(key.partition(".")[0] in sections for key in values):
        raise UsageError(f"{path} is a configuration of this repository: it needs no translation")
    raise UsageError(
        f"{path}: not recognised as a configuration of SimplePoseNet, AlphaPose, OpenPose, "
        "simple_baselines or AlphaPose on PyTorch: their keys stand in docs/keys.md"
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def main(argv: Sequence[str] | None = None) -> int:
    """What `mspose import-config` does; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="mspose import-config",
        description="Translate a configuration of one of the original systems into a recipe of this repository.",
    )
    parser.add_argument(
        "old", type=user_path, metavar="OLD", help="default_config.yaml, src/config.py or 256x192_res50_lr1e-3_1x.yaml"
    )
    parser.add_argument(
        "--output", type=user_path, metavar="NEW.yaml", help="file to write; without it the result is only printed"
    )
    options = parser.parse_args(argv)
    try:
        if options.output and options.output.exists():
            raise UsageError(f"{options.output} exists already: remove it or choose another name for --output")
        text = translate(options.old).text(options.old)
        if options.output:
            write_text(options.output, text)
        print(text, end="")
    except PoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if options.output:
        print(f"# Written to {options.output}: python train.py --config {options.output}")
    return 0
