"""Questions about tables, and keys as texts."""

# ruff: noqa: E501 - the lines are quoted as they are printed

import msgspec
import pytest

from statedb import Database, Table, UniqueIndex
from statedb.agent.errors import BadRequest, NotFound
from statedb.agent.http.query import Query, ask, encode_row
from statedb.agent.keys import key_form, to_texts
from statedb.catalog import (
    TABLES,
    Backends,
    Endpoint,
    EndpointKey,
    Endpoints,
    Identities,
    Identity,
    IdentityKey,
    Node,
    NodeKey,
    Nodes,
    Policies,
    Rejected,
)


@pytest.fixture(scope="module")
def db() -> Database:
    db = Database(*TABLES)
    with db.write(Nodes, Endpoints, Identities) as txn:
        for name, cidr in (("a", "10.0.0.0/16"), ("b", "10.0.1.0/24"), ("c", "fd00::/64")):
            txn[Nodes].insert(Node(NodeKey("c1", name), pod_cidrs=(cidr,)))
        for n in range(5):
            ip = f"10.0.1.{n}"
            txn[Endpoints].insert(
                Endpoint(EndpointKey("c1" if n < 4 else "c2", ip), identity=n % 2, namespace="ns", pod=f"pod-{n}")
            )
        txn[Endpoints].insert(Endpoint(EndpointKey("c1", "10.9.0.0/16"), identity=7))
        txn[Identities].insert(Identity(IdentityKey("c1", 7), labels=("k8s:app=web",)))
        txn.commit()
    return db


def keys(db: Database, **query: object) -> list[str]:
    values = {k: tuple(v.split(" ")) if k in ("key", "prefix", "start") else v for k, v in query.items()}
    answer = ask(db, Query(**values))
    return [" ".join(to_texts(answer.table.key_of(row))) for row in answer.rows]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"table": "nodes"}, ["c1 a", "c1 b", "c1 c"]),
        ({"table": "nodes", "key": "c1 b"}, ["c1 b"]),
        ({"table": "nodes", "key": "c1/b"}, ["c1 b"]),
        ({"table": "endpoints", "key": "c1/10.9.0.0/16"}, ["c1 10.9.0.0/16"]),
        ({"table": "endpoints", "prefix": "c2"}, ["c2 10.0.1.4"]),
        ({"table": "endpoints", "index": "by_identity", "key": "1"}, ["c1 10.0.1.1", "c1 10.0.1.3"]),
        ({"table": "endpoints", "index": "by_pod", "key": "ns/pod-2"}, ["c1 10.0.1.2"]),
        ({"table": "endpoints", "index": "by_pod", "prefix": "other"}, []),
        ({"table": "endpoints", "index": "by_identity", "start": "2"}, ["c1 10.9.0.0/16"]),
        ({"table": "identities", "key": "c1 7"}, ["c1 7"]),
        ({"table": "identities", "index": "by_label", "prefix": "k8s:ap"}, ["c1 7"]),
        ({"table": "nodes", "index": "by_pod_cidr", "key": "10.0.1.7"}, ["c1 b"]),
        ({"table": "nodes", "index": "by_pod_cidr", "key": "10.0.1.7", "match": "covering"}, ["c1 b", "c1 a"]),
        ({"table": "nodes", "index": "by_pod_cidr", "key": "10.0.1.7", "match": "exact"}, []),
        ({"table": "nodes", "index": "by_pod_cidr", "prefix": "10.0.0.0/8"}, ["c1 a", "c1 b"]),
    ],
)
def test_rows_by_key_prefix_index_and_network(db: Database, query: dict, expected: list[str]):
    assert sorted(keys(db, **query)) == sorted(expected)


@pytest.mark.parametrize(
    ("query", "error", "line"),
    [
        ({"table": "node"}, NotFound, "no table 'node'; did you mean 'nodes'? known are nodes, "),
        ({"table": "nodes", "index": "by_adress"}, NotFound, "table 'nodes' has no index 'by_adress'; did you mean 'by_address'?"),
        ({"table": "nodes", "key": "c1 zz"}, NotFound, "table 'nodes' has no row 'c1 zz'"),
        ({"table": "nodes", "key": "c1"}, BadRequest, "a key of nodes has 2 fields (cluster, name); 1 given: write it like CLUSTER NAME"),
        ({"table": "nodes", "key": "c1 a b"}, BadRequest, "a key of nodes has 2 fields (cluster, name); 3 given"),
        ({"table": "identities", "key": "c1 seven"}, BadRequest, "id of identities is a whole number; 'seven' is none"),
        ({"table": "endpoints", "index": "by_identity", "prefix": "1"}, BadRequest, "a key of endpoints.by_identity has one identity, a number"),
        ({"table": "nodes", "key": "c1 a", "prefix": "c1"}, BadRequest, "give a key or a prefix, not both"),
        ({"table": "nodes", "key": "c1 a", "match": "exact"}, BadRequest, "match is only for indexes of networks, and nodes is not one"),
        ({"table": "nodes", "index": "by_pod_cidr"}, BadRequest, "nodes.by_pod_cidr is an index of networks; give one network"),
        ({"table": "nodes", "index": "by_pod_cidr", "key": "here"}, BadRequest, ""),
    ],
)  # fmt: skip
def test_each_mistake_names_the_thing_and_the_remedy(db: Database, query: dict, error: type[Exception], line: str):
    with pytest.raises(error) as caught:
        keys(db, **query)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_a_limit_says_where_to_go_on(db: Database):
    seen: list[str] = []
    start = None
    while True:
        answer = ask(db, Query(table="endpoints", limit=2, start=start))
        seen += [row.key.ip for row in answer.rows]
        assert answer.more == (answer.next is not None)
        if answer.next is None:
            break
        start = tuple(answer.next)
    assert seen == [row.key.ip for row in db.snapshot()[Endpoints].values()]
    answer = ask(db, Query(table="endpoints", index="by_identity", key=("1",), limit=1))
    assert (len(answer.rows), answer.more, answer.next) == (1, True, None)


def test_every_key_of_the_catalog_can_be_written_as_text():
    for table in TABLES:
        form = key_form(table.primary)
        texts = ["5" if kind is int else f"text{n}" for n, kind in enumerate(form.types)]
        assert to_texts(form.parse(texts)) == texts
    assert key_form(Backends.primary).example() == "CLUSTER NAMESPACE SERVICE IP PORT PROTOCOL"
    assert (
        to_texts(key_form(Rejected.primary).parse(["c1/nodes/cilium/state/nodes/v1/x"]))[2] == "cilium/state/nodes/v1/x"
    )
    assert key_form(Policies.primary).parse(["Kind//name"]).namespace == ""


def test_rows_are_json_with_their_revision(db: Database):
    answer = ask(db, Query(table="nodes", key=("c1", "a")))
    (row,) = map(msgspec.json.decode, answer.encoded_rows())
    assert (row["revision"], row["key"], row["pod_cidrs"]) == (1, {"cluster": "c1", "name": "a"}, ["10.0.0.0/16"])
    assert encode_row("hello", 3) == b'{"revision":3,"value":"hello"}'


def test_tables_of_other_makes_have_keys_too():
    class Words(Table[str, str], name="words"):
        primary = UniqueIndex(lambda word: word)

    db = Database(Words)
    with db.write(Words) as txn:
        txn[Words].insert("hello")
        txn.commit()
    assert keys(db, table="words", key="hello") == keys(db, table="words", prefix="he") == ["hello"]
