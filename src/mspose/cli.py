"""What commands that take a configuration share: arguments, help, logging and one-line errors.

`--config FILE`, `--debug`, the flags of `mspose.config.schema.FLAGS`, then any `section.key=value`. Nothing here
imports MindSpore, so `--help` and every configuration error come at once.
"""

from __future__ import annotations

import difflib
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mspose.config.builder import network_of
from mspose.config.describe import all_keys, describe_keys
from mspose.config.hints import nearest_key
from mspose.config.keys import keys_of
from mspose.config.originals import counterpart
from mspose.config.schema import FLAGS, SECTIONS, Config
from mspose.config.text import Text
from mspose.errors import PoseError, UsageError, one_line, os_reason
from mspose.extras import is_missing, missing
from mspose.files import write_text
from mspose.resolve import resolve
from mspose.runtime.logs import discard_output, say, set_up_logging
from mspose.runtime.signals import stops_kept
from mspose.version import software

log = logging.getLogger("pose")

SHARED_KEYS = keys_of(SECTIONS)

# ModelArts adds these to the command line of a job; its environment variables say the same.
PLATFORM_FLAGS = ("init_method", "num_gpus", "rank", "world_size")


@dataclass(frozen=True)
class Usage:
    """How a command is called.

    Attributes:
        summary: one line on what it does, for its help.
        program: what stands before its arguments.
        section: which section its keys are in, for suggestions.
        argument: the key, a list of texts, of arguments without a name; empty: there are none.
        weights: published network that runs where neither a recipe nor weights are given; empty: one must be.
        check: whether what it works on is there, before published weights are fetched.
    """

    summary: str = ""
    program: str = "mspose"
    section: str = ""
    argument: str = ""
    weights: str = ""
    check: Callable[[Config], None] | None = None


def run(usage: Usage, command: Callable[[Config], object], argv: Sequence[str]) -> int:
    """Parse the arguments, run the command and turn errors into one line and an exit code.

    What no one foresaw ends in one line too; its traceback is in crash.txt in the output folder, or with `--debug` on
    the terminal.

    Returns:
        0 when all went well, 1 for a failed run, 2 for wrong usage.

    Raises:
        Stop: a signal ended it.
    """
    set_up_logging()
    # ModelArts and some shells pass a bare carriage return at line ends.
    argv = [argument.rstrip("\r") for argument in argv]
    debug = "--debug" in argv
    folder: list[str] = []  # for results, once it is known
    try:
        if "-h" in argv or "--help" in argv:
            recipe, _ = split_arguments([a for a in argv if a not in ("-h", "--help", "--debug")], usage)
            say(help_text(usage, recipe))
            return 0
        with stops_kept():
            _execute(command, [a for a in argv if a != "--debug"], folder, usage)
    except PoseError as error:
        return _fail(str(error), error.exit_code, debug)
    except BrokenPipeError:  # the reader of our output has gone
        discard_output()
        return 1
    except MemoryError:
        return _fail("out of memory; a smaller train.batch_size or eval.batch_size needs less", 1, debug)
    except OSError as error:
        if error.filename is None:  # nothing a user named
            return _unforeseen(error, debug, folder)
        return _fail(os_reason(error), 1, debug)
    except Exception as error:
        if is_missing(error):
            return _fail(missing(error), 1, debug)
        return _unforeseen(error, debug, folder)
    return 0


def _unforeseen(error: Exception, debug: bool, folders: list[str]) -> int:
    where = "" if debug else f" (this is a fault of the program; its traceback is in {_write_crash(folders)})"
    return _fail(f"{type(error).__name__}: {one_line(error, 300)}{where}", 1, debug)


def _execute(command: Callable[[Config], object], argv: list[str], folder: list[str], usage: Usage) -> None:
    config = parse(argv, usage)
    folder.append(config.runtime.output)
    if not config.modelarts.enable:
        command(config)
        return
    from mspose.runtime.modelarts import job

    with job(config) as moved:
        # Once more: the conventions of a checkpoint that has just been fetched count too.
        config = parse([*argv, *moved], usage)
        folder.append(config.runtime.output)
        command(config)


