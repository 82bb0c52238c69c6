"""Which hosts a run has, where they meet, and how long what may take there."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass

MASTER_PORT = 8118  # MindSpore's own default
MOST_RANKS = 65536  # of a run on all its hosts; runtime/ranks.py refuses more


class LaunchError(Exception):
    """The ranks cannot be started."""


@dataclass(frozen=True)
class Pace:
    """How long what may take, in seconds.

    Attributes:
        beat: between two signs of life of a launcher.
        silence: without any from a host until the run is ended.
        stopped: that a rank may be stopped (by SIGSTOP) until the run is ended.
        farewell: in which other ranks may say why they fail too, after one has.
        meeting: in which all hosts have to come.
        retry: between two attempts to reach host 0 or to start msrun.
    """

    beat: float = 5.0
    silence: float = 30.0
    stopped: float = 20.0
    farewell: float = 3.0
    meeting: float = 600.0
    retry: float = 2.0


@dataclass(frozen=True)
class Place:
    """The hosts of a run and which of them this one is.

    Attributes:
        hosts, host: how many there are, and the number of this one.
        address: of host 0, a name or an IP address.
        port: of MindSpore's scheduler on host 0; the launchers talk through the next one.
    """

    hosts: int = 1
    host: int = 0
    address: str = "127.0.0.1"
    port: int = MASTER_PORT

    @property
    def name(self) -> str:
        """This host, to its user."""
        return f"host {self.host} ({socket.gethostname()})"


@dataclass(frozen=True)
class Failure:
    """Why a run ends.

    Attributes:
        why: one line or several, for the user.
        code: exit code of the launcher.
        order: which of several failures is told, the lowest: 0 for what came from outside, such as a signal.
    """

    why: str
    code: int
    order: int = 1


def split_address(text: str) -> tuple[str, int]:
    """ADDRESS or ADDRESS:PORT, an IPv6 address with a port in brackets.

    Raises:
        ValueError: no such thing.
    """
    address, port = text.strip(), str(MASTER_PORT)
    if address.startswith("["):
        address, _, rest = address[1:].partition("]")
        port = rest[1:] if rest.startswith(":") else port if not rest else ""
    elif address.count(":") == 1:
        address, _, port = address.partition(":")
    if not address or any(c.isspace() for c in address):
        raise ValueError(f"{text!r} is no ADDRESS[:PORT]")
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 1023 < int(port) < 65535):
        raise ValueError(f"the port of {text!r} must be a number from 1024 to 65534")
    return address, int(port)


def is_own(address: str) -> bool:
    """Whether an IP address is one of this host's."""
    try:
        found = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)[0]
        # Nothing is sent: the kernel only chooses the address to send from. Binding would not do, some hosts may bind
        # addresses that they do not have.
        with socket.socket(found[0], found[1]) as probe:
            probe.connect(found[4])
            return probe.getsockname()[0] == found[4][0]
    except OSError:
        return False


def find_place(
    hosts: str, host: str, master: str, port: str, servers: Sequence[str] = (), named: str = "the rank table"
) -> Place:
    """The hosts of a run and this one, from what the user or the scheduler of a cluster says.

    Args:
        hosts, host, master, port: numbers of hosts and of this one, address[:port] of host 0; empty: not said.
        servers: addresses of a rank table's hosts, in order; they are taken for what is not said.
        named: the table, for messages.

    Raises:
        LaunchError: something is missing or contradicts itself.
    """
    count = _number("--hosts (NNODES)", hosts, 1, MOST_RANKS) if hosts else len(servers) or 1
    if servers and len(servers) != count:
        raise LaunchError(f"{named} lists {len(servers)} hosts, --hosts (NNODES) asks for {count}")
    if count == 1:
        return Place()
    if not master and not servers:
        raise LaunchError(f"{count} hosts need --master ADDRESS[:PORT] (or MASTER_ADDR), the address of host 0")
    try:
        address, number = split_address(master or servers[0])
    except ValueError as error:
        raise LaunchError(f"--master (MASTER_ADDR): {error}") from None
    if port and number == MASTER_PORT:
        number = _number("MASTER_PORT", port, 1024, 65534)
    if host:
        return Place(count, _number("--host_rank (NODE_RANK)", host, 0, count - 1), address, number)
    own = [place for place, server in enumerate(servers) if is_own(server)]
    if len(own) == 1:
        return Place(count, own[0], address, number)
    known = f"; {len(own)} addresses of {named} are this host's" if servers else ""
    raise LaunchError(
        f"{count} hosts need --host_rank (or NODE_RANK), from 0 to {count - 1}: which is this one?{known}"
    )


def _number(name: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise LaunchError(f"{name} must be a number from {least} to {most}, not {text[:40]}")
    return int(text)
