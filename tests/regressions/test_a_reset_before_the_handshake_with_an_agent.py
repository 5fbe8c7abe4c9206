"""An agent that ended while a client connected by TLS left the client's socket to the garbage collector.

Python 3.11 does not close the TLS socket of a peer that resets before the handshake begins.
"""

import socket
import ssl
from typing import Any

import pytest

from statedb.agent import AgentError, Remote

from ..tcp_reset import ResettingServer, open_tls_sockets


def test_no_socket_stays_open(monkeypatch: pytest.MonkeyPatch):
    wrap = ssl.SSLContext.wrap_socket
    before = open_tls_sockets()
    with ResettingServer() as server:

        def wrap_after_the_reset(context: ssl.SSLContext, sock: socket.socket, **options: Any) -> ssl.SSLSocket:
            server.reset(sock)
            return wrap(context, sock, **options)

        monkeypatch.setattr(ssl.SSLContext, "wrap_socket", wrap_after_the_reset)
        with pytest.raises(AgentError) as caught:
            Remote(f"https://127.0.0.1:{server.port}").json("/tables")
    assert caught.value.__context__ is not None  # it refers to what was left
    assert open_tls_sockets() == before
