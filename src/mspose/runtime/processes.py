"""The processes of a run on this host: how they are started, what becomes of them, and that none is left."""

from __future__ import annotations

import fcntl
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mspose.runtime.hosts import Failure, LaunchError, Pace, Place
from mspose.runtime.rank_table import Server

# Seconds in which what is killed, and MindSpore's scheduler once no rank is left, may end.
CLOSING = 10.0
# In the environment of all processes of a run, to know them by.
MARK = "MSPOSE_LAUNCHER"
# What msrun says while a host's network is not up yet.
NO_NETWORK = "Get local ip has failed"
# Lines that MindSpore's networking writes at its end, whatever the log level.
NOISE = (b"[INFO] ", b"[WARNING] ")


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


def msrun_line(command: Sequence[str], ranks: int, folder: Path, place: Place) -> list[str]:
    """How msrun is called on a host."""
    cluster = [f"--master_addr={place.address}", f"--node_rank={place.host}"] if place.hosts > 1 else []
    return [
        "msrun",
        f"--worker_num={ranks * place.hosts}",
        f"--local_worker_num={ranks}",
        *cluster,
        f"--master_port={place.port}",
        f"--log_dir={folder}",
        "--worker_log_name=rank",
        "--join=False",
        *command,
    ]


def start_by_msrun(
    command: Sequence[str],
    ranks: int,
    folder: Path,
    environment: dict[str, str],
    strangers: set[int],
    place: Place,
    pace: Pace,
) -> dict[int, Process]:
    """Let msrun start scheduler (on host 0) and ranks, which become children of this process when msrun ends.

    Returns:
        Their process ids.

    Raises:
        LaunchError: msrun failed.
    """
    log = folder / "msrun.log"
    patience = time.monotonic() + 2 * pace.silence
    while True:
        with log.open("w") as file:
            # A session of its own: Ctrl-C in the terminal must reach the ranks through this process only.
            process = subprocess.Popen(
                msrun_line(command, ranks, folder, place),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            code = process.wait()
        if not code:
            break
        if NO_NETWORK not in log.read_text(errors="replace") or time.monotonic() > patience:
            raise LaunchError(f"msrun ended with exit status {code}: {last_words(log)}; its log: {log}")
        time.sleep(pace.retry)
    # Those that have failed by now have no environment left to recognise them by. But msrun starts the scheduler in
    # its own session and then, in order, each rank in a new one.
    found = children()
    scheduler = [pid for pid, session in found.items() if session == process.pid][:1]
    leaders = [pid for pid, session in found.items() if session == pid and pid not in strangers]
    if len(leaders) != ranks:
        raise LaunchError(f"msrun started {len(leaders)} processes instead of {ranks}; its log: {log}")
    if place.host == 0 and not scheduler:
        raise LaunchError(f"--master {place.address} is no address of this host, host 0: msrun started no scheduler")
    if place.host and scheduler:
        raise LaunchError(f"--master {place.address} is an address of this host, {place.name}, not of host 0")
    first = place.host * ranks
    return {
        **{pid: Process("scheduler", folder / "scheduler.log") for pid in scheduler},
        **{pid: Process(f"rank {first + i}", folder / f"rank_{first + i}.log") for i, pid in enumerate(leaders)},
    }


def table_environments(servers: Sequence[Server], host: int, table: Path) -> list[dict[str, str]]:
    """What a rank table adds to the environment of each rank of a host."""
    world = sum(len(server.devices) for server in servers)
    return [
        {
            "RANK_ID": str(rank),
            "RANK_SIZE": str(world),
            "DEVICE_ID": str(device),
            "RANK_TABLE_FILE": str(table.absolute()),
        }
        for rank, device in servers[host].devices
    ]


def start_by_table(
    command: Sequence[str], environments: Sequence[dict[str, str]], folder: Path, environment: dict[str, str]
) -> dict[int, Process]:
    """Start one process for each device that a rank table lists for this host."""
    processes = {}
    for own in environments:
        log = folder / f"rank_{own['RANK_ID']}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, *command],
                env={**environment, **own},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        processes[process.pid] = Process(f"rank {own['RANK_ID']}", log)
        process.returncode = 0  # Popen must not wait for it: `reap` does
    return processes


def command_lines(
    command: Sequence[str], ranks: int, folder: Path, place: Place, servers: Sequence[Server], table: Path | None
) -> list[str]:
    """What starts the ranks of a host, as it could be typed."""
    if table is None:
        return [shlex.join(msrun_line(command, ranks, folder, place))]
    return [
        shlex.join([*(f"{name}={value}" for name, value in own.items()), "python", *command])
        for own in table_environments(servers, place.host, table)
    ]


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


def describe(failed: Sequence[Process], where: str = "") -> Failure:
    """Why processes have failed: one line for each that has something new to say."""
    failed = sorted(failed, key=lambda process: not process.is_rank)  # the scheduler runs the same program for a while
    said, lines = set(), []
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
        lines.append(f"{where}{process.name} ended with {how}; {words}its log: {process.log}")
    code = failed[0].code or 0
    killed = any(process.code == -signal.SIGKILL for process in failed)
    return Failure("\n".join(lines), code if code > 0 else 128 - code, 0 if killed else 1)


class StoppedRanks:
    """Notices ranks that are stopped, by SIGSTOP; one that computes or waits, however long, is not.

    Args:
        patience: seconds that a rank may be stopped.
    """

    def __init__(self, patience: float) -> None:
        self._patience, self._since, self._looked = patience, dict[int, float](), time.monotonic()

    def look(self, processes: dict[int, Process]) -> Process | None:
        """One that has been stopped for too long."""
        now = time.monotonic()
        if now - self._looked > self._patience / 2:  # we were stopped ourselves, with them
            self._since = {}
        self._looked = now
        alive = [pid for pid, process in processes.items() if process.code is None]
        self._since = {pid: self._since.get(pid, now) for pid in alive if state(pid) == "T"}
        return next((processes[pid] for pid, since in self._since.items() if now - since > self._patience), None)


def state(pid: int) -> str:
    """State of a process, as Linux writes it: R, S, D, T (stopped), Z; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return ""


def start_guard(mark: str, pace: Pace, is_alone: bool) -> int:
    """Fork a process that ends all processes of the run if this one is killed; on several hosts also if it is stopped,
    after which the others end too. It must be called before there are threads.

    Args:
        mark: value of MARK in the environment of the processes.

    Returns:
        Its process id. It ends with this process.
    """
    launcher = os.getpid()
    ours, theirs = os.pipe()  # the kernel closes `theirs` when this process ends, however that comes about
    pid = os.fork()
    if pid:
        os.close(ours)
        return pid
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        os.close(theirs)
        stopped = StoppedRanks(pace.silence)
        processes = {launcher: Process("launcher", Path())}
        while not select.select([ours], [], [], min(1.0, pace.silence / 4))[0]:
            if not is_alone and stopped.look(processes):
                os.kill(launcher, signal.SIGKILL)
        end_marked(mark)
    finally:
        os._exit(0)


def end_marked(mark: str) -> None:
    """Kill all processes whose environment has the mark."""
    patience, own = time.monotonic() + CLOSING, f"{MARK}={mark}".encode()
    found = True
    while found and time.monotonic() < patience:
        found = False
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if own in path.read_bytes().split(b"\0"):
                    found = True
                    os.kill(int(path.parent.name), signal.SIGKILL)
            except OSError:  # not ours, or it has just ended
                continue
        time.sleep(0.05)


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
