"""Inputs given by an address: pictures, videos and streams of other machines."""

from __future__ import annotations

import base64
import http.client
import re
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from mspose.errors import PoseError, UsageError, one_line
from mspose.images import picture_format
from mspose.version import __version__

SCHEMES = ("http", "https", "rtsp", "rtsps", "rtmp", "rtmps")
_ADDRESS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
MOST_BYTES = 200_000_000  # of a picture
TIMEOUT = 10.0


def is_address(text: str) -> bool:
    """Whether an input is an address, such as rtsp://camera/1.

    Raises:
        UsageError: it is one that is not read, or cannot be understood.
    """
    found = _ADDRESS.match(text)
    if not found:
        return False
    try:
        parts = urlsplit(text)
        is_usable = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_usable = False
    if found[1].lower() not in SCHEMES or not is_usable or re.search(r"[\0-\x20\x7f]", text):
        raise UsageError(
            f"demo.input: {shown(text)!r} is no address that can be read: it begins with "
            f"{', '.join(f'{scheme}://' for scheme in SCHEMES)} and a host, and holds no spaces"
        )
    return True


def shown(text: str) -> str:
    """An address without what is secret in it (user, password, query); other text as it is."""
    if not _ADDRESS.match(text):
        return text
    scheme, rest = text.split("://", 1)
    host, *path = re.split(r"[?#]", rest, maxsplit=1)[0].split("/")
    return "/".join([f"{scheme}://{host.rpartition('@')[2]}", *path])


def place_of(address: str) -> PurePosixPath:
    """Host and path of an address, as if it were a file: results are called after it."""
    return PurePosixPath(re.sub(r'[\\:*?"<>|\0]', "_", shown(address).split("://", 1)[1]))


def fetch_picture(address: str, folder: Path) -> Path | None:
    """Fetch what is at an address into a folder, if it is a picture; None where it is something else.

    Raises:
        PoseError: the server cannot be reached, refuses, breaks off, or the picture is too large.
    """
    if urlsplit(address).scheme.lower() not in ("http", "https"):
        return None
    try:
        with urllib.request.urlopen(_request(address), timeout=TIMEOUT) as response:
            data = response.read(16)
            if not picture_format(data):
                return None
            data += response.read(MOST_BYTES)
            promised = response.headers.get("Content-Length", "")
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = one_line(getattr(error, "reason", None) or str(error) or type(error).__name__)
        code = f"{error.code} " if isinstance(error, urllib.error.HTTPError) else ""
        raise PoseError(f"demo.input: {shown(address)} cannot be opened: {code}{reason}") from error
    if len(data) >= MOST_BYTES:
        raise PoseError(f"demo.input: {shown(address)} has more than {MOST_BYTES:,} bytes, too many for a picture")
    if promised.isdecimal() and len(data) < int(promised):
        raise PoseError(f"demo.input: {shown(address)} came incompletely: {len(data):,} of {int(promised):,} bytes")
    path = folder / f"{len(list(folder.iterdir()))}{place_of(address).suffix[:10]}"
    path.write_bytes(data)
    return path


def _request(address: str) -> urllib.request.Request:
    parts = urlsplit(address)
    user, _, host = parts.netloc.rpartition("@")
    # A path may hold letters that are not ASCII, as people paste them.
    path, query = (quote(part, safe="/%:=&?~+!$,;'@()*[]") for part in (parts.path, parts.query))
    headers = {"User-Agent": f"mspose/{__version__}", "Accept-Encoding": "identity"}
    request = urllib.request.Request(urlunsplit((parts.scheme, host, path, query, "")), headers=headers)
    if user:  # not for whoever the server sends us to
        secret = base64.b64encode(unquote(user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {secret}")
    return request
