"""Real etcd servers: of a remote cluster, and of a cache."""

from collections.abc import Iterator

import pytest

from ingest.etcd.local import LocalEtcd

from ...ingest.clustermesh.publisher import replica


@pytest.fixture
def origin() -> Iterator[LocalEtcd]:
    """The etcd of a remote cluster, running, empty."""
    with replica() as etcd:
        etcd.start()
        yield etcd


@pytest.fixture
def other_origin() -> Iterator[LocalEtcd]:
    """Another etcd of the same cluster, which does not know of the first, running, empty."""
    with replica() as etcd:
        etcd.start()
        yield etcd


@pytest.fixture
def cache() -> Iterator[LocalEtcd]:
    """The etcd of a cache, running, empty."""
    with replica() as etcd:
        etcd.start()
        yield etcd
