"""Starts the ranks of a distributed run and watches them until all have ended.

    python src/mspose/runtime/launch.py --ranks N --logs DIR [--rank_table FILE] train.py [argument ...]

MindSpore's msrun starts the processes and then leaves them to this one, which copies rank 0's output, passes on
SIGINT and SIGTERM so that the run can save, and ends all ranks when one of them fails, with one line that says which
and why. msrun itself would end them without letting them save, or leave them running. With a rank table (Ascend) there
is no msrun: one process for each of the table's devices. Linux only, as msrun is.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

POLL = 0.2
# Seconds in which the other ranks may say why they fail too, after one has.
FAREWELL = 3.0
# Seconds in which rank 0 may save after another rank has obeyed the signal to stop.
SAVING = 60.0
# Seconds in which MindSpore's scheduler may end once no rank is left.
CLOSING = 10.0
PR_SET_CHILD_SUBREAPER = 36
# Lines that MindSpore's networking writes at its end, whatever the log level.
NOISE = (b"[INFO] ", b"[WARNING] ")


class LaunchError(Exception):
    """The ranks cannot be started."""


@dataclass
class Process:
    """A process of the run: "rank 3" or "scheduler", its log, and its exit code (-n: signal n) once it has ended."""

    name: str
    log: Path
    code: int | None = None

    @property
    def is_rank(self) -> bool:
        """Whether it trains, unlike MindSpore's scheduler."""
        return self.name != "scheduler"


