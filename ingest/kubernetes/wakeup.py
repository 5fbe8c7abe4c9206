"""Wakes a thread that waits for sockets."""

from __future__ import annotations

import socket


class Wakeup:
    """A socket that becomes readable when another thread calls `wake`. `wake` is for any thread, at any time."""

    def __init__(self) -> None:
        """It is not open yet."""
        self._ends: tuple[socket.socket, socket.socket] | None = None
        self._is_awake = False

    def open(self) -> socket.socket:
        """The socket to wait for."""
        ends = socket.socketpair()
        for end in ends:
            end.setblocking(False)
        self._ends = ends
        return ends[0]

    def wake(self) -> None:
        """Wake the thread, once for all calls before its next `reset`. Without effect if it is not open."""
        if self._ends is None or self._is_awake:
            return
        self._is_awake = True
        try:
            self._ends[1].send(b"\0")
        except OSError:
            pass  # it is closed, or many wakeups wait already

    def reset(self) -> None:
        """The thread is awake. It must look for work after this call, not before, so that none is overlooked."""
        assert self._ends is not None
        self._ends[0].recv(1 << 10)
        self._is_awake = False  # after reading: a later call of `wake` would else find its byte gone

    def close(self) -> None:
        """Close it."""
        for end in self._ends or ():
            end.close()
