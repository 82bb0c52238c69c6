"""The heartbeat between the launchers of a run on several hosts.

Host 0 listens on the master's address; the others connect to it and stay connected. All send a short line every few
seconds, so that a host that hangs or is cut off is noticed as well as one that ends. Host 0 decides why a run failed,
since it hears of all failures, and tells the others: all print the same line.
"""

from __future__ import annotations

import json
import queue
import selectors
import signal
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from mspose.runtime.hosts import Failure, LaunchError, Pace, Place

POLL = 0.1
FAREWELL = 2.0  # seconds in which the others may read the last message
LONGEST_LINE = 65536


@dataclass
class _Peer:
    """A connection to another launcher."""

    connection: socket.socket
    heard: float
    host: int | None = None
    name: str = "a host that has not said its number"
    read: bytes = b""
    unsent: bytes = b""
    is_refused: bool = False

    def lines(self) -> list[dict]:
        """Messages that have come.

        Raises:
            OSError: the connection has ended.
        """
        content = self.connection.recv(LONGEST_LINE)
        if not content:
            raise ConnectionResetError
        self.heard = time.monotonic()
        *whole, self.read = (self.read + content).split(b"\n")
        if len(self.read) > LONGEST_LINE:
            raise ConnectionResetError
        try:
            messages = [json.loads(line) for line in whole]
        except (ValueError, RecursionError):  # not one of ours
            raise ConnectionResetError from None
        if not all(isinstance(message, dict) for message in messages):
            raise ConnectionResetError
        return messages

    def send(self, message: dict) -> None:
        self.unsent += json.dumps(message).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        with suppress(OSError):  # reading will tell
            while self.unsent:
                self.unsent = self.unsent[self.connection.send(self.unsent) :]


