"""Two hosts on this machine: network namespaces that a cable joins."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


class LinkedHosts:
    """Two network namespaces joined by a pair of virtual interfaces.

    Attributes:
        addresses: IP address of each.
    """

    addresses = ("10.213.7.1", "10.213.7.2")

    def __init__(self) -> None:
        self.names = tuple(f"pose{os.getpid()}-{host}" for host in range(2))

    def inside(self, host: int) -> list[str]:
        """What is put before a command to run it on a host."""
        return ["ip", "netns", "exec", self.names[host]]

    def cut(self) -> None:
        """Pull the cable."""
        _ip("-n", self.names[1], "link", "set", "cable", "down")

    def mend(self) -> None:
        """Plug it in again."""
        _ip("-n", self.names[1], "link", "set", "cable", "up")


def _ip(*arguments: str) -> None:
    result = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {result.stderr.strip()}")


@contextmanager
def linked_hosts() -> Iterator[LinkedHosts]:
    """Two hosts, for the time of a block; skips the test where they may not be made."""
    hosts = LinkedHosts()
    first, second = hosts.names
    try:
        try:
            for name in hosts.names:
                _ip("netns", "add", name)
            _ip("-n", first, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", second)
            for name, address in zip(hosts.names, hosts.addresses):
                _ip("-n", name, "addr", "add", f"{address}/24", "dev", "cable")
                _ip("-n", name, "link", "set", "lo", "up")
                _ip("-n", name, "link", "set", "cable", "up")
        except OSError as error:
            pytest.skip(f"network namespaces cannot be made here: {error}")
        yield hosts
    finally:
        for name in hosts.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
