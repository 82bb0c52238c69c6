"""Starts the ranks of a distributed run on this host and watches them until all have ended.

    python src/mspose/runtime/launch.py --ranks N --logs DIR [--hosts N --host_rank R --master ADDRESS[:PORT]]
        [--rank_table FILE] [--restarts N] train.py [argument ...]

MindSpore's msrun starts the processes and then leaves them to this one, which copies rank 0's output, passes on
SIGINT and SIGTERM so that the run can save, and ends all ranks when one of them fails, with one line that says which
and why. msrun itself would end them without letting them save, or leave them running. With a rank table (Ascend) there
is no msrun: one process for each of the table's devices. On several hosts the launchers keep a heartbeat (link.py), and
a run ends everywhere when it ends somewhere. Linux only, as msrun is.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

if not __package__:  # run as a file: a bare checkout needs no installation
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mspose.runtime.hosts import MOST_RANKS, Failure, LaunchError, Pace, Place, find_place
from mspose.runtime.link import Link
from mspose.runtime.processes import (
    CLOSING,
    MARK,
    Follower,
    Process,
    StoppedRanks,
    children,
    command_lines,
    describe,
    end_all,
    free_port,
    hold,
    most_processes,
    rank_environment,
    reap,
    start_by_msrun,
    start_by_table,
    start_guard,
    table_environments,
)
from mspose.runtime.rank_table import Server, read_rank_table

POLL = 0.2
# Seconds in which rank 0 may save after another rank has obeyed the signal to stop.
SAVING = 60.0
PR_SET_CHILD_SUBREAPER = 36
# What a run that is started again is told, after all that the user has said. An evaluation does not mind.
AGAIN = "train.resume=auto"


def main(argv: Sequence[str] | None = None, pace: Pace | None = None) -> int:
    """Start and watch the ranks of this host.

    Args:
        pace: of the watch, where it is not the usual one.

    Returns:
        0 when all ranks of all hosts ended well; the exit code of the first that failed, or 128 + n when signal n ended
        it; 128 + n when signal n stopped the run.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.ranks <= most_processes():
        parser.error(f"--ranks {arguments.ranks}: this host takes from 1 to {most_processes()} processes")
    try:
        servers = read_rank_table(arguments.rank_table, arguments.ranks) if arguments.rank_table else []
        place = find_place(
            arguments.hosts,
            arguments.host_rank,
            arguments.master,
            os.environ.get("MASTER_PORT", "").strip(),
            [server.address for server in servers],
            str(arguments.rank_table),
        )
        if place.hosts * arguments.ranks > MOST_RANKS:
            raise LaunchError(f"{place.hosts} hosts of {arguments.ranks} ranks are more than {MOST_RANKS}")
        if not 0 <= arguments.restarts <= 1000:
            raise LaunchError(f"--restarts must be a number from 0 to 1000, not {arguments.restarts}")
        if arguments.show_host:
            print(place.hosts, place.host)
            return 0
        return Launcher(arguments, place, servers, pace or Pace()).run()
    except (LaunchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2 if arguments.show_host else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    said = {name: os.environ.get(name, "").strip() for name in ("NNODES", "NODE_RANK", "MASTER_ADDR")}
    parser.add_argument("--ranks", type=int, required=True, help="processes to start on each host")
    parser.add_argument("--logs", type=Path, required=True, help="folder for the log of each rank")
    parser.add_argument("--rank_table", type=Path, help="rank table of Ascend hosts (JSON)")
    parser.add_argument("--hosts", default=said["NNODES"], help="how many hosts there are ($NNODES)")
    parser.add_argument("--host_rank", default=said["NODE_RANK"], help="number of this one, from 0 ($NODE_RANK)")
    parser.add_argument("--master", default=said["MASTER_ADDR"], help="ADDRESS[:PORT] of host 0 ($MASTER_ADDR)")
    parser.add_argument("--restarts", type=int, default=0, help="how often a run that failed is started again")
    parser.add_argument("--dry_run", action="store_true", help="print what would be started on each host")
    parser.add_argument("--show_host", action="store_true", help="print the number of hosts and of this one")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="Python script and its arguments")
    return parser


