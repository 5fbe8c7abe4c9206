"""Every misuse is one clear error: its class, its whole message, and that all goes on afterwards."""

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from types import new_class
from typing import Any, NamedTuple

import msgspec
import pytest

from statedb import (
    Database,
    DuplicateKey,
    Index,
    IndexFunctionError,
    InitializerError,
    InvalidKey,
    InvalidRow,
    InvalidTable,
    NestedWrite,
    PrefixIndex,
    RevisionMismatch,
    RowNotFound,
    StateDBError,
    Table,
    TableNotOpen,
    TransactionClosed,
    UniqueIndex,
    UnknownTable,
    WatchSet,
)

from ._helpers import in_a_thread
from .tables import Account, Accounts, Pod, Pods, database, put

A = "Pod(name='a', node='n1', tags=(), address=None, networks=())"


def told(error: type[Exception], use: Callable[[], Any]) -> str:
    """The message that a use is refused with; its class is exactly this one."""
    with pytest.raises(error) as raised:
        use()
    assert type(raised.value) is error
    return str(raised.value)


# -- tables of a transaction ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", [Pods, Pods.by_tag, Pods.by_network, Pods.primary], ids=repr)
def test_writing_outside_of_the_transactions_tables(what: Any) -> None:
    db = database(Pod("a"))
    with db.write(Accounts) as txn:
        assert told(TableNotOpen, lambda: txn[what]) == (
            "table 'pods' is not open for writing in this transaction (open: accounts); "
            "name it in db.write(...), or read it from a snapshot"
        )
        txn[Accounts].insert(Account(1))
    assert db.snapshot()[Accounts][1]
    with db.write() as txn:
        assert "(open: no tables)" in told(TableNotOpen, lambda: txn[what])


def test_writing_a_table_of_no_database() -> None:
    db = Database(Accounts)
    for use in (lambda: db.write(Pods), lambda: db.write(Accounts, Pods), lambda: db.snapshot()[Pods.by_tag]):
        assert told(UnknownTable, use) == (
            "table 'pods' is not part of this database (tables: accounts); register it, or take a new snapshot"
        )
    with db.write(Accounts) as txn:  # nothing was left locked
        txn[Accounts].insert(Account(1))


def test_a_table_by_its_name_is_told_how_to_ask() -> None:
    db = database(Pod("a"))
    named: Any = "pods"
    assert told(UnknownTable, lambda: db.snapshot()[named]) == (
        "'pods' is a name; use the class, as in snapshot[Pods], or snapshot[db.table('pods')] (tables: pods, accounts)"
    )
    assert db.snapshot()[db.table("pods")]["a"] == Pod("a")


@pytest.mark.parametrize(("close", "word"), [("commit", "committed"), ("abort", "aborted")])
def test_using_a_closed_transaction(close: str, word: str) -> None:
    db = database(Pod("a"))
    txn = db.write(Pods)
    pods, by_tag, by_network = txn[Pods], txn[Pods.by_tag], txn[Pods.by_network]
    getattr(txn, close)()
    message = f"the transaction on pods was already {word}; open a new one with db.write(...)"
    uses: list[Callable[[], Any]] = [
        lambda: pods.insert(Pod("b")),
        lambda: pods.replace(Pod("a", "n2")),
        lambda: pods.modify("a", lambda row: row),
        lambda: pods.delete("a"),
        lambda: pods.clear(),
        lambda: pods.begin_initializer("x"),
        lambda: pods["a"],
        lambda: pods.get("a"),
        lambda: pods.entry("a"),
        lambda: "a" in pods,
        lambda: len(pods),
        lambda: list(pods),
        lambda: list(pods.items()),
        lambda: pods.range(),
        lambda: pods.since(0),
        lambda: pods.watch(),
        lambda: pods.watch("a"),
        lambda: pods.watch_prefix("a"),
        lambda: by_tag["t"],
        lambda: by_tag.keys(),
        lambda: by_tag.prefix("t"),
        lambda: by_tag.watch("t"),
        lambda: by_network.longest("10.0.0.1"),
        lambda: by_network.covering("10.0.0.1"),
        lambda: by_network.within("10.0.0.0/8"),
        lambda: by_network.watch_longest("10.0.0.1"),
        lambda: by_network.watch_within("10.0.0.0/8"),
    ]
    for use in uses:
        assert told(TransactionClosed, use) == message
    assert told(TransactionClosed, lambda: txn[Pods]) == message
    assert db.snapshot()[Pods].revision == 1
    assert word in repr(txn)


