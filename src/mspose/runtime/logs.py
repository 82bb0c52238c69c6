"""What is printed: our own lines, and not MindSpore's account of errors that we report ourselves."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mspose.errors import PoseError

log = logging.getLogger("pose")


class _Lines(logging.StreamHandler):
    """Plain lines on standard output; a reader that went away (| head) is no reason to print tracebacks."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def set_up_terminal() -> None:
    """Print what the terminal has no letter for as its number: no line is lost, or ends the run, for it.

    A stream that whoever started us has closed leads nowhere: its number must not become that of a file, into which
    libraries would print.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (as long as the program)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print at once.

    Raises:
        PoseError: it cannot be printed, for a reason other than a reader that has gone.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_output()
        raise PoseError(f"standard output cannot be written: {error.strerror}") from error


def discard_output() -> None:
    """Let what standard output still holds, and cannot be printed, go nowhere, and the end of the program be quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def set_up_logging() -> None:
    """Plain lines on standard output, whatever MindSpore does to the root logger."""
    set_up_terminal()
    # Of several processes only the first one tells what they do together.
    log.setLevel(logging.INFO if os.environ.get("RANK_ID", "0") == "0" else logging.WARNING)
    log.propagate = False
    log.handlers = [_Lines(sys.stdout)]
    log.handlers[0].setFormatter(logging.Formatter("%(message)s"))


@contextmanager
def mindspore_silent() -> Iterator[None]:
    """Let MindSpore's own logger, and no other, say nothing for a while: it tells of a failure over many lines."""
    import mindspore as ms

    logger = ms.log._get_logger()
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
