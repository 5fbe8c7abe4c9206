"""What an address means: our `ipcache` beside Cilium's own cache and manager of nodes."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import event, given

from consumers.tables.ipcache import HOST, REMOTE_NODE, IPCache, IPEntry, derive_ipcache, plain_address
from statedb import Database
from statedb.catalog import Endpoint, Endpoints, Node, Nodes
from statedb.catalog.wire import ips, nodes

from ..consumers.running.driving import Driver
from . import claims
from .asking import Oracle, cases

Claims = list[Endpoint | Node]


def ours(rows: Claims) -> dict[str, IPEntry]:
    db = Database(Endpoints, Nodes)
    driver = Driver(derive_ipcache(db, claims.LOCAL, local_node=claims.NODE))
    for row in rows:
        with db.write(Endpoints, Nodes) as txn:
            if isinstance(row, Endpoint):
                txn[Endpoints].insert(row)
            else:
                txn[Nodes].insert(row)
        driver.settle()
    return dict(db.snapshot()[IPCache].items())


def theirs(oracle: Oracle, rows: Claims) -> list[dict[str, dict[str, Any]]]:
    """Cilium's answers, for each order in which the rows may come."""
    orders = list(itertools.permutations(range(len(rows))))
    question = {
        "cluster": claims.LOCAL,
        "node": claims.NODE,
        "claims": [asked(row) for row in rows],
        "orders": orders,
    }
    answers = oracle.ask("networks", question)
    return [{plain_address(network): of for network, of in answer.items()} for answer in answers]


def asked(row: Endpoint | Node) -> dict[str, Any]:
    if isinstance(row, Endpoint):
        return {"key": ips.name(row), "endpoint": json.loads(ips.encode(row)), "source": row.source}
    return {"key": nodes.name(row), "node": json.loads(nodes.encode(row)), "source": row.source}


def is_mixed(entry: IPEntry, rows: Claims) -> bool:
    """Whether several nodes have an address: Cilium then mixes what they say of it, field by field."""
    having = [row for row in rows if isinstance(row, Node) and entry.network in Nodes.by_ip.keys_of(row)]
    return not entry.pod and len(having) > 1


def is_shadowed(entry: IPEntry, rows: Claims) -> bool:
    """Whether Cilium lets an endpoint of another cluster take an address of a node of ours."""
    others = [row for row in rows if isinstance(row, Endpoint) and row.key.cluster != claims.LOCAL]
    is_node = entry.cluster == claims.LOCAL and not entry.pod
    return is_node and any(row.key.ip == entry.network for row in others)


def meaning(entry: IPEntry) -> tuple[int, str, int]:
    return compared(entry.network, entry.identity, entry.host_ip, entry.encryption_key, is_pod=bool(entry.pod))


def compared(network: str, identity: int, host_ip: str, key: int, *, is_pod: bool) -> tuple[int, str, int]:
    """What is compared of an answer. Cilium sends nothing of a node's own addresses through a tunnel unless its options
    say so; and its tunnels are of one family."""
    if identity in (HOST, REMOTE_NODE):
        return identity, "", 0
    return identity, host_ip if is_pod or ":" not in network else "", key


def compare(oracle: Oracle, rows: Claims) -> None:
    found, answers = ours(rows), theirs(oracle, rows)
    assert all(answer.keys() == found.keys() for answer in answers)
    for network, entry in found.items():
        of = [answer[network] for answer in answers]
        if is_mixed(entry, rows) or is_shadowed(entry, rows):
            event("differs on purpose")
        else:
            pods = {row.identity for row in rows if isinstance(row, Endpoint)}
            possible = {
                compared(network, each["identity"], each["hostIP"], each["key"], is_pod=each["identity"] in pods)
                for each in of
            }
            assert meaning(entry) in possible
            event(f"depends on the order: {len(possible) > 1}")


@cases()
@given(rows=claims.claims)
def test_our_addresses_mean_what_ciliums_do(oracle: Oracle, rows: Claims) -> None:
    compare(oracle, rows)


@pytest.mark.stress
@cases(5000)
@given(rows=claims.claims)
def test_our_addresses_mean_what_ciliums_do_for_long(oracle: Oracle, rows: Claims) -> None:
    compare(oracle, rows)