def _write_crash(folders: list[str]) -> str:
    """Write the traceback of the current exception into the last of the folders that can be written, else into a
    temporary file; the path of the file."""
    rank = os.environ.get("RANK_ID", "0")
    name = "crash.txt" if rank == "0" else f"crash_rank_{rank}.txt"
    written = " ".join(f"{key} {value}" for key, value in software().items() if value)
    text = f"{written}\n{' '.join(sys.argv)}\n\n{traceback.format_exc()}"
    for folder in reversed(folders):
        try:
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_text(encoding="utf-8").startswith("mspose "):  # an earlier one
                return str(write_text(path, text))
        except (PoseError, OSError, UnicodeDecodeError):
            continue
    with tempfile.NamedTemporaryFile(
        "w", prefix="mspose-crash-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write(text)
    return file.name


def parse(argv: Sequence[str], usage: Usage = Usage()) -> Config:
    """Build the configuration from command-line arguments.

    Raises:
        UsageError: unknown flag or key, missing file, wrong value.
    """
    recipe, overrides = split_arguments(argv, usage)
    if usage.weights and not recipe and not overrides.keys() & {"runtime.ckpt", "model.name"}:
        overrides["runtime.ckpt"] = Text(usage.weights)

    def check(config: Config) -> None:
        if usage.check is not None and not config.modelarts.enable:  # there, the data come later
            usage.check(config)

    return resolve(recipe, overrides, section=usage.section, check=check)


def split_arguments(argv: Sequence[str], usage: Usage = Usage()) -> tuple[str, dict[str, Any]]:
    """Split arguments into the `--config` file and dotted-key overrides; flags are translated into keys."""
    config_file, overrides, unnamed = "", dict[str, Any](), list[str]()
    arguments = list(argv)
    while arguments:
        argument = arguments.pop(0)
        name, equals, value = argument.partition("=")
        if name.startswith("--"):
            flag = name[2:].replace("-", "_")
            if flag in PLATFORM_FLAGS:
                log.warning(f"note: {name} is ModelArts' own and not used")
            elif flag != "config" and flag not in FLAGS and "." not in flag:
                raise UsageError(f"unknown option {name}; {_meant(name[2:], flag, usage.section)}")
            if not equals and flag in FLAGS and SHARED_KEYS[FLAGS[flag]].type == "bool":
                # A switch: its value may be left out.
                value = arguments.pop(0) if arguments and arguments[0].lower() in ("true", "false") else "true"
            elif not equals:
                if not arguments or arguments[0].startswith("--"):
                    raise UsageError(f"option {name} needs a value")
                value = arguments.pop(0)
            if flag == "config":
                config_file = value
            elif flag not in PLATFORM_FLAGS:
                overrides[FLAGS.get(flag, flag)] = Text(value)
        elif equals:
            overrides[FLAGS.get(name, name)] = Text(value)
        elif not Path(argument).exists() and (key := _bare_key(argument, usage.section)):
            raise UsageError(f"{argument!r} is a key without a value: write {key}=VALUE, with no blanks around =")
        elif argument and usage.argument:
            unnamed.append(argument)
        else:
            hint = "; quote a pattern such as '*.jpg', or the shell replaces it" if Path(argument).exists() else ""
            raise UsageError(f"{argument!r} is neither an option nor section.key=value{hint}")
    if unnamed:
        if usage.argument in overrides:
            raise UsageError(f"{usage.argument} is given twice: by its name, and as {unnamed[0]!r}")
        overrides[usage.argument] = unnamed
    return config_file, overrides


def _bare_key(argument: str, section: str) -> str:
    """The key that an argument without a value names, with or without its section; empty: none."""
    keys = all_keys()
    return next((key for key in (argument, f"{section}.{argument}") if key in keys), "")


def _meant(name: str, flag: str, section: str) -> str:
    """What an option that there is not may mean: an original system's, a misspelt one, or a key."""
    options = ("config", "debug", "help", *FLAGS)
    if f"{section}.{flag}" in all_keys():
        return f"did you mean '{section}.{flag}'? keys are set as section.key=value"
    if clause := counterpart(name) or counterpart(flag):
        return clause
    if close := difflib.get_close_matches(flag, options, n=1, cutoff=0.75):
        return f"did you mean --{close[0]}?"
    clause = nearest_key(flag, all_keys(), section)
    if "did you mean" in clause:
        return f"{clause.removeprefix('; ')} keys are set as section.key=value"
    return f"options are {', '.join(f'--{option}' for option in options)}, then section.key=value"


def help_text(usage: Usage, recipe: str = "") -> str:
    """Text of `--help`: usage, flags, every key; with a recipe those that count for its network."""
    entry = network_of(recipe) if recipe else None
    keys = f"keys of {entry.name}" if entry else "keys (--config RECIPE --help shows those of its network)"
    flags = "\n".join(f"  --{flag:16} {key}" for flag, key in FLAGS.items())
    argument = f"[{usage.argument.partition('.')[2].upper()} ...] " if usage.argument else ""
    recipe_word = "[--config RECIPE]" if usage.weights else "--config RECIPE"
    default = f"                     (default: {usage.weights})\n" if usage.weights else ""
    return (
        f"{usage.summary[:1].upper()}{usage.summary[1:]}.\n\n"
        f"usage: {usage.program} {argument}{recipe_word} [--debug] [section.key=value ...]\n\n"
        f"  --config RECIPE    file, or name of a recipe such as simplepose_r50_256x192; not needed where the\n"
        f"                     weights say it all: --ckpt best.ckpt of a run, an exported model with its card,\n"
        f"                     an archive of MMDeploy (rtmpose-….zip), a published network (mspose models)\n{default}"
        f"  --debug            show the traceback of an error\n"
        f"\nflags that stand for a key:\n{flags}\n\n{keys} and their defaults:\n{describe_keys(entry)}"
    )


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr, flush=True)
    return code
