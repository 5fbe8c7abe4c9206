"""Real etcd servers for the tests of this package."""

from collections.abc import Iterator

import pytest

from ingest.etcd import Client
from ingest.etcd.local import LocalEtcd


@pytest.fixture(scope="session")
def shared_etcd() -> Iterator[LocalEtcd]:
    """A server for tests that leave it running."""
    with LocalEtcd() as etcd:
        etcd.start()
        yield etcd


@pytest.fixture
def etcd(shared_etcd: LocalEtcd) -> LocalEtcd:
    """A running server without keys."""
    with shared_etcd.client() as client:
        client.delete_prefix(b"")
    return shared_etcd


@pytest.fixture
def own_etcd() -> Iterator[LocalEtcd]:
    """A server of the test's own, running, to be killed, frozen and emptied."""
    with LocalEtcd() as etcd:
        etcd.start()
        yield etcd


@pytest.fixture
def client(etcd: LocalEtcd) -> Iterator[Client]:
    """A client of the shared server."""
    with etcd.client() as client:
        yield client
