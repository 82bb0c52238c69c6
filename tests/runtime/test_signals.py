"""Ctrl-C and SIGTERM: seen whatever a library does, one line, and the exit code that says which it was."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

# What runs in a process of its own: `work` is a command that says when it is ready.
PROGRAM = """
import ctypes, hashlib, signal, sys, threading
from mspose.commands import COMMANDS, Command, main
c = ctypes.CDLL(None)
def ready(): print("ready", flush=True)
def library(argv):
    c.signal(signal.SIGINT, 0)  # as MindSpore does around a graph, without Python's knowledge
    ready()
    threading.Event().wait(20)
def wait(argv):
    ready()
    threading.Event().wait()
def elsewhere(argv):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # so that the other thread takes it
    ready()
    threading.Event().wait(20)
def busy(argv):
    ready()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # does not listen, and lets other threads run
def convert(argv):
    ready()
    try:
        threading.Event().wait(20)
    except KeyboardInterrupt:
        raise RuntimeError("another error is made of it")
def amid(argv):
    exec("def inside():\\n ready()\\n for _ in range(10): event.wait(0.1)\\n print('whole', flush=True)", module)
    module["inside"]()
    threading.Event().wait(20)
def leaving(argv):
    with Leaving():
        pass
    threading.Event().wait(20)
class Leaving:
    def __enter__(self): pass
    def __exit__(self, *_):
        ready()
        for _ in range(10): threading.Event().wait(0.1)
        print("whole", flush=True)
module = {"__name__": "mindspore.common", "ready": ready, "event": threading.Event()}
COMMANDS["work"] = Command("Work.", "x:y", takes_config=False)
object.__setattr__(COMMANDS["work"], "function", lambda: globals()[sys.argv[1]])
sys.exit(main(["work"]))
"""


def start(what: str, **options: object) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, what], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    return process


@pytest.mark.parametrize("what", ["wait", "library", "convert", "amid", "leaving"])
def test_ctrl_c(what: str) -> None:
    process = start(what)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=15)
    assert (process.returncode, errors) == (130, "error: stopped\n")
    assert output == ("whole\n" if what in ("amid", "leaving") else "")


@pytest.mark.parametrize("what", ["wait", "convert", "amid", "elsewhere"])
def test_sigterm(what: str) -> None:
    process = start(what)
    process.terminate()
    assert (process.communicate(timeout=15)[1], process.returncode) == ("error: stopped\n", 143)


def test_a_command_that_is_stopped_and_continued_goes_on() -> None:
    process = start("wait")
    for _ in range(5):
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert (process.communicate(timeout=15)[1], process.returncode) == ("error: stopped\n", 130)


def test_a_library_that_does_not_listen_is_left_at_the_second_ctrl_c() -> None:
    process = start("busy")
    process.send_signal(signal.SIGINT)
    time.sleep(2.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=5)
    assert (process.returncode, errors.count("\n")) == (130, 1)


def test_what_is_ignored_stays_ignored() -> None:
    process = start("wait", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.terminate()
    assert process.wait(10) == 143


def test_everything_is_as_before_behind_it() -> None:
    from mspose.runtime.signals import Stop, stoppable

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGURG)
    before = [signal.getsignal(n) for n in numbers], signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with pytest.raises(Stop), stoppable():
        signal.raise_signal(signal.SIGTERM)
    assert ([signal.getsignal(n) for n in numbers], signal.pthread_sigmask(signal.SIG_BLOCK, ())) == before