def test_committing_what_was_aborted() -> None:
    txn = database().write(Pods, Accounts)
    txn.abort()
    assert told(TransactionClosed, txn.commit) == (
        "the transaction on pods, accounts was already aborted; open a new one with db.write(...)"
    )


# -- writes inside of writes ------------------------------------------------------------------------------------------


def test_a_nested_write_in_one_thread() -> None:
    db = database()
    with db.write(Pods, Accounts) as txn:
        assert told(NestedWrite, lambda: db.write(Accounts)) == (
            "table 'accounts' is being written by an open transaction of this same thread (on pods, accounts); "
            "commit or abort it first, or name all tables in one db.write(...)"
        )
        txn[Accounts].insert(Account(1))
    put(db, Pod("a"))


def test_a_nested_write_frees_what_it_had_taken_before_it_failed() -> None:
    db = database()
    with db.write(Accounts):
        told(NestedWrite, lambda: db.write(Pods, Accounts))
        put(db, Pod("a"))  # pods come first in the order of tables, and were taken for a moment
    assert "a" in db.snapshot()[Pods]


def test_a_nested_write_in_a_task_of_the_same_loop() -> None:
    db = database()

    async def main() -> str:
        with db.write(Pods):
            return await asyncio.create_task(other())

    async def other() -> str:
        return told(NestedWrite, lambda: db.write(Pods))

    assert "by an open transaction of this same thread (on pods)" in asyncio.run(main())
    put(db, Pod("a"))


# -- rows and tables that are none ------------------------------------------------------------------------------------


class Mutable(msgspec.Struct):
    key: str


@dataclass
class Changeable:
    key: str


class Tuple(NamedTuple):
    key: str


class Anything(Table[str, Tuple | Mutable | Changeable], name="anything"):
    primary = UniqueIndex[str, Any](lambda row: row.key)


@pytest.mark.parametrize("kind", [Mutable, Changeable])
def test_a_mutable_row_type(kind: Any) -> None:
    remedy = f"rows of type {kind.__name__} can be changed in place; use a frozen msgspec Struct, "

    def declare() -> None:
        class Rows(Table[str, kind], name="rows"):  # type: ignore[valid-type]
            primary = UniqueIndex[str, kind](lambda row: row.key)  # type: ignore[valid-type]

    assert told(InvalidTable, declare).startswith(f"table 'rows': {remedy}")
    db = Database(Anything)  # where several types are declared the first row of a type is looked at
    with db.write(Anything) as txn:
        assert told(InvalidTable, lambda: txn[Anything].insert(kind("a"))).startswith(f"table 'anything': {remedy}")
        txn[Anything].insert(Tuple("b"))
    assert list(db.snapshot()[Anything]) == ["b"]


@pytest.mark.parametrize("row", ["a", None, Account(1)], ids=repr)
@pytest.mark.parametrize("call", ["insert", "replace", "modify"])
def test_a_row_of_another_type(call: str, row: Any) -> None:
    db = database(Pod("a"))
    with db.write(Pods) as txn:
        pods = txn[Pods]
        use = (lambda: pods.modify("a", lambda _: row)) if call == "modify" else lambda: getattr(pods, call)(row)
        assert told(InvalidRow, use) == f"table 'pods' holds rows of Pod, not {type(row).__name__}: {row!r}"
        pods.insert(Pod("b"))
    assert list(db.snapshot()[Pods].values()) == [Pod("a"), Pod("b")]


def test_a_change_that_moves_the_primary_key() -> None:
    db = database(Pod("a"))
    with db.write(Pods) as txn:
        assert told(InvalidRow, lambda: txn[Pods].modify("a", lambda _: Pod("b"))).startswith(
            "table 'pods': the new row has another primary key than 'a'; delete the old one and insert the new "
            "one: Pod("
        )


def letters() -> Index[str, str]:
    return Index[str, str](tuple)


def texts(attributes: dict[str, Any], *mixins: type) -> Any:
    """A table of texts with these attributes."""
    body = {"primary": UniqueIndex[str, str](str), **attributes}
    return new_class("Texts", (*mixins, Table[str, str]), {"name": "texts"}, lambda space: space.update(body))


def test_what_a_writer_says_of_itself_never_raises() -> None:
    db = database(Pod("a"))
    txn = db.write(Pods)
    writer = txn[Pods]
    writer.insert(Pod("b"))
    assert in_a_thread(lambda: repr(writer)) == repr(writer) == "<TableWriter pods: 2 rows at revision 2>"
    txn.abort()
    assert repr(writer) == "<TableWriter pods: aborted>"


