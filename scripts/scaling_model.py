"""What a full COCO run costs on several hosts of eight cards, by a model: the table of docs/scaling.md.

    python scripts/scaling_model.py [HOSTS ...]

The step of one host is a published one and holds the all-reduce inside it. Between hosts a ring all-reduce over all
cards is added, as if none of it hid behind computing: an upper bound. Latency is not in it, since none was measured.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import NamedTuple

CARDS = 8  # a host
# Published: Huawei, Atlas 300T training card (model 9000): a 100 Gbit/s port for each card between hosts.
CARD_LINK = 100e9 / 8
# A host whose eight cards share one ordinary network port.
HOST_LINK = 10e9 / 8
# Published: cocodataset.org, train2017 has 118,287 pictures in 18 GB.
PICTURE = 18e9 / 118_287


class Network(NamedTuple):
    """A network whose step on one host of eight cards was published (docs/scaling.md, the first table).

    Attributes:
        samples: of an epoch, people or pictures.
        batch: of a card.
        step: seconds, on eight cards.
        gradients: bytes, float32, counted on this repository's network.
        core: samples that a core prepares in a second, measured here.
    """

    name: str
    samples: int
    batch: int
    epochs: int
    step: float
    gradients: float
    core: float


NETWORKS = (
    Network("SimplePose-R50, V100", 149_813, 32, 165, 0.1881, 136e6, 343),
    Network("FastPose-R50, Ascend 910", 149_813, 64, 270, 0.1473, 118e6, 343),
    Network("OpenPose, Ascend 910", 56_599, 10, 80, 0.348, 209e6, 191),
)
HEAD = (
    "network",
    "hosts",
    "batch in all",
    "steps an epoch",
    "all-reduce, 100 Gbit/s a card",
    "at 10 Gbit/s a host instead",
    "samples/s",
    "hours",
    "of perfect",
    "cores a host",
    "read in all",
)


def between_cards(network: Network, hosts: int) -> float:
    """Seconds of a ring all-reduce over all cards, each at the rate of its own link."""
    cards = hosts * CARDS
    return 2 * (cards - 1) / cards * network.gradients / CARD_LINK if hosts > 1 else 0.0


def between_hosts(network: Network, hosts: int) -> float:
    """Seconds of a ring all-reduce over hosts that have summed inside and have one port each."""
    return 2 * (hosts - 1) / hosts * network.gradients / HOST_LINK


def row(network: Network, hosts: int) -> tuple[str, ...]:
    """What a network costs on so many hosts."""
    batch = network.batch * CARDS * hosts
    steps = network.samples // batch
    exchange = between_cards(network, hosts)
    step = network.step + exchange
    rate = batch / step
    return (
        network.name,
        str(hosts),
        f"{batch:,}",
        f"{steps:,}",
        f"{1000 * exchange:.0f} ms" if hosts > 1 else "—",
        f"{1000 * between_hosts(network, hosts):.0f} ms" if hosts > 1 else "—",
        f"{rate:,.0f}",
        f"{steps * network.epochs * step / 3600:.2f}",
        f"{100 * network.step / step:.0f} %",
        str(math.ceil(rate / hosts / network.core)),
        f"{rate * PICTURE / 1e9:.2f} GB/s",
    )


def table(hosts: Sequence[int]) -> str:
    """All networks on each number of hosts, as Markdown."""
    lines = [HEAD, ("---",) * len(HEAD), *(row(network, count) for network in NETWORKS for count in hosts)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hosts", nargs="*", type=int, default=[1, 2, 16], help="numbers of hosts (1 2 16)")
    arguments = parser.parse_args()
    if any(not 1 <= count <= 8192 for count in arguments.hosts):
        parser.error("hosts must be from 1 to 8192")
    print(table(arguments.hosts))


if __name__ == "__main__":
    main()
