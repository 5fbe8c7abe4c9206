"""The tables: each has its key, its indexes, and rows that cannot be changed."""

import typing
from types import UnionType
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from statedb import Database, Index, PrefixIndex, UniqueIndex, catalog
from statedb.catalog import (
    TABLES,
    Backend,
    BackendKey,
    Backends,
    Endpoint,
    EndpointKey,
    Endpoints,
    Frontend,
    Identities,
    Identity,
    IdentityKey,
    Namespace,
    NamespaceKey,
    Namespaces,
    Node,
    NodeAddress,
    NodeKey,
    Nodes,
    Policies,
    Policy,
    PolicyKey,
    Rejected,
    RejectedKey,
    RejectedRow,
    Requirement,
    Selector,
    Service,
    ServiceKey,
    Services,
    SourceKey,
    SourceRow,
    Sources,
)

NODE = Node(
    NodeKey("c", "n"),
    (NodeAddress("InternalIP", "172.18.0.2"), NodeAddress("Hostname", ""), NodeAddress("ExternalIP", "fd00::2")),
    ("10.1.0.0/24", "fd00:1::/64"),
)
ENDPOINT = Endpoint(EndpointKey("c", "10.1.0.5"), 70000, "172.18.0.2", "shop", "web-0")
SERVICE = Service(ServiceKey("c", "shop", "web"), (Frontend("10.96.0.1", "http", "TCP", 80),))
BACKEND = Backend(BackendKey("c", "shop", "web", "10.1.0.5", 8080, "TCP"), ("http",))
IDENTITY = Identity(IdentityKey("c", 70000), ("k8s:app=web", "k8s:io.kubernetes.pod.namespace=shop"), "shop")
POLICY = Policy(
    PolicyKey("CiliumNetworkPolicy", "shop", "db"),
    ("{}",),
    (Selector("spec.endpointSelector", (Requirement("app", "In", ("db",)),)),),
)
ROWS: dict[type, Any] = {
    Nodes: NODE,
    Identities: IDENTITY,
    Endpoints: ENDPOINT,
    Services: SERVICE,
    Backends: BACKEND,
    Namespaces: Namespace(NamespaceKey("c", "shop")),
    Policies: POLICY,
    Sources: SourceRow(SourceKey("c", "nodes")),
    Rejected: RejectedRow(RejectedKey("c", "nodes", "cilium/state/nodes/v1/c/n")),
}
STRUCTS = sorted(
    (each for name in catalog.__all__ if isinstance(each := getattr(catalog, name), type)),
    key=lambda each: each.__name__,
)
STRUCTS = [each for each in STRUCTS if issubclass(each, msgspec.Struct)]
IMMUTABLE = (str, bytes, int, bool, float)


def test_every_table_is_listed_once_and_under_the_name_of_its_module():
    assert [table.name for table in TABLES] == [
        "nodes",
        "identities",
        "endpoints",
        "services",
        "backends",
        "namespaces",
        "policies",
        "sources",
        "rejected",
    ]
    assert set(ROWS) == set(TABLES)


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda each: each.__name__)
def test_rows_and_keys_are_frozen_and_of_no_concern_to_the_garbage_collector(struct: type[msgspec.Struct]):
    assert struct.__struct_config__.frozen
    assert not struct.__struct_config__.gc
    if struct.__name__.endswith("Key"):
        assert struct.__struct_config__.order


def _is_immutable(kind: Any) -> bool:
    """Text, numbers, tuples and frozen structs, and what is made of them (Any: annotations have no common type)."""
    if typing.get_origin(kind) in (tuple, UnionType):
        return all(each is ... or _is_immutable(each) for each in typing.get_args(kind))
    return kind in IMMUTABLE or kind in STRUCTS


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda each: each.__name__)
def test_rows_hold_only_values_that_cannot_change(struct: type[msgspec.Struct]):
    for name, kind in typing.get_type_hints(struct).items():
        assert _is_immutable(kind), name


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_row_is_found_by_its_key_and_secondary_indexes_are_never_unique(table: Any):
    row = ROWS[table]
    db = Database(*TABLES)
    with db.write(table) as txn:
        assert txn[table].insert(row) is None
        txn.commit()
    assert db.snapshot()[table][row.key] is row
    db.check()
    secondary = [each for name, each in vars(table).items() if name.startswith("by_")]
    assert all(isinstance(each, (Index, PrefixIndex)) for each in secondary)
    assert isinstance(table.primary, UniqueIndex)
    assert not any(isinstance(each, UniqueIndex) for each in secondary)