def test_declarations_that_are_none() -> None:
    def without_iterable() -> None:
        class Texts(Table[str, str], name="texts"):
            primary = UniqueIndex[str, str](lambda row: row)
            by_network = PrefixIndex[str, str](lambda row: row)  # one network, and not an iterable of them

        with Database(Texts).write(Texts) as txn:
            txn[Texts].insert("10.0.0.0/8")

    def of_a_table() -> None:
        class More(Pods, name="more"):
            pass

    def over_other_rows() -> None:
        class Wrong(Table[str, Pod], name="wrong"):
            primary = UniqueIndex[str, Account](lambda row: str(row.number))  # type: ignore[assignment]

    assert (
        "'by_network': the function returned '10.0.0.0/8', which is one network; give an iterable, ('10.0.0.0/8',)"
        in told(IndexFunctionError, without_iterable)
    )
    assert told(InvalidTable, of_a_table) == "More inherits from table 'pods'; derive from Table[...] itself"
    assert told(InvalidTable, over_other_rows) == (
        "index 'primary' of table 'wrong' is over Account, but the table holds Pod"
    )
    for name in ("name", "indexes", "row_type", "key_of"):
        assert told(InvalidTable, lambda name=name: texts({name: letters()})) == (  # type: ignore[misc]
            f"Texts: an index cannot be called {name!r}, because every table has an attribute of that name; "
            "choose another name"
        )
    elsewhere = (
        "belongs to another table or class, or has another name as well; an index object belongs to one table: "
        "make a new one in the class itself"
    )
    shared = letters()
    mixin = type("Mixin", (), {"by_letter": shared})
    assert told(InvalidTable, lambda: texts({}, mixin)) == f"Texts: index 'by_letter' {elsewhere}"
    assert told(InvalidTable, lambda: texts({"one": shared})) == f"Texts: index 'one' {elsewhere}"
    once = letters()
    texts({"one": once})
    assert told(InvalidTable, lambda: texts({"one": once})) == f"Texts: index 'one' {elsewhere}"
    for thing in (str, 5, Table, "pods"):
        assert told(InvalidTable, lambda thing=thing: Database(thing)).endswith(  # type: ignore[misc]
            "is not a table; derive a class from Table[K, R] with a name and a primary index"
        )


# -- keys -------------------------------------------------------------------------------------------------------------


class Thing(NamedTuple):
    key: Any
    other: Any = None


class Things(Table[Any, Thing], name="things"):
    primary = UniqueIndex[Any, Thing](lambda row: row.key)
    by_other = Index[Any, Thing](lambda row: () if row.other is None else (row.other,))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            Thing(1),
            "index 'primary': the key 1 is int, but the others are str; all keys of an index must have one type",
        ),
        (Thing("b", ("x", 1)), "the key ('x', 1) is tuple[str, int], but the others are tuple[str]"),
        (Thing("b", ["x"]), "index 'by_other': ...unhashable type: 'list'...; keys must be hashable and ordered"),
        (Thing(["b"]), "index 'primary': ...unhashable type: 'list'...; keys must be hashable"),
        (Thing("b", frozenset("x")), "index 'by_other': frozenset has no total order; use a sorted tuple"),
        (Thing("b", 1j), "'<' not supported between instances of 'complex' and 'complex'; keys must be hashable"),
        (
            Thing("b", float("nan")),
            "NaN does not equal itself and could not be looked up; leave the row out of the index",
        ),
    ],
    ids=lambda part: repr(part)[:40],
)
def test_keys_that_cannot_be_compared(row: Thing, reason: str) -> None:
    db = Database(Things)
    with db.write(Things) as txn:
        txn[Things].insert(Thing("a", ("x",)))
    with db.write(Things) as txn:
        for _ in range(2):
            message = told(InvalidKey, lambda: txn[Things].insert(row))
            assert message.startswith("table 'things', index ")
            # the dots stand for words of the interpreter, which some versions of it add
            assert re.search(".*".join([re.escape(part) for part in reason.split("...")]), message)
            assert message.endswith(f"row {row!r}")
        txn[Things].insert(Thing("c", ("y",)))
    assert list(db.snapshot()[Things]) == ["a", "c"]
    db.check()


