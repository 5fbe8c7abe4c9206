"""The table of docs/formats.md about facts that an API server and an etcd tell differently: each line of it, as rows.

What manifests make of an object is what every backend makes of it (test_interchange): one of them is enough here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest import ManifestsOptions
from ingest.manifests import open as open_manifests
from statedb import Database, Snapshot
from statedb.catalog import TABLES, Backends, Endpoints, Identities, Nodes, Rejected, Services

from ..clusters import CLUSTER, Object, write_directory
from ..kube_rig import cep, ces, endpoint_slice, identity, node, service

PAGE = Path(__file__).parents[3] / "docs" / "formats.md"


def changed(value: Object, path: str, to: Any) -> Object:
    """The object with another value at a path of names with dots."""
    first, _, rest = path.partition(".")
    return {**value, first: changed(value.get(first, {}), rest, to) if rest else to}


def without(value: Object, path: str) -> Object:
    """The object without what is at a path."""
    first, _, rest = path.partition(".")
    if rest:
        return {**value, first: without(value[first], rest)}
    return {name: each for name, each in value.items() if name != first}


ENDPOINT = cep("10.0.0.1")
SLICE = ces("a", ["10.0.0.1", "10.0.0.1"])
SLICE["endpoints"][1]["id"] = 80_000
SERVED = endpoint_slice("web-1", "web", ["10.0.0.1"])
SERVED["endpoints"][0]["conditions"] = {"ready": False, "serving": False}
BAD_NODE = changed(node("n"), "spec.ipam", {"podCIDRs": ["10.1.0.0/24", "no network"]})
ANNOTATIONS = "metadata.annotations"


def identities_of_endpoints(snapshot: Snapshot) -> list[int]:
    return [row.identity for row in snapshot[Endpoints].values()]


CASES: dict[str, tuple[list[Object], Callable[[Snapshot], Any], Any]] = {
    "an endpoint without an identity": ([without(ENDPOINT, "status.identity")], identities_of_endpoints, [0]),
    "an endpoint without a node's address": (
        [without(ENDPOINT, "status.networking.node")],
        lambda s: [row.host_ip for row in s[Endpoints].values()],
        [""],
    ),
    "no encryption key": ([ENDPOINT], lambda s: [row.encryption_key for row in s[Endpoints].values()], [0]),
    "an encryption key above 255, of an endpoint or a node": (
        [changed(ENDPOINT, "status.encryption", {"key": 259}), changed(node("n"), "spec.encryption", {"key": 260})],
        lambda s: (
            [row.encryption_key for row in s[Endpoints].values()] + [row.encryption_key for row in s[Nodes].values()]
        ),
        [3, 4],
    ),
    "an endpoint in two objects": (
        [cep("10.0.0.1", 70_000, "first"), cep("10.0.0.1", 80_000, "second")],
        identities_of_endpoints,
        [70_000],
    ),
    "two endpoints of one slice with one address": ([SLICE], identities_of_endpoints, [80_000]),
    "a network or an address of a node that cannot be read": (
        [BAD_NODE],
        lambda s: (len(s[Nodes]), [row.key.object for row in s[Rejected].values()]),
        (0, ["000.json:CiliumNode/n"]),
    ),
    'a service without `service.cilium.io/global: "true"`, or with `service.cilium.io/shared: "false"`': (
        [
            without(service("web"), ANNOTATIONS),
            endpoint_slice("web-1", "web", ["10.0.0.1"]),
            changed(
                service("own"),
                ANNOTATIONS,
                {"service.cilium.io/global": "true", "service.cilium.io/shared": "false"},
            ),
            endpoint_slice("own-1", "own", ["10.0.0.1"]),
        ],
        lambda s: (len(s[Services]), len(s[Backends])),
        (0, 0),
    ),
    "a backend that is neither ready nor serving": (
        [service("web"), SERVED],
        lambda s: (len(s[Services]), len(s[Backends])),
        (1, 0),
    ),
    "a `CiliumIdentity` without labels": (
        [changed(identity(70_000), "security-labels", {})],
        lambda s: (len(s[Identities]), len(s[Rejected])),
        (0, 1),
    ),
}


def facts() -> list[str]:
    """The first column."""
    table = PAGE.read_text().partition("| fact | row |")[2].partition("\n\n")[0]
    return [cell.strip() for cell in re.findall(r"^\| ([^-|][^|]*) \|", table, re.MULTILINE)]


def test_every_line_of_the_table_has_its_case():
    assert facts() == list(CASES)


@pytest.mark.parametrize("fact", CASES)
def test_fact(fact: str, tmp_path: Path):
    values, told, wanted = CASES[fact]
    write_directory(values, tmp_path)
    db = Database(*TABLES)
    source = open_manifests(db, CLUSTER, 1, ManifestsOptions(directory=str(tmp_path)))
    source.start()
    try:
        assert db.wait_initialized(Nodes, Identities, Endpoints, Services, Backends, timeout=30)
        assert told(db.snapshot()) == wanted
    finally:
        source.stop()
        assert source.join(10)
