"""Files over HTTP: a transfer that goes on where it broke off, and what came is checked before it gets its name."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import shutil
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from mspose.errors import PoseError, one_line
from mspose.files import write_json
from mspose.version import __version__

ATTEMPTS = 6
FIRST_WAIT = 1.0  # seconds before the second attempt; doubled for each further one
TIMEOUT = 30.0
CHUNK = 1 << 20


def fetch(url: str, target: Path, size: int | None = None, sha256: str = "", advice: str = "") -> str:
    """Download `url` to `target`, which must not be there, continuing `target`.part.

    A transfer that breaks is tried again, ATTEMPTS times without progress at most, each wait twice the one before.
    Redirections are followed, but from https to https only. Where one states the SHA-256 of the file, as Hugging Face's
    do, what comes must have it.

    Args:
        size: bytes of the file; None: as many as the server says.
        sha256: its digest, hexadecimal, or how that begins; empty: unknown.
        advice: a question to the user where the server refuses the address, or offers another size.

    Returns:
        The SHA-256 of what came, hexadecimal.

    Raises:
        PoseError: the server refuses, keeps failing, or does not say how large the file is; the disk has no room; or
            the file has not the expected size or digest.
    """
    advice = advice and f"; {advice}"
    partial, note = partial_files(target)
    failures, most, redirects = 0, file_size(partial), _Redirects()
    while size is None or file_size(partial) != size:
        try:
            size = _transfer(url, partial, note, size, advice, redirects)
            reason = "the connection closed early"
        except (OSError, http.client.HTTPException) as error:
            code = getattr(error, "code", 0)
            cause = getattr(error, "reason", error)
            reason = str(cause) or type(error).__name__
            if code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                partial.unlink(missing_ok=True)
            elif 300 <= code < 500 and code not in (http.client.REQUEST_TIMEOUT, http.client.TOO_MANY_REQUESTS):
                raise PoseError(f"{url}: the server says {one_line(error)}{advice}") from error
            elif isinstance(cause, socket.gaierror) and not failures and not file_size(partial):
                raise PoseError(f"{url}: no connection ({reason})") from error  # to wait would not help
        if file_size(partial) == size:
            break
        # Measured by the most there ever was: a server that starts anew each time must not keep us here for ever.
        failures = 0 if file_size(partial) > most else failures + 1
        most = max(most, file_size(partial))
        if failures >= ATTEMPTS:
            of = f" of {size:,}" if size is not None else ""
            raise PoseError(
                f"{url}: no progress in {ATTEMPTS} attempts ({reason}); "
                f"run again to go on from {file_size(partial):,}{of} bytes"
            )
        time.sleep(FIRST_WAIT * 2 ** max(failures - 1, 0))
    note.unlink(missing_ok=True)
    digest = digest_of(partial)
    wrong = next((known for known in (sha256, redirects.sha256) if not digest.startswith(known)), None)
    if wrong is not None:
        partial.unlink()
        raise PoseError(
            f"{url}: what came is not the published file (SHA-256 {digest[:12]}…, not {wrong[:12]}…) and "
            "was deleted: run again; if it happens twice, something between you and the server changes files"
        )
    partial.replace(target)
    return digest


def _transfer(url: str, partial: Path, note: Path, size: int | None, advice: str, redirects: _Redirects) -> int:
    """One request: append to `partial` what the server still has of it, or start anew where it must be.

    Returns:
        The size of the whole file.
    """
    offset = file_size(partial)
    validator = _read_validator(note, url) if offset else None
    headers = {"User-Agent": f"mspose/{__version__}", "Accept-Encoding": "identity"}
    # Without a validator the first bytes may be of another version of the file: they are fetched again.
    if validator and (size is None or offset < size):
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    opener = urllib.request.build_opener(redirects)
    with opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as response:
        start, total = _extent(response)
        if total < 0:
            raise PoseError(f"{url}: the server does not say how large the file is{advice}")
        if size is not None and total != size:
            raise PoseError(
                f"{url}: the server offers {total:,} bytes, the published file has {size:,}"
                f"{advice or '; is a login page or proxy in between?'}"
            )
        if start not in (0, offset):
            raise http.client.HTTPException(f"asked for byte {offset}, got byte {start}")
        free = shutil.disk_usage(partial.parent).free + offset - start
        if total - start > free:
            raise PoseError(f"{partial.parent}: {gigabytes(total - start)} are needed, {gigabytes(free)} are free")
        try:
            write_json(note, {"url": url, "validator": _validator(response)})
            with partial.open("ab" if start else "wb") as file, progress_bar(partial.stem, total, start) as bar:
                # Never more than was promised, whatever the server sends.
                while chunk := _read(response, min(CHUNK, total - file.tell())):
                    file.write(chunk)
                    bar.update(len(chunk))
        except _ReadError as error:
            raise http.client.HTTPException(str(error)) from error
        except OSError as error:
            raise PoseError(f"cannot write {partial}: {error.strerror}; run again to go on from there") from error
    return total


class _Redirects(urllib.request.HTTPRedirectHandler):
    """What was asked for by https does not come by http.

    Attributes:
        sha256: of the file, as a redirection states it; empty: none does.
    """

    def __init__(self) -> None:
        self.sha256 = ""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise PoseError(f"{req.full_url} leads to {newurl}, which is not secured: nothing was fetched")
        stated = headers.get("X-Linked-Etag", "").strip('"')  # Hugging Face's name of large files: their SHA-256
        self.sha256 = stated if re.fullmatch(r"[0-9a-f]{64}", stated) else self.sha256
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _ReadError(Exception):
    """A failure of the network: both reading and writing raise OSError, and only the first is worth a retry."""


def _read(response: http.client.HTTPResponse, count: int) -> bytes:
    try:
        return response.read(count) if count else b""
    except (OSError, http.client.HTTPException) as error:
        raise _ReadError(str(error) or type(error).__name__) from error


def _extent(response: http.client.HTTPResponse) -> tuple[int, int]:
    """First byte and total size of what a response brings a part or the whole of; size -1 if it does not say."""
    if response.status == http.client.PARTIAL_CONTENT:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if not found:
            raise http.client.HTTPException("a partial answer without a usable Content-Range")
        return int(found[1]), int(found[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else -1


def _validator(response: http.client.HTTPResponse) -> str | None:
    """What If-Range takes to name this version of the file: a strong ETag, else the date (RFC 9110, 13.1.5)."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _read_validator(note: Path, url: str) -> str | None:
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
        return content["validator"] if content["url"] == url else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def digest_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file, progress_bar(f"verifying {path.stem}", file_size(path)) as bar:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def partial_files(target: Path) -> tuple[Path, Path]:
    """The partial transfer of a file, and the note about it."""
    return target.with_name(target.name + ".part"), target.with_name(target.name + ".part.json")


def file_size(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def progress_bar(label: str, total: int, initial: int = 0) -> tqdm:
    """A bar of bytes; none where the output is not a terminal."""
    return tqdm(desc=label, total=total, initial=initial, unit="B", unit_scale=True, unit_divisor=1000, disable=None)


def gigabytes(count: int) -> str:
    """A number of bytes, for messages."""
    return f"{count / 1e9:.1f} GB" if count >= 5e7 else f"{count / 1e6:.1f} MB"