@pytest.mark.parametrize("network", ["10.0.0.0/40", b"123", 7, None, ("10.0.0.1",)], ids=repr)
def test_what_is_no_network(network: Any) -> None:
    db = database(Pod("a", networks=("10.0.0.0/8",)))
    view = db.snapshot()[Pods.by_network]
    for ask in (view.longest, view.covering, view.within, view.watch, view.watch_longest, view.watch_within):
        assert told(InvalidKey, lambda ask=ask: ask(network)).startswith(f"{network!r} ")  # type: ignore[misc]
    with db.write(Pods) as txn:
        message = told(InvalidKey, lambda: txn[Pods].insert(Pod("b", networks=(network,))))
        assert message.startswith(f"table 'pods', index 'by_network': {network!r} ")
    assert view.longest(ip_address("10.0.0.1"))


@pytest.mark.parametrize("prefix", [5, None, 1.5])
def test_what_is_no_prefix(prefix: Any) -> None:
    db = database(Pod("a"))
    snapshot = db.snapshot()
    for view in (snapshot[Pods], snapshot[Pods.by_tag]):
        for ask in (view.prefix, view.watch_prefix):
            message = told(InvalidKey, lambda ask=ask: ask(prefix))  # type: ignore[misc]
            assert message.endswith("is not a prefix; give str, bytes, or a tuple of leading fields")


# -- index functions --------------------------------------------------------------------------------------------------


def _generates(row: str) -> Iterator[str]:
    yield row[0]
    if "!" in row:
        raise LookupError("half way")


class Letters(Table[str, str], name="letters"):
    primary = UniqueIndex[str, str](lambda row: row[1:2] if row != "?" else 1 / 0)  # type: ignore[arg-type, return-value]
    by_number = Index[int, str](lambda row: (int(row[2:] or 0),) if "!" not in row else (0,))
    by_letter = Index[str, str](_generates)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("?", "index 'primary': ZeroDivisionError: division by zero"),
        ("abx", "index 'by_number': ValueError: invalid literal for int() with base 10: 'x'"),
        ("ab!", "index 'by_letter': LookupError: half way"),
    ],
)
@pytest.mark.parametrize("call", ["insert", "insert over a row", "replace", "modify"])
def test_an_index_function_that_raises(call: str, row: str, reason: str) -> None:
    db = Database(Letters)
    with db.write(Letters) as txn:
        letters = txn[Letters]
        letters.insert("zy7")
        if call != "insert":
            letters.insert("ab1")
        use: Callable[[], Any]
        if call == "modify":
            use = lambda: letters.modify("b", lambda _: row)  # noqa: E731
        else:
            use = lambda: letters.replace(row) if call == "replace" else letters.insert(row)  # noqa: E731
        for _ in range(2):
            message = told(IndexFunctionError, use)
            assert message == f"table 'letters', {reason}; row {row!r}"
        letters.insert("cd2")
    assert list(db.snapshot()[Letters].values()) == (["cd2", "zy7"] if call == "insert" else ["ab1", "cd2", "zy7"])
    assert db.snapshot()[Letters].revision == (2 if call == "insert" else 3)
    db.check()


class Moods(Table[str, str], name="moods"):
    """Its index gives what it is told to."""

    answers: list[Any]
    primary = UniqueIndex[str, str](lambda row: row[0])
    by_mood = Index[str, str](lambda row: Moods.answers.pop() if Moods.answers else ("calm",))


def test_an_index_function_that_gives_other_keys_for_the_same_row() -> None:
    db = Database(Moods)
    Moods.answers = []
    with db.write(Moods) as txn:
        txn[Moods].insert("a1")
    with db.write(Moods) as txn:
        Moods.answers = [("cross",), ("calm",)]  # first for the new row, then for the stored one
        message = told(IndexFunctionError, lambda: txn[Moods].insert("a2"))
        assert message == (
            "table 'moods', index 'by_mood': the function returns 'cross' now, but did not when row 'a' was stored; "
            "it must be pure"
        )
        Moods.answers = []
        txn[Moods].insert("b1")
    assert list(db.snapshot()[Moods].values()) == ["a1", "b1"]
    db.check()


class Once(Table[str, str], name="once"):
    failures: list[Exception]
    primary = UniqueIndex[str, str](lambda row: row)

    @staticmethod
    def _keys(row: str) -> tuple[str, ...]:
        if Once.failures:
            raise Once.failures.pop()
        return (row,)

    by_text = Index[str, str](_keys)


