"""The engine against the model, over everything at once: transactions, kept snapshots, streams of one table and of
several, watches and sets of them, initializers, dumps.

After every step each kept snapshot reads as it did, each watch has tripped exactly where it had to, and the engine's
structures agree with each other. One form compacts the history all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from statedb import (
    Change,
    ChangeStream,
    Database,
    DuplicateKey,
    InitializerError,
    PrefixIndex,
    Table,
    TableNotOpen,
    TablesStream,
    TextPrefixIndex,
    Watch,
    WatchSet,
    load,
)
from statedb.engine import (
    bucket as _bucket,
    order as _order,
    row_list as _row_list,
    store as _store,
    writer as _writer,
)
from statedb.engine.history import StagedPin
from statedb.engine.keys import fields_of
from statedb.testing import (
    Host,
    Hosts,
    Model,
    Slot,
    SlotKey,
    Slots,
    Step,
    assert_equal,
    check_invariants,
    fold,
    hosts,
    observe,
    perform,
    perform_alone,
    probes_of,
    slots,
    steps,
)
from statedb.testing._model_index import as_network, covers, in_range, under

AnyTable = type[Table[Any, Any]]
TABLES: tuple[AnyTable, ...] = (Hosts, Slots)
ROWS = {Hosts: hosts(), Slots: slots()}
PROBES = {
    Hosts: probes_of(
        Hosts,
        [
            Host("a", "1", ("blue",), ("10.0.0.0/8", "fd00::1")),
            Host("ab", "12", ("red", "re"), ("10.1.2.3", "10.0.0.0/16")),
            Host("a\U0010ffff", "3", ("", "none"), ("10.1.0.0/16",)),
            Host("c"),
        ],
    ),
    Slots: probes_of(
        Slots,
        [
            Slot(SlotKey("x", 1), "a", (("tcp", 80),), b"\x0a\x01\x02\x03", paths=("/a", "/a/b"), aliases=("one",)),
            Slot(SlotKey("y", 0), "b", (("udp", 80), ("tcp", 443)), paths=("/", ""), aliases=("two", "three")),
        ],
    ),
}
KEPT = 6
KINDS = ("table", "key", "index key", "prefix", "index prefix", "range", "index range", "initializers")
numbers = st.integers(0, KEPT - 1)


def inserted(writer: Any, rows: list[Any]) -> Any:
    """What inserting them all gives."""
    try:
        return writer.insert_all(rows)
    except DuplicateKey as error:
        return type(error)


class Move(NamedTuple):
    """What one commit did to one table: the rows before and after, and whether its initializers changed."""

    rows: tuple[tuple[Any, Any], ...]
    pending: bool


class Views:
    """The views of a snapshot or transaction, each taken once and then kept: they read as those taken anew do."""

    def __init__(self, origin: Any) -> None:
        self._origin = origin
        self._views: dict[Any, Any] = {}

    def __getitem__(self, what: Any) -> Any:
        if what not in self._views:
            self._views[what] = self._origin[what]
        return self._views[what]


class Kept:
    """A snapshot and all that is to be read from it forever; ``eager`` ones are read after every step.

    Those are read through views that are kept as well, and their dump has begun before anything else happened.
    """

    def __init__(self, snapshot: Any, model: Any, commits: dict[AnyTable, int], eager: bool, base: Any = None) -> None:
        """``base`` is the committed state under one of what is staged: its watches begin there."""
        self.snapshot = snapshot
        self.base = model if base is None else base
        self.views = Views(snapshot) if eager else snapshot
        self.lines: list[bytes] = []
        self.rest: Iterator[bytes] = iter(())
        if eager:
            self.begin_dump()
        self.model = model
        self.commits = commits
        self.eager = eager
        self.expected = {table: observe(model, table, PROBES[table]) for table in TABLES}

    def reread(self) -> None:
        for table in TABLES:
            assert_equal(observe(self.views, table, PROBES[table]), self.expected[table], table)

    def begin_dump(self) -> None:
        """The first lines; the rest is written when it is asked for, whatever is committed meanwhile."""
        self.rest = self.snapshot.dump()
        self.lines = list(islice(self.rest, 3))

    def reload(self) -> None:
        """What is loaded from the dump are the rows of that time, in every index."""
        if not self.lines:
            self.begin_dump()
        self.lines += self.rest
        self.rest = iter(())
        again = Database(*reversed(TABLES))
        rows = [row for table in TABLES for row in self.model[table].values()]
        assert load(again, self.lines) == len(rows)
        check_invariants(again)
        loaded = Model(*TABLES)
        with loaded.write(*TABLES) as txn:
            for row in rows:
                txn[table_of(row)].insert(row)
        for table in TABLES:
            assert list(again.snapshot()[table].values()) == list(self.model[table].values())
            probes = PROBES[table]
            assert_equal(observe(again.snapshot(), table, probes), observe(loaded.snapshot(), table, probes), table)


class Watched:
    """A watch, which rows it is about (None: the table and its initializers), and whether it must have tripped."""

    def __init__(
        self, watch: Watch, kind: str, table: AnyTable, lists: Callable[[Any], bool] | None, what: str
    ) -> None:
        self.watch = watch
        self.kind = kind
        self.table = table
        self.lists = lists
        self.what = what
        self.expected = False

    def touched_by(self, move: Move) -> bool:
        if self.kind == "initializers":
            return move.pending
        if self.lists is None:
            return move.pending or any(before != after for before, after in move.rows)
        return any(
            before != after and any(row is not None and self.lists(row) for row in (before, after))
            for before, after in move.rows
        )


class Follower:
    """A stream, what was folded from it, and up to where."""

    def __init__(self, stream: ChangeStream[Any, Any], table: AnyTable, since: Any = None) -> None:
        """``since`` is the model's state of the snapshot that the stream begins at."""
        self.stream = stream
        self.table = table
        self.rows: dict[Any, Any] = {} if since is None else dict(since.rows)
        self.revision: int | None = None if since is None else since.revision
        self.initialized = since is None or since.initialized

    def read(self, states: Any) -> None:
        """Take the next batch and hold it against the model's newest states."""
        state = states[self.table]
        batch = self.stream.next(timeout=0)
        expected: tuple[Any, ...] | None
        if self.revision is None:
            expected = tuple([Change(entry.row, entry.revision, False) for entry in state.since(0)])
        else:
            expected = state.changes(self.revision) or (() if state.initialized and not self.initialized else None)
        assert (None if batch is None else tuple(batch)) == expected
        if batch is not None:
            assert batch.initialized == state.initialized
            assert list(batch.snapshot[self.table].values()) == list(state.values())
            fold(batch, self.rows, self.table)
        assert self.rows == state.rows
        self.revision, self.initialized = state.revision, state.initialized


