"""Say whether two files of weights, exported models, backends or devices give the same, and where they part if not.

    mspose compare best.ckpt best.onnx                     # a checkpoint and what was exported from it
    mspose compare best.ckpt other.ckpt                    # two of one network: the first layer that differs
    mspose compare a.onnx b.onnx                           # the first node that differs
    mspose compare pose.onnx --backend onnx,openvino       # one file, two backends
    mspose compare best.ckpt --device CPU,Ascend           # one file, two devices

Files are all that --ckpt takes: checkpoints, those of PyTorch, MindIR, ONNX, names of published files. Exit code 0:
they give the same, 1: they differ, or one cannot be run, 2: wrong usage. Nothing is written but, as by every command,
what is fetched or converted to be read.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mspose.backends.open import check_checkpoint
from mspose.config.text import Text
from mspose.diagnose.differences import Parting, first_parting, paired, share_of
from mspose.diagnose.sides import Result, Side, check_comparable, run_both
from mspose.errors import PoseError, UsageError
from mspose.geometry import resize_canvas
from mspose.images import read_image
from mspose.networks import method_of
from mspose.resolve import resolve
from mspose.runtime.logs import say, set_up_logging
from mspose.skeleton import load_skeleton
from mspose.synthetic.sample import scene

log = logging.getLogger("pose")

# Largest differences without --tolerance, as a share of the largest value: float32 on a CPU; what rounds more.
EXACT, ROUNDED = 1e-4, 3e-2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="mspose compare", description=(__doc__ or ""), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="one or two, then any section.key=value for both")
    parser.add_argument("--config", default="", metavar="RECIPE", help="where the files do not tell their network")
    parser.add_argument("--input", type=Path, metavar="PICTURE", help="what both see (default: a drawn picture)")
    parser.add_argument("--backend", default="", metavar="A[,B]", help="as runtime.backend, for each file")
    parser.add_argument("--device", default="", metavar="A[,B]", help="as runtime.device, for each file")
    parser.add_argument(
        "--tolerance",
        type=float,
        help=f"largest difference, as a share of the largest value (default: {EXACT:g}; {ROUNDED:g} where cards or "
        "bf16 round)",
    )
    options = parser.parse_args(argv)
    set_up_logging()
    try:
        first, second = _sides(options)
        return compare(first, second, options.input, options.tolerance)
    except PoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _sides(options: argparse.Namespace) -> tuple[Side, Side]:
    files = [text for text in options.files if "=" not in text or Path(text).exists()]
    keys = dict(text.split("=", 1) for text in options.files if text not in files)
    if options.tolerance is not None and not 0 <= options.tolerance < float("inf"):
        raise UsageError(f"--tolerance must be a number from 0 on, not {options.tolerance}")
    backends, devices = _two(options.backend, "--backend"), _two(options.device, "--device")
    if len(files) == 1 and backends[0] == backends[1] and devices[0] == devices[1]:
        raise UsageError("one file is compared with itself: give a second, or --backend A,B or --device A,B")
    if not 1 <= len(files) <= 2:
        raise UsageError(f"{len(files)} files are given, one or two are compared: {', '.join(files)}")
    sides = []
    for path, backend, device in zip((files * 2)[:2], backends, devices, strict=True):
        own = {"runtime.ckpt": path, "runtime.backend": backend, "runtime.device": device}
        overrides = {key: Text(value) for key, value in {**own, **keys}.items() if value}
        config = resolve(options.config or None, overrides)
        check_checkpoint(config, "to compare")
        sides.append(Side.of(config))
    return sides[0], sides[1]


def _two(text: str, option: str) -> list[str]:
    """One value for both files, or one for each."""
    values = text.split(",")
    if len(values) > 2:
        raise UsageError(f"{option}={text}: at most two, one for each file")
    return values * 2 if len(values) == 1 else values


def compare(first: Side, second: Side, picture: Path | None = None, tolerance: float | None = None) -> int:
    """Print what two sides give for the same picture; returns 0 where it is the same, else 1.

    Raises:
        PoseError, UsageError: one cannot be run, or they cannot be compared.
    """
    notes = check_comparable(first, second)
    if tolerance is None:
        tolerance = ROUNDED if first.is_rounded or second.is_rounded else EXACT
    one, other = run_both(first, second, _picture(picture, first))
    say(f"A: {first}\nB: {second}")
    say(f"input: {picture or 'a drawn picture'}, {'x'.join(map(str, first.size))}; tolerance {tolerance:g}")
    for note in notes:
        say(f"note: {note}")
    is_same = True
    specs = method_of(first.config).codec.outputs(first.size)
    for spec, a, b in zip(specs, one.outputs, other.outputs, strict=True):
        share = share_of(a, b)
        is_same &= share <= tolerance
        verdict = "agrees" if share <= tolerance else "DIFFERS"
        say(f"output {spec.name} {'x'.join(map(str, a.shape[1:]))}: {verdict}, by {share:.1e} of its largest value")
    steps = paired(one.steps, other.steps)
    parting = first_parting(*steps, tolerance)
    for line in _inside(one, other, len(steps[0]), parting):
        say(line)
    is_same &= parting is None
    say("the same" if is_same else "not the same")
    return 0 if is_same else 1


def _picture(path: Path | None, side: Side) -> np.ndarray:
    if path is not None:
        return resize_canvas(read_image(path), side.size)[0]
    return scene(np.random.default_rng(0), *side.size, load_skeleton("coco17").keypoints)[0]


def _inside(one: Result, other: Result, common: int, parting: Parting | None) -> Iterator[str]:
    """Lines on what happens inside: `common` steps are in both."""
    if not one.steps or not other.steps:
        yield "inside: only two checkpoints, or two ONNX files, show their layers"
        return
    what = "layer" if one.parameters else "node"
    if parting is None:
        yield f"inside: all {common} {what}s that both have agree" if common else f"inside: no {what} is in both"
        return
    before = (
        f"the {parting.agreeing} before it agree, {parting.before} the last" if parting.before else "it is the first"
    )
    yield f"first {what} that differs: {parting.step}, by {parting.share:.1e}; {before}"
    yield from _parameters(one, other, parting)


def _parameters(one: Result, other: Result, parting: Parting) -> Iterator[str]:
    """Which parameters of the layer differ, else the first of all that do."""
    if not one.parameters:
        return
    shares = {
        name: share_of(values, other.parameters[name])
        for name, values in one.parameters.items()
        if name in other.parameters
    }
    layer = parting.step.name.partition("[")[0]
    differing = {name: share for name, share in shares.items() if share}
    own = [name for name in differing if name.startswith(f"{layer}.")]
    if own:
        yield "  its parameters: " + ", ".join(f"{name} differs by {differing[name]:.1e}" for name in own[:4])
    elif differing:
        yield f"  its own parameters are the same; {len(differing)} others differ, first {next(iter(differing))}"
    else:
        yield "  all parameters are the same"
