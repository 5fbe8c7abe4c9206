"""Keys of an index that begin with a text equal those that a look at every key finds."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from statedb import Database, Index, PrefixIndex, Table, UniqueIndex
from statedb.agent.errors import NotFound
from statedb.agent.http.index_keys import index_keys
from statedb.agent.keys import to_texts
from statedb.catalog import Endpoint, EndpointKey, Endpoints, Identities, Identity, IdentityKey


class Words(Table[str, tuple[str, int]], name="words"):
    primary = UniqueIndex[str, tuple[str, int]](lambda row: row[0])
    by_number = Index[int, tuple[str, int]](lambda row: (row[1],))
    by_both = Index[tuple[int, str], tuple[str, int]](lambda row: ((row[1], row[0]),))
    by_network = PrefixIndex[str, tuple[str, int]](lambda row: (f"10.{row[1]}.0.0/16",))


words = st.text("ab/", max_size=3)


@given(
    st.dictionaries(words, st.integers(0, 30), max_size=12), words | st.sampled_from(["1", "1/", "1/a", "10.1", "x/"])
)
def test_keys_are_those_that_begin_so(rows: dict[str, int], begins: str):
    db = Database(Words)
    with db.write(Words) as txn:
        txn[Words].insert_all(list(rows.items()))
    for index in Words.indexes.values():
        keys = [to_texts(key) for key in db.snapshot()[index]]
        wanted = [key for key in keys if "/".join(key).startswith(begins)]
        assert index_keys(db, "words", None if index.position == 0 else index.name, begins) == wanted


def test_keys_of_tables_with_several_fields():
    db = Database(Endpoints, Identities)
    with db.write(Endpoints, Identities) as txn:
        for number in range(200):
            row = Endpoint(EndpointKey("c1", f"10.0.0.{number}"), 1, namespace="shop", pod=f"web-{number % 100}")
            txn[Endpoints].insert(row)
            txn[Identities].insert(Identity(IdentityKey("c1", number), ()))
    assert index_keys(db, "endpoints", "by_pod", "shop/web-4", limit=3) == [
        ["shop", "web-4"],
        ["shop", "web-40"],
        ["shop", "web-41"],
    ]
    assert index_keys(db, "identities", None, "c1/19")[:2] == [["c1", "19"], ["c1", "190"]]
    assert index_keys(db, "identities", None, "c2/") == []
    with pytest.raises(NotFound, match="has no index"):
        index_keys(db, "identities", "by_none", "")
