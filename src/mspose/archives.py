"""ZIP archives of other people: what is looked at before anything of them is used."""

from __future__ import annotations

import posixpath
import stat
import struct
import zipfile
import zlib
from collections import Counter
from pathlib import Path

from mspose.errors import PoseError

# What reading a damaged or encrypted archive may raise, besides OSError.
DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError)


def harmless(file: zipfile.ZipFile, archive: Path) -> list[zipfile.ZipInfo]:
    """The files of an archive, folders left out, once its whole list has been found harmless.

    Raises:
        PoseError: a path leads out of the folder, is a link or a device, or is there twice, also in two spellings.
    """
    members = []
    for member in file.infolist():
        path = member.filename
        if not path or path.startswith("/") or "\\" in path or ":" in path or ".." in path.split("/"):
            raise PoseError(f"{archive}: unsafe path {path!r} in the archive; nothing was unzipped")
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise PoseError(f"{archive}: {path!r} is a link or a device; nothing was unzipped")
        if not member.is_dir():
            members.append(member)
    counts = Counter(posixpath.normpath(member.filename) for member in members)
    name, count = next(iter(counts.most_common(1)), ("", 0))
    if count > 1:
        raise PoseError(f"{archive}: holds {name!r} {count} times; nothing was unzipped")
    return members
