"""Configurations: YAML files with `base:`, `key=value` overrides, what lies beside weights; where each value is from.

Values come in layers, lowest first: defaults, the files under `base:` (left to right), the recipe, what lies beside a
checkpoint, the command line. The network is found first, and with it the dataclass of every section; then the layers
are applied, so the order of keys plays no part. A key of another network, an unknown key or a wrong value is a
`UsageError` that names the key, where it was given and what to do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mspose.config import format1
from mspose.config.describe import what_is
from mspose.config.hints import nearest_key
from mspose.config.keys import FREE, NEVER, Section, default_of, keys_of
from mspose.config.recipes import find_recipe
from mspose.config.schema import PATHS, SECTIONS, Config, get
from mspose.config.stages import typed_stages
from mspose.config.text import FORMAT, read_yaml
from mspose.config.values import KeyProblem, store, stored
from mspose.errors import UsageError
from mspose.files import user_path
from mspose.hub.table import named, nearest
from mspose.networks import find_network, networks
from mspose.networks.base import Network
from mspose.skeleton import BUILT_IN, describe_skeleton, load_skeleton

log = logging.getLogger("pose")

# What a layer is: a file or a configuration in Python, what lies beside weights, or single keys that somebody gave.
FILE, WEIGHTS, GIVEN = "file", "weights", "given"


@dataclass(frozen=True)
class Layer:
    """Values from one place.

    Attributes:
        values: dotted key → value.
        source: where from, for messages.
        kind: what that is.
        is_old: whether it is of the first format.
        always: keys from beside weights that count although they may be chosen anew and a recipe was given.
    """

    values: dict[str, Any]
    source: str
    kind: str = FILE
    is_old: bool = False
    always: tuple[str, ...] = ()


class ConfigBuilder:
    """Collects layers, lowest first, and makes a configuration of them.

    Args:
        section: which section the keys of the command are in, for suggestions.
    """

    def __init__(self, section: str = "") -> None:
        self.layers: list[Layer] = []
        self._section = section

    def add_file(self, path: str | Path) -> None:
        """Add a YAML file, its `base:` files before it.

        Raises:
            UsageError: the file is missing or not YAML, or is something else than a recipe.
        """
        self._add_file(find_recipe(path, nearest(path)), ())

    def _add_file(self, path: Path, parents: tuple[Path, ...]) -> None:
        content = read_yaml(path)
        if path.resolve() in parents:
            raise UsageError(f"{path}: base: files include each other in a circle")
        bases = content.pop("base", None) or []
        bases = [bases] if isinstance(bases, str) else bases
        if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
            raise UsageError(f"{path}: base must be a file name or a list of them, not {bases!r}")
        for base in bases:
            beside = path.parent / user_path(base)
            self._add_file(beside if beside.is_file() else _part(base, path), (*parents, path.resolve()))
        if "server_list" in content:
            raise UsageError(
                f"{path} is a rank table, not a recipe: bash scripts/run_distribute_train.sh CONFIG NUM_DEVICES {path}"
            )
        if "weights" in content:
            raise UsageError(f"{path} says how the weights beside it are fed; it is no recipe")
        _find_paths(content, path)
        written = content.pop("format", 1)
        if written not in (1, FORMAT):
            raise UsageError(f"{path}: format must be {FORMAT}, not {written!r} (written by a newer version?)")
        self.add_values(content, str(path), is_old=written != FORMAT)

    def add_values(self, values: Mapping[str, Any], source: str, kind: str = FILE, is_old: bool = False) -> None:
        """Add a nested mapping {section: {key: value}}; `source` is named in errors."""
        found = {key: _at_home(value) for key, value in dotted(values, source).items()}
        self.layers.append(Layer(found, source, kind, is_old))

    def set(self, key: str, value: Any, source: str) -> None:
        """Set one dotted key; such values stand above all others."""
        self.layers.append(Layer({key: _at_home(value)}, source, GIVEN))

    def get(self, key: str, default: Any = "") -> Any:
        """The highest value that a dotted key has so far, as it was given."""
        return next((layer.values[key] for layer in reversed(self._ordered()) if key in layer.values), default)

    def network(self) -> Network:
        """The network that the layers name.

        Raises:
            UsageError: none of that name, or two of them.
        """
        named: dict[str, tuple[str, str]] = {}
        for layer in self.layers:
            if "model.name" in layer.values:
                named[layer.kind] = str(layer.values["model.name"]), layer.source
        for above, below in ((GIVEN, FILE), (GIVEN, WEIGHTS), (WEIGHTS, FILE)):
            if above in named and below in named and named[above][0] != named[below][0]:
                (one, here), (other, there) = named[above], named[below]
                raise UsageError(f"{here}: model.name is {one}, but {there} is of {other}")
        kind = next((kind for kind in (GIVEN, WEIGHTS, FILE) if kind in named), None)
        if kind is None:
            return find_network(format1.DEFAULTS["model.name"])
        name, source = named[kind]
        if kind == WEIGHTS and name not in networks() and FILE not in named:
            raise UsageError(
                f"{source}: model.name={name} is code outside this package; if you trust it, name it yourself: "
                f"model.name={name}"
            )
        try:
            return find_network(name)
        except UsageError as error:
            raise UsageError(f"{source}: {error}") from error

    def build(self) -> Config:
        """The typed configuration, checked for values that no run can have.

        Raises:
            UsageError: an unknown or foreign key, or an impossible value (the key and its source are named).
        """
        entry = self.network()
        files = [layer for layer in self.layers if layer.kind == FILE]
        build = _Build(entry, bool(files), self._section)
        if files and all(layer.is_old for layer in files):
            # What such a file leaves out is what it was when it was written.
            build.apply(Layer(dict(format1.DEFAULTS), "default", is_old=True), explicit=False)
        for layer in self._ordered():
            build.apply(layer)
        return build.finish()

    def _ordered(self) -> list[Layer]:
        return [layer for kind in (FILE, WEIGHTS, GIVEN) for layer in self.layers if layer.kind == kind]


class _Build:
    """One configuration in the making."""

    def __init__(self, entry: Network, has_recipe: bool, section: str) -> None:
        self._entry, self._keys, self._has_recipe = entry, keys_of(entry.schema), has_recipe
        self._section = section
        self._sections: dict[str, DictConfig] = {
            name: OmegaConf.structured(kind) for name, kind in entry.schema.items()
        }
        self._given: dict[str, Layer] = {}  # the highest layer that sets a key
        self._dropped: list[str] = []

    def apply(self, layer: Layer, explicit: bool = True) -> None:
        """Set the values of a layer."""
        for name, value in layer.values.items():
            key = self._entry.renamed.get(name, name) if layer.is_old else name
            if key == "model.name":
                value = self._entry.name
            if not explicit and key == "codec.heatmap_size":
                continue  # it follows from the input
            if key not in self._keys:
                self._foreign(key, value, layer, explicit)
                continue
            if layer.kind == WEIGHTS and not self._counts(key, layer):
                continue
            before = self._value(key)
            if key == "data.input_size" and layer.kind != FILE and before != value:
                self._forget("codec.heatmap_size")  # that of a lower layer follows from another input
            self._set(key, value, layer.source)
            if explicit:
                self._note(key, before, layer)
                self._given[key] = layer

    def _forget(self, key: str) -> None:
        if key in self._given:
            section, _, name = key.partition(".")
            OmegaConf.update(self._sections[section], name, default_of(self._keys[key]))
            del self._given[key]

    def _counts(self, key: str, layer: Layer) -> bool:
        """Whether a key from beside weights counts: fixed ones always, free ones where nobody gave a recipe."""
        role = self._keys[key].metadata["role"]
        if role == NEVER:
            check_beside(layer, {key: self._keys[key]})
            return False
        if key == "codec.heatmap_size":  # it follows from the input
            return False
        return role != FREE or key in layer.always or not self._has_recipe

    def _foreign(self, key: str, value: Any, layer: Layer, explicit: bool) -> None:
        if layer.is_old and key in format1.DEFAULTS:
            if not explicit:
                return
            if value == format1.DEFAULTS[key] or key in format1.SHARED:
                if layer.kind == FILE:
                    self._dropped.append(key)
                return
        raise KeyProblem(key, what_is(key, self._entry, self._section), layer.source)

    def _set(self, key: str, value: Any, source: str) -> None:
        section, _, _ = key.partition(".")
        if key == "data.stages":
            value = typed_stages(self._entry.schema["data"], value, source)
        store(self._sections[section], self._keys[key], key, value, source)

    def _value(self, key: str) -> Any:
        section, _, name = key.partition(".")
        return stored(self._sections[section], name)

    def _note(self, key: str, before: Any, layer: Layer) -> None:
        """Say so where what lies beside weights differs from what somebody wrote."""
        earlier, now = self._given.get(key), self._value(key)
        if earlier is None or before == now or WEIGHTS not in (layer.kind, earlier.kind):
            return
        if key == "data.skeleton" and _same_skeleton(before, now):
            return
        if layer.kind == WEIGHTS:
            log.warning(f"note: {key}={now} from {layer.source} overrides {before} of the configuration")
        else:
            log.warning(f"note: {key}={now} ({layer.source}) overrides {before} stored in {earlier.source}")

    def finish(self) -> Config:
        """The checked configuration."""
        if self._dropped:
            names = ", ".join(sorted(set(self._dropped)))
            count = len(set(self._dropped))
            log.info(f"note: {count} keys of other networks, at their defaults, do not count: {names}")
        sections: dict[str, Any] = {name: OmegaConf.to_object(section) for name, section in self._sections.items()}
        config = Config(**sections)
        for key, words in self._problems(config):
            layer = self._given.get(key)
            raise KeyProblem(key, f"must {words}, not {get(config, key)!r}", layer.source if layer else "")
        return config

    def _problems(self, config: Config) -> Iterator[tuple[str, str]]:
        for key, wanted in self._keys.items():
            check = wanted.metadata["check"]
            if check is not None and not check.holds(get(config, key)):
                yield key, check.words
        for name in self._sections:
            section: Section = getattr(config, name)
            yield from ((f"{name}.{key}", words) for key, words in section.problems())
        multiple = self._entry.size_multiple
        for key in ("data.input_size", "export.size"):
            if any(side % multiple for side in get(config, key) or ()):
                yield key, f"be [width, height], multiples of {multiple}"
        if config.train.layer_decay != 1 and self._entry.layer is None:
            yield "train.layer_decay", f"be 1 with {self._entry.name}, whose entry names no layers"
        if self._entry.fixed_size and config.export.size not in (None, config.data.input_size):
            yield (
                "export.size",
                f"be null, or data.input_size={config.data.input_size}: {self._entry.name}'s weights are for it",
            )
        derived = config.codec.derive(config.data, self._entry.stride(config.model))
        yield from ((f"codec.{key}", words) for key, words in derived)


def dotted(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A nested mapping {section: {key: value}} by dotted keys.

    Raises:
        UsageError: an unknown section, or one that is no mapping.
    """
    result: dict[str, Any] = {}
    for section, content in values.items():
        if section not in SECTIONS:
            raise UsageError(f"{source}: unknown section {section!r}{nearest_key(str(section), SECTIONS)}")
        if content is None:  # a section whose keys are all commented out
            continue
        if not isinstance(content, Mapping):
            raise UsageError(f"{source}: {section} must be a mapping of keys, not {content!r}")
        result |= {f"{section}.{key}": value for key, value in content.items()}
    return result


