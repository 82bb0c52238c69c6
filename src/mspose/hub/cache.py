"""Where published files are kept, and how they get there: fetched once, verified, one process at a time.

    MSPOSE_HOME        folder of the cache; by default $XDG_CACHE_HOME/mspose, else ~/.cache/mspose
    MSPOSE_OFFLINE=1   nothing is fetched (`runtime.offline`)
    MSPOSE_MIRROR      HOST=URL,HOST=URL: fetch from URL what is published at HOST (`runtime.mirror`)
    HF_ENDPOINT        URL in the place of https://huggingface.co, as Hugging Face's own programs read it

The files are in weights/ there. FILE.download.json beside each says when and from where it came and what its SHA-256
is. Files that somebody else puts there count as well, are verified once, and are never replaced.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from mspose.config.schema import RuntimeConfig
from mspose.errors import PoseError, UsageError
from mspose.files import user_path, write_json
from mspose.hub.table import Published, named, published
from mspose.runtime.results import one_at_a_time
from mspose.runtime.transfer import digest_of, fetch

log = logging.getLogger("pose")

HUGGING_FACE = "huggingface.co"


def cache_folder() -> Path:
    """The folder of the files."""
    home = os.environ.get("MSPOSE_HOME")
    if not home:
        home = str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "mspose"))
    return user_path(home).absolute() / "weights"


def place_of(entry: Published) -> Path:
    """Where the file is, or will be."""
    return cache_folder() / entry.file


def name_of(path: str | Path) -> str:
    """The name of the published file that a path in the cache is of; "" where it is none."""
    path = Path(path).absolute()
    names = (entry.name for entry in published().values() if place_of(entry) == path)
    return next(names, "") if path.parent == cache_folder() else ""


def local(value: str | Path, runtime: RuntimeConfig) -> str:
    """The path of a file that is given by its path, or by the name of a published one, which is fetched.

    Raises:
        PoseError: see `obtain`.
    """
    entry = named(value)
    return str(obtain([entry], runtime)[0]) if entry is not None else str(value)


def obtain(entries: Sequence[Published], runtime: RuntimeConfig) -> list[Path]:
    """The files, each fetched if it is not in the cache.

    Raises:
        UsageError: a mirror cannot be used.
        PoseError: one is not there and cannot be fetched (all that are missing are named, with their addresses and
            where to put them), or is not the published one.
    """
    missing = [entry for entry in entries if not place_of(entry).exists()]
    by_login = [entry for entry in missing if not entry.url]
    if by_login:
        raise PoseError(f"{_names(by_login)} cannot be fetched without a login: {_by_hand(by_login)}")
    forbidden = offline(runtime)
    if missing and forbidden:
        raise PoseError(f"not in the cache, and {forbidden} is set: {_names(missing)}; {_by_hand(missing)}")
    mirrors = _mirrors(runtime)
    for number, entry in enumerate(missing):
        try:
            _fetch(entry, _address(entry, mirrors))
        except PoseError as error:
            raise PoseError(f"{error}; or do it yourself: {_by_hand(missing[number:])}") from error
    for entry in entries:
        if entry not in missing:
            _verify(entry)
    return [place_of(entry) for entry in entries]


def offline(runtime: RuntimeConfig) -> str:
    """What forbids to fetch anything, a key or a variable; "" where nothing does."""
    return "runtime.offline" if runtime.offline else "MSPOSE_OFFLINE" if _is_set("MSPOSE_OFFLINE") else ""


def _fetch(entry: Published, url: str) -> None:
    target = place_of(entry)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PoseError(
            f"the cache cannot be written: {target.parent}: {error.strerror} (MSPOSE_HOME=FOLDER is another)"
        ) from error
    with one_at_a_time(target, "download"):
        if target.exists():  # another process has fetched it meanwhile
            return
        log.info(f"fetching {entry.name} ({entry.licence}) once, into {target.parent}: {url}")
        digest = fetch(url, target, entry.size, entry.sha256)
        _record(entry, target, digest, url)


def _verify(entry: Published) -> None:
    """Look at a file that is there: once, and again when it has changed.

    Raises:
        PoseError: it is not the published one, or not what was fetched.
    """
    target = place_of(entry)
    try:
        status = target.stat()
    except OSError as error:
        raise PoseError(f"{entry.name} cannot be read: {target}: {error.strerror}") from error
    known = _read_record(target)
    if known.get("size") == status.st_size and known.get("modified") == status.st_mtime_ns:
        return
    if entry.size not in (None, status.st_size):
        raise PoseError(
            f"{target} is not the published {entry.name}: {status.st_size:,} bytes, not {entry.size:,}; move it away"
        )
    try:
        digest = digest_of(target)
    except OSError as error:
        raise PoseError(f"{entry.name} cannot be read: {target}: {error.strerror}") from error
    if not digest.startswith(entry.sha256):
        raise PoseError(
            f"{target} is not the published {entry.name}: its SHA-256 is {digest}, not {entry.sha256}"
            f"{'…' if len(entry.sha256) < 64 else ''}; move it away"
        )
    if digest != known.get("sha256", digest):
        raise PoseError(
            f"{target} has changed since its SHA-256 was recorded: move it away, or, if it is meant so, "
            f"{_record_of(target).name} beside it"
        )
    with suppress(PoseError):  # the cache is another's: looked at each time
        _record(entry, target, digest, str(known.get("url", "")))


def _record(entry: Published, target: Path, digest: str, url: str) -> None:
    status = target.stat()
    how = "as published" if len(entry.sha256) == 64 else "as the file's name says" if entry.sha256 else "not published"
    content = {"name": entry.name, "url": url, "size": status.st_size, "modified": status.st_mtime_ns}
    write_json(
        _record_of(target), {**content, "sha256": digest, "known": how, "date": time.strftime("%Y-%m-%d")}, indent=2
    )
    log.info(f"{entry.name}: {status.st_size:,} bytes, SHA-256 {digest} ({how}{', recorded' * (not entry.sha256)})")


def _record_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.download.json")


def _read_record(target: Path) -> dict:
    try:
        content = json.loads(_record_of(target).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _mirrors(runtime: RuntimeConfig) -> dict[str, str]:
    """Host → address in its place; the configuration's count most, then MSPOSE_MIRROR, then HF_ENDPOINT."""
    endpoint = os.environ.get("HF_ENDPOINT", "")
    given = [f"{HUGGING_FACE}={endpoint}"] if endpoint else []
    given += [text.strip() for text in os.environ.get("MSPOSE_MIRROR", "").split(",") if text.strip()]
    mirrors = {}
    for text in [*given, *runtime.mirror]:
        host, _, url = text.partition("=")
        if not host or not url.startswith(("http://", "https://")):
            raise UsageError(f"a mirror is HOST=URL (runtime.mirror, MSPOSE_MIRROR, HF_ENDPOINT), not {text!r}")
        mirrors[host] = url.rstrip("/")
    return mirrors


def _address(entry: Published, mirrors: dict[str, str]) -> str:
    parts = urlsplit(entry.url)
    return mirrors.get(parts.netloc, f"{parts.scheme}://{parts.netloc}") + parts.path


def _names(entries: Sequence[Published]) -> str:
    return " and ".join(entry.name for entry in entries)


def _by_hand(entries: Sequence[Published]) -> str:
    """How a person brings the files."""
    parts = [
        (entry.url or f"it at {entry.source}")
        + (f" as {entry.file}" if entry.url.rpartition("/")[2] != entry.file else "")
        for entry in entries
    ]
    return f"fetch {' and '.join(parts)}, and put {'it' if len(entries) == 1 else 'them'} into {cache_folder()}"


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() not in ("", "0", "false", "no", "off")
