"""Several hosts as one run: launchers that meet, and what ends on all of them when something dies or hangs on one.

Two hosts are two launchers on this machine, in network namespaces of their own where the network itself is cut. The
ranks are a plain Python program that a rank table starts, and patience is short: what MindSpore does in between is
tested in test_cluster.py.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mspose.runtime.hosts import LaunchError, Pace, Place, find_place, split_address
from mspose.runtime.processes import start_by_msrun
from tests.messages import tells_of
from tests.namespaces import LinkedHosts, linked_hosts
from tests.test_scripts import is_running, wait_until

LAUNCHER = """
import sys
from mspose.runtime.hosts import Pace
from mspose.runtime.launch import main
sys.exit(main(sys.argv[1:], Pace(beat=0.2, silence=1.5, stopped=0.5, farewell=0.15, meeting=MEETING, retry=0.2)))
"""
# What each rank does is in a list such as "wait,end"; "once" ends in an error the first time.
RANK = """
import os, pathlib, signal, sys, time
folder, rank = pathlib.Path(sys.argv[1]), os.environ["RANK_ID"]
todo = sys.argv[2].split(",")[int(rank)]
def stop(number, frame):
    print("saved", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
again = (folder / f"started_{rank}").exists()
assert again == (sys.argv[3:] == ["train.resume=auto"])
(folder / f"new_{rank}").write_text(str(os.getpid()))
(folder / f"new_{rank}").rename(folder / f"started_{rank}")
print(f"rank {rank} of {os.environ['RANK_SIZE']} on card {os.environ['DEVICE_ID']}", flush=True)
if todo == "raise":
    raise RuntimeError("the disk is on fire")
if todo == "once" and not again:
    sys.exit("error: bad luck")
while todo == "wait":
    time.sleep(0.1)
"""


class Run:
    """Two launchers and their ranks, two on each."""

    def __init__(self, folder: Path, todo: str, *options: object, meeting: float = 20, **more: object) -> None:
        self.folder, self.options, self.meeting = folder, options, meeting
        self.todo, self.hosts = todo, more.get("hosts")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = min(probe.getsockname()[1], 65000)
        (folder / "rank.py").write_text(RANK)
        addresses = self.hosts.addresses if self.hosts else ("127.0.0.1", "127.0.0.1")
        servers = [
            {
                "server_id": address,
                "device": [{"device_id": str(card), "rank_id": str(2 * host + card)} for card in range(2)],
            }
            for host, address in enumerate(addresses)
        ]
        self.table = folder / "table.json"
        self.table.write_text(json.dumps({"version": "1.0", "server_list": servers}))
        self.master = f"{addresses[0]}:{self.port}"
        self.processes = [self.launch(host) for host in more.get("start", range(2))]

    def launch(self, host: int, *options: object) -> subprocess.Popen:
        code = LAUNCHER.replace("MEETING", str(self.meeting))
        own = ("--rank_table", self.table, "--logs", self.folder / "logs", "--ranks", 2, "--master", self.master)
        # In a namespace a host finds its own address in the table.
        which = () if self.hosts else ("--host_rank", host)
        before = self.hosts.inside(host) if self.hosts else []
        command = [*before, sys.executable, "-c", code, *own, *which, *self.options, *options]
        return subprocess.Popen(
            [*map(str, command), str(self.folder / "rank.py"), str(self.folder), self.todo],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def pids(self, count: int = 4) -> list[int]:
        """Of the ranks, once all have started."""
        files = [self.folder / f"started_{rank}" for rank in range(count)]
        wait_until(lambda: all(file.is_file() for file in files), 20)
        return [int(file.read_text()) for file in files]

    def end(self, seconds: float = 25) -> list[tuple[int, str, str]]:
        """Exit code, output and errors of each launcher, once no rank is left."""
        begin = time.monotonic()
        results = []
        for process in self.processes:
            output, errors = process.communicate(timeout=max(0.1, begin + seconds - time.monotonic()))
            results.append((process.returncode, output, errors))
        wait_until(lambda: not any(map(is_running, self.pids(0))), 5)
        return results


@pytest.fixture
def clear_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def linked() -> Iterator[LinkedHosts]:
    with linked_hosts() as hosts:
        yield hosts


def none_left(pids: list[int]) -> None:
    wait_until(lambda: not any(map(is_running, pids)), 10)


def test_ranks_of_two_hosts_end_well(tmp_path: Path, clear_environment: None) -> None:
    first, second = Run(tmp_path, "end,end,end,end").end()
    for result, rank in ((first, 0), (second, 2)):
        assert (result[0], result[1].splitlines()[-1], result[2]) == (0, f"rank {rank} of 4 on card 0", "")
    assert (tmp_path / "logs/host_1/rank_3.log").read_text() == "rank 3 of 4 on card 1\n"


@pytest.mark.parametrize(("rank", "number"), [(0, signal.SIGSTOP), (3, signal.SIGKILL)])
def test_a_rank_that_is_killed_or_stopped_ends_the_run(
    rank: int, number: int, tmp_path: Path, clear_environment: None
) -> None:
    run = Run(tmp_path, "wait,wait,wait,wait")
    pids = run.pids()
    os.kill(pids[rank], number)
    first, second = run.end()
    none_left(pids)
    assert first[0] == second[0] == 128 + number
    assert first[2] == second[2]
    assert (first[2].startswith("error: "), first[2].count("\n")) == (True, 1)
    assert tells_of(first[2], f"host {rank // 2}", f"rank {rank}", "SIGSTOP" if number == signal.SIGSTOP else "Killed")


def test_a_rank_that_raises_again_after_a_restart_is_told_on_both_hosts(
    tmp_path: Path, clear_environment: None
) -> None:
    first, second = Run(tmp_path, "wait,wait,raise,wait", "--restarts", 1).end()
    assert first[0] == second[0] == 1
    for errors in (first[2], second[2]):
        begin, note, end = errors.splitlines()
        assert tells_of(begin, "host 1", "rank 2", "the disk is on fire", tmp_path / "logs/host_1/rank_2.log")
        assert tells_of(end, "rank 2", tmp_path / "logs/host_1/restart_1/rank_2.log")
        assert note.endswith("restart 1 of 1")


@pytest.mark.parametrize(("host", "number"), [(0, signal.SIGKILL), (1, signal.SIGKILL), (1, signal.SIGSTOP)])
def test_a_launcher_that_is_killed_or_stopped_leaves_no_rank(
    host: int, number: int, tmp_path: Path, clear_environment: None
) -> None:
    run = Run(tmp_path, "wait,wait,wait,wait")
    pids = run.pids()
    run.processes[host].send_signal(number)
    results = run.end()
    none_left(pids)
    other = results[1 - host]
    assert (results[host][0], other[0]) == (-signal.SIGKILL, 1)
    assert (other[2].startswith(f"error: host {host}"), other[2].count("\n")) == (True, 1)


def test_a_signal_to_one_launcher_lets_all_save(tmp_path: Path, clear_environment: None) -> None:
    run = Run(tmp_path, "wait,wait,wait,wait")
    pids = run.pids()
    run.processes[1].terminate()
    results = run.end()
    none_left(pids)
    assert [(code, output.splitlines()[-1], errors) for code, output, errors in results] == [(143, "saved", "")] * 2


def test_a_run_that_failed_starts_again(tmp_path: Path, clear_environment: None) -> None:
    first, second = Run(tmp_path, "end,end,end,once", "--restarts", 2).end()
    assert first[0] == second[0] == 0
    for errors in (first[2], second[2]):
        assert tells_of(errors.splitlines()[0], "rank 3", "bad luck")
        assert errors.splitlines()[1:][0].endswith("restart 1 of 2")
        assert errors.count("\n") == 2
    # What was said before the restart stays.
    assert "bad luck" in (tmp_path / "logs/host_1/rank_3.log").read_text()
    assert (tmp_path / "logs/host_1/restart_1/rank_3.log").is_file()


def test_a_host_that_does_not_come_is_named(tmp_path: Path, clear_environment: None) -> None:
    run = Run(tmp_path, "end,end,end,end", meeting=1, start=[0])
    code, _, errors = run.end()[0]
    assert (code, errors.count("\n")) == (1, 1)
    assert tells_of(errors, "host 1", run.master.partition(":")[0], "1 s")


def test_strangers_and_hosts_told_otherwise_are_not_let_in(tmp_path: Path, clear_environment: None) -> None:
    run = Run(tmp_path, "end,end,end,end", start=[0])
    address = ("127.0.0.1", run.port + 1)
    wait_until(lambda: socket.socket().connect_ex(address) == 0, 10)
    strangers = [socket.create_connection(address) for _ in range(3)]
    for stranger, words in zip(strangers, (b"GET / HTTP/1.1\r\n\r\n", b'{"is": []}\n[]\n', b'{"is": "failed"}\n')):
        stranger.sendall(words)
    assert tells_of(run.launch(7).communicate(timeout=20)[1], "--host_rank", 1, 7)
    run.processes.append(run.launch(1))
    assert [result[0] for result in run.end()] == [0, 0]
    for stranger in strangers:
        stranger.close()


def test_msrun_is_called_again_while_the_network_is_not_up(tmp_path: Path) -> None:
    msrun = tmp_path / "msrun"
    msrun.write_text(
        '#!/bin/sh\nif mkdir "$0.once"; then echo "RuntimeError: Get local ip has failed."; exit 1; fi\nexit 3\n'
    )
    msrun.chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    with pytest.raises(LaunchError, match="exit status 3"):
        start_by_msrun(["x.py"], 1, tmp_path, environment, set(), Place(), Pace(silence=5, retry=0.1))


@pytest.mark.parametrize("back", [False, True])
def test_a_link_that_is_lost_ends_the_run_on_both_sides(
    back: bool, linked: LinkedHosts, tmp_path: Path, clear_environment: None
) -> None:
    run = Run(tmp_path, "wait,wait,wait,wait", *(("--restarts", 1) if back else ()), hosts=linked)
    pids = run.pids()
    linked.cut()
    none_left(pids)
    if back:
        linked.mend()
        wait_until(lambda: not set(run.pids()) & set(pids), 20)
        run.processes[1].terminate()
    (first, _, told), (second, _, told_there) = run.end()
    assert (first, second) == ((143, 143) if back else (1, 1))
    assert tells_of(told.splitlines()[0], "error: host 1", "has not answered")
    assert tells_of(told_there.splitlines()[0], "error: host 0", linked.addresses[0], "has not answered")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", ("10.0.0.1", 8118)),
        ("node-0.pose:9000", ("node-0.pose", 9000)),
        ("[fd00::1]:9000", ("fd00::1", 9000)),
        ("fd00::1", ("fd00::1", 8118)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert split_address(text) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (("", "", "", ""), Place()),
        (("1", "", "10.0.0.1", "29500"), Place()),
        (("", "3", "10.0.0.1", ""), Place()),  # what a scheduler sets for one host too
        (("2", "1", "10.0.0.1", "29500"), Place(2, 1, "10.0.0.1", 29500)),
        (("2", "1", "10.0.0.1:9000", "29500"), Place(2, 1, "10.0.0.1", 9000)),
    ],
)
def test_the_place_of_a_host_follows_from_what_is_said(said: tuple[str, ...], expected: Place) -> None:
    assert find_place(*said) == expected


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (("2", "0", "", ""), ("--master", "MASTER_ADDR")),
        (("2", "", "10.0.0.1", ""), ("--host_rank", "NODE_RANK", 1)),
        (("2", "2", "10.0.0.1", ""), ("--host_rank", 1, 2)),
        (("two", "0", "10.0.0.1", ""), ("--hosts", "two")),
        (("2", "0", "10.0.0.1:80", ""), ("--master", "80", 1024)),
        (("2", "0", "10.0.0.1", "http"), ("MASTER_PORT", "http")),
    ],
)
def test_what_a_host_lacks_to_know_its_place_is_named(said: tuple[str, ...], named: tuple) -> None:
    with pytest.raises(LaunchError) as caught:
        find_place(*said)
    assert tells_of(str(caught.value), *named)


def test_a_rank_table_says_which_host_this_is() -> None:
    assert find_place("", "", "", "", ["203.0.113.1", "127.0.0.1"]) == Place(2, 1, "203.0.113.1", 8118)
    with pytest.raises(LaunchError, match="--host_rank"):
        find_place("", "", "", "", ["203.0.113.1", "203.0.113.2"])
