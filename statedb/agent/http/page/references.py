"""The rows that refer to a row, and those that it refers to: identity, endpoints, policies and so on. Knows no HTTP.

Every relation is a function of a snapshot and a row. At most a hundred rows of each are returned, with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import msgspec

from consumers.tables.ipcache import IPCache
from consumers.tables.loadbalancer import LoadBalancerKey, LoadBalancers
from consumers.tables.routes import Routes
from consumers.tables.selectors import Selections, SelectorUses
from ingest.source import AnyTable
from statedb import InvalidKey, Snapshot
from statedb.catalog import (
    Backends,
    EndpointKey,
    Endpoints,
    Identities,
    IdentityKey,
    Nodes,
    Policies,
    Rejected,
    Services,
    Sources,
)

Rows: TypeAlias = Sequence[Any]

ROWS_MAX = 100


class Relation(msgspec.Struct, frozen=True):
    """A relation from the rows of one table to those of another. ``title`` describes the latter."""

    title: str
    source: AnyTable
    target: AnyTable
    find: Callable[[Snapshot, Any], Rows]
    needs: tuple[AnyTable, ...] = ()
    """Further tables that the database must have."""


class References(msgspec.Struct, frozen=True):
    """The rows of one relation: the first ones, and their number."""

    title: str
    table: AnyTable
    rows: Rows
    count: int


def references(snapshot: Snapshot, table: AnyTable, row: Any) -> list[References]:
    """The relations of one row that have rows, in the order in which a user would follow them."""
    found: list[References] = []
    for relation in RELATIONS:
        if relation.source is table and all(each in snapshot for each in (relation.target, *relation.needs)):
            rows = relation.find(snapshot, row)
            if rows:
                found.append(References(relation.title, relation.target, rows[:ROWS_MAX], len(rows)))
    return found


def _endpoints_of_identity(snapshot: Snapshot, key: IdentityKey) -> Rows:
    return [each for each in snapshot[Endpoints.by_identity][key.id] if each.key.cluster == key.cluster]


def _policies_of_identity(snapshot: Snapshot, key: IdentityKey) -> Rows:
    selectors = [match.key.selector for match in snapshot[Selections.by_identity][key]]
    users = [use.key.user for selector in selectors for use in snapshot[SelectorUses.by_selector][selector]]
    return _present(snapshot, Policies, users)


def _identities_of_policy(snapshot: Snapshot, policy: Any) -> Rows:
    selectors = [use.key.selector for use in snapshot[SelectorUses.by_user][policy.key]]
    matches = [match.key.identity for selector in selectors for match in snapshot[Selections.by_selector][selector]]
    return _present(snapshot, Identities, matches)


def _present(snapshot: Snapshot, table: AnyTable, keys: Iterable[Any]) -> Rows:
    """The rows of these keys, each once, without missing ones."""
    rows = [snapshot[table].get(key) for key in dict.fromkeys(keys)]
    return [row for row in rows if row is not None]


def _identity(row: Any) -> IdentityKey:
    return IdentityKey(row.key.cluster, row.identity)


def _covering(snapshot: Snapshot, index: Any, network: str) -> Rows:
    return _network(snapshot[index].longest, network)


def _within(snapshot: Snapshot, index: Any, network: str) -> Rows:
    return _network(snapshot[index].within, network)


def _network(ask: Callable[[str], Rows], network: str) -> Rows:
    """The result of an index of networks. Empty for a text that is not a network."""
    try:
        return ask(network)
    except InvalidKey:
        return ()


def _endpoint_key(backend: Any) -> EndpointKey:
    return EndpointKey(backend.key.cluster, backend.key.ip)


def _rejected_of_source(snapshot: Snapshot, source: Any) -> Rows:
    return snapshot[Rejected].prefix((source.key.cluster, source.key.table))


def _endpoints_of_policy(snapshot: Snapshot, policy: Any) -> Rows:
    return [
        each for row in _identities_of_policy(snapshot, policy) for each in _endpoints_of_identity(snapshot, row.key)
    ]


def _endpoints_of_node(snapshot: Snapshot, node: Any) -> Rows:
    addresses = dict.fromkeys([each.ip for each in node.addresses if each.ip])
    return [
        each for ip in addresses for each in snapshot[Endpoints.by_node][ip] if each.key.cluster == node.key.cluster
    ]


def _load_balancer(snapshot: Snapshot, service: Any) -> Rows:
    return _present(snapshot, LoadBalancers, [LoadBalancerKey(service.key.namespace, service.key.name)])


_SELECTORS = (Selections, SelectorUses)

RELATIONS = (
    Relation("endpoints", Identities, Endpoints, lambda snapshot, row: _endpoints_of_identity(snapshot, row.key)),
    Relation(
        "policies", Identities, Policies, lambda snapshot, row: _policies_of_identity(snapshot, row.key), _SELECTORS
    ),
    Relation("identity", Endpoints, Identities, lambda snapshot, row: _present(snapshot, Identities, [_identity(row)])),
    Relation(
        "policies",
        Endpoints,
        Policies,
        lambda snapshot, row: _policies_of_identity(snapshot, _identity(row)),
        _SELECTORS,
    ),
    Relation("node", Endpoints, Nodes, lambda snapshot, row: snapshot[Nodes.by_ip][row.host_ip]),
    Relation(
        "entry in the ipcache",
        Endpoints,
        IPCache,
        lambda snapshot, row: _covering(snapshot, IPCache.by_network, row.key.ip),
    ),
    Relation(
        "backend of services", Endpoints, Backends, lambda snapshot, row: snapshot[Backends.by_address][row.key.ip]
    ),
    Relation("identities that it selects", Policies, Identities, _identities_of_policy, _SELECTORS),
    Relation("endpoints that it selects", Policies, Endpoints, _endpoints_of_policy, _SELECTORS),
    Relation("endpoints", Nodes, Endpoints, _endpoints_of_node),
    Relation("routes", Nodes, Routes, lambda snapshot, row: snapshot[Routes.by_node][row.key]),
    Relation("backends", Services, Backends, lambda snapshot, row: snapshot[Backends.by_service][row.key]),
    Relation("load balancer", Services, LoadBalancers, _load_balancer),
    Relation("service", Backends, Services, lambda snapshot, row: _present(snapshot, Services, [row.service])),
    Relation(
        "endpoint", Backends, Endpoints, lambda snapshot, row: _present(snapshot, Endpoints, [_endpoint_key(row)])
    ),
    Relation(
        "services",
        LoadBalancers,
        Services,
        lambda snapshot, row: snapshot[Services.by_name][row.key.namespace, row.key.name],
    ),
    Relation(
        "backends",
        LoadBalancers,
        Backends,
        lambda snapshot, row: snapshot[Backends.by_name][row.key.namespace, row.key.name],
    ),
    Relation(
        "identity",
        IPCache,
        Identities,
        lambda snapshot, row: _present(snapshot, Identities, [IdentityKey(row.cluster, row.identity)]),
    ),
    Relation(
        "endpoint", IPCache, Endpoints, lambda snapshot, row: _covering(snapshot, Endpoints.by_prefix, row.network)
    ),
    Relation("node", Routes, Nodes, lambda snapshot, row: _present(snapshot, Nodes, [row.node])),
    Relation(
        "endpoints in it", Routes, Endpoints, lambda snapshot, row: _within(snapshot, Endpoints.by_prefix, row.pod_cidr)
    ),
    Relation("rejected objects", Sources, Rejected, _rejected_of_source),
)
