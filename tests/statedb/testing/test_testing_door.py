"""The second door itself: the model against expectations written by hand, the comparison, the clock, the checks."""

import doctest
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import statedb.testing
from statedb import (
    Change,
    Database,
    DuplicateKey,
    Entry,
    InvalidRow,
    RevisionMismatch,
    RowNotFound,
    TransactionClosed,
)
from statedb.testing import (
    Host,
    Hosts,
    Model,
    Slot,
    SlotKey,
    Slots,
    Step,
    VirtualClock,
    Writes,
    assert_same,
    check_invariants,
    fold,
    histories,
    play,
)

A = Host("a", "1", ("red", "blue", "red"), ("10.0.0.0/8", "10.1.2.0/24"))
AB = Host("ab", "2", ("red",), ("10.9.9.9/16",))
B = Host("b", None, ("reddish",), ("::/0", "10.1.2.3"))


@pytest.fixture
def model() -> Model:
    model = Model(Hosts, Slots)
    with model.write(Hosts) as txn:
        for host in (B, AB, A):
            txn[Hosts].insert(host)
    return model


def test_the_model_reads_rows_in_key_order(model: Model) -> None:
    hosts = model.snapshot()[Hosts]
    assert list(hosts.items()) == [("a", A), ("ab", AB), ("b", B)]
    assert hosts.prefix("a") == (A, AB)
    assert hosts.range("ab", None) == (AB, B)
    assert hosts.range(None, "b", limit=1) == (A,)
    assert hosts.since(1) == (Entry(AB, 2), Entry(A, 3))
    assert hosts.entry("no") is None
    assert hosts.revision == 3


def test_the_model_lists_a_row_once_in_an_index(model: Model) -> None:
    by_tag = model.snapshot()[Hosts.by_tag]
    assert by_tag.keys() == ("blue", "red", "reddish")
    assert by_tag["red"] == (A, AB)
    assert by_tag.prefix("red") == (A, AB, B)
    assert by_tag.range() == (A, AB, B)
    assert by_tag.range("red", "reddish", limit=1) == (A,)
    assert "green" not in by_tag


def test_the_model_looks_networks_up(model: Model) -> None:
    by_network = model.snapshot()[Hosts.by_network]
    assert by_network.keys() == ("10.0.0.0/8", "10.1.2.0/24", "10.1.2.3/32", "10.9.0.0/16", "::/0")
    assert by_network.longest("10.1.2.3") == (B,)
    assert by_network.longest("10.200.0.0/16") == (A,)
    assert by_network.longest("192.168.0.1") == ()
    assert by_network.covering("10.1.2.3") == (A, B)
    assert by_network.within("10.0.0.0/8") == (A, B, AB)
    assert by_network.within("::/0") == (B,)
    assert by_network["10.9.1.1/16"] == (AB,)


def test_the_model_compares_struct_keys_field_by_field() -> None:
    model = Model(Slots)
    one, two = Slot(SlotKey("x", 2), "a", (("tcp", 80),)), Slot(SlotKey("y", 1), "a", (("udp", 80), ("tcp", 80)))
    with model.write(Slots) as txn:
        txn[Slots].insert(two)
        txn[Slots].insert(one)
        assert txn[Slots].prefix(("x",)) == (one,)
        assert txn[Slots.by_host][("y", "a")] == two
        assert txn[Slots.by_port].prefix(("tcp",)) == (one, two)


def test_the_model_refuses_what_the_engine_refuses(model: Model) -> None:
    with model.write(Hosts) as txn:
        hosts = txn[Hosts]
        with pytest.raises(DuplicateKey):
            hosts.insert(Host("c", "1"))
        with pytest.raises(RowNotFound):
            hosts.replace(Host("c"))
        with pytest.raises(RevisionMismatch):
            hosts.replace(A, at=1)
        with pytest.raises(RevisionMismatch):
            hosts.delete("a", at=1)
        with pytest.raises(InvalidRow):
            hosts.modify("a", lambda _: B)
        assert hosts.delete("c", at=1) is None
        assert (hosts.revision, len(hosts)) == (3, 3)


def test_an_aborted_transaction_of_the_model_leaves_nothing(model: Model) -> None:
    with model.write(Hosts) as txn:
        txn[Hosts].begin_initializer("kvstore")
        txn.abort()
    step = Step(Hosts, "clear", A)
    play([Writes((Hosts,), (step,), "abort"), Writes((Hosts,), (step, step), "raise")], model)
    with pytest.raises(TransactionClosed):
        txn.commit()
    assert (len(model.snapshot()[Hosts]), model.snapshot()[Hosts].initialized) == (3, True)


def test_a_snapshot_of_the_model_stays_as_it_was(model: Model) -> None:
    before = model.snapshot()
    with model.write(Hosts) as txn:
        token = txn[Hosts].begin_initializer("kvstore")
        assert txn[Hosts].clear() == 3
    assert list(before[Hosts]) == ["a", "ab", "b"]
    assert model.snapshot()[Hosts].pending_initializers == ("kvstore",)
    with model.write(Hosts) as txn:
        txn[Hosts].finish_initializer(token)
    assert model.snapshot()[Hosts].initialized


