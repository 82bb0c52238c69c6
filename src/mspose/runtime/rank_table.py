"""Rank tables: which cards of which hosts take part in a run, as Huawei's hccl_tools writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mspose.errors import one_line
from mspose.runtime.hosts import MOST_RANKS, LaunchError


@dataclass(frozen=True)
class Server:
    """One host of a rank table.

    Attributes:
        address: its IP address; empty: the table does not say.
        devices: number of each rank and its card, in order of rank.
    """

    address: str
    devices: tuple[tuple[int, int], ...]


def read_rank_table(path: Path, ranks: int) -> list[Server]:
    """The hosts of a rank table, in its order.

    Args:
        ranks: on each host.

    Raises:
        LaunchError: it is no rank table of hosts with as many devices.
    """
    if path.exists() and not path.is_file():
        raise LaunchError(f"{path} is not a rank table, not even a file; MindSpore's hccl_tools makes one")
    try:
        servers = [
            Server(
                str(server.get("server_id", "")),
                tuple(sorted((_number(d["rank_id"]), _number(d["device_id"])) for d in server["device"])),
            )
            for server in json.loads(path.read_text(encoding="utf-8"))["server_list"]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LaunchError(
            f"{path} is not a rank table ({type(error).__name__}: {error}); MindSpore's hccl_tools makes one"
        ) from None
    if not servers:
        raise LaunchError(f"{path} lists no hosts")
    for number, server in enumerate(servers):
        if len(server.devices) != ranks:
            where = f" of host {number}" if len(servers) > 1 else ""
            raise LaunchError(f"{path} lists {len(server.devices)} devices{where}, {ranks} are asked for")
    found = sorted(rank for server in servers for rank, _ in server.devices)
    if found != list(range(len(found))):
        raise LaunchError(f"{path}: rank_id must run from 0 to {len(found) - 1}")
    if 0 not in dict(servers[0].devices):
        raise LaunchError(f"{path}: rank_id 0 must be one of the first host's")
    return servers


def _number(value: object) -> int:
    """A number of a rank or card, which tables write as text or as a number.

    Raises:
        ValueError: it is something else.
    """
    text = str(value).strip()
    if isinstance(value, str | int) and text.isascii() and text.isdigit() and len(text) < 10 and int(text) < MOST_RANKS:
        return int(text)
    raise ValueError(f"no number from 0 to {MOST_RANKS - 1}: {one_line(text, 40)!r}")
