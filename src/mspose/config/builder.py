"""Typed configuration: YAML files with `base:`, `key=value` overrides and where each value came from.

The schema is in `mspose.config.schema`. Values are merged
in this order, lowest first: schema defaults, the files under `base:` (left to right), the `--config` file, the input
conventions stored beside a checkpoint (`X.yaml` for `X.ckpt`), the command line. An unknown key or a value of the
wrong type is a `UsageError` that names the key, where it was given and the nearest valid key.
"""

from __future__ import annotations

import difflib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mspose.config.originals import counterpart
from mspose.config.recipes import find_recipe
from mspose.config.schema import CONVENTIONS, SCHEMA, SECTIONS, SIZES, Config, problems
from mspose.errors import UsageError
from mspose.files import write_text
from mspose.version import software


class ConfigBuilder:
    """Collects values from several places, lowest precedence first, and remembers where each came from."""

    def __init__(self) -> None:
        self._config: DictConfig = OmegaConf.structured(Config)
        self.sources: dict[str, str] = {}

    def add_file(self, path: str | Path) -> None:
        """Merge a YAML file on top, its `base:` files before it.

        Raises:
            UsageError: the file is missing, not YAML, or holds an unknown key or a wrong value.
        """
        self._add_file(find_recipe(path), ())

    def _add_file(self, path: Path, parents: tuple[Path, ...]) -> None:
        content = read_yaml(path)
        if path.resolve() in parents:
            raise UsageError(f"{path}: base: files include each other in a circle")
        bases = content.pop("base", None) or []
        bases = [bases] if isinstance(bases, str) else bases
        if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
            raise UsageError(f"{path}: base must be a file name or a list of them, not {bases!r}")
        for base in bases:
            beside = path.parent / base
            self._add_file(beside if beside.is_file() else _part(base, path), (*parents, path.resolve()))
        if "server_list" in content:
            raise UsageError(
                f"{path} is a rank table, not a recipe: bash scripts/run_distribute_train.sh CONFIG NUM_DEVICES {path}"
            )
        _find_skeleton(content.get("data"), path.parent)
        self.add_values(content, str(path))

    def add_values(self, values: dict[str, Any], source: str) -> None:
        """Merge a nested mapping {section: {key: value}} on top; `source` is named in errors."""
        for section, content in values.items():
            sections = [f.name for f in fields(Config)]
            if section not in sections:
                raise UsageError(f"{source}: unknown section {section!r}{_nearest(str(section), sections)}")
            if content is None:  # a section whose keys are all commented out
                continue
            if not isinstance(content, dict):
                raise UsageError(f"{source}: {section} must be a mapping of keys, not {content!r}")
            for key, value in content.items():
                self.set(f"{section}.{key}", value, source)

    def set(self, key: str, value: Any, source: str) -> None:
        """Set one dotted key.

        Raises:
            UsageError: unknown key, wrong type or not among the choices.
        """
        if key not in SCHEMA:
            raise UsageError(f"{source}: unknown key {key!r}{_nearest(key, list(SCHEMA))}")
        try:
            # OmegaConf gives "${…}" (interpolation) and "???" (missing) a meaning that nothing here uses.
            if "${" in str(value) or "???" in str(value):
                raise ValueError
            OmegaConf.update(self._config, key, value)
            choices = SCHEMA[key].metadata["choices"]
            stored = OmegaConf.select(self._config, key)
        except (OmegaConfBaseException, ValueError) as error:
            raise UsageError(f"{source}: {key} must be {_type_name(SCHEMA[key])}, not {value!r}") from error
        if choices and stored not in choices:
            raise UsageError(f"{source}: {key} must be one of {', '.join(map(str, choices))}, not {value!r}")
        self.sources[key] = source

    def get(self, key: str) -> Any:
        """Current value of a dotted key."""
        value = OmegaConf.select(self._config, key)
        return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value

    def build(self) -> Config:
        """The typed configuration, checked for values that no run can have.

        Raises:
            UsageError: an impossible value (the key and its source are named).
        """
        config = OmegaConf.to_object(self._config)
        assert isinstance(config, Config)
        for key, problem in problems(config):
            source = self.sources.get(key)
            raise UsageError(f"{source + ': ' if source else ''}{key} {problem}, not {self.get(key)!r}")
        return config


def _part(base: str, path: Path) -> Path:
    """A file under `base:` that does not lie beside the recipe: found by its name."""
    try:
        return find_recipe(base)
    except UsageError as error:
        raise UsageError(f"{path}: base: {error}") from error