class TablesFollower:
    """A stream of all tables, what was folded from it, and the states that it has told of."""

    def __init__(self, stream: TablesStream, since: Any = None) -> None:
        self.stream = stream
        self.states: Any = since
        self.rows: dict[AnyTable, dict[Any, Any]] = {
            table: {} if since is None else dict(since[table].rows) for table in TABLES
        }

    def read(self, states: Any) -> None:
        """Take the next batch and hold it against the model's newest states: one cut through all tables."""
        batch = self.stream.next(timeout=0)
        initialized = all(states[table].initialized for table in TABLES)
        expected: dict[AnyTable, tuple[Any, ...]] | None
        if self.states is None:
            expected = {
                table: tuple([Change(entry.row, entry.revision, False) for entry in states[table].since(0)])
                for table in TABLES
            }
        else:
            expected = {table: states[table].changes(self.states[table].revision) for table in TABLES}
            before = all(self.states[table].initialized for table in TABLES)
            if not any(expected.values()) and not (initialized and not before):
                expected = None
        assert (None if batch is None else dict(batch)) == expected
        if batch is not None:
            assert batch.initialized == initialized
            for table in TABLES:
                fold(batch[table], self.rows[table], table)
                assert list(batch.snapshot[table].values()) == list(states[table].values())
        assert self.rows == {table: states[table].rows for table in TABLES}
        self.states = {table: states[table] for table in TABLES}


