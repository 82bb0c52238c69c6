"""Published files by name: what there is, where it is, and fetching it.

    mspose models                          # all, with AP, licence, and which are in the cache
    mspose models list 'vitpose*'          # by a pattern of names
    mspose models search udp mindpose      # by words of a row: network, recipe, publisher, licence, notes
    mspose models download rtmpose-m       # into the cache; its path is printed last
    mspose models where [NAME ...]         # the cache's folder, or the path of files; 1 if one is not there

A name is taken by --ckpt, model.pretrained, train.init_from and demo.detector_file, and by PoseEstimator.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mspose.config.schema import RuntimeConfig
from mspose.errors import PoseError, UsageError
from mspose.hub.cache import cache_folder, obtain, place_of
from mspose.hub.table import Published, found, meant, published
from mspose.runtime.logs import say, set_up_logging


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, 1 when a file is not there or cannot be fetched, 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="mspose models", description=(__doc__ or ""), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    listing = commands.add_parser("list", help="all of them, or those whose names match a pattern")
    listing.add_argument("pattern", nargs="?", default="*", metavar="PATTERN", help="of names, such as 'vitpose*'")
    search = commands.add_parser("search", help="those in whose row all words stand")
    search.add_argument("words", nargs="+", metavar="WORD")
    download = commands.add_parser("download", help="fetch into the cache")
    download.add_argument("names", nargs="+", metavar="NAME")
    download.add_argument(
        "--mirror", action="append", default=[], metavar="HOST=URL", help="fetch from URL what is published at HOST"
    )
    where = commands.add_parser("where", help="the cache's folder, or where files are")
    where.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args(argv)
    set_up_logging()
    try:
        if options.command == "search":
            return _list(found(words=options.words))
        if options.command == "download":
            return _download(options.names, RuntimeConfig(mirror=options.mirror))
        if options.command == "where":
            return _where(options.names)
        return _list(found(getattr(options, "pattern", "*")))
    except PoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _list(entries: Sequence[Published]) -> int:
    if not entries:
        raise PoseError("none of the published files is meant by that; mspose models lists all")
    width = max(len(entry.name) for entry in entries)
    title = ""
    for entry in entries:
        heading = f"{entry.title}, of {entry.publisher}; {entry.licence}"
        if heading != title:
            measured = f"\nAP: {entry.measured}" if entry.ap is not None else ""
            say(f"{chr(10) if title else ''}{heading}{measured}")
            title = heading
        ap = f"AP {entry.ap:.1f}" if entry.ap is not None else ""
        state = "cached" if place_of(entry).exists() else "" if entry.url else f"by login: {entry.source}"
        more = "; ".join(filter(None, (state, entry.note)))
        say(f"  {entry.name:{width}}  {ap:7}  {entry.recipe or entry.part:24}  {more}".rstrip())
    return 0


def _download(names: Sequence[str], runtime: RuntimeConfig) -> int:
    entries = [_entry(name) for name in names]
    for path in obtain(entries, runtime):
        say(str(path))
    return 0


def _where(names: Sequence[str]) -> int:
    if not names:
        say(str(cache_folder()))
        return 0
    entries = [_entry(name) for name in names]
    for entry in entries:
        say(str(place_of(entry)))
    missing = [entry.name for entry in entries if not place_of(entry).exists()]
    if missing:
        raise PoseError(f"not in the cache: {', '.join(missing)}; mspose models download {' '.join(missing)}")
    return 0


def _entry(name: str) -> Published:
    if name not in published():
        raise UsageError(f"no published file is called {name!r}{meant(name)}")
    return published()[name]
