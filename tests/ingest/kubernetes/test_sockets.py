"""Connections at the moment when they are cancelled, and when the process has no descriptor left."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from ingest.kubernetes import sockets
from ingest.kubernetes.sockets import Sockets


@pytest.fixture
def place() -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


def test_a_connection_that_is_cancelled_before_it_begins_to_connect_is_not_used(
    monkeypatch: pytest.MonkeyPatch, place: tuple[str, int]
):
    """A socket that is not connected cannot be shut down: it connected afterwards, and waited for an answer."""
    ours = Sockets()
    register = ours._register

    def register_and_abort(sock: socket.socket) -> socket.socket:
        handle = register(sock)
        ours.abort()
        return handle

    monkeypatch.setattr(ours, "_register", register_and_abort)
    with pytest.raises(OSError, match="stopped"):
        ours.connect(*place, 5.0)
    assert not ours._handles


def test_a_process_without_descriptors_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch, place: tuple[str, int]):
    made: list[socket.socket] = []

    class Recorded(socket.socket):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[arg-type]
            made.append(self)

    def no_more(_: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(sockets.socket, "socket", Recorded)
    monkeypatch.setattr(sockets.os, "dup", no_more)
    with pytest.raises(OSError, match="Too many open files"):
        Sockets().connect(*place, 5.0)
    assert [each.fileno() for each in made] == [-1]
