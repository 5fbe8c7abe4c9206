"""What an API server is silent about: rows of an earlier source, and rows of a resource that it no longer serves."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from ingest import KubernetesOptions
from ingest.kubernetes import open as open_kubernetes
from statedb import Database
from statedb.catalog import Backends, Endpoints, Services, SourceKey, Sources

from ...waiting import eventually
from ..kube_fake import PATHS, FakeApi
from ..kube_rig import KubeRig, cep, endpoint_slice, service
from ..kvstore_rig import CLUSTER, Deletions

TABLES = ("endpoints", "services", "backends")


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as api:
        yield api


def put_all(api: FakeApi) -> None:
    for each in (cep("10.0.0.1"), cep("10.0.0.2"), service("web"), endpoint_slice("web-1", "web", ["10.1.0.1"])):
        api.put(each)


def again(before: KubeRig, api: FakeApi) -> KubeRig:
    """Another source on the same tables."""
    rig = KubeRig(api.url, tables=TABLES)
    rig.db = before.db
    options = KubernetesOptions(server=api.url, tables=TABLES, retry_min_s=0.02, retry_max_s=0.2)
    rig.source = open_kubernetes(rig.db, CLUSTER, 1, options)  # type: ignore[assignment]
    return rig


def origin(db: Database, table: str = "endpoints") -> str:
    return db.snapshot()[Sources][SourceKey(CLUSTER, table)].origin


def filled(api: FakeApi) -> KubeRig:
    """A source that has ended, and left its rows."""
    put_all(api)
    with KubeRig(api.url, tables=TABLES) as rig:
        rig.synced()
    assert "uid-1" in origin(rig.db)
    return rig


def test_what_went_meanwhile_on_the_same_server_goes_with_the_first_list(api: FakeApi):
    before = filled(api)
    api.remove(cep("10.0.0.1"))
    api.remove(endpoint_slice("web-1", "web", []))
    with again(before, api) as rig:
        snapshot = rig.until(lambda s: all(rig.of(name, s).state == "synced" for name in TABLES), "synced")
        assert rig.endpoints(snapshot).keys() == {"10.0.0.2"}
        assert not snapshot[Backends]
        assert len(snapshot[Services]) == 1


@pytest.mark.parametrize("is_accepted", [False, True])
def test_rows_of_before_stay_while_objects_cannot_be_read(api: FakeApi, is_accepted: bool):
    before = filled(api)
    api.put({**cep("10.0.0.1"), "status": 7})
    api.put({**endpoint_slice("web-1", "web", []), "endpoints": 7})
    with again(before, api) as rig, Deletions(rig.db) as deletions:
        told = "withholding 1 deletes: rows of before, perhaps of objects that cannot be read"
        rig.until(lambda s: all(told in rig.of(name, s).last_error for name in ("endpoints", "backends")))
        settle, settled = rig.source._settle, []
        rig.source._settle = lambda: settle() or settled.append(1)  # type: ignore[method-assign]
        eventually(lambda: len(settled) > 1)
        assert told in rig.of("backends").last_error
        assert rig.db.snapshot()[Endpoints].initialized
        assert deletions.now() == set()
        if is_accepted:
            rig.source.accept()
        else:
            api.put(cep("10.0.0.1"))
            api.put(endpoint_slice("web-1", "web", []))
        rig.until(lambda s: all(rig.of(name, s).state == "synced" for name in TABLES) and not s[Backends])
        assert deletions.now() == ({"10.0.0.1"} if is_accepted else set())


def test_a_slice_that_cannot_be_read_is_gone_only_where_the_server_is_believed(api: FakeApi):
    """A list that was not believed healed it, and the backends that it may have went with that."""
    before = filled(api)
    api.put({**endpoint_slice("web-1", "web", []), "endpoints": 7})
    with again(before, api) as rig:
        rig.until(lambda s: rig.of("backends", s).withheld_deletes == 1)
        api.replace()
        api.put(service("web"))
        eventually(lambda: rig.source._join.withholds_slices or not rig.db.snapshot()[Backends])
        rig.until(lambda s: rig.of("services", s).state == "synced" and "UID" in rig.of("backends", s).last_error)
        assert len(rig.db.snapshot()[Backends]) == 1
        assert rig.of("backends").withheld_deletes == 1
        rig.source.accept()
        rig.until(lambda s: all(rig.of(name, s).state == "synced" for name in TABLES) and not s[Backends])


def emptied(api: FakeApi) -> str:
    api.replace(revision=5_000)
    return "the UID uid-1"


def restored(api: FakeApi) -> str:
    api.restore((50, {path: {} for path in api.backup()[1]}))
    return "resourceVersion was"


def nameless(api: FakeApi) -> str:
    for each in api.objects():
        api.remove(each)
    api.forbidden.add(("get", "/api/v1/namespaces/kube-system"))
    return "cannot be read"


@pytest.mark.parametrize("later", ["Service", "EndpointSlice"])
@pytest.mark.parametrize("happens", [emptied, restored, nameless])
def test_nothing_goes_on_a_server_that_is_not_known_to_be_the_same(api: FakeApi, happens, later: str):
    before = filled(api)
    why = happens(api)
    api.fail("list", PATHS[later], status=503, times=5)
    with again(before, api) as rig, Deletions(rig.db) as deletions:
        rig.until(lambda s: rig.of("endpoints", s).withheld_deletes == 2 and why in rig.of("endpoints", s).last_error)
        rig.until(lambda s: rig.of("backends", s).withheld_deletes == 1 and why in rig.of("backends", s).last_error)
        snapshot = rig.until(lambda s: all(rig.of(name, s).state == "stale" for name in TABLES))
        assert [len(snapshot[table]) for table in (Endpoints, Services, Backends)] == [2, 1, 1]
        assert not snapshot[Endpoints].initialized
        assert "uid-1" in origin(rig.db), "the rows are still from there"
        api.put(cep("10.0.0.1"))
        rig.until(lambda s: rig.of("endpoints", s).withheld_deletes == 1)
        rig.source.accept()
        rig.until(lambda s: all(rig.of(name, s).state == "synced" for name in TABLES))
        assert rig.endpoints().keys() == {"10.0.0.1"}
        assert deletions.now() == {"10.0.0.2"}
        assert rig.db.snapshot()[Endpoints].initialized


def test_rows_of_which_nobody_knows_the_server_stay_until_accepted(api: FakeApi):
    before = filled(api)
    with before.db.write(Sources) as txn:
        for row in list(txn[Sources].values()):
            txn[Sources].delete(row.key)
    api.remove(cep("10.0.0.1"))
    with again(before, api) as rig:
        why = "it is not known which server the earlier rows came from"
        rig.until(lambda s: rig.of("endpoints", s).withheld_deletes == 1 and why in rig.of("endpoints", s).last_error)
        rig.until(lambda s: [rig.of(name, s).state for name in TABLES] == ["stale", "synced", "synced"])
        api.put(cep("10.0.0.1"))  # what the server has needs no accepting
        rig.until(lambda s: rig.of("endpoints", s).state == "synced" and s[Endpoints].initialized)
    assert "uid-1" in origin(rig.db)


@pytest.mark.parametrize("later", ["Service", "EndpointSlice"])
def test_a_list_of_slices_that_is_not_believed_keeps_the_backends_of_before(api: FakeApi, later: str):
    """The services are listed by a server that is known; that of the slices is not. Either list may come first."""
    before = filled(api)
    with before.db.write(Sources) as txn:
        for row in list(txn[Sources].values()):
            kept = row.origin.replace('"endpointslices.discovery.k8s.io":"', '"endpointslices.discovery.k8s.io":"9')
            assert kept != row.origin
            txn[Sources].insert(msgspec.structs.replace(row, origin=kept))
    api.remove(endpoint_slice("web-1", "web", []))
    api.fail("list", PATHS[later], status=503, times=5)
    with again(before, api) as rig:
        rig.until(lambda s: rig.of("backends", s).withheld_deletes == 1 and rig.of("endpoints", s).state == "synced")
        assert len(rig.db.snapshot()[Backends]) == 1
        rig.source.accept()
        rig.until(lambda s: rig.of("backends", s).state == "synced" and not s[Backends])


@pytest.mark.parametrize("accepted", [False, True])
def test_a_crd_that_goes_while_its_watch_is_cut_keeps_its_rows_until_accepted(api: FakeApi, accepted: bool):
    """The answer "not served" has no resourceVersion: a backup from before the CRD gives it as well."""
    put_all(api)
    with KubeRig(api.url, tables=TABLES) as rig, Deletions(rig.db) as deletions:
        rig.synced()
        api.missing.add(PATHS["CiliumEndpoint"])
        api.cut()
        rig.until(lambda s: "waiting for its CRD" in rig.of("endpoints", s).last_error)
        rig.until(lambda s: rig.of("endpoints", s).withheld_deletes == 2)
        rig.until(lambda s: [rig.of(name, s).state for name in TABLES] == ["stale", "synced", "synced"])
        if accepted:
            rig.source.accept()
            rig.until(lambda s: not s[Endpoints])
        api.remove(cep("10.0.0.1"))
        api.missing.clear()
        rig.until(lambda s: rig.of("endpoints", s).state == "synced")
        assert rig.endpoints().keys() == {"10.0.0.2"}
        assert deletions.now() == {"10.0.0.1", "10.0.0.2"} if accepted else {"10.0.0.1"}


def test_a_source_that_ends_before_all_is_listed_keeps_what_identifies_its_server(api: FakeApi):
    put_all(api)
    api.hold(("list", PATHS["Service"]))
    with KubeRig(api.url, tables=TABLES) as before:
        before.until(lambda s: before.of("endpoints", s).state == "synced", "synced")
    assert "uid-1" in origin(before.db)
    api.hold()
    api.remove(cep("10.0.0.1"))
    with again(before, api) as rig:
        snapshot = rig.until(lambda s: all(rig.of(name, s).state == "synced" for name in TABLES), "synced")
        assert [row.key.ip for row in snapshot[Endpoints].values()] == ["10.0.0.2"]
