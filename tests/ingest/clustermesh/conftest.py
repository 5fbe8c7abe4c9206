"""Real etcd servers in the part of replicas: each knows nothing of the others."""

from collections.abc import Iterator

import pytest

from ingest.etcd.local import LocalEtcd

from .publisher import replica


@pytest.fixture
def server() -> Iterator[LocalEtcd]:
    """A server of the test's own, running, empty."""
    with replica() as etcd:
        etcd.start()
        yield etcd


@pytest.fixture
def other_server() -> Iterator[LocalEtcd]:
    """Another one, running, empty."""
    with replica() as etcd:
        etcd.start()
        yield etcd
