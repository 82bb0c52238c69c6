"""The folder into which a command writes its results: one run at a time, and no files of the run before among the new.

    .COMMAND.lock   there while a run writes: who it is; the lock itself is the kernel's and dies with its process
    .COMMAND.files  which files the command has written, with size and time, one JSON object a line

Reading a folder needs neither, and commands that write different files do not wait for each other: a run may be
evaluated into its folder while it trains.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import IO

from mspose.errors import PoseError
from mspose.files import check_writable, file_fault, on_written, remove_abandoned, write_text
from mspose.runtime.ranks import is_writer

log = logging.getLogger("pose")

WAIT = 0.1  # seconds between two looks at a lock that another process holds


@contextmanager
def locked(folder: Path, command: str, result: Path | None = None) -> Iterator[Path]:
    """Keep other runs out of a folder while the block runs; rank 0 does so for all ranks.

    Args:
        command: what runs, told to others.
        result: the file, where it is not the whole folder that is written.

    Raises:
        PoseError: another run is writing into it (which one is told), or no file can be opened there.
    """
    if not is_writer():
        yield folder
        return
    with _held(folder / f".{result.name if result else command}.lock", command, result or folder):
        yield folder


@contextmanager
def one_at_a_time(path: Path, command: str) -> Iterator[None]:
    """Let one process at a time make a file; the others, ranks too, wait for it, and say so once.

    Args:
        command: what makes it, told to others.

    Raises:
        PoseError: no file can be opened beside it.
    """
    with _held(path.with_name(f".{path.name}.lock"), command, path, waits=True):
        yield


@contextmanager
def _held(path: Path, command: str, what: Path, waits: bool = False) -> Iterator[None]:
    """Hold a lock file, in which others find who does."""
    with _locked_file(path, what, waits) as file:
        try:
            who = {"command": command, "pid": os.getpid(), "host": socket.gethostname()}
            with contextlib.suppress(OSError):  # a full disk: the lock holds, and others are told less
                os.ftruncate(file.fileno(), 0)
                os.write(file.fileno(), json.dumps({**who, "since": time.strftime("%Y-%m-%d %H:%M:%S")}).encode())
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()  # while it is locked: whoever has opened it meanwhile sees that it is gone


def _locked_file(path: Path, what: Path, waits: bool) -> IO[str]:
    """The file, opened and locked; where the file system has no locks, only opened, with a word."""
    has_looked = is_told = False
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+", encoding="utf-8", errors="replace")
        except OSError as error:
            raise PoseError(f"cannot write {what}: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                holder = _holder(file)
            if holder or has_looked:  # at the first look it may have locked the file and not yet written into it
                holder = holder or "another run"
                if not waits:
                    raise PoseError(
                        f"{holder} is writing {what}: wait for it, stop it, or choose another output"
                    ) from None
                if not is_told:
                    log.info(f"waiting for {holder}, which is writing {what}")
                is_told = True
            has_looked = True
            time.sleep(WAIT)
            continue
        except OSError as error:
            log.warning(f"note: {path.parent} has no locks ({error.strerror}): see that no other run writes into it")
            return file
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
        file.close()  # its holder ended, and removed it, between our opening and locking it


def _holder(file: IO[str]) -> str:
    """Who has locked a file; empty: it does not say."""
    try:
        file.seek(0)
        who = json.loads(file.read())
        return f"{who['command']} (process {who['pid']} on {who['host']}, since {who['since']})"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


class Listing:
    """Which files of a folder a command has written: those of its run before, and those of this one."""

    def __init__(self, folder: Path, command: str) -> None:
        self._folder, self._path = folder, folder / f".{command}.files"
        if self._path.exists() and file_fault(self._path):
            raise PoseError(f"{self._path}, where results are listed, {file_fault(self._path)}: move it away")
        self._lock = Lock()
        self._current: set[str] = set()
        self._before = dict(_entries(self._path))
        self._file: IO[str] | None = None

    def add(self, path: Path) -> None:
        """Note a file that this run has just written, or keeps; files outside the folder are nobody's business."""
        try:
            name = path.absolute().relative_to(self._folder.absolute()).as_posix()
            status = path.stat()
        except (ValueError, OSError):
            return
        line = json.dumps({"name": name, "size": status.st_size, "modified": status.st_mtime_ns}) + "\n"
        with self._lock:
            self._current.add(name)
            try:  # at once: a run that is killed leaves a list too
                self._file = self._file or self._path.open("a", encoding="utf-8")
                self._file.write(line)
                self._file.flush()
            except OSError:  # a full disk; the results themselves will say so
                return

    def holds(self, path: Path) -> bool:
        """Whether a file was written by this command, in an earlier run, and is unchanged since."""
        return self._unchanged(path.relative_to(self._folder).as_posix())

    def _unchanged(self, name: str) -> bool:
        try:
            status = (self._folder / name).lstat()
        except OSError:
            return False
        return self._before.get(name) == (status.st_size, status.st_mtime_ns)

    def remove_stale(self) -> None:
        """Remove what the run before has written, this one has not, and nobody has changed since."""
        stale = [name for name in self._before if name not in self._current]
        for folder in {(self._folder / name).parent for name in stale}:
            remove_abandoned(folder)  # also where this run has written nothing
        removed = [name for name in stale if self._unchanged(name) and _removed(self._folder / name)]
        for folder in sorted({(self._folder / name).parent for name in removed} - {self._folder}, reverse=True):
            with contextlib.suppress(OSError):  # something else is in it
                folder.rmdir()
        if removed:
            log.info(f"{len(removed)} files of an earlier run removed from {self._folder}, such as {removed[0]}")
        self._before = {name: state for name, state in self._before.items() if name not in stale}

    def close(self, done: bool) -> None:
        """Write the list anew if the run is `done`; what it left undone stays listed otherwise."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        if not done:
            return
        self.remove_stale()
        with contextlib.suppress(PoseError):  # the one with more entries is as good
            kept = dict(_entries(self._path))
            entries = [
                {"name": name, "size": kept[name][0], "modified": kept[name][1]}
                for name in sorted(self._current)
                if name in kept
            ]
            write_text(self._path, "".join(json.dumps(entry) + "\n" for entry in entries))


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except OSError as error:
        log.warning(f"note: {path}, of an earlier run, cannot be removed: {error.strerror}")
        return False
    return True


def _entries(path: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Name, size and time of each file of a list; none without one. Names that lead out of the folder do not count."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            entry = json.loads(line)
            name, size, modified = entry["name"], entry["size"], entry["modified"]
            is_ours = type(size) is type(modified) is int and b"\0" not in os.fsencode(name)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # the last line of a run that was killed; no name of a file
        if is_ours and name and not Path(name).is_absolute() and ".." not in Path(name).parts:
            yield name, (size, modified)


@contextmanager
def results_folder(folder: str | Path, command: str) -> Iterator[Path]:
    """A folder for the results of a command: `locked`, and once the block has ended well, free of those of its run
    before. Every file written by way of `mspose.files` in the meantime counts as a result.

    Raises:
        PoseError: see `locked`.
    """
    path = check_writable(folder)
    with locked(path, command):
        listing = Listing(path, command)
        if not is_writer():
            yield path
            return
        done = False
        try:
            with on_written(listing.add):
                yield path
            done = True
        finally:
            listing.close(done)