class Link:
    """The connections of one launcher to the others, kept by a thread of its own, which no wait elsewhere holds up.

    Args:
        place: the hosts, more than one.
        ranks: on each host.

    Attributes:
        started: all hosts are there.
        finished: the ranks of all hosts have ended well.
        failures: why the run has ended, for this host to tell its user.
        signals: numbers of signals that other hosts have received.

    Raises:
        LaunchError: host 0 cannot listen at its address.
    """

    def __init__(self, place: Place, ranks: int, pace: Pace) -> None:
        self.place, self.ranks, self.pace = place, ranks, pace
        self.started, self.finished = threading.Event(), threading.Event()
        self.failures: queue.SimpleQueue[Failure] = queue.SimpleQueue()
        self.signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._peers: list[_Peer] = []
        self._orders: queue.SimpleQueue[dict] = queue.SimpleQueue()
        self._reported: list[tuple[int, float, Failure]] = []
        self._done: set[int] = set()  # hosts whose ranks have ended well
        self._is_over = self._is_closing = False
        self._refusal = ""  # what host 0 has answered last
        self._server = self._listen() if self.place.host == 0 else None
        self._thread = threading.Thread(target=self._run, name="pose-hosts", daemon=True)
        self._thread.start()

    # What the launcher calls.

    def report(self, failure: Failure) -> None:
        """Tell that the run has failed here; what ends it comes back as one of `failures`."""
        self._orders.put({"is": "failed", "why": failure.why, "code": failure.code, "order": failure.order})

    def pass_on(self, number: int) -> None:
        """Tell the other hosts about a signal."""
        self._orders.put({"is": "signal", "number": number})

    def done(self) -> None:
        """Tell that all ranks of this host have ended well; `finished` is set when those of all hosts have."""
        self._orders.put({"is": "done"})

    def close(self) -> None:
        """Say what is still to be said, and hang up."""
        self._is_closing = True
        self._thread.join(self.pace.retry + 10)

    def absent(self) -> str:
        """Which hosts are not there yet."""
        place = self.place
        if place.host:
            why = self._refusal or "not all hosts have come"
            return f"{place.name} waits for host 0 at {place.address} port {place.port + 1}: {why}"
        missing = ", ".join(map(str, sorted(set(range(1, place.hosts)) - {peer.host for peer in self._peers})))
        return f"host {missing} of {place.hosts} has not come to {place.address} port {place.port + 1}"

    # What its thread does.

    def _run(self) -> None:
        try:
            self._meet()
            self._talk(float("inf"))
        except LaunchError as error:
            self._end(Failure(str(error), 1))
        except OSError as error:
            self._end(Failure(f"{self.place.name}: the launchers cannot talk: {error}", 1))
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        """Close the connections when the others have read all of it: what is unread here would take it from them."""
        if self._server:
            self._server.close()
        for peer in [peer for peer in self._peers if peer.host is None]:
            self._peers.remove(peer)
            peer.connection.close()
        patience = time.monotonic() + FAREWELL
        while self._peers and time.monotonic() < patience:
            for peer in list(self._peers):
                peer.flush()
                try:
                    if not peer.unsent:
                        peer.connection.shutdown(socket.SHUT_WR)
                    if not peer.connection.recv(LONGEST_LINE):
                        self._peers.remove(peer)
                        peer.connection.close()
                except BlockingIOError:
                    continue
                except OSError:
                    self._peers.remove(peer)
                    peer.connection.close()
            time.sleep(POLL / 10)
        for peer in self._peers:
            peer.connection.close()

    def _listen(self) -> socket.socket:
        """Host 0: a socket at the master's address, for the other hosts."""
        place, found = self.place, None
        patience = time.monotonic() + self.pace.silence
        while found is None:
            try:
                found = socket.getaddrinfo(place.address, place.port + 1, type=socket.SOCK_STREAM)[0]
            except OSError as error:  # the name of a pod is known only some seconds after its start
                if time.monotonic() > patience:
                    raise LaunchError(f"--master {place.address}: {error.strerror}") from None
                time.sleep(self.pace.retry)
        ip = str(found[4][0])
        is_name = ip != place.address
        if is_name and ip.startswith("127.") and place.address != "localhost":
            raise LaunchError(
                f"--master {place.address}: on this host the name means {ip}, which other hosts cannot reach; give "
                "an IP address"
            )
        server = socket.socket(found[0], socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(found[4])
            server.listen(place.hosts)
        except OSError as error:
            server.close()
            raise LaunchError(
                f"--master {place.address}:{place.port}: host 0 cannot listen on port {place.port + 1} there "
                f"({error.strerror}); it must be an address of host 0, with this port and the next one free"
            ) from None
        server.setblocking(False)
        return server

    def _meet(self) -> None:
        """Wait until all hosts are there."""
        end = time.monotonic() + self.pace.meeting
        while not self.started.is_set() and not self._is_over and not self._is_closing:
            if time.monotonic() > end:
                raise LaunchError(f"{self.absent()}, for {self.pace.meeting:.0f} s")
            if self.place.host == 0:
                self._talk(min(end, time.monotonic() + 1))
                continue
            try:
                self._connect()
                self._talk(end)
            except OSError as error:
                self._refusal = self._refusal or error.strerror or str(error)
            if not self.started.is_set() and not self._is_over:
                self._peers.clear()
                time.sleep(self.pace.retry)

    def _connect(self) -> None:
        place = self.place
        self._refusal = ""
        connection = socket.create_connection((place.address, place.port + 1), timeout=self.pace.beat)
        connection.setblocking(False)
        peer = _Peer(connection, time.monotonic(), 0, f"host 0 ({place.address})")
        self._peers = [peer]
        peer.send({"is": "host", "host": place.host, "hosts": place.hosts, "ranks": self.ranks, "name": place.name})

    def _talk(self, end: float) -> None:
        """Hear and be heard until the run or the connection to host 0 is over."""
        now = beat = time.monotonic()
        while now < end and not self._is_over and not (self.place.host and not self._peers):
            self._obey()
            if self._is_closing:
                return
            if now >= beat:
                for peer in self._peers:
                    peer.send({"is": "here"})
                beat = now + self.pace.beat
            self._listen_to_all()
            before, now = now, time.monotonic()
            if now - before > self.pace.beat:  # we were stopped ourselves, and have not listened
                for peer in self._peers:
                    peer.heard = now
            for peer in [p for p in self._peers if now - p.heard > self.pace.silence]:
                self._lost(peer, f"has not answered for {self.pace.silence:.0f} s: stopped, or cut off")
            if self._reported and now - self._reported[0][1] > self.pace.farewell:
                self._end(min(self._reported, key=lambda entry: entry[:2])[2])

    def _obey(self) -> None:
        """Do what the launcher has asked for."""
        while not self._orders.empty():
            message = self._orders.get()
            if self.place.host == 0:
                self._handle(message, None)
            else:
                for peer in self._peers:
                    peer.send(message)
                if message["is"] == "failed":  # in case that host 0 does not answer: it waits less long
                    self._note(message, time.monotonic() + self.pace.farewell)

    def _listen_to_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            for peer in self._peers:
                selector.register(peer.connection, selectors.EVENT_READ, peer)
                peer.flush()
            if self._server:
                selector.register(self._server, selectors.EVENT_READ)
            for key, _ in selector.select(POLL):
                if key.data is None:
                    self._accept()
                    continue
                peer = key.data
                try:
                    for message in peer.lines():
                        self._handle(message, peer)
                except BlockingIOError:
                    continue
                except OSError:
                    self._lost(peer, "has gone: its launcher has ended without a word")

    def _accept(self) -> None:
        assert self._server is not None
        with suppress(OSError):
            connection, _ = self._server.accept()
            connection.setblocking(False)
            self._peers.append(_Peer(connection, time.monotonic()))

    def _lost(self, peer: _Peer, how: str) -> None:
        if peer not in self._peers:
            return
        self._peers.remove(peer)
        peer.connection.close()
        if self.started.is_set() and peer.host is not None and peer.host not in self._done and not self._is_over:
            failure = Failure(f"{peer.name} {how}", 1, 0)
            if self.place.host == 0:
                self._reported.append((failure.order, time.monotonic(), failure))
            else:  # nobody else to ask
                self._end(min(self._reported, key=lambda e: e[:2])[2] if self._reported else failure)

    def _handle(self, message: dict, peer: _Peer | None) -> None:
        """Act on a message of another host, or of this one (host 0 alone; peer None)."""
        kind = message.get("is")
        if peer and peer.host is None:
            self._greet(message, peer)
        elif kind == "start":
            self.started.set()
        elif kind == "refused":
            self._refusal = f"it says: {message.get('why')}"
            if not message.get("again"):
                raise LaunchError(f"{self.place.name} is refused by host 0: {message.get('why')}")
            if peer:
                self._lost(peer, "")
        elif kind == "over":
            self._end(_failure(message))
        elif kind == "failed":
            self._note(message, time.monotonic())
        elif kind == "signal":
            if peer and message.get("number") in (signal.SIGINT, signal.SIGTERM):
                self.signals.put(message["number"])
            for other in self._peers if self.place.host == 0 else ():
                if other is not peer and other.host is not None:
                    other.send(message)
        elif kind == "done":
            self._done.add(peer.host if peer and peer.host else 0)
            if len(self._done) == self.place.hosts:
                self._finish()
        elif kind == "all done":
            self._finish()

    def _greet(self, message: dict, peer: _Peer) -> None:
        """Let a host in that is one of ours."""
        place, host = self.place, message.get("host")
        ours = {"hosts": place.hosts, "ranks": self.ranks}
        other = [f"{name}: {message.get(name)} there, {n} here" for name, n in ours.items() if message.get(name) != n]
        why, again = "", False
        if peer.is_refused:
            return
        if message.get("is") != "host" or not isinstance(host, int):
            why = "only the hosts of a run are let in"
        elif other:
            why = f"all hosts must be told the same ({', '.join(other)})"
        elif not 0 < host < place.hosts:
            why = f"there is no host {host} beside host 0, the others are 1 to {place.hosts - 1}"
        elif any(known.host == host for known in self._peers):
            why, again = f"host {host} is here already", True
        if why:
            peer.is_refused = True
            peer.send({"is": "refused", "why": why, "again": again})
            return
        peer.host, peer.name = host, str(message.get("name"))[:200]
        if len([known for known in self._peers if known.host is not None]) == place.hosts - 1:
            for known in self._peers:
                if known.host is not None:
                    known.send({"is": "start"})
            self.started.set()

    def _note(self, message: dict, when: float) -> None:
        failure = _failure(message)
        self._reported.append((failure.order, when, failure))

    def _end(self, failure: Failure) -> None:
        """The run has failed: tell the others, if this is host 0, and the launcher."""
        if self._is_over:
            return
        self._is_over = True
        for peer in self._peers if self.place.host == 0 else ():
            peer.send({"is": "over", "why": failure.why, "code": failure.code, "order": failure.order})
        self.failures.put(failure)

    def _finish(self) -> None:
        self._is_over = True
        for peer in self._peers if self.place.host == 0 else ():
            peer.send({"is": "all done"})
        self.finished.set()


def _failure(message: dict) -> Failure:
    """What a message says about the end of a run."""
    code, order = message.get("code"), message.get("order")
    return Failure(
        str(message.get("why"))[:4000],
        code if isinstance(code, int) and 0 < code < 256 else 1,
        order if isinstance(order, int) else 1,
    )