def _find_skeleton(data: Any, folder: Path) -> None:
    """Make `skeleton`, where it names a file relative to `folder` as `base` does, a path from the current folder."""
    if isinstance(data, dict) and isinstance(data.get("skeleton"), str):
        path, here = (folder / data["skeleton"]).resolve(), Path.cwd()
        if path.is_file():
            data["skeleton"] = str(path.relative_to(here) if path.is_relative_to(here) else path)


def load_config(path: str | Path, overrides: dict[str, Any] | None = None) -> Config:
    """Configuration of a YAML file with dotted-key overrides: for code and tests; the scripts use `mspose.cli`."""
    builder = ConfigBuilder()
    builder.add_file(path)
    for key, value in (overrides or {}).items():
        builder.set(key, value, "override")
    return builder.build()


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping safely; `1e-4` is a number.

    Raises:
        UsageError: missing file, invalid YAML or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(f"configuration file not found: {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"configuration file cannot be read: {path}: {error}") from error
    return _parse_yaml(text, str(path))


def parse_value(text: str) -> Any:
    """Value of a `key=value` argument, read as YAML: `[192, 256]`, `true`, `1e-4`, `null`; else the text itself."""
    if not text:
        return ""
    try:
        return _parse_yaml(f"value: {text}", "")["value"]
    except UsageError:
        return text


def to_yaml(config: Config) -> str:
    """The configuration as YAML text that `--config` reads back."""
    written = " ".join(f"{name} {value}" for name, value in software().items() if value)
    return f"# {written}\n{OmegaConf.to_yaml(OmegaConf.structured(config))}"


def save_config(config: Config, path: str | Path) -> None:
    """Write the resolved configuration beside a result."""
    write_text(path, to_yaml(config))


def save_conventions(config: Config, path: str | Path, source: dict[str, Any] | None = None) -> None:
    """Write the input conventions of a checkpoint (see `CONVENTIONS` and `SIZES`) as nested YAML.

    Args:
        source: where converted weights came from, for whoever asks later: written, and not read as configuration.
            What size they were trained at is not known then.
    """
    content: dict[str, dict[str, Any]] = {}
    sizes = () if source or config.model.name == "openpose" else SIZES
    for key in (*CONVENTIONS, *sizes):
        section, name = key.split(".")
        content.setdefault(section, {})[name] = getattr(getattr(config, section), name)
    if source:
        content["source"] = source
    write_text(path, yaml.safe_dump(content, sort_keys=False))


def describe_keys() -> str:
    """Every key with its default and one line of meaning, section by section, as `--help` prints them."""
    lines = []
    for name, section in SECTIONS.items():
        lines.append(f"\n{name}: {section.__doc__}")
        for f in fields(section):
            default = f.default if f.default_factory is MISSING else f.default_factory()
            choices = f.metadata["choices"]
            text = f.metadata["help"] + (f" ({'|'.join(map(str, choices))})" if choices else "")
            lines.append(f"  {f'{name}.{f.name}={_plain(default)}':42} {text}")
    return "\n".join(lines)


def _parse_yaml(text: str, source: str) -> dict[str, Any]:
    try:
        # OmegaConf's loader is PyYAML's safe loader plus two cures: 1e-4 is a float, duplicate keys are errors.
        content: Any = OmegaConf.to_container(OmegaConf.create(text), resolve=False) if text.strip() else {}
    except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
        raise UsageError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from error
    except AssertionError:  # OmegaConf's answer to a lone number
        content = None
    if not isinstance(content, dict):
        raise UsageError(f"{source}: must be a mapping of sections")
    return content


def _nearest(key: str, known: list[str]) -> str:
    tails = {k.split(".")[1]: k for k in known if "." in k}
    if key not in tails and (clause := counterpart(key)):
        return f"; {clause}"
    match = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if not match and "." in key:
        name = key.partition(".")[2]
        close = difflib.get_close_matches(name, list(tails), n=1, cutoff=0.6)
        match = [tails[close[0]]] if close else []
    return f"; did you mean {match[0]!r}?" if match else "; --help lists all keys"


def _type_name(f: Any) -> str:
    names = {
        "str": "text",
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "list[int]": "a list of whole numbers",
        "list[float]": "a list of numbers",
        "list[str]": "a list of texts",
    }
    optional = f.type.endswith(" | None")
    return names[f.type.removesuffix(" | None")] + (" or null" if optional else "")


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(_plain, value))}]"
    return str(value)