class Collected:
    """A set of watches, and which of them must be in it."""

    def __init__(self) -> None:
        self.set = WatchSet()
        self.members: list[Watched] = []

    def add(self, watched: Iterable[Watched]) -> None:
        new = [each for each in watched if each not in self.members]
        self.set.add(*[each.watch for each in new])
        self.members += new

    def discard(self, watched: Watched) -> None:
        self.set.discard(watched.watch)
        self.members.remove(watched)

    def take(self) -> None:
        """What tripped is handed out once, and leaves the set."""
        assert self.set.wait(0) == {each.watch for each in self.members if each.expected}
        self.members = [each for each in self.members if not each.expected]
        assert set(self.set) == {each.watch for each in self.members}


def move_between(old: Any, new: Any) -> Move:
    """From one state of a table in the model to another."""
    keys = old.rows.keys() | new.rows.keys()
    return Move(tuple([(old.rows.get(key), new.rows.get(key)) for key in keys]), old.pending != new.pending)


def table_of(row: Any) -> AnyTable:
    return Hosts if isinstance(row, Host) else Slots


def concerns_of(view: Any, table: AnyTable, row: Any) -> Iterator[Watched]:
    """Every watch there is that has to do with a row's keys, from a snapshot or a transaction."""
    yield Watched(view[table].watch(), "table", table, None, table.name)
    yield Watched(view[table].watch_initializers(), "initializers", table, None, f"initializers of {table.name}")
    own = table.key_of(row)
    yield Watched(view[table].watch(own), "key", table, lambda other: bool(table.key_of(other) == own), f"row {own!r}")
    for index in table.indexes.values():
        if isinstance(index, PrefixIndex):
            for network in index.networks(row):
                yield from _network_watches(view[index], table, index, network)
        else:
            for key in index.keys_of(row):
                yield from _key_watches(view, table, index, key)


def _key_watches(view: Any, table: AnyTable, index: Any, key: Any) -> Iterator[Watched]:
    primary = index.name == "primary"
    what = f"{table.name}.{index.name}"
    keyed, prefixed = ("key", "prefix") if primary else ("index key", "index prefix")
    yield Watched(view[index].watch(key), keyed, table, lambda row: key in index.keys_of(row), f"{what} {key!r}")
    if isinstance(index, TextPrefixIndex):
        lists = partial(_lists_beginning_of, index, key)
        yield Watched(view[index].watch_longest(key), "index key", table, lists, f"{what} longest {key!r}")
    leading = key if isinstance(key, (str, bytes)) else fields_of(key)
    for size in range(len(leading) + 1):
        prefix = leading[:size]
        lists = partial(_lists_under, index, prefix)
        yield Watched(view[index].watch_prefix(prefix), prefixed, table, lists, f"{what} under {prefix!r}")
        if primary:
            yield Watched(view[table].watch_prefix(prefix), prefixed, table, lists, f"{what} under {prefix!r}")

    ranged = "range" if primary else "index range"
    for what_of, start, stop, bounds in (("from", key, None, "[)"), ("at", key, key, "[]"), ("below", None, key, "[)")):
        lists = partial(_lists_in, index, start, stop, bounds)
        watch = view[index].watch_range(start, stop, bounds=bounds)
        yield Watched(watch, ranged, table, lists, f"{what} {what_of} {key!r}")


def _lists_in(index: Any, start: Any, stop: Any, bounds: str, row: Any) -> bool:
    return any(in_range(key, start, stop, bounds) for key in index.keys_of(row))


def _lists_beginning_of(index: Any, text: Any, row: Any) -> bool:
    return any(under(text, key) for key in index.keys_of(row))


def _lists_under(index: Any, prefix: Any, row: Any) -> bool:
    return any(under(key, prefix) for key in index.keys_of(row))


