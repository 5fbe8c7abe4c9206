"""The thread that reads all watches, with watches that do what no server in the other tests does."""

from __future__ import annotations

import socket
import threading
import time
from types import SimpleNamespace

from ingest.kubernetes.following import Following
from ingest.kubernetes.watch import Watch

WAIT_S = 60.0


class Slow(Watch):
    """A watch in which bytes come all the time, and never a whole event."""

    def __init__(self) -> None:
        self.was_heard = self.is_ready = False
        self.silence_s = 1.0
        self.near, self._far = socket.socketpair()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        while not self._over.wait(0.001):
            self._far.send(b"x")

    def fileno(self) -> int:
        return self.near.fileno()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self.near.close()
        self._far.close()


class Follower:
    """Connects once to this watch."""

    resource = SimpleNamespace(feed="pods")

    def __init__(self, watch: Slow) -> None:
        self.watch = watch
        self.has_given_up = False

    def connect(self) -> Slow | float:
        return 600.0 if self.has_given_up else self.watch

    def read(self, watch: Slow) -> None:
        watch.near.recv(1 << 16)

    def give_up(self, _: Slow) -> float:
        self.has_given_up = True
        return 600.0


def test_a_watch_in_which_no_event_comes_to_its_end_is_silent():
    """The table would be synced, or stale, for as long as the server or a proxy sends a byte now and then."""
    following, follower = Following("test"), Follower(Slow())
    following.start([follower])  # type: ignore[list-item]
    try:
        until = time.monotonic() + WAIT_S
        while not follower.has_given_up and time.monotonic() < until:
            following.next(0.05)
        assert follower.has_given_up
    finally:
        following.stop()
        following.close()
        follower.watch.close()
