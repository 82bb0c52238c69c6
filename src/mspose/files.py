"""Writing results so that a reader never meets half a file."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mspose.errors import PoseError, UsageError, one_line

_listeners: list[Callable[[Path], None]] = []


@contextmanager
def on_written(listener: Callable[[Path], None]) -> Iterator[None]:
    """Call `listener` with every file that `atomic_path` moves into place, in any thread, while the block runs."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextmanager
def unlisted() -> Iterator[None]:
    """Let `on_written` miss what the block writes: files that are kept for later, not results."""
    kept = _listeners.copy()
    _listeners.clear()
    try:
        yield
    finally:
        _listeners.extend(kept)


@contextmanager
def atomic_path(path: str | Path, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it into place when the block ends well, remove it otherwise.

    The temporary name (see `_temporary`) keeps the suffix of `path`, since writers choose the format by it. What killed
    processes left under such names is removed when a folder is first written to.

    Args:
        durable: wait until the content is on the disk, so that a power cut leaves the old file or the new one.

    Raises:
        PoseError: the folder cannot be written to or the disk is full.
    """
    path = Path(path)
    if path in _becomes:  # it is being written like that already
        with _naming(_becomes[path][0]):
            yield path
        return
    with _naming(path), _temporary_file(path) as temporary:
        yield temporary
        if durable:
            _sync(temporary)
        _move(temporary)


@contextmanager
def atomic_group(path: Path, *records: Path) -> Iterator[tuple[Path, ...]]:
    """`atomic_path` for a file and what belongs to it, such as the record that it is ours, all in one folder.

    A block that fails leaves all old files. A process that is killed at any moment leaves the old group, the new one,
    or records without the file: never the file with the record of another, or without any.
    """
    with _naming(path), ExitStack() as stack:
        file, *beside = [stack.enter_context(_temporary_file(target)) for target in (path, *records)]
        yield file, *beside
        for temporary in (file, *beside):
            _sync(temporary)  # nothing is left that could fail
        path.unlink(missing_ok=True)
        for temporary in (*beside, file):
            _move(temporary)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """`atomic_path` for a folder of new files: it must not be there, or be empty.

    Raises:
        UsageError: something is there.
        PoseError: it cannot be written.
    """
    path = Path(path)
    if path.is_symlink() or path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise UsageError(f"{path} is there already: choose a new or empty folder")
    temporary = _temporary(path)
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _tidy(path.parent.absolute())
        temporary.mkdir()
        try:
            yield temporary
            temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


# Temporary files of this process: what each becomes, and the mode of any new file there.
_becomes: dict[Path, tuple[Path, int]] = {}


@contextmanager
def _temporary_file(path: Path) -> Iterator[Path]:
    """An empty temporary file beside a path; removed at the end, if it is still there."""
    temporary = _temporary(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _tidy(path.parent.absolute())
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    _becomes[temporary] = path, os.fstat(handle).st_mode & 0o777
    os.close(handle)
    try:
        yield temporary
    finally:
        del _becomes[temporary]
        temporary.unlink(missing_ok=True)


def _move(temporary: Path) -> None:
    """Give a temporary file its name."""
    path, mode = _becomes[temporary]
    temporary.chmod(mode)  # MindSpore makes its files read-only
    temporary.replace(path)
    for listener in _listeners:
        listener(path)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PoseError(f"cannot write {path}: {error.strerror or error}") from error


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files of processes that were killed; of other hosts, where untouched for a day."""
    try:
        found = [(path, _TEMPORARY.fullmatch(path.name)) for path in folder.iterdir()]
    except OSError:  # not there, or not ours to look into
        return
    for path, name in found:
        with suppress(OSError):
            if name and _is_abandoned(path, name[1], int(name[2]), int(name[3])):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _temporary(path: Path) -> Path:
    """A free name beside a file, with its suffix, that says which process writes it; 130 bytes and a suffix at most."""
    stem = os.fsencode(path.stem)[:60].decode("utf-8", "ignore")
    pid = os.getpid()
    return path.with_name(f".{stem}.mspose-{_host()}-{pid}-{_started(pid)}-{secrets.token_hex(4)}{path.suffix}")


_TEMPORARY = re.compile(r"\..*\.mspose-([0-9a-f]{6})-(\d{1,10})-(\d{1,20})-[0-9a-f]{8}(?:\.[^.]*)?", re.DOTALL)
_DAY = 24 * 3600


@lru_cache(maxsize=4096)
def _tidy(folder: Path) -> None:
    """`remove_abandoned`, once for each folder."""
    remove_abandoned(folder)


@lru_cache
def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]


def _started(pid: int) -> int:
    """When a process of this host began, in ticks since the host did; 0 where that is not told."""
    try:
        # The name of the program, in parentheses, may hold anything.
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def _is_abandoned(path: Path, host: str, pid: int, started: int) -> bool:
    if host != _host():
        return time.time() - path.lstat().st_mtime > _DAY
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # somebody else's
        pass
    now = _started(pid)
    return bool(now and started and now != started)  # its number has been given to another


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_text(path: str | Path, text: str) -> Path:
    """Write `text` to `path` atomically, as UTF-8."""
    with atomic_path(path) as temporary:
        # A file name that is not UTF-8 may be part of it.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return Path(path)


