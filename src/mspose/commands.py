"""The program `mspose`: its commands, each loaded when it is called. train.py, eval.py and the like are among them.

Nothing here imports MindSpore, so `--help` and every mistake in the arguments come at once.
"""

from __future__ import annotations

import difflib
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from mspose.errors import os_reason
from mspose.extras import is_missing, missing
from mspose.hub.table import NETWORK
from mspose.runtime.logs import discard_output, set_up_terminal
from mspose.runtime.signals import Stop, stoppable, stops_kept
from mspose.version import __version__, commit


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        summary: one line on what it does.
        target: `module:function`.
        script: the entry script at the top of the checkout that does the same; empty: there is none.
        section: of the configuration, which a key without one is looked for in first.
        takes_config: the function takes a `Config`; otherwise it takes the arguments, and returns the exit code.
        argument: the key that an argument without a name stands for; empty: there is none.
        weights: what runs where neither a recipe nor weights are given: the name of a published network.
        goes_on: when it is stopped, its next run goes on from there.
        check: `module:function` that raises where what the command works on is not there; called with a `Config`
            before published weights are fetched.
    """

    summary: str
    target: str
    script: str = ""
    section: str = ""
    takes_config: bool = True
    argument: str = ""
    weights: str = ""
    goes_on: bool = False
    check: str = ""

    def function(self) -> Callable:
        """The function behind the command."""
        return _function(self.target)


def _function(place: str) -> Callable:
    """The function at `module:function`, imported now."""
    module, _, name = place.partition(":")
    return getattr(import_module(f"mspose.{module}"), name)


COMMANDS = {
    "train": Command("train a network", "train.trainer:train", "train.py", "train", check="data.coco:check_training"),
    "eval": Command(
        "evaluate a network on COCO keypoints",
        "evaluate:evaluate_checkpoint",
        "eval.py",
        "eval",
        check="data.coco:check_evaluation",
    ),
    "export": Command(
        "write a MindIR, ONNX or AIR file and its model card",
        "export.command:export_checkpoint",
        "export.py",
        "export",
    ),
    "demo": Command(
        "find people in pictures, a video or a camera's; without any, serve a web page",
        "demo.run:demo",
        "demo.py",
        "demo",
        argument="demo.input",
        weights=NETWORK,
        check="demo.run:check_inputs",
    ),
    "detect": Command(
        "find the people of a data set, for eval.bbox_file",
        "detection.command:detect_people",
        section="demo",
        check="data.coco:check_evaluation",
    ),
    "prepare": Command(
        "write the evaluation set as raw network inputs for a device",
        "deploy.prepare:write_inputs",
        "data_to_bin.py",
        "eval",
        goes_on=True,
        check="data.coco:check_evaluation",
    ),
    "infer": Command("run a model over such inputs", "deploy.infer:infer", section="eval", goes_on=True),
    "postprocess": Command(
        "turn a device's raw results into keypoints and AP",
        "deploy.evaluate:evaluate_results",
        "postprocess.py",
        "eval",
    ),
    "convert": Command(
        "convert weights to ours, or ours to PyTorch and Hugging Face; give ONNX models of others a model card",
        "checkpoints.convert:main",
        takes_config=False,
    ),
    "download": Command(
        "fetch COCO 2017, or check what is there", "data.download:main", takes_config=False, goes_on=True
    ),
    "models": Command("list, find and fetch what others have published", "hub.command:main", takes_config=False),
    "check-data": Command(
        "say everything that is wrong with annotations", "data.check_command:main", takes_config=False
    ),
    "convert-data": Command(
        "convert annotations of labelme, CVAT and YOLO-pose to COCO keypoints, and back",
        "convert_data.command:main",
        takes_config=False,
    ),
    "sample": Command("draw a data set of articulated people", "synthetic.sample:main", takes_config=False),
    "ignore-mask": Command(
        "write OpenPose's ignore masks as pictures", "data.ignore_mask:main", takes_config=False, goes_on=True
    ),
    "doctor": Command(
        "say what this machine has, whether it belongs together, and what computes correctly",
        "diagnose.doctor:main",
        takes_config=False,
    ),
    "compare": Command(
        "say whether two files, backends or devices give the same, and where they part",
        "diagnose.compare:main",
        takes_config=False,
    ),
    "import-config": Command(
        "translate a configuration of an original system", "migrate.translate:main", takes_config=False
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `mspose COMMAND ARGUMENT...`.

    Returns:
        Its exit code: 2 for wrong usage, 1 for a failed run, 128 + n when signal n stopped it.
    """
    try:
        try:
            return _main(argv)
        finally:
            sys.stdout.flush()  # what cannot be printed is known here, and not after the end
    except BrokenPipeError:  # whoever read our output (head, less) has gone: nothing is left to say to it
        discard_output()
        return 1
    except OSError as error:
        if error.filename is not None:
            raise
        discard_output()
        print(f"error: standard output cannot be written: {error.strerror}", file=sys.stderr)
        return 1


def _main(argv: Sequence[str] | None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    set_up_terminal()
    name = argv[0].replace("_", "-") if argv else "--help"
    if name in ("-h", "--help", "help"):
        print(overview())
        return 0 if argv else 2
    if name in ("-V", "--version"):
        print(f"mspose {__version__}" + (f" ({commit()})" if commit() else ""))
        return 0
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.4)
        if Path(argv[0]).exists():
            hint = f"mspose demo {shlex.quote(argv[0])} draws the people of a picture, a video or a folder"
        else:
            hint = f"did you mean {close[0]!r}?" if close else f"commands are {', '.join(COMMANDS)}"
        print(f"error: mspose has no command {argv[0]!r}; {hint}", file=sys.stderr)
        return 2
    try:
        with stoppable():
            return _run(name, argv)
    except Stop as stop:
        if "--debug" in argv:
            traceback.print_exc()
        print(f"error: stopped{'; run again to go on' * COMMANDS[name].goes_on}", file=sys.stderr, flush=True)
        return stop.exit_code
    except ImportError as error:
        if not is_missing(error):
            raise
        print(f"error: {missing(error)}", file=sys.stderr)
        return 1


def _run(name: str, argv: list[str]) -> int:
    command = COMMANDS[name]
    if not command.takes_config:
        try:
            with stops_kept():
                return command.function()(argv[1:])
        except OSError as error:  # a path that is too long, a disk that fails
            if error.filename is None:
                raise
            print(f"error: {os_reason(error)}", file=sys.stderr)
            return 1
    from mspose.cli import Usage, run

    program = f"python {command.script}" if Path(sys.argv[0]).name == command.script else f"mspose {name}"
    check = (lambda config: _function(command.check)(config)) if command.check else None
    usage = Usage(command.summary, program, command.section, command.argument, command.weights, check)
    return run(usage, lambda config: command.function()(config), argv[1:])


def overview() -> str:
    """Text of `mspose --help`."""
    lines = [f"  {name:14} {command.summary}" for name, command in COMMANDS.items()]
    return (
        "Human pose estimation on MindSpore.\n\n"
        "usage: mspose COMMAND [argument ...]; mspose COMMAND --help says more\n\n" + "\n".join(lines)
    )
