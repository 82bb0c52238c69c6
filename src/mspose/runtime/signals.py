"""Ctrl-C and SIGTERM end a command in order, whatever library computes at that moment.

While MindSpore runs a graph it has a handler of its own, which makes a SIGTERM of Ctrl-C; while it puts the old one
back there is none, and Ctrl-C ends the process on the spot. So SIGINT is blocked, in the threads of all libraries too
(they inherit that, which is why this stands before anything is imported), and a thread that does nothing else waits
for it and tells Python. And no error is raised amid MindSpore's own code, which would print pages about a graph that
cannot be compiled, or crash in the end if it was being imported; nor while a `with` block clears up.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Seconds that the main thread may be busy in a library before one more Ctrl-C ends the process at once.
PATIENCE = 2.0
POLL, POLL_POSTPONED = 0.05, 0.005  # seconds
LIBRARY = "mindspore"


class Stop(KeyboardInterrupt):
    """A signal has asked the command to end: SIGINT, which Ctrl-C is, or SIGTERM."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise `Stop` in the main thread while the block runs.

    One that is ignored, as SIGINT is in the background of a script, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():  # signals belong to the main thread
        yield
        return
    with _Watch():
        yield


@contextmanager
def stops_kept() -> Iterator[None]:
    """Raise `Stop` again where a library that it passed through has made another error of it."""
    try:
        yield
    except Exception as error:
        if _Watch.raised is not None:
            raise _Watch.raised from error
        raise


class _Watch:
    """Keeps SIGINT from all threads but one, which calls Python's handler in the main thread.

    That handler runs when the main thread comes back from a library. SIGURG, which does nothing else, wakes it where it
    waits for another thread. SIGTERM is not kept from anyone: who blocks it would start processes that do not end. So
    any thread may take it, and the main thread, which alone obeys, is woken then too.
    """

    raised: Stop | None = None  # in the command that runs

    def __enter__(self) -> None:
        self._main, self._is_over = threading.get_ident(), False
        self._asked = 0.0  # when Ctrl-C came that the main thread has not obeyed yet
        self._postponed = 0  # a signal that came at a bad time
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._stop) for number in numbers}
        self._before[signal.SIGURG] = signal.signal(signal.SIGURG, self._awake)
        self._taken, taken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)  # numbers of signals that any thread took
        self._wakeup = taken, signal.set_wakeup_fd(taken, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._run, name="pose-signals", daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        _Watch.raised, self._is_over = None, True
        self._thread.join()
        taken, before = self._wakeup
        signal.set_wakeup_fd(before)
        os.close(taken)
        os.close(self._taken)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._postponed = number if _is_bad_time(frame) else 0
        if not self._postponed:
            _Watch.raised = Stop(number)
            raise _Watch.raised

    def _awake(self, number: int, frame: FrameType | None) -> None:
        if not self._postponed:
            self._asked = 0.0

    def _run(self) -> None:
        while not self._is_over:
            time.sleep(POLL_POSTPONED if self._postponed else POLL)
            # Only with no time to wait: CPython takes a wait that SIGSTOP has outlasted for a signal.
            if signal.sigtimedwait({signal.SIGINT}, 0):
                if self._asked and time.monotonic() - self._asked > PATIENCE:
                    os.write(2, b"error: stopped at once\n")
                    os._exit(128 + signal.SIGINT)
                self._asked = self._asked or time.monotonic()
                self._tell(signal.SIGINT)
            elif self._postponed:
                self._tell(self._postponed)
            elif self._took(signal.SIGTERM):
                signal.pthread_kill(self._main, signal.SIGURG)

    def _took(self, number: int) -> bool:
        """Whether a thread has taken this signal since the last call."""
        try:
            return number in os.read(self._taken, 4096)
        except BlockingIOError:
            return False

    def _tell(self, number: int) -> None:
        """Have Python's handler of a signal called in the main thread."""
        _thread.interrupt_main(signal.Signals(number))
        signal.pthread_kill(self._main, signal.SIGURG)


def _is_bad_time(frame: FrameType | None) -> bool:
    """Whether code of MindSpore, or the end of a `with` block, runs or has called what runs."""
    while frame is not None:
        if frame.f_code.co_name == "__exit__" or frame.f_globals.get("__name__", "").partition(".")[0] == LIBRARY:
            return True
        frame = frame.f_back
    return False