def write_json(path: str | Path, value: object, indent: int | None = None) -> Path:
    """Write `value` as JSON to `path` atomically; NumPy scalars and arrays become numbers and lists."""
    return write_text(path, json.dumps(value, indent=indent, default=_plain))


def file_fault(path: str | Path) -> str:
    """What keeps a path from being read as a file, to be put behind its name; empty: nothing.

    Reading a named pipe or a device may never end, and whoever names one has mostly named it by mistake.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null character
        return "not found"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if stat.S_ISREG(mode):
        return ""
    kinds = {stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a named pipe", stat.S_ISSOCK: "a socket"}
    kind = next((name for is_one, name in kinds.items() if is_one(mode)), "a device")
    return f"is {kind}, not a file"


def read_json(path: str | Path, what: str) -> Any:
    """Read a JSON file; `what` names its role in the error ("annotation file").

    Raises:
        PoseError: the file is missing, unreadable, not JSON (the place is named), or holds a key twice.
    """
    path = Path(path)
    fault = file_fault(path)
    if fault:
        raise PoseError(f"{what} {fault}: {path}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PoseError(f"{what} cannot be read: {path}: {error.strerror}") from error
    return parse_json(data, what, path)


def parse_json(data: bytes, what: str, source: str | Path) -> Any:
    """What JSON holds; `what` and `source`, its file, are named in the error.

    Raises:
        PoseError: not JSON (the place is named), or a key is there twice in one object: others would take the last one,
            and nobody could tell which is meant.
    """
    try:
        return json.loads(data, object_pairs_hook=distinct)
    except UnicodeDecodeError as error:
        raise PoseError(f"{what} is not JSON in UTF-8, but perhaps a picture or a video: {source}") from error
    except json.JSONDecodeError as error:
        raise PoseError(f"{what} is not valid JSON (cut short?): {source}: {one_line(error)}") from error
    except (RecursionError, ValueError) as error:  # brackets in brackets; a number of thousands of digits
        reason = "too deeply nested" if isinstance(error, RecursionError) else one_line(error)
        raise PoseError(f"{what} is not usable JSON: {source}: {reason}") from error


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON as a dict.

    Raises:
        ValueError: a key is there twice.
    """
    result = dict(pairs)
    if len(result) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        where = f", where id is {one_line(result['id'], 20)}" if "id" in result else ""
        raise ValueError(f"the key {twice[:60]!r} is there twice{where}")
    return result


@contextmanager
def utf8_path(path: str | Path) -> Iterator[str]:
    """Yield an absolute path by which libraries written in C++ find a file, whatever it is called.

    They take UTF-8 only, and some crash on other bytes: a link leads to such a file as long as the block lasts.
    """
    absolute = Path(path).absolute()
    if is_utf8(absolute):
        yield str(absolute)
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, f"file{absolute.suffix}" if is_utf8(absolute.suffix) else "file")
        link.symlink_to(absolute)
        yield str(link)


def is_utf8(path: str | Path) -> bool:
    """Whether the bytes of a path are UTF-8."""
    return not any("\ud800" <= letter <= "\udfff" for letter in str(path))


def user_path(text: str) -> Path:
    """A path that somebody gave: `~` is their home folder, also where no shell saw it."""
    return Path(os.path.expanduser(text))


def parse_yaml(text: str, source: str) -> Any:
    """What YAML text holds: dicts, lists, and in them single values; `1e-4` is a number, a key given twice an error.

    Raises:
        UsageError: not YAML, deeply nested, or with aliases that make much of little.
    """
    # Imported here: most of what reads and writes files needs none of it.
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        # PyYAML's safe loader, and limits to nesting and to what aliases may repeat.
        return OmegaConf.to_container(OmegaConf.create(text), resolve=False) if text.strip() else {}
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        raise UsageError(f"{source}: not valid YAML: {_tab(text, error)}{one_line(error)}") from error
    except AssertionError:  # OmegaConf's answer to a lone number
        return None


def _tab(text: str, error: Exception) -> str:
    """That a line is indented with a tab, where this is what an error of PyYAML is about."""
    mark = getattr(error, "problem_mark", None)
    number, lines = mark.line if mark else 0, text.split("\n")
    is_tab = number < len(lines) and re.match(r" *\t", lines[number])
    return f"line {number + 1} is indented with a tab, use spaces: " if is_tab else ""


def check_writable(folder: str | Path) -> Path:
    """Create `folder` and prove that files can be written there, before any work is done for it.

    Raises:
        PoseError: it cannot.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PoseError(
            f"output folder cannot be written: {folder}: {error.strerror}; choose another with output=DIR"
        ) from error
    return folder


def find_same(targets: Iterable[Path], inputs: Iterable[tuple[Path, str]]) -> tuple[Path, str] | None:
    """The first of the targets that is one of the inputs, also by way of links or `..`, and what that input is.

    Args:
        inputs: paths, each with what it is; those that are no files do not count.
    """
    read: dict[tuple[int, int], str] = {}
    for path, what in inputs:
        identity = _identity(path)
        if identity is not None:
            read.setdefault(identity, what)
    for path in targets:
        identity = _identity(path)
        if identity in read:
            return path, read[identity]
    return None


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and number of a file; the same for all its names. None where there is no file."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON serialisable")