def _at_home(value: Any) -> Any:
    """The value; a path that begins with `~` from the home folder on: no shell replaces it in a file or behind `=`."""
    if isinstance(value, str) and value.startswith("~"):
        return type(value)(user_path(value))
    return value


def _part(base: str, path: Path) -> Path:
    """A file under `base:` that does not lie beside the recipe: found by its name."""
    try:
        return find_recipe(base)
    except UsageError as error:
        raise UsageError(f"{path}: base: {error}") from error


def _find_paths(content: Mapping[str, Any], path: Path) -> None:
    """Make paths that begin at a recipe's folder, as those under `base` do, paths from the current folder."""
    folder, here = path.parent, Path.cwd()
    for key in PATHS:
        section, _, name = key.partition(".")
        values = content.get(section)
        if not isinstance(values, dict):
            continue
        given = values.get(name)
        if not given or not isinstance(given, str) or given in BUILT_IN or Path(given).is_absolute():
            continue
        try:
            beside = (folder / given).resolve()
            if not beside.exists():
                continue
            is_other = Path(given).exists() and not beside.samefile(given)
        except (OSError, RuntimeError, ValueError):  # no name that a file can have
            continue
        if is_other:
            log.warning(f"note: {path}: {key}={given} is the one beside the recipe, not that in the current folder")
        values[name] = str(beside.relative_to(here) if beside.is_relative_to(here) else beside)


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Configuration of a recipe with dotted-key overrides; `mspose.resolve` also looks beside weights."""
    builder = ConfigBuilder()
    builder.add_file(path)
    for key, value in (overrides or {}).items():
        builder.set(key, value, "override")
    return builder.build()


def network_of(config: str | Path | Config) -> Network:
    """The network of a recipe, of a published file, or of a configuration."""
    if isinstance(config, Config):
        return find_network(config.model.name)
    entry = named(config)
    if entry is not None and entry.network:
        return find_network(entry.network)
    builder = ConfigBuilder()
    builder.add_file(config)
    return builder.network()


def default_config(network: str = "simplepose", overrides: Mapping[str, Any] | None = None) -> Config:
    """The defaults of a network, with dotted-key overrides."""
    builder = ConfigBuilder()
    for key, value in {"model.name": network, **(overrides or {})}.items():
        builder.set(key, value, "override")
    return builder.build()


def check_beside(layer: Layer, keys: Mapping[str, Field]) -> None:
    """Refuse what lies beside weights if it sets any of `keys` that do not belong to weights.

    Raises:
        UsageError: it does; the key is named.
    """
    for key in layer.values.keys() & keys.keys():
        if keys[key].metadata["role"] == NEVER and not (layer.is_old and key in format1.STRAY):
            raise UsageError(f"{layer.source}: {key} is nothing that lies beside weights may set: remove it there")


def _same_skeleton(first: str, second: str) -> bool:
    """Whether two files, or a file and a name, hold one skeleton; what cannot be read is another."""
    try:
        return describe_skeleton(load_skeleton(first)) == describe_skeleton(load_skeleton(second))
    except UsageError:
        return False