class Launcher:
    """The run on this host, with its restarts."""

    def __init__(self, arguments: argparse.Namespace, place: Place, servers: Sequence[Server], pace: Pace) -> None:
        self.command, self.ranks, self.table = arguments.command, arguments.ranks, arguments.rank_table
        self.logs, self.restarts, self.is_dry = arguments.logs.absolute(), arguments.restarts, arguments.dry_run
        self.place, self.servers, self.pace = place, servers, pace
        self.received: list[int] = []
        # Lines tell the host where there are several.
        self.where = f"{place.name}: " if place.hosts > 1 else ""

    def run(self) -> int:
        """Run until it has ended well, a signal has stopped it, or it has failed once more than it may be restarted.

        Returns:
            The exit code.
        """
        if self.is_dry:
            for host in range(self.place.hosts):
                place = replace(self.place, host=host)
                lines = command_lines(self.command, self.ranks, self._folder(place), place, self.servers, self.table)
                print("\n".join(f"host {host}: {line}" for line in lines))
            return 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: self.received.append(number))
        # What is orphaned below this process becomes its child: ranks once msrun has ended, what a dead rank leaves.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        mark = uuid.uuid4().hex
        start_guard(mark, self.pace, self.place.hosts == 1)
        self.strangers = set(children())
        self.environment = {**rank_environment(self.ranks), MARK: mark}
        folder = self._folder(self.place)
        folder.mkdir(parents=True, exist_ok=True)
        lock = hold(folder)
        try:
            attempt = 0
            while True:
                if attempt:
                    outcome = self._attempt([*self.command, AGAIN], folder / f"restart_{attempt}")
                else:
                    outcome = self._attempt(self.command, folder)
                if isinstance(outcome, int):
                    return outcome
                for line in outcome.why.splitlines():
                    print(f"error: {line}", file=sys.stderr, flush=True)
                if attempt == self.restarts or outcome.code == 2 or self.received:  # wrong usage does not become right
                    return outcome.code
                attempt += 1
                print(f"note: {self.where}restart {attempt} of {self.restarts}", file=sys.stderr, flush=True)
                time.sleep(self.pace.retry)
        finally:
            if lock is not None:
                lock.close()

    def _folder(self, place: Place) -> Path:
        """Where the logs of a host are: hosts may share a file system."""
        return self.logs / f"host_{place.host}" if place.hosts > 1 else self.logs

    def _attempt(self, command: Sequence[str], folder: Path) -> int | Failure:
        """One run, from the meeting of the hosts to the end of all processes on this one.

        Raises:
            LaunchError: it cannot begin.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("rank_*.log"):  # of a run with more ranks
            path.unlink()
        link = Link(self.place, self.ranks, self.pace) if self.place.hosts > 1 else None
        try:
            if link and (outcome := self._meet(link)) is not None:
                return outcome
            try:
                processes = self._start(command, folder)
            except (LaunchError, OSError) as error:
                if link:
                    link.report(Failure(f"{self.where}{error}", 1, 0))
                raise
            return self._watch(processes, link)
        finally:
            end_all(self.strangers)
            if link:
                link.close()

    def _meet(self, link: Link) -> int | Failure | None:
        """Wait for the other hosts; None: all are there."""
        told = time.monotonic() + self.pace.beat
        while not link.started.wait(POLL):
            if not link.failures.empty():
                raise LaunchError(link.failures.get().why)
            if not link.signals.empty() or self.received:
                number = self.received[0] if self.received else link.signals.get()
                link.pass_on(number)
                return 128 + number
            if time.monotonic() > told:
                print(f"note: {link.absent()}", flush=True)
                told = float("inf")
        return None

    def _start(self, command: Sequence[str], folder: Path) -> dict[int, Process]:
        if self.table:
            own = table_environments(self.servers, self.place.host, self.table)
            return start_by_table(command, own, folder, self.environment)
        place = self.place if self.place.hosts > 1 else replace(self.place, port=free_port())
        return start_by_msrun(command, self.ranks, folder, self.environment, self.strangers, place, self.pace)

    def _watch(self, processes: dict[int, Process], link: Link | None) -> int | Failure:
        """Wait for the ranks, end them all when one fails, here or elsewhere, pass on signals, copy the first's output.

        The first signal is passed on, a second ends the run at once.
        """
        ranks = [process for process in processes.values() if process.is_rank]
        output, stopped_ranks = Follower(ranks[0].log), StoppedRanks(self.pace.stopped)
        failed: list[Process] = []
        failure: Failure | None = None
        stopped, deadline = 0, float("inf")
        while any(process.code is None for process in ranks) and failure is None:
            time.sleep(POLL)
            output.copy()
            if link and not link.failures.empty():
                return link.failures.get()
            if not stopped:
                stopped = self._signal(processes, link)
            for process in reap(processes):
                expected = (0, -signal.SIGTERM, 128 + signal.SIGTERM, 128 + signal.SIGINT) if stopped else (0,)
                if process.code not in expected and (process.is_rank or not failed):
                    deadline = min(deadline, time.monotonic() + self.pace.farewell)
                    failed.append(process)
                elif process.is_rank and stopped:
                    deadline = min(deadline, time.monotonic() + SAVING)
            if (still := stopped_ranks.look(processes)) is not None:
                how = f"has been stopped (SIGSTOP) for {self.pace.stopped:.0f} s; its log: {still.log}"
                failure = Failure(f"{self.where}{still.name} {how}", 128 + signal.SIGSTOP, 0)
            if time.monotonic() > deadline or len(self.received) > 1:
                break
        output.copy()
        if failed:
            failure = describe(failed, self.where)
        if failure is not None:
            return self._agreed(failure, link)
        if link and len(self.received) > 1:
            link.report(Failure(f"{self.where}stopped at once", 128 + stopped, 0))
        elif link and (other := self._wait_for_hosts(link)) is not None:
            return other
        if stopped and any(process.code != 0 for process in ranks):
            if all(process.code == -signal.SIGTERM for process in ranks):
                print("error: stopped before there was anything to save", file=sys.stderr, flush=True)
            return 128 + stopped
        closing = time.monotonic() + CLOSING
        while any(process.code is None for process in processes.values()) and time.monotonic() < closing:
            time.sleep(POLL)
            reap(processes)
        return 0

    def _signal(self, processes: dict[int, Process], link: Link | None) -> int:
        """Pass on the first signal that this host or another has received; 0: there was none."""
        number = self.received[0] if self.received else 0
        if number and link:
            link.pass_on(number)
        elif link and not link.signals.empty():
            number = link.signals.get()
        for pid, process in processes.items() if number else ():
            if process.is_rank and process.code is None:
                os.kill(pid, signal.SIGTERM)  # also for SIGINT, which MindSpore's networking takes for itself
        return number

    def _agreed(self, failure: Failure, link: Link | None) -> Failure:
        """What all hosts tell as the reason why the run has failed; this host's own where the others do not answer."""
        if link is None:
            return failure
        link.report(failure)
        patience = time.monotonic() + 4 * self.pace.farewell
        while link.failures.empty() and time.monotonic() < patience:
            time.sleep(POLL)
        return failure if link.failures.empty() else link.failures.get()

    def _wait_for_hosts(self, link: Link) -> Failure | None:
        """Wait until the ranks of all hosts have ended well; what happened otherwise."""
        link.done()
        known = len(self.received)
        while not link.finished.wait(POLL):
            if not link.failures.empty():
                return link.failures.get()
            for number in self.received[known:]:
                link.pass_on(number)
            known = len(self.received)
            if known > 1:
                return None
        return None


if __name__ == "__main__":
    sys.exit(main())
