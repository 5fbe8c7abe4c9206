"""A resource of a user's own from a real API server, through the backend's door."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from ingest import InvalidOptions, KubernetesOptions, Source, kubernetes
from statedb import Database, Table, UniqueIndex
from statedb.catalog import Rejected, SourceKey, Sources

from ...apiserver.server import ApiServer

SERVICES = "/api/v1/namespaces/default/services"


class Ports(Table[tuple[str, int], "Port"], name="ports"):
    primary = UniqueIndex[tuple[str, int], "Port"](lambda port: (port.service, port.number))


class Port(msgspec.Struct, frozen=True, gc=False):
    service: str
    number: int


class _Spec(msgspec.Struct):
    class _Port(msgspec.Struct):
        port: int

    ports: list[_Port] = []


class _Metadata(msgspec.Struct):
    name: str


class _Service(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec


def ports(value: bytes) -> list[Port]:
    """Of every service, and not only of those that the backend itself would take."""
    service = msgspec.json.decode(value, type=_Service)
    if service.metadata.name == "broken":
        raise ValueError("this one cannot be read")
    return [Port(service.metadata.name, port.port) for port in service.spec.ports]


def service(name: str, *numbers: int) -> dict[str, object]:
    listed = [{"name": f"p{number}", "port": number} for number in numbers]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": listed}}


@pytest.fixture
def db() -> Database:
    return Database(Ports, Sources, Rejected)


@pytest.fixture
def source(db: Database, apiserver: ApiServer) -> Iterator[Source]:
    options = KubernetesOptions(kubeconfig=str(apiserver.kubeconfig()), retry_min_s=0.02)
    source = kubernetes.source(db, "", "v1", "services", ports, Ports, options)
    yield source
    source.stop()
    assert source.join(10)
    assert source.failure is None


def of(db: Database, *names: str) -> list[tuple[str, int]]:
    """The keys of these services: the server has some of its own."""
    return [key for key in db.snapshot()[Ports] if key[0] in names]


def test_any_resource_becomes_rows_of_any_table(db: Database, source: Source, apiserver: ApiServer):
    rest = apiserver.rest()
    rest.create(SERVICES, service("own-a", 80, 81))
    source.start()
    with db.changes(Ports, Rejected) as stream:
        assert db.wait_initialized(Ports, timeout=30)
        assert of(db, "own-a") == [("own-a", 80), ("own-a", 81)]
        rest.create(SERVICES, service("own-b", 82))
        while of(db, "own-b") != [("own-b", 82)]:
            assert stream.next(timeout=30) is not None
        rest.create(SERVICES, service("broken", 83))
        while not (rejected := list(db.snapshot()[Rejected].values())):
            assert stream.next(timeout=30) is not None
        assert rejected[0].error == "ValueError: this one cannot be read"
        for name in ("own-a", "broken"):
            rest.delete(f"{SERVICES}/{name}")
        while of(db, "own-a", "own-b", "broken") != [("own-b", 82)]:
            assert stream.next(timeout=30) is not None
    rest.delete(f"{SERVICES}/own-b")
    row = db.snapshot()[Sources][SourceKey("default", "ports")]
    assert (row.backend, row.state) == ("kubernetes", "synced")


def test_what_is_wrong_is_told_at_once(db: Database):
    options = KubernetesOptions(server="http://127.0.0.1:1")
    with pytest.raises(InvalidOptions, match="name both"):
        kubernetes.source(db, "example.org", "", "things", ports, Ports, options)
    with pytest.raises(InvalidOptions, match="leave the option out"):
        limited = msgspec.structs.replace(options, tables=("ports",))
        kubernetes.source(db, "example.org", "v1", "things", ports, Ports, limited)