def test_an_index_function_that_fails_once() -> None:
    db = Database(Once)
    Once.failures = []
    with db.write(Once) as txn:
        txn[Once].insert("a")
        Once.failures = [OSError("gone")]
        assert told(IndexFunctionError, lambda: txn[Once].insert("a", force=True)) == (
            "table 'once': an index function failed once for row 'a'; it must be pure"
        )
        Once.failures = [MemoryError()]
        told(MemoryError, lambda: txn[Once].insert("b"))  # nobody's misuse: told as it is
        Once.failures = [MemoryError()]
        told(MemoryError, lambda: txn[Once].insert("a", force=True))
        txn[Once].insert("c")
    assert list(db.snapshot()[Once]) == ["a", "c"]


@pytest.mark.parametrize("call", ["insert", "replace", "modify"])
def test_a_row_without_a_primary_key(call: str) -> None:
    class Keyless(Table[str, str], name="keyless"):
        primary = UniqueIndex[str, str](lambda row: row[0] if row else None)

    db = Database(Keyless)
    with db.write(Keyless) as txn:
        txn[Keyless].insert("a")
        keyless = txn[Keyless]
        use = (lambda: keyless.modify("a", lambda _: "")) if call == "modify" else lambda: getattr(keyless, call)("")
        assert told(IndexFunctionError, use) == "table 'keyless': the primary index has no key for ''"
    assert list(db.snapshot()[Keyless]) == ["a"]


# -- what is there, and what is not -----------------------------------------------------------------------------------


def test_rows_that_are_not_there_or_not_the_same() -> None:
    db = database(Pod("a", address="10.0.0.1"))
    missing = "table 'pods' has no row 'x' to replace; insert it"
    with db.write(Pods) as txn:
        pods = txn[Pods]
        assert told(RowNotFound, lambda: pods.replace(Pod("x"))) == missing
        assert told(RowNotFound, lambda: pods.modify("x", lambda row: row)) == missing.replace("replace", "modify")
        for use in (lambda: pods.replace(Pod("a"), at=7), lambda: pods.delete("a", at=7)):
            assert told(RevisionMismatch, use) == "table 'pods': row 'a' is at revision 1, not 7; read it again"
        assert told(DuplicateKey, lambda: pods.insert(Pod("b", address="10.0.0.1"))) == (
            "table 'pods', unique index 'by_address': '10.0.0.1' belongs to row 'a' and cannot go to 'b' as well; "
            "delete or change the other row first"
        )
    assert db.snapshot()[Pods].revision == 1
    assert "'x'" in told(RowNotFound, lambda: db.snapshot()[Pods]["x"])


def test_initializers_that_are_begun_or_finished_elsewhere() -> None:
    db = database()
    with db.write(Pods, Accounts) as txn:
        token = txn[Pods].begin_initializer("etcd")
        assert told(InitializerError, lambda: txn[Pods].begin_initializer("etcd")) == (
            "table 'pods': initializer 'etcd' is pending; finish it, or choose another name"
        )
        assert told(InitializerError, lambda: txn[Accounts].finish_initializer("x")) == (
            "table 'accounts': 'x' is no initializer; pass what begin_initializer returned"
        )
        assert told(InitializerError, lambda: txn[Accounts].finish_initializer(token)) == (
            "table 'accounts': initializer 'etcd' was begun on another table; finish it there"
        )
    assert not db.snapshot()[Pods].initialized


def test_a_watch_is_no_answer() -> None:
    watch = database().snapshot()[Pods].watch()
    assert told(TypeError, lambda: bool(watch)) == (
        "a Watch has no truth value; use watch.tripped or watch.wait(timeout=0)"
    )


def test_two_tasks_waiting_for_one_set() -> None:
    db = database()

    async def main() -> str:
        watches = WatchSet(db.snapshot()[Pods].watch())

        async def wait() -> Any:
            return await watches

        first = asyncio.create_task(wait())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError) as raised:
            await watches
        put(db, Pod("a"))
        assert len(await first) == 1
        return str(raised.value)

    assert asyncio.run(main()) == "another thread or task waits on this WatchSet; make one for each waiter"


def test_every_refusal_is_of_one_family() -> None:
    for error in (TableNotOpen, TransactionClosed, NestedWrite, InvalidRow, InvalidKey, IndexFunctionError):
        assert issubclass(error, StateDBError)
        assert error.__doc__


def test_the_repr_of_a_database_names_its_tables() -> None:
    assert (repr(Database()), repr(Database(Pods))) == ("<Database without tables>", "<Database pods>")