def test_the_model_tells_changes_folded(model: Model) -> None:
    with model.write(Hosts) as txn:
        hosts = txn[Hosts]
        hosts.insert(Host("c"))
        hosts.delete("c")
        hosts.insert(Host("a", amount=1))
        hosts.delete("a")
        hosts.insert(B, force=True)
    assert model.snapshot()[Hosts].changes(3) == (
        Change(Host("a", amount=1), 7, True, A),
        Change(B, 8, False, B),
    )
    assert [change.row for change in model.snapshot()[Hosts].changes(0)] == [AB, B]


@settings(max_examples=100, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
@given(histories(max_size=8))
def test_a_history_leaves_engine_and_model_the_same(history: list[Any]) -> None:
    db, model = Database(Hosts, Slots), Model(Hosts, Slots)
    assert play(history, db) == play(history, model)
    assert_same(db.snapshot(), model.snapshot(), rows={Hosts: [A, AB, B]})
    check_invariants(db)


def test_a_difference_is_told_with_its_question() -> None:
    db, model = Database(Hosts), Model(Hosts)
    for database in (db, model):
        with database.write(Hosts) as txn:
            txn[Hosts].insert(A)
    assert_same(db.snapshot(), model.snapshot())
    with db.write(Hosts) as txn:
        txn[Hosts].insert(Host("a", "9"))
    with pytest.raises(AssertionError, match=r"sample-hosts[^$]*by_address\.keys: is \('9',\), should be \('1',\)"):
        assert_same(db.snapshot(), model.snapshot())


def test_folding_refuses_batches_that_no_stream_gives() -> None:
    rows: dict[str, Host] = {}
    fold([Change(A, 1, False), Change(B, 2, False)], rows, Hosts)
    fold([Change(A, 3, True)], rows, Hosts)
    assert rows == {"b": B}
    for wrong in (
        [Change(A, 4, True)],
        [Change(A, 5, False), Change(AB, 4, False)],
        [Change(B, 4, False), Change(B, 5, True)],
    ):
        with pytest.raises(AssertionError):
            fold(wrong, dict(rows), Hosts)


DAMAGES = {
    "a row without revision": lambda store: store.revisions.pop("a"),
    "a row that the commit does not count": lambda store: (
        store.rows.update(z=Host("z")),
        store.revisions.update(z=2),
    ),
    "two rows at one revision": lambda store: store.revisions.update(a=1),
    "a revision of the future": lambda store: store.revisions.update(a=99),
    "a row under another key": lambda store: store.rows.update(a=B),
    "an index entry missing": lambda store: store.indexes[1].entries.pop("red"),
    "an index entry too many": lambda store: store.indexes[0].entries.update({"77": "a"}),
    "a cached order gone wrong": lambda store: setattr(store.pin, "ordered", [B, A]),
    "a bucket's order gone wrong": lambda store: setattr(
        store.indexes[1].entries["red"], "cached", (store.indexes[1].entries["red"].version, ["ab", "a"])
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_found_out(damage: str) -> None:
    db = Database(Slots, Hosts)
    with db.write(Hosts) as txn:
        for host in (B, AB, A):
            txn[Hosts].insert(host)
    check_invariants(db)
    DAMAGES[damage](db._stores[Hosts])
    with pytest.raises(AssertionError, match="sample-hosts"):
        check_invariants(db)


def test_a_clock_goes_only_forward_and_only_when_told() -> None:
    clock = VirtualClock(10)
    assert clock() == clock() == 10
    assert clock.advance(0.5) == clock() == 10.5
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)


def test_the_examples_of_the_documentation_work() -> None:
    for name in ("statedb.testing", "statedb.testing._clock", "statedb.testing._model"):
        __import__(name)
        globs = {"Table": statedb.Table, "UniqueIndex": statedb.UniqueIndex} if name.endswith("_model") else None
        result = doctest.testmod(sys.modules[name], extraglobs=globs)
        assert result.attempted > 0
        assert result.failed == 0


def test_every_name_of_the_door_is_there() -> None:
    for name in statedb.testing.__all__:
        assert getattr(statedb.testing, name) is not None
    with pytest.raises(AttributeError, match="no_such_thing"):
        statedb.testing.no_such_thing


WITHOUT_HYPOTHESIS = """
import sys
sys.modules["hypothesis"] = None
import statedb
import statedb.testing
statedb.testing.Model(statedb.testing.Hosts)
try:
    statedb.testing.histories
except ImportError as error:
    assert "pip install hypothesis" in str(error), error
else:
    raise SystemExit("imported without hypothesis")
"""


def test_only_the_strategies_need_hypothesis() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_HYPOTHESIS], check=True, timeout=60)