class Follower:
    """Copies the lines that are appended to a log to standard output, but for MindSpore's own."""

    def __init__(self, path: Path) -> None:
        self._path, self._position = path, 0

    def copy(self) -> None:
        """Copy the lines that are complete and new since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                lines = file.read().splitlines(keepends=True)
            if lines and not lines[-1].endswith(b"\n"):
                lines.pop()
            self._position += sum(map(len, lines))
            sys.stdout.buffer.writelines(line for line in lines if not line.startswith(NOISE))
            sys.stdout.buffer.flush()
        except FileNotFoundError:
            return
        except BrokenPipeError:  # nobody reads our output any more; the run goes on
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: Sequence[str] | None = None) -> int:
    """Start and watch the ranks.

    Returns:
        0 when all ranks ended well; the exit code of the first that failed, or 128 + n when signal n ended it;
        128 + n when signal n stopped the run.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, required=True, help="processes to start on this host")
    parser.add_argument("--logs", type=Path, required=True, help="folder for the log of each rank")
    parser.add_argument("--rank_table", type=Path, help="rank table of an Ascend host (JSON)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="Python script and its arguments")
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.ranks <= most_processes():
        parser.error(f"--ranks {arguments.ranks}: this host takes from 1 to {most_processes()} processes")
    received: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: received.append(number))
    # What is orphaned below this process becomes its child: the ranks once msrun has ended, what a dead rank leaves.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    strangers = set(children())
    lock = None
    try:
        folder = arguments.logs.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        lock = hold(folder)
        for path in folder.glob("rank_*.log"):  # of a run with more ranks
            path.unlink()
        environment = rank_environment(arguments.ranks)
        if arguments.rank_table:
            processes = start_by_table(arguments.command, arguments.ranks, arguments.rank_table, folder, environment)
        else:
            processes = start_by_msrun(arguments.command, arguments.ranks, folder, environment, strangers)
        return watch(processes, received)
    except (LaunchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        end_all(strangers)
        if lock is not None:
            lock.close()


def hold(folder: Path) -> IO[str] | None:
    """Keep other runs from writing their logs into a folder until the file is closed; None where there are no locks.

    Raises:
        LaunchError: another run does.
    """
    file = (folder / ".lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        who = file.read().strip() or "unknown"
        file.close()
        raise LaunchError(f"another run (process {who}) writes its logs into {folder}: choose another folder") from None
    except OSError:  # the run itself says that there are no locks
        file.close()
        return None
    os.ftruncate(file.fileno(), 0)
    os.write(file.fileno(), str(os.getpid()).encode())
    return file


def most_processes() -> int:
    """How many processes one host is asked to run at most: one a core, and 64 where it has fewer cores than cards."""
    return max(64, os.cpu_count() or 1)


def rank_environment(ranks: int) -> dict[str, str]:
    """The environment of the ranks: this process's own, and each rank's fair share of the CPU."""
    environment = dict(os.environ)
    environment.setdefault("GLOG_v", "3")
    environment.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // ranks)))
    # msrun runs the `python` that it finds on PATH.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    return environment


def start_by_msrun(
    command: Sequence[str], ranks: int, folder: Path, environment: dict[str, str], strangers: set[int]
) -> dict[int, Process]:
    """Let msrun start scheduler and ranks, which become children of this process when msrun ends.

    Returns:
        Their process ids.

    Raises:
        LaunchError: msrun failed.
    """
    msrun = [
        "msrun",
        f"--worker_num={ranks}",
        f"--local_worker_num={ranks}",
        f"--master_port={free_port()}",
        f"--log_dir={folder}",
        "--worker_log_name=rank",
        "--join=False",
        *command,
    ]
    log = folder / "msrun.log"
    with log.open("w") as file:
        # A session of its own: Ctrl-C in the terminal must reach the ranks through this process only.
        process = subprocess.Popen(
            msrun,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code = process.wait()
    if code:
        raise LaunchError(f"msrun ended with exit status {code}: {last_words(log)}; its log: {log}")
    # Those that have failed by now have no environment left to recognise them by. But msrun starts the scheduler in
    # its own session and then, in order, each rank in a new one.
    found = children()
    scheduler = [pid for pid, session in found.items() if session == process.pid][:1]
    leaders = [pid for pid, session in found.items() if session == pid and pid not in strangers]
    if len(leaders) != ranks:
        raise LaunchError(f"msrun started {len(leaders)} processes instead of {ranks}; its log: {log}")
    return {
        **{pid: Process("scheduler", folder / "scheduler.log") for pid in scheduler},
        **{pid: Process(f"rank {rank}", folder / f"rank_{rank}.log") for rank, pid in enumerate(leaders)},
    }


def start_by_table(
    command: Sequence[str], ranks: int, table: Path, folder: Path, environment: dict[str, str]
) -> dict[int, Process]:
    """Start one process for each device in a rank table.

    Raises:
        LaunchError: not a rank table of one host with as many devices.
    """
    if table.exists() and not table.is_file():
        raise LaunchError(f"{table} is not a rank table, not even a file; MindSpore's hccl_tools makes one")
    try:
        servers = json.loads(table.read_text(encoding="utf-8"))["server_list"]
        devices = [(int(d["rank_id"]), int(d["device_id"])) for server in servers for d in server["device"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise LaunchError(
            f"{table} is not a rank table ({type(error).__name__}: {error}); MindSpore's hccl_tools makes one"
        ) from None
    if len(servers) != 1:
        raise LaunchError(f"{table} lists {len(servers)} hosts: this starts the ranks of one; run msrun on each")
    if len(devices) != ranks:
        raise LaunchError(f"{table} lists {len(devices)} devices, {ranks} are asked for")
    if sorted(rank for rank, _ in devices) != list(range(ranks)):
        raise LaunchError(f"{table}: rank_id must run from 0 to {ranks - 1}")
    processes = {}
    for rank, device in sorted(devices):
        log = folder / f"rank_{rank}.log"
        own = {
            "RANK_ID": str(rank),
            "RANK_SIZE": str(ranks),
            "DEVICE_ID": str(device),
            "RANK_TABLE_FILE": str(table.absolute()),
        }
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, *command],
                env={**environment, **own},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        processes[process.pid] = Process(f"rank {rank}", log)
        process.returncode = 0  # Popen must not wait for it: `reap` does
    return processes


def watch(processes: dict[int, Process], received: list[int]) -> int:
    """Wait for the ranks, end them all when one fails, pass on signals, and copy rank 0's output.

    Args:
        received: signals as they come in; the first is passed on, a second ends the run at once.

    Returns:
        Exit code of the run.
    """
    ranks = [process for process in processes.values() if process.is_rank]
    output = Follower(next(process.log for process in ranks if process.name == "rank 0"))
    failed: list[Process] = []
    stopped, deadline = 0, float("inf")
    while any(process.code is None for process in ranks):
        time.sleep(POLL)
        output.copy()
        if received and not stopped:
            stopped = received[0]
            for pid, process in processes.items():
                if process.is_rank and process.code is None:
                    os.kill(pid, signal.SIGTERM)  # also for SIGINT, which MindSpore's networking takes for itself
        for process in reap(processes):
            expected = (0, -signal.SIGTERM, 128 + signal.SIGTERM, 128 + signal.SIGINT) if stopped else (0,)
            if process.code not in expected and (process.is_rank or not failed):
                deadline = min(deadline, time.monotonic() + FAREWELL)
                failed.append(process)
            elif process.is_rank and stopped:
                deadline = min(deadline, time.monotonic() + SAVING)
        if time.monotonic() > deadline or len(received) > 1:
            break
    output.copy()
    if failed:
        failed.sort(key=lambda process: not process.is_rank)  # the scheduler runs the same program up to a point
        report(failed)
        code = failed[0].code or 0
        return code if code > 0 else 128 - code
    if stopped and any(process.code != 0 for process in ranks):
        if all(process.code == -signal.SIGTERM for process in ranks):
            print("error: stopped before there was anything to save", file=sys.stderr, flush=True)
        return 128 + stopped
    closing = time.monotonic() + CLOSING
    while any(process.code is None for process in processes.values()) and time.monotonic() < closing:
        time.sleep(POLL)
        reap(processes)
    return 0


def reap(processes: dict[int, Process]) -> list[Process]:
    """Processes of the run that have ended since the last call, in the order in which they did."""
    ended: list[Process] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        if pid in processes:
            processes[pid].code = os.waitstatus_to_exitcode(status)
            ended.append(processes[pid])


def report(failed: Sequence[Process]) -> None:
    """One line for each failed process that has something new to say."""
    said = set()
    for process in failed:
        words = last_words(process.log)
        if words in said:
            continue
        said.add(words)
        code = process.code or 0
        how = f"exit status {code}" if code > 0 else f"signal {-code} ({signal.strsignal(-code)})"
        if code == -signal.SIGKILL:
            how += ", by hand or by the system for want of memory"
        words = words and f"its last words: {words}; "
        print(f"error: {process.name} ended with {how}; {words}its log: {process.log}", file=sys.stderr, flush=True)


def last_words(log: Path) -> str:
    """The last error message in a log, or its last line."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 65536))
            content = [line.strip() for line in file.read().splitlines() if not line.startswith(NOISE)]
    except OSError:
        return ""
    lines = [line.decode(errors="replace") for line in content if line]
    for pattern in (r"error: (.*)", r"((?:\w+\.)*\w*(?:Error|Exception)\b.*)"):
        found = [match[1] for line in lines if (match := re.match(pattern, line))]
        if found:
            return found[-1][:300]
    return lines[-1][:300] if lines else ""


def children() -> dict[int, int]:
    """Children of this process, dead ones that nobody has waited for too, oldest first: process id → session id."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[1]) == os.getpid():  # state, parent, group, session, ..., start time
            found.append((int(fields[19]), int(path.parent.name), int(fields[3])))
    return {pid: session for _, pid, session in sorted(found)}


def end_all(strangers: set[int]) -> None:
    """Kill whatever is left below this process, but for the children it had when it began."""
    patience = time.monotonic() + CLOSING
    # Again and again: what a killed process had started becomes a child in its turn.
    while (left := set(children()) - strangers) and time.monotonic() < patience:
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
        reap({})


def free_port() -> int:
    """A TCP port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
