"""urllib3 took a reset while connecting for one while sending, went on without a socket, and the source ended.

Found by the histories of tests/ingest/test_kubernetes_histories.py: a server that is killed resets who waits to be
accepted.
"""

import pytest

from ingest import KubernetesOptions
from ingest.kubernetes.api import Api, Request
from ingest.kubernetes.errors import Unavailable
from ingest.kubernetes.sockets import Sockets


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_reset_while_connecting_is_an_outage(monkeypatch: pytest.MonkeyPatch, scheme: str):
    def reset(*_: object) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(Sockets, "connect", reset)
    api = Api(KubernetesOptions(server=f"{scheme}://127.0.0.1:1"))
    with pytest.raises(Unavailable, match="Connection reset by peer"):
        with api.get(Request("list", "nodes", "/"), silence_s=1):
            pass