def _network_watches(view: Any, table: AnyTable, index: Any, key: Any) -> Iterator[Watched]:
    wanted = as_network(key)
    kinds: dict[str, Callable[[Any], bool]] = {
        "watch": lambda network: bool(network == wanted),
        "watch_longest": lambda network: covers(network, wanted),
        "watch_within": lambda network: covers(wanted, network),
    }
    for kind, matches in kinds.items():
        lists = partial(_lists_network, index, matches)
        group = "index prefix" if kind == "watch_within" else "index key"
        yield Watched(getattr(view, kind)(key), group, table, lists, f"{table.name}.{index.name}.{kind}({key!r})")


def _lists_network(index: Any, matches: Callable[[Any], bool], row: Any) -> bool:
    return any(matches(as_network(network)) for network in index.networks(row))


class EngineAgainstModel(RuleBasedStateMachine):
    """Both are told the same; whatever can be read of them must agree."""

    exact = True  # whether no commit is merged with another: then a watch of an old snapshot knows each of them
    checked = True  # after every step
    kinds = KINDS  # of watches: a commit looks for some of them only where there are such

    def __init__(self) -> None:
        super().__init__()
        self.db, self.model = Database(*TABLES), Model(*TABLES)
        self.txn: Any = None
        self.staged: Any = None
        self.kept: list[Kept] = []
        self.followers: list[Follower | TablesFollower] = []
        self.collected = Collected()
        self.views: Any = None
        self.watched: list[Watched] = []
        self.initializers: list[tuple[AnyTable, Any, Any]] = []
        self.begun: list[tuple[AnyTable, Any, Any]] = []
        self.moves: dict[AnyTable, list[Move]] = {table: [] for table in TABLES}

    # -- transactions ----------------------------------------------------------------------------------------

    def begin(self, tables: tuple[AnyTable, ...]) -> None:
        self.txn, self.staged = self.db.write(*tables), self.model.write(*tables)
        self.views = Views(self.txn)

    def end(self) -> None:
        """Commit both."""
        before = self.model.tables.copy()
        snapshot, state = self.txn.commit(), self.staged.commit()
        self.txn = self.staged = self.views = None
        self.initializers += self.begun
        self.begun = []
        self.judge(before)
        for view in (snapshot, self.db.snapshot()):
            assert view[Hosts].revision == state[Hosts].revision
            assert view[Slots].revision == state[Slots].revision

    def judge(self, before: dict[AnyTable, Any]) -> None:
        """Tell from the moves that a commit made of the model which watches must have tripped."""
        for table, old in before.items():
            new = self.model.tables[table]
            move = move_between(old, new)
            self.moves[table].append(move)
            for watched in dict.fromkeys(self.watched + self.collected.members):
                watched.expected |= watched.table is table and watched.touched_by(move)

    def drop(self) -> None:
        self.txn = self.staged = self.views = None
        self.initializers += self.begun
        self.begun = []

    def opened(self) -> tuple[AnyTable, ...]:
        """The tables open for writing; of a new transaction on all of them where none is open."""
        if self.txn is None:
            self.begin(TABLES)
        return tuple(self.staged)

    def do(self, step: Step) -> None:
        assert perform(step, self.txn) == perform(step, self.staged), step

    @initialize(
        rows=st.lists(hosts(), min_size=2, max_size=8),
        more=st.lists(slots(), max_size=8),
    )
    def fill(self, rows: list[Host], more: list[Slot]) -> None:
        self.begin(TABLES)
        for row in rows:
            self.do(Step(Hosts, "insert", row))
        for slot in more:
            self.do(Step(Slots, "insert", slot))
        self.end()
        for table in TABLES:
            self.open_a_stream(table)
            self.watch_rows(self.db.snapshot(), table, 3)
        self.keep_a_snapshot(eager=True)

    @precondition(lambda self: self.txn is None)
    @rule(tables=st.sampled_from([(Hosts,), (Slots,)]))
    def open_a_transaction_on_one_table(self, tables: tuple[AnyTable, ...]) -> None:
        self.begin(tables)

    @rule(
        written=st.lists(steps(ROWS), min_size=1, max_size=4),
        reading=st.booleans(),
        then=st.sampled_from(["commit", "commit", "nothing"]),
    )
    def write(self, written: list[Step], reading: bool, then: str) -> None:
        self.opened()
        for step in written:
            if step.table in self.opened():
                self.do(step)
            else:
                with pytest.raises(TableNotOpen):
                    self.txn[step.table]
            if reading:
                self.read_what_is_staged()
        if then == "commit":
            self.end()

    @precondition(lambda self: self.txn is None)
    @rule(written=st.lists(steps(ROWS), min_size=1, max_size=4))
    def write_rows_alone(self, written: list[Step]) -> None:
        """Each in a transaction of its own."""
        for step in written:
            before = self.model.tables.copy()
            assert perform_alone(step, self.db) == perform_alone(step, self.model), step
            self.judge(before)

    @rule(table=st.sampled_from(TABLES), data=st.data())
    def write_many_at_once(self, table: AnyTable, data: st.DataObject) -> None:
        if table in self.opened():
            rows = data.draw(st.lists(ROWS[table], max_size=6), "rows")
            assert inserted(self.txn[table], rows) == inserted(self.staged[table], rows)

    @rule(
        table=st.sampled_from(TABLES),
        first=st.lists(steps(ROWS), max_size=2),
        how=st.sampled_from(["clear", "all", "all twice", "and others", "some"]),
        then=st.sampled_from(
            [(), ("fill",), ("commit",), ("fill", "commit"), ("commit", "fill", "commit"), ("fill", "abort")]
        ),
        following=st.booleans(),
        data=st.data(),
    )
    def empty_a_table(
        self,
        table: AnyTable,
        first: list[Step],
        how: str,
        then: tuple[str, ...],
        following: bool,
        data: st.DataObject,
    ) -> None:
        """And fill it again, in the same transaction or the next one, or not at all."""
        if table not in self.opened():
            return
        for step in first:
            if step.table is table:
                self.do(step)
        rows = data.draw(st.lists(ROWS[table], max_size=6), "rows")
        there = list(self.staged[table].values())[::-1]
        given = {"all": there, "all twice": there * 2, "and others": there + rows, "some": there[::2]}.get(how)
        counts = [
            writer.clear() if given is None else writer.delete_all(given)
            for writer in (self.txn[table], self.staged[table])
        ]
        assert counts[0] == counts[1]
        self.read_what_is_staged()
        for step in then:
            if step == "commit":
                self.end()
                self.kept_snapshots_read_as_they_did()
                self.read_all_streams(following)
            elif step == "abort":
                self.abort(by_exception=following)
            else:
                if self.txn is None:
                    self.begin((table,))
                assert inserted(self.txn[table], rows) == inserted(self.staged[table], rows)
                self.read_what_is_staged()

    @rule(number=numbers, kind=st.sampled_from(["insert", "force", "force", "replace", "replace at", "modify"]))
    def write_an_equal_row(self, number: int, kind: Any) -> None:
        for table in self.opened():
            rows = list(self.staged[table].values())
            if rows:
                self.do(Step(table, kind, rows[number % len(rows)], number % 2))

    @rule(step=steps(ROWS), there_and_back=st.booleans())
    def write_what_comes_to_nothing(self, step: Step, there_and_back: bool) -> None:
        """A row that comes and goes, or changes and changes back, within one transaction."""
        if step.table not in self.opened():
            return
        before = self.staged[step.table].get(step.table.key_of(step.row))
        self.do(Step(step.table, "insert", step.row))
        if before is None:
            self.do(Step(step.table, "delete", step.row))
        elif there_and_back:
            self.do(Step(step.table, "insert", before))
        else:
            self.do(Step(step.table, "delete", before))
            self.do(Step(step.table, "insert", before))

    @rule(step=steps(ROWS))
    def fail_in_the_middle_of_a_modify(self, step: Step) -> None:
        if step.table in self.opened() and (key := step.table.key_of(step.row)) in self.staged[step.table]:
            with pytest.raises(ZeroDivisionError):
                self.txn[step.table].modify(key, lambda row: 1 / 0)

    @rule(name=st.sampled_from(["one", "two"]), again=st.booleans())
    def begin_an_initializer(self, name: str, again: bool) -> None:
        for table in self.opened():
            if name in self.staged[table].pending_initializers:
                with pytest.raises(InitializerError):
                    self.txn[table].begin_initializer(name)
                if not again:
                    continue
                for place, token, model_token in self.initializers + self.begun:
                    if place is table:
                        self.txn[table].finish_initializer(token)
                        self.staged[table].finish_initializer(model_token)
            pair = (self.txn[table].begin_initializer(name), self.staged[table].begin_initializer(name))
            self.begun.append((table, *pair))
            for place, token, model_token in self.initializers:  # kept promises say nothing of a new one by their name
                if again and place is table and token is not pair[0]:
                    self.txn[table].finish_initializer(token)
                    self.staged[table].finish_initializer(model_token)

    @precondition(lambda self: self.txn is None)
    @rule(table=st.sampled_from(TABLES), between=st.lists(steps(ROWS), max_size=2), follow=st.integers(0, 3))
    def fill_a_table_as_promised(self, table: AnyTable, between: list[Step], follow: int) -> None:
        """Three commits, the first and last of initializers alone, with streams that read after some of them."""
        if "short" in self.model.tables[table].pending_initializers:
            return
        self.begin((table,))
        token, model_token = self.txn[table].begin_initializer("short"), self.staged[table].begin_initializer("short")
        self.end()
        self.read_all_streams(follow & 1)
        if between:
            self.begin(TABLES)
            for step in between:
                self.do(step)
            self.end()
        self.read_all_streams(follow & 2)
        self.begin((table,))
        self.txn[table].finish_initializer(token)
        self.staged[table].finish_initializer(model_token)
        self.end()
        self.read_all_streams(True)

    def read_all_streams(self, wanted: Any = True) -> None:
        for follower in self.followers if wanted else ():
            follower.read(self.model.tables)

    @precondition(lambda self: self.initializers + self.begun)
    @rule(number=numbers)
    def finish_an_initializer(self, number: int) -> None:
        """Any that there ever was: some are finished twice, some were begun in an aborted transaction."""
        there = self.initializers + self.begun
        belongs, token, model_token = there[-1 - number % len(there)]
        for table in self.opened():
            if table is belongs:
                self.txn[table].finish_initializer(token)
                self.staged[table].finish_initializer(model_token)
            else:
                with pytest.raises(InitializerError):
                    self.txn[table].finish_initializer(token)

    @precondition(lambda self: self.txn is not None)
    @rule()
    def read_what_is_staged(self) -> None:
        for table in self.staged:
            probes = PROBES[table]
            expected = observe(self.staged, table, probes)
            assert_equal(observe(self.txn, table, probes), expected, table)
            assert_equal(observe(self.views, table, probes), expected, table)
            assert_equal(observe(self.txn.snapshot(), table, probes), expected, table)
            assert self.txn[table].staged() == self.staged[table].staged()

    @precondition(lambda self: self.txn is not None)
    @rule()
    def commit(self) -> None:
        self.end()

    @precondition(lambda self: self.txn is not None)
    @rule(by_exception=st.booleans())
    def abort(self, by_exception: bool) -> None:
        if by_exception:
            with pytest.raises(ZeroDivisionError), self.txn:
                1 / 0
        else:
            self.txn.abort()
        self.drop()

    @precondition(lambda self: self.txn is None)
    @rule(
        written=st.lists(st.lists(steps(ROWS), min_size=1, max_size=4), min_size=2, max_size=6), following=st.booleans()
    )
    def commit_several(self, written: list[list[Step]], following: bool) -> None:
        for each in written:
            self.begin(TABLES)
            for step in each:
                self.do(step)
            self.end()
            self.kept_snapshots_read_as_they_did()
            self.read_all_streams(following)

    # -- snapshots -------------------------------------------------------------------------------------------

    @rule(eager=st.booleans(), staged=st.booleans())
    def keep_a_snapshot(self, eager: bool, staged: bool = False) -> None:
        """Of what is committed, or of what is staged."""
        commits = {table: len(moves) for table, moves in self.moves.items()}
        if len(self.kept) == KEPT:
            self.kept.pop(len(self.moves[Hosts]) % KEPT)
        if staged and self.txn is not None:
            base = self.model.snapshot()
            self.kept.append(Kept(self.txn.snapshot(), self.staged.snapshot(), commits, eager, base))
        else:
            self.kept.append(Kept(self.db.snapshot(), self.model.snapshot(), commits, eager))

    @precondition(lambda self: self.kept)
    @rule(number=numbers)
    def drop_a_snapshot(self, number: int) -> None:
        self.kept.pop(number % len(self.kept))

    @precondition(lambda self: self.kept)
    @rule(number=numbers)
    def read_a_snapshot(self, number: int) -> None:
        self.kept[number % len(self.kept)].reread()

    @precondition(lambda self: self.kept)
    @rule(number=numbers)
    def dump_a_snapshot_and_load_it(self, number: int) -> None:
        self.kept[number % len(self.kept)].reload()

    # -- streams ---------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.followers) < 6)
    @rule(table=st.sampled_from(TABLES))
    def open_a_stream(self, table: AnyTable) -> None:
        self.followers.append(Follower(self.db.changes(table), table))

    @precondition(lambda self: len(self.followers) < 6)
    @rule()
    def open_a_stream_of_all_tables(self) -> None:
        self.followers.append(TablesFollower(self.db.changes(*TABLES)))

    @precondition(lambda self: self.kept and len(self.followers) < 6)
    @rule(number=numbers, table=st.sampled_from([*TABLES, None]))
    def open_a_stream_since_a_snapshot(self, number: int, table: AnyTable | None) -> None:
        kept = self.kept[number % len(self.kept)]
        wanted = TABLES if table is None else (table,)
        if any(isinstance(kept.snapshot._pins[each], StagedPin) for each in wanted):
            with pytest.raises(ValueError, match="the staged rows of a transaction"):
                self.db.changes(*wanted, since=kept.snapshot)
        elif table is None:
            self.followers.append(TablesFollower(self.db.changes(*TABLES, since=kept.snapshot), kept.model))
        else:
            stream = self.db.changes(table, since=kept.snapshot)
            self.followers.append(Follower(stream, table, kept.model[table]))

    @precondition(lambda self: self.followers)
    @rule(number=numbers)
    def read_a_stream(self, number: int) -> None:
        self.followers[number % len(self.followers)].read(self.model.tables)

    @precondition(lambda self: self.followers)
    @rule(number=numbers)
    def close_a_stream(self, number: int) -> None:
        self.followers.pop(number % len(self.followers)).stream.close()

    # -- watches ---------------------------------------------------------------------------------------------

    def chosen(self, concerns: Iterable[Watched]) -> list[Watched]:
        """Those of the kinds that this machine has."""
        return [watched for watched in concerns if watched.kind in self.kinds]

    def watch_rows(self, view: Any, table: AnyTable, count: int) -> None:
        for row in list(self.model.tables[table].values())[:count]:
            self.watched += self.chosen(concerns_of(view, table, row))

    @rule(row=hosts() | slots(), count=st.integers(0, 2))
    def watch_the_newest(self, row: Any, count: int) -> None:
        """From the open transaction as well: what that stages is no part of what is watched."""
        table = table_of(row)
        self.watch_rows(self.db.snapshot(), table, count)
        self.watched += self.chosen(concerns_of(self.db.snapshot(), table, row))
        if self.txn is not None and table in self.opened():
            self.watched += self.chosen(concerns_of(self.txn, table, row))

    @precondition(lambda self: self.kept)
    @rule(number=numbers, row=hosts() | slots(), there=st.booleans())
    def watch_from_an_old_snapshot(self, number: int, row: Any, there: bool) -> None:
        table = table_of(row)
        kept = self.kept[number % len(self.kept)]
        old, new = kept.base[table], self.model.tables[table]
        since = self.moves[table][kept.commits[table] :]
        in_all = move_between(old, new)
        if there and old.rows:
            row = list(old.values())[number % len(old)]
        for watched in self.chosen(concerns_of(kept.snapshot, table, row)):
            watched.expected = any(map(watched.touched_by, since))
            if not self.exact and watched.expected and not watched.touched_by(in_all):
                # Merged commits may have undone each other: only what differs from now must have been seen.
                watched.expected = watched.watch.tripped
            self.watched.append(watched)

    @precondition(lambda self: len(self.watched) > 4)
    @rule(number=numbers)
    def drop_watches(self, number: int) -> None:
        del self.watched[number :: 1 + number % 3]

    @precondition(lambda self: self.watched and len(self.collected.members) < 40)
    @rule(number=numbers, some=st.integers(1, 4))
    def put_watches_into_the_set(self, number: int, some: int) -> None:
        self.collected.add(self.watched[number :: 4 * some])

    @precondition(lambda self: self.collected.members)
    @rule(number=numbers)
    def take_one_out_of_the_set(self, number: int) -> None:
        self.collected.discard(self.collected.members[number % len(self.collected.members)])

    @rule()
    def take_what_tripped(self) -> None:
        self.collected.take()

    @rule()
    def check(self) -> None:
        check_invariants(self.db)

    # -- what holds after every step -------------------------------------------------------------------------

    @invariant()
    def the_structures_of_the_engine_agree(self) -> None:
        if self.checked:
            check_invariants(self.db)

    @invariant()
    def watches_have_tripped_where_they_had_to_and_only_there(self) -> None:
        for watched in self.watched:
            assert watched.watch.tripped == watched.expected, watched.what

    @invariant()
    def kept_snapshots_read_as_they_did(self) -> None:
        for kept in self.kept:
            if kept.eager:
                kept.reread()

    def teardown(self) -> None:
        if self.txn is not None:
            self.txn.abort()
        try:
            for kept in self.kept:
                kept.reread()
                kept.reload()
            self.read_all_streams()
            self.collected.take()
            check_invariants(self.db)
        finally:
            for follower in self.followers:
                follower.stream.close()


