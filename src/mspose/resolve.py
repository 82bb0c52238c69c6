"""One configuration of a recipe, a file of weights and single keys: what all commands and the Python API start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mspose.checkpoints.beside import description_file, input_only, read_description
from mspose.checkpoints.card import ENDINGS, card_layer, card_path
from mspose.checkpoints.origins import recognise_file
from mspose.checkpoints.published import ENDINGS as ONNX_ENDINGS
from mspose.checkpoints.published import published_layer
from mspose.checkpoints.runs import newest_whole
from mspose.config.builder import WEIGHTS, ConfigBuilder, Layer, check_beside
from mspose.config.describe import all_keys
from mspose.config.keys import keys_of
from mspose.config.recipes import recipe_folder
from mspose.config.schema import Config, get
from mspose.errors import UsageError
from mspose.extras import check_installed
from mspose.files import file_fault
from mspose.hub.cache import obtain
from mspose.hub.table import DETECTOR, Published, meant, named

# What commands of a section read besides weights, and may name as published files.
_ALSO_READ = {"train": "model.pretrained", "demo": "demo.detector_file"}


def resolve(
    recipe: str | Path | Config | None,
    overrides: Mapping[str, Any],
    source: str = "command line",
    section: str = "",
    check: Callable[[Config], None] | None = None,
) -> Config:
    """Build a configuration, and say where what lies beside weights changes it.

    Lowest first: the network's defaults, the recipe, what lies beside the weights that are loaded, the overrides.
    What lies beside an ONNX file that others published, its own form and its pipeline.json say.
    Weights from which a new run starts (`train.init_from`) only say how pixels become input.
    Files may be given by the names of `mspose.hub`; what is named is fetched, once all else is known to be right, and
    brings its recipe with it.

    Args:
        recipe: file or name of a recipe; or a complete configuration, beside whose weights nothing is looked for; or
            the name of a published network, which stands for its weights, or, where others are given, its recipe.
            None is needed where `model.name` is set: by an override, or by weights that know their network (of this
            version, an exported model with its card, or a published one).
        overrides: dotted key → value.
        source: of the overrides, for messages.
        section: which section the keys of the command are in, for suggestions.
        check: called before anything is fetched; raises where what the command works on is not there.

    Raises:
        UsageError: a missing or wrong recipe, an unknown or foreign key, a wrong value.
        PoseError: what lies beside the weights is damaged, or the weights are unreadable, or cannot be fetched.
    """
    if section == "demo" and "eval.flip_test" in overrides:
        raise UsageError(f"{source}: eval.flip_test is evaluation's; the demo and PoseEstimator obey demo.flip_test")
    builder = ConfigBuilder(section)
    entry = None if recipe is None or isinstance(recipe, Config) else named(recipe)
    if entry is not None:
        _check_part(entry, "runtime.ckpt")
        recipe = entry.recipe if overrides.get("runtime.ckpt") else None
        overrides = {"runtime.ckpt": entry.name, **overrides}
    if isinstance(recipe, Config):
        builder.add_values(asdict(recipe), "configuration")
    elif recipe:
        builder.add_file(recipe)
    for key, value in overrides.items():
        builder.set(key, value, source)
    path, is_start = weights_of(builder, recipe)
    name, entry = path, named(path)
    if entry is not None:
        path = _take_published(builder, entry, recipe, is_start, section, check)
    if path and not isinstance(recipe, Config):
        layer = beside(Path(path), str(builder.get("model.name")))
        if layer is not None:
            builder.layers.append(input_only(layer) if is_start else layer)
    if not recipe and not any("model.name" in layer.values for layer in builder.layers):
        raise UsageError(_no_recipe(path))
    if not isinstance(recipe, Config) and not builder.get("runtime.output"):
        builder.set("runtime.output", default_output(recipe or name), "default")
    config = builder.build()
    for key, also in _also_read(config, section):
        if check is not None:
            check(config)
        part, _, field = key.partition(".")
        setattr(getattr(config, part), field, str(obtain([also], config.runtime)[0]))
    return config


def _take_published(
    builder: ConfigBuilder,
    entry: Published,
    recipe: str | Path | Config | None,
    is_start: bool,
    section: str,
    check: Callable[[Config], None] | None,
) -> str:
    """Fetch published weights, and what else the command reads that is named; the path of the weights.

    They bring their recipe where none is given, but for ONNX files, which say themselves what is in it. The demo finds
    people with a published detector where it is told of no other.
    """
    key = "train.init_from" if is_start else "runtime.ckpt"
    _check_part(entry, key)
    if not is_start and not isinstance(recipe, Config):
        if entry.needs_mindspore and not recipe:
            builder.add_file(entry.recipe)
        keys = entry.keys if entry.needs_mindspore else {}
        builder.layers.append(Layer({"model.name": entry.network, **keys}, entry.name, WEIGHTS, always=tuple(keys)))
        detectors = ("demo.detector", "demo.detector_file", "demo.boxes")
        if detectors[1] in keys_of(builder.network().schema) and not any(
            builder.get(name) not in ("", "auto") for name in detectors
        ):
            builder.set("demo.detector_file", DETECTOR, "default")
    config = builder.build()  # what is wrong is said before anything is fetched
    if section and entry.needs_mindspore:
        check_installed("mindspore")
    if check is not None:
        check(config)
    others = dict(_also_read(config, section))
    files = obtain([entry, *others.values()], config.runtime)
    for name, file in zip([key, *others], files):
        builder.set(name, str(file), "default")
    return str(files[0])


def _also_read(config: Config, section: str) -> Iterator[tuple[str, Published]]:
    """Keys that name a published file which the commands of a section read besides the weights."""
    key = _ALSO_READ.get(section, "")
    if key and hasattr(getattr(config, key.partition(".")[0]), key.partition(".")[2]):
        entry = named(get(config, key))
        if entry is not None:
            _check_part(entry, key)
            yield key, entry


def _check_part(entry: Published, key: str) -> None:
    """Refuse a published file that is none of those that a key names.

    Raises:
        UsageError: it is not; the key that it is for is named.
    """
    if entry.part not in {"model.pretrained": ("backbone", "network"), "demo.detector_file": ("detector",)}.get(
        key, ("network",)
    ):
        its_own = {"network": "--ckpt ", "backbone": "model.pretrained=", "detector": "demo.detector_file="}
        raise UsageError(f"{key}: {entry.name} is a {entry.part}: {its_own[entry.part]}{entry.name}")


def weights_of(builder: ConfigBuilder, recipe: str | Path | Config | None) -> tuple[str, bool]:
    """The file of weights that is loaded, and whether a new run only starts from it."""
    ckpt = str(builder.get("runtime.ckpt")) or str(builder.get("train.resume"))
    if ckpt == "auto":
        output = builder.get("runtime.output") or default_output(recipe if isinstance(recipe, str | Path) else "")
        choice = newest_whole(Path(str(output)))
        ckpt = str(choice.path or next(iter(choice.refused), ""))  # training says what is wrong with it
    return ckpt or str(builder.get("train.init_from")), not ckpt


def beside(path: Path, network: str = "") -> Layer | None:
    """What is known of weights besides the weights themselves: from a model card, a description, or their names.

    Args:
        network: `model.name` where it is given.

    Raises:
        UsageError: a card or a description sets what does not belong to weights.
        PoseError: it is damaged, or the weights are unreadable.
    """
    layer = card_layer(path) or read_description(path)
    if layer is not None:
        check_beside(layer, all_keys())  # here: not all of it may be asked for
        return layer
    if not path.is_file():
        return None
    if path.suffix.lower() in ONNX_ENDINGS:
        return published_layer(path, network)
    if path.suffix.lower() in ENDINGS:
        return None
    conventions = recognise_file(path).conventions
    return Layer(conventions, str(path), WEIGHTS, True, tuple(conventions)) if conventions else None


def default_output(recipe: str | Path) -> str:
    """Folder for results where none is named."""
    return str(Path("outputs") / Path(recipe).stem)


def _no_recipe(path: str) -> str:
    needed = "a recipe is needed (--config NAME or FILE)"
    fault = file_fault(path) if path else ""
    if fault:
        return f"{needed}, and {path} {fault}{meant(path)}"
    if path and Path(path).suffix.lower() in (*ENDINGS, *ONNX_ENDINGS):
        return (
            f"{needed}: no model card {card_path(path).name} lies beside {path}, nor does it tell itself what is "
            "needed: model.name, data.input_size, data.color, data.scale, data.mean, data.std and codec (a detector is "
            "named by demo.detector_file)"
        )
    if path:
        return f"{needed}: no {description_file(path).name} of this version lies beside {path}"
    return f"{needed}; recipes are in {recipe_folder()}"
