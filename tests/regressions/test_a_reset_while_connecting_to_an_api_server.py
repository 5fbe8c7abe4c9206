"""urllib3 took a reset while connecting for one while sending, went on without a socket, and the source ended.

Found by the histories of tests/ingest/test_kubernetes_histories.py: a server that is killed resets who waits to be
accepted.
"""

from typing import Any

import pytest

from ingest import KubernetesOptions
from ingest.kubernetes.api import Api
from ingest.kubernetes.errors import Unavailable
from ingest.kubernetes.request import Request
from ingest.kubernetes.sockets import Sockets

from ..tcp_reset import ResettingServer, open_tls_sockets


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_reset_while_connecting_is_an_outage(monkeypatch: pytest.MonkeyPatch, scheme: str):
    def reset(*_: object) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(Sockets, "connect", reset)
    api = Api(KubernetesOptions(server=f"{scheme}://127.0.0.1:1"))
    with pytest.raises(Unavailable, match="Connection reset by peer"):
        with api.get(Request("list", "nodes", "/")):
            pass


def test_a_reset_before_the_handshake_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch):
    """Python 3.11 leaves the TLS socket to its collector then."""
    connect = Sockets.connect
    before = open_tls_sockets()
    with ResettingServer() as server:

        def connect_and_be_reset(*arguments: Any) -> Any:
            connected = connect(*arguments)
            server.reset(connected[0])
            return connected

        monkeypatch.setattr(Sockets, "connect", connect_and_be_reset)
        api = Api(KubernetesOptions(server=f"https://127.0.0.1:{server.port}"))
        with pytest.raises(Unavailable, match="Connection reset by peer") as caught:
            with api.get(Request("list", "nodes", "/")):
                pass
    assert caught.value.__context__ is not None  # it refers to what was left
    assert open_tls_sockets() == before