@pytest.fixture
def snap() -> Any:
    db = Database(*TABLES)
    with db.write(*TABLES) as txn:
        for table, row in ROWS.items():
            txn[table].insert(row)
        return txn.commit()


def test_nodes_are_found_by_every_address_of_their_own():
    node = replace(NODE, health_ips=("10.1.0.9",), ingress_ips=("10.1.0.8",))
    assert Nodes.by_ip.keys_of(node) == ("172.18.0.2", "fd00::2", "10.1.0.9", "10.1.0.8")


def test_nodes_are_found_by_address_and_by_what_lies_in_their_networks(snap: Any):
    assert snap[Nodes.by_address]["172.18.0.2"] == (NODE,)
    assert snap[Nodes.by_address]["fd00::2"] == (NODE,)
    assert snap[Nodes.by_address][""] == ()
    assert snap[Nodes.by_pod_cidr].longest("10.1.0.5") == (NODE,)
    assert snap[Nodes.by_pod_cidr].longest("fd00:1::7") == (NODE,)
    assert snap[Nodes.by_pod_cidr].longest("10.2.0.5") == ()


def test_endpoints_are_found_by_identity_node_pod_and_network(snap: Any):
    assert snap[Endpoints.by_identity][70000] == (ENDPOINT,)
    assert snap[Endpoints.by_node]["172.18.0.2"] == (ENDPOINT,)
    assert snap[Endpoints.by_pod][("shop", "web-0")] == (ENDPOINT,)
    assert tuple(snap[Endpoints.by_prefix].within("10.1.0.0/16")) == (ENDPOINT,)
    assert snap[Endpoints.by_prefix].longest("10.1.0.5") == (ENDPOINT,)


def test_an_endpoint_without_node_and_pod_is_in_neither_index():
    bare = Endpoint(EndpointKey("c", "10.0.0.0/8"))
    db = Database(Endpoints)
    with db.write(Endpoints) as txn:
        txn[Endpoints].insert(bare)
        snap = txn.commit()
    assert snap[Endpoints.by_node][""] == ()
    assert snap[Endpoints.by_pod][("", "")] == ()
    assert snap[Endpoints.by_prefix].longest("10.9.9.9") == (bare,)


def test_identities_are_found_by_one_label_and_by_the_whole_set(snap: Any):
    assert snap[Identities.by_label]["k8s:app=web"] == (IDENTITY,)
    assert snap[Identities.by_labels]["k8s:app=web;k8s:io.kubernetes.pod.namespace=shop;"] == (IDENTITY,)
    assert snap[Identities.by_labels]["k8s:app=web;"] == ()


def test_services_and_backends_are_found_by_name_and_address(snap: Any):
    assert snap[Services.by_name][("shop", "web")] == (SERVICE,)
    assert snap[Services.by_frontend]["10.96.0.1"] == (SERVICE,)
    assert snap[Backends.by_service][SERVICE.key] == (BACKEND,)
    assert snap[Backends.by_address]["10.1.0.5"] == (BACKEND,)
    assert BACKEND.service == SERVICE.key


def test_policies_are_found_by_namespace(snap: Any):
    assert snap[Policies.by_namespace]["shop"] == (POLICY,)


def test_two_rows_may_share_everything_but_their_key():
    """One bad object must not stop a transaction: no secondary index refuses a row."""
    other = msgspec.structs.replace(NODE, key=NodeKey("c", "other"))
    db = Database(Nodes)
    with db.write(Nodes) as txn:
        txn[Nodes].insert(NODE)
        txn[Nodes].insert(other)
        snap = txn.commit()
    assert set(snap[Nodes.by_address]["172.18.0.2"]) == {NODE, other}
