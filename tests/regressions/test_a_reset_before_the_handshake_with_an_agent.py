"""An agent that ended while a client connected by TLS left the client's socket to the garbage collector.

Python 3.11 does not close the TLS socket of a peer that resets before the handshake begins.
"""

import gc
import ssl
from typing import Any

import pytest

from statedb.agent import AgentError, Remote

from ..tcp_reset import ResettingServer


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_no_socket_stays_open(monkeypatch: pytest.MonkeyPatch):
    wrap = ssl.SSLContext.wrap_socket
    with ResettingServer() as server:

        def wrap_after_the_reset(*arguments: Any, **options: Any) -> ssl.SSLSocket:
            server.wait()
            return wrap(*arguments, **options)

        monkeypatch.setattr(ssl.SSLContext, "wrap_socket", wrap_after_the_reset)
        with pytest.raises(AgentError):
            Remote(f"https://127.0.0.1:{server.port}").json("/tables")
    gc.collect()