class HurriedEngineAgainstModel(EngineAgainstModel):
    """With all thresholds so low that history is compacted and orders are brought up to date all the time, and that
    the rows of a call are staged together however few they are.

    Not checked after every step: that sorts the orders, and leaves them nothing to bring up to date.
    """

    exact = False
    checked = False


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_store, "_COMPACT_EVERY", 2)
    monkeypatch.setattr(_order, "_REBUILD_SHARE", 0)
    monkeypatch.setattr(_order, "_KEPT_MIN", 0)
    monkeypatch.setattr(_row_list, "_REBUILD_SHARE", 0)
    monkeypatch.setattr(_row_list, "_FEW", 0)
    monkeypatch.setattr(_bucket, "_LARGE", 1)
    monkeypatch.setattr(_writer, "_FEW", 0)


def _run(machine: type[EngineAgainstModel], examples: int) -> None:
    chosen = settings(
        max_examples=examples,
        stateful_step_count=40,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)


@pytest.mark.timeout(600)  # a failure is made small before it is told
def test_the_engine_agrees_with_the_model() -> None:
    _run(EngineAgainstModel, 25)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
def test_watches_trip_as_the_model_says_where_there_is_one_kind_of_them(kind: str) -> None:
    machine = type("EngineWithOneKindOfWatches", (EngineAgainstModel,), {"kinds": (kind,)})
    _run(machine, 6)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("hurried")
def test_the_engine_agrees_with_the_model_while_it_tidies_up_all_the_time() -> None:
    _run(HurriedEngineAgainstModel, 25)


@pytest.mark.stress
@pytest.mark.timeout(3600)
def test_the_engine_agrees_with_the_model_for_long() -> None:
    _run(EngineAgainstModel, 3000)


@pytest.mark.stress
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("hurried")
def test_the_engine_agrees_with_the_model_for_long_while_it_tidies_up_all_the_time() -> None:
    _run(HurriedEngineAgainstModel, 3000)
