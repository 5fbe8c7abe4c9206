"""Which server an answer is from: asked on the very connection of the answer, and after the answer has come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from ingest import KubernetesOptions
from ingest.kubernetes.api import Api
from ingest.kubernetes.client import KUBE_SYSTEM, Client
from statedb.catalog import Endpoints

from ...tcp_proxy import TcpProxy
from ..kube_fake import FakeApi
from ..kube_rig import KubeRig, cep
from ..kvstore_rig import Deletions
from .test_ends_and_pauses import CEPS


class Alternating(TcpProxy):
    """An address that leads to one server after the other, with each connection."""

    targets: tuple[str, ...] = ()
    taken = 0

    @property
    def target(self) -> str:
        self.taken += 1
        return self.targets[self.taken % len(self.targets)]

    @target.setter
    def target(self, target: str) -> None:
        self.targets = (target,)


@pytest.fixture
def known() -> Iterator[FakeApi]:
    with FakeApi() as api:
        yield api


@pytest.fixture
def other() -> Iterator[FakeApi]:
    with FakeApi() as api:
        api.uid = "uid-other"
        yield api


def test_a_connection_is_asked_once_and_its_answers_say_who_gave_them(known: FakeApi):
    options = KubernetesOptions(server=known.url)
    api = Api(options, KUBE_SYSTEM)
    client = Client(api, options)
    assert [client.version(CEPS)[1] for _ in range(3)] == ["uid-1"] * 3
    assert [page.server for page in client.pages(CEPS)] == ["uid-1"]
    with closing(client.watch(CEPS, "100")) as watch:
        assert watch.server == "uid-1"
        known.uid = "uid-2"
        assert client.version(CEPS)[1] == "uid-2", "a second connection"
    assert known.requests["get", "/api/v1/namespaces/kube-system"] == 2
    assert api.requests["get", "namespaces"] == 2
    api.close()
    api.clear()


@pytest.mark.parametrize(("status", "said"), [(403, ""), (404, ""), (500, None), (401, None)])
def test_a_server_that_does_not_say_who_it_is_answers_nevertheless(known: FakeApi, status: int, said: str | None):
    known.fail("get", "/api/v1/namespaces/kube-system", status=status)
    options = KubernetesOptions(server=known.url)
    api = Api(options, KUBE_SYSTEM)
    client = Client(api, options)
    assert client.version(CEPS) == ("100", said)
    assert client.version(CEPS) == ("100", "" if said == "" else "uid-1"), "where it failed, it is asked again"
    api.close()
    api.clear()


def test_what_a_watch_tells_counts_only_if_its_own_connection_leads_to_our_server(known: FakeApi, other: FakeApi):
    """The watch is the other server's; whoever is asked on a second connection is the one that we know."""
    for api in (known, other):
        api.put(cep("10.0.0.1"))
    with Alternating(known.url) as proxy, KubeRig(proxy.endpoint, tables=("endpoints",)) as rig:
        rig.synced()
        with Deletions(rig.db) as deletions:
            proxy.targets = (known.url, other.url)
            proxy.taken = 0
            proxy.cut()
            proxy.mend()
            rig.until(lambda s: "different clusters answer at one address" in rig.row(s).last_error)
            assert rig.row().state == "stale"
            other.remove(cep("10.0.0.1"))
            proxy.turn(known.url)
            known.put(cep("10.0.0.2"))
            rig.until(lambda s: rig.state(s) == "synced" and len(s[Endpoints]) == 2)
            assert deletions.now() == set()
