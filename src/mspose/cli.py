"""What commands that take a configuration share: arguments, help, logging and one-line errors.

`--config FILE`, `--debug`, the flags of `mspose.config.schema.FLAGS`, then any `section.key=value`. Nothing here
imports MindSpore, so `--help` and every configuration error come at once.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mspose.backends.card import ENDINGS, card_path, read_card
from mspose.checkpoints.resolve import conventions_file, conventions_of, pick, stored_conventions
from mspose.config.builder import ConfigBuilder, describe_keys, parse_value
from mspose.config.originals import counterpart
from mspose.config.recipes import recipe_folder
from mspose.config.schema import FLAGS, SCHEMA, SIZES, Config
from mspose.errors import PoseError, UsageError, one_line
from mspose.extras import is_optional, missing
from mspose.files import write_text
from mspose.runtime.logs import set_up_logging
from mspose.version import software

log = logging.getLogger("pose")

# ModelArts adds these to the command line of a job; its environment variables say the same.
PLATFORM_FLAGS = ("init_method", "num_gpus", "rank", "world_size")


def run(summary: str, command: Callable[[Config], object], argv: Sequence[str], program: str = "mspose") -> int:
    """Parse the arguments, run the command and turn errors into one line and an exit code.

    What no one foresaw ends in one line too; its traceback is in crash.txt in the output folder, or with `--debug` on
    the terminal.

    Args:
        summary: one line on what the command does, for its help.
        program: how it is called.

    Returns:
        0 when all went well, 1 for a failed run, 2 for wrong usage, 128 + n when signal n ended it.
    """
    set_up_logging()
    # ModelArts and some shells pass a bare carriage return at line ends.
    argv = [argument.rstrip("\r") for argument in argv]
    debug = "--debug" in argv
    folder: list[str] = []  # for results, once it is known
    try:
        if "-h" in argv or "--help" in argv:
            print(help_text(summary, program), flush=True)
            return 0
        _execute(command, [a for a in argv if a != "--debug"], folder)
    except PoseError as error:
        return _fail(str(error), error.exit_code, debug)
    except KeyboardInterrupt:
        return _fail("interrupted", 128 + signal.SIGINT, debug)
    except BrokenPipeError:
        # The reader of our output (head, less) has gone: nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        return _fail("out of memory; a smaller train.batch_size or eval.batch_size needs less", 1, debug)
    except Exception as error:
        if is_optional(error):
            return _fail(missing(error), 1, debug)
        reason = one_line(error, 300)
        where = "" if debug else f" (this is a fault of the program; its traceback is in {_write_crash(folder)})"
        return _fail(f"{type(error).__name__}: {reason}{where}", 1, debug)
    return 0


def _execute(command: Callable[[Config], object], argv: list[str], folder: list[str]) -> None:
    config = parse(argv)
    folder.append(config.runtime.output)
    if not config.modelarts.enable:
        command(config)
        return
    from mspose.runtime.modelarts import job

    with job(config) as moved:
        # Once more: the conventions of a checkpoint that has just been fetched count too.
        config = parse([*argv, *moved])
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
            Path(folder).mkdir(parents=True, exist_ok=True)
            return str(write_text(Path(folder, name), text))
        except (PoseError, OSError):
            continue
    with tempfile.NamedTemporaryFile(
        "w", prefix="mspose-crash-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write(text)
    return file.name


def parse(argv: Sequence[str]) -> Config:
    """Build the configuration from command-line arguments.

    Raises:
        UsageError: unknown flag or key, missing file, wrong value.
    """
    config_file, overrides = split_arguments(argv)
    model = str(overrides.get("runtime.ckpt", ""))
    card = read_card(model) if model and not config_file else None
    if not config_file and card is None:
        if model and Path(model).suffix.lower() in ENDINGS:
            raise UsageError(f"--config FILE is missing, and no model card {card_path(model).name} lies beside {model}")
        raise UsageError(f"--config FILE is missing; recipes are in {recipe_folder()}")
    builder = ConfigBuilder()
    if card is None:
        builder.add_file(config_file)
    else:  # an exported model brings its configuration
        builder.add_values(card.values(model), str(card_path(model)))
        config_file = model
    ckpt, is_start = _checkpoint(builder, overrides, config_file)
    if ckpt:
        add_conventions(builder, Path(ckpt), SIZES if is_start else overrides)
    for key, value in overrides.items():
        before, source = builder.get(key), builder.sources.get(key, "")
        builder.set(key, value, "command line")
        if source.endswith(" (checkpoint)") and builder.get(key) != before:
            log.warning(f"note: {key}={builder.get(key)} (command line) overrides {before} stored in {source}")
    if not builder.get("runtime.output"):
        builder.set("runtime.output", _default_output(config_file), "default")
    return builder.build()


def split_arguments(argv: Sequence[str]) -> tuple[str, dict[str, object]]:
    """Split arguments into the `--config` file and dotted-key overrides; flags are translated into keys."""
    config_file, overrides = "", {}
    arguments = list(argv)
    while arguments:
        argument = arguments.pop(0)
        name, equals, value = argument.partition("=")
        if name.startswith("--"):
            flag = name[2:].replace("-", "_")
            if flag in PLATFORM_FLAGS:
                log.warning(f"note: {name} is ModelArts' own and not used")
            elif flag != "config" and flag not in FLAGS and flag not in SCHEMA:
                known = ", ".join(f"--{f}" for f in ("config", "debug", "help", *FLAGS))
                hint = counterpart(name[2:]) or counterpart(flag) or f"options are {known}, then section.key=value"
                raise UsageError(f"unknown option {name}; {hint}")
            if not equals and flag in FLAGS and SCHEMA[FLAGS[flag]].type == "bool":
                # A switch: its value may be left out.
                value = arguments.pop(0) if arguments and arguments[0].lower() in ("true", "false") else "true"
            elif not equals:
                if not arguments or arguments[0].startswith("--"):
                    raise UsageError(f"option {name} needs a value")
                value = arguments.pop(0)
            if flag == "config":
                config_file = value
            elif flag not in PLATFORM_FLAGS:
                key = FLAGS.get(flag, flag)
                overrides[key] = _scalar(key, value)
        elif equals:
            key = FLAGS.get(name, name)
            overrides[key] = _scalar(key, value)
        else:
            hint = "; quote a pattern such as '*.jpg', or the shell replaces it" if Path(argument).exists() else ""
            raise UsageError(f"{argument!r} is neither an option nor section.key=value{hint}")
    return config_file, overrides


def add_conventions(builder: ConfigBuilder, ckpt: Path, decided: Iterable[str] = ()) -> None:
    """Apply the input conventions of a checkpoint, saying what they change.

    They are in X.yaml for X.ckpt, and in the model card X.onnx.json for X.onnx; without such a file, those of other
    people's weights follow from the names in them.

    Args:
        decided: keys that the caller sets itself. Where the size is among them, that of the checkpoint does not count.
    """
    card = read_card(ckpt)
    path = card_path(ckpt) if card else conventions_file(ckpt)
    stored = pick(card.values(ckpt), card.conventions) if card else stored_conventions(ckpt)
    if not stored and ckpt.is_file() and ckpt.suffix.lower() not in ENDINGS:
        path, stored = ckpt, conventions_of(ckpt)
    if card is None and {"data.input_size", "codec.heatmap_size"}.isdisjoint(decided):
        stored |= _sizes(builder, ckpt)
    for key, value in stored.items():
        before, given = builder.get(key), key in builder.sources
        builder.set(key, value, f"{path} (checkpoint)")
        if given and builder.get(key) != before:
            log.warning(f"note: {key}={builder.get(key)} from {path} overrides {before} of the configuration")


def _sizes(builder: ConfigBuilder, ckpt: Path) -> dict[str, object]:
    """Sizes of a checkpoint's training, all or none; none where the configured network has another stride, which is
    told later."""
    sizes = stored_conventions(ckpt, SIZES)
    if len(sizes) < len(SIZES) or builder.get("model.name") == "openpose":
        return {}
    pairs = [[get(key) for key in ("data.input_size", "codec.heatmap_size")] for get in (builder.get, sizes.get)]
    if not all(isinstance(size, list) for pair in pairs for size in pair):
        return {}
    (here, its_maps), (there, their_maps) = ([list(size) for size in pair if size] for pair in pairs)
    return sizes if [n * m for n, m in zip(here, their_maps)] == [n * m for n, m in zip(there, its_maps)] else {}


def help_text(summary: str, program: str) -> str:
    """Text of `--help`: usage, flags, every key."""
    flags = "\n".join(f"  --{flag:16} {key}" for flag, key in FLAGS.items())
    return (
        f"{summary[:1].upper()}{summary[1:]}.\n\n"
        f"usage: {program} --config RECIPE [--debug] [section.key=value ...]\n\n"
        f"  --config RECIPE    file, or name of a recipe such as simplepose_r50_256x192; not needed for\n"
        f"                     an exported model (--ckpt X.onnx) that has its model card beside it\n"
        f"  --debug            show the traceback of an error\n"
        f"\nflags that stand for a key:\n{flags}\n\nkeys and their defaults:\n{describe_keys()}"
    )


def _checkpoint(builder: ConfigBuilder, overrides: dict[str, object], config_file: str) -> tuple[str, bool]:
    """The checkpoint whose conventions stand between the file and the command line, and whether a new run starts from
    it."""

    def value(key: str) -> str:
        return str(overrides.get(key) or builder.get(key))

    resume = value("train.resume")
    if resume == "auto":
        last = Path(value("runtime.output") or _default_output(config_file)) / "last.ckpt"
        resume = str(last) if last.is_file() else ""
    ckpt = value("runtime.ckpt") or resume
    return ckpt or value("train.init_from"), not ckpt


def _default_output(config_file: str) -> str:
    return str(Path("outputs") / Path(config_file).stem)


def _scalar(key: str, text: str) -> object:
    # Paths and names stay text: a folder called 2017 or a name like 1e5 must not turn into a number.
    is_text = key in SCHEMA and SCHEMA[key].type == "str"
    return text if is_text else parse_value(text)


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr, flush=True)
    return code
