"""An agent that ended while a client connected by TLS left the client's socket to the garbage collector.

Python 3.11 does not close the TLS socket of a peer that resets before the handshake begins.
"""

import gc
import socket
import ssl
import struct
import threading
from typing import Any

import pytest

from statedb.agent import AgentError, Remote


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_no_socket_stays_open(monkeypatch: pytest.MonkeyPatch):
    listening = socket.create_server(("127.0.0.1", 0))

    def reset_who_comes() -> None:
        accepted, _ = listening.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()

    thread = threading.Thread(target=reset_who_comes)
    thread.start()
    wrap = ssl.SSLContext.wrap_socket

    def wrap_after_the_reset(*arguments: Any, **options: Any) -> ssl.SSLSocket:
        thread.join()
        return wrap(*arguments, **options)

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", wrap_after_the_reset)
    with listening, pytest.raises(AgentError):
        Remote(f"https://127.0.0.1:{listening.getsockname()[1]}").json("/tables")
    gc.collect()
