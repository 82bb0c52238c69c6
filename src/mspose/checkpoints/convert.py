"""Bring other people's weights and ONNX models in, or take our weights to PyTorch.

    mspose convert --config RECIPE.yaml --src FILE --dst OUT.ckpt [--partial] [section.key=value ...]
    mspose convert --config RECIPE.yaml --src OURS.ckpt --dst OUT.pth --to torch
    mspose convert --src PUBLISHED.zip --dst OUT.onnx --to onnx
    mspose convert --config RECIPE.yaml --src OURS.ckpt --dst FOLDER/model.safetensors --to hf

FILE is known by its content and the names in it (see `mspose.checkpoints.origins`); none of its code is run.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mspose.checkpoints.beside import description_file, description_of, is_conversion, read_description
from mspose.checkpoints.ckpt_file import write_ckpt
from mspose.checkpoints.foreign import (
    check_model,
    check_replaceable,
    describe_source,
    float_weights,
    write_weights,
)
from mspose.checkpoints.origins import Recognised, recognise_file
from mspose.checkpoints.published import ENDINGS as ONNX_ENDINGS
from mspose.checkpoints.safetensors_file import write_safetensors
from mspose.checkpoints.torch_file import write_torch
from mspose.config.schema import Config
from mspose.config.text import Text
from mspose.errors import PoseError, UsageError
from mspose.export.published import keep_published
from mspose.files import find_same, user_path
from mspose.networks import find_network
from mspose.networks.resnet import ResNetKeys
from mspose.resolve import resolve
from mspose.runtime.logs import set_up_logging
from mspose.runtime.results import locked

if TYPE_CHECKING:
    from mindspore import nn

log = logging.getLogger("pose")

ENDINGS = {
    "mindspore": (".ckpt",),
    "torch": (".pth", ".pt", ".pth.tar", ".safetensors"),
    "hf": ("model.safetensors",),
}
# What transformers reads beside model.safetensors.
HF_CONFIG = "config.json"


@dataclass(frozen=True)
class Matching:
    """Names of a file against those of the network.

    Attributes:
        matched: in both, of the same shape.
        left: in the file alone.
        missing: in the network alone.
        other: of another shape: name → shape in the file, shape in the network.
    """

    matched: list[str]
    left: list[str]
    missing: list[str]
    other: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]

    def __str__(self) -> str:
        shapes = [f"{name} {theirs} for {ours}" for name, (theirs, ours) in self.other.items()]
        lines = [
            ("matched", self.matched, False),
            ("left", self.left, True),
            ("missing", self.missing, True),
            ("other shape", shapes, True),
        ]
        return "\n".join(f"{what + ':':13}{len(names)}{_some(names) if named else ''}" for what, names, named in lines)


def _some(names: list[str]) -> str:
    return f" ({', '.join(names[:4])}{', …' if len(names) > 4 else ''})" if names else ""


def match(values: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> Matching:
    """Compare the arrays of a file with the parameters of a network."""
    common = [name for name in shapes if name in values]
    other = {name: (values[name].shape, shapes[name]) for name in common if values[name].shape != shapes[name]}
    return Matching(
        [name for name in common if name not in other],
        [name for name in values if name not in shapes],
        [name for name in shapes if name not in values],
        other,
    )


def convert(config: Config, src: Path, dst: Path, to: str = "mindspore", partial: bool = False) -> Matching:
    """Convert a file of weights and say what was found.

    Args:
        config: with the conventions of the file applied.
        to: "mindspore": our names, beside which go the conventions; "torch": the names of the PyTorch original; "hf":
            those of Hugging Face's transformers, with the `config.json` from which it builds the network.
        partial: let what is missing or of another shape have the network's random start values.

    Raises:
        PoseError, UsageError: the file is unreadable, of no known or another network, or lacks parameters, or the
            result cannot be written. Nothing is written then.
    """
    if src.suffix.lower() in ONNX_ENDINGS:
        raise UsageError(f"{src} is an ONNX model, not weights: --to onnx keeps it with a model card")
    if not dst.name.endswith(ENDINGS[to]):
        raise UsageError(f"--to {to} writes a file that ends in {', '.join(ENDINGS[to])}, not {dst}")
    described = description_of(src)
    read = [(src, "--src"), *([(described, f"what lies beside {src}")] if described else [])]
    if found := find_same([dst, description_file(dst)], read):
        raise UsageError(f"{found[0]} would be replaced, and is {found[1]}: choose another name for --dst")
    check_replaceable(dst)
    built = dst.with_name(HF_CONFIG)
    if to == "hf" and built.exists() and not is_conversion(description_file(dst)):
        raise UsageError(f"{built} is there already and no conversion wrote it: choose another folder for --dst")
    recognised = recognise_file(src)
    is_network = recognised.origin.part == "network"
    if is_network and not partial:
        check_model(recognised, config, src)
    if not is_network and to != "mindspore":
        raise UsageError(f"--to {to} takes whole pose networks, and {src} is {recognised.origin.title}")
    log.info(f"{src}: {recognised.origin.title}")
    values = find_network(config.model.name).fit(float_weights(recognised.values, src), config)
    network = _network(recognised, config, with_values=partial)
    parameters = {p.name: p for p in network.get_parameters() if _belongs(p.name, recognised)}
    result = match(values, {name: tuple(p.shape) for name, p in parameters.items()})
    log.info(str(result))
    wrong = [*result.other, *result.missing]
    if wrong and not partial:
        raise PoseError(
            f"{src} does not fit the network of the configuration: {len(result.missing)} of "
            f"{len(parameters)} parameters are missing, {len(result.other)} have another shape, such as "
            f"{wrong[0]}; --partial converts the others"
        )
    own = {name: values[name] if name not in wrong else parameters[name].asnumpy() for name in parameters}
    with locked(dst.parent, "convert", dst):
        if to == "torch":
            _write_torch(own, config, src, dst)
        elif to == "hf":
            _write_hf(own, config, src, dst)
        else:
            beside = read_description(src)
            known = {**recognised.model, **(beside.values if beside else recognised.conventions)}
            write_weights(write_ckpt, own, dst, config, describe_source(src), known)
    if to == "mindspore":
        log.info(f"written: {dst}, and how it must be fed: {description_file(dst)}")
    if wrong:
        log.warning(f"note: random start values, to be trained: {len(wrong)}{_some(wrong)}")
    return result


def _network(recognised: Recognised, config: Config, with_values: bool) -> nn.Cell:
    """The network that weights are for; without values, which take long to draw, unless they are asked for."""
    from contextlib import nullcontext

    from mspose.runtime.device import prepare_environment

    prepare_environment()
    from mindspore.nn.utils import no_init_parameters

    with nullcontext() if with_values else no_init_parameters():
        if recognised.origin.part == "detector":
            from mspose.models.yolov3 import YOLOv3

            return YOLOv3(True)
        from mspose.networks import build_model

        return build_model(config)


def _belongs(name: str, recognised: Recognised) -> bool:
    """Whether a parameter is part of what the file holds; a plain ResNet has no squeeze and excitation."""
    if recognised.origin.part != "backbone":
        return True
    return name.startswith("backbone.") and (".se." not in name or recognised.model.get("model.se") != "none")


def _write_torch(values: Mapping[str, np.ndarray], config: Config, src: Path, dst: Path) -> None:
    model, data, entry = config.model, config.data, find_network(config.model.name)
    if entry.to_torch is None:
        raise UsageError(f"--to torch: {entry.name} has no PyTorch original that is known here")
    state_dict = entry.to_torch({name: np.asarray(value, np.float32) for name, value in values.items()}, model)
    write = write_safetensors if dst.suffix == ".safetensors" else write_torch
    described_in = description_file(dst)
    # Such as channels before pixel shuffles, which are in PyTorch's order now.
    described = replace(config, model=replace(model, **entry.torch_keys))
    write_weights(write, state_dict, dst, described, describe_source(src))
    log.info(
        f"written: {dst}; its input is {data.color} / {data.scale:g}, less {data.mean}, divided by {data.std}, as "
        f"{described_in} says"
    )
    if isinstance(model, ResNetKeys) and model.maxpool != "torch":
        log.warning(
            "note: these weights are for max pooling that pads right and bottom only (model.maxpool=same); "
            "PyTorch's networks pad all sides, and their maps will differ a little"
        )


def _write_hf(values: Mapping[str, np.ndarray], config: Config, src: Path, dst: Path) -> None:
    entry = find_network(config.model.name)
    if entry.to_hf is None:
        raise UsageError(f"--to hf: Hugging Face's transformers has no {entry.name} that is known here")
    state_dict, built = entry.to_hf({name: np.asarray(value, np.float32) for name, value in values.items()}, config)
    texts = {dst.with_name(HF_CONFIG): json.dumps(built, indent=2) + "\n"}
    write_weights(write_safetensors, state_dict, dst, config, describe_source(src), texts=texts)
    log.info(f"written: {dst} and {HF_CONFIG}, for from_pretrained({str(dst.parent)!r})")


def _configuration(options: argparse.Namespace) -> Config:
    overrides = {"runtime.ckpt": str(options.src)}
    for override in options.overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UsageError(f"{override!r} is not section.key=value")
        overrides[key] = Text(value)
    return resolve(options.config, overrides)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, 1 when the file cannot be converted, 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="mspose convert",
        description="Convert weights of other people's pose networks, or ours to PyTorch; "
        "give their ONNX models a model card.",
    )
    parser.add_argument("--config", metavar="RECIPE", help="of the network; checkpoints that know theirs need none")
    parser.add_argument(
        "--src", type=user_path, required=True, metavar="FILE", help=".pth, .safetensors, .ckpt or .npz; .zip or .onnx"
    )
    parser.add_argument("--dst", type=user_path, required=True, metavar="FILE", help="what to write")
    parser.add_argument(
        "--to",
        choices=(*ENDINGS, "onnx"),
        default="mindspore",
        help="default: %(default)s; onnx: a published model gets a card",
    )
    parser.add_argument("--partial", action="store_true", help="go on when parameters are missing or of another shape")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes to the recipe")
    options = parser.parse_args(argv)
    set_up_logging()
    try:
        config = _configuration(options)
        options.src = Path(config.runtime.ckpt)  # it may have been a published file's name
        if options.to == "onnx":
            if options.partial:
                raise UsageError("--partial is for weights; --to onnx takes a model as it is")
            keep_published(config, options.src, options.dst)
        else:
            convert(config, options.src, options.dst, options.to, options.partial)
    except PoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except MemoryError:
        print(f"error: out of memory: {options.src}", file=sys.stderr)
        return 1
    return 0
