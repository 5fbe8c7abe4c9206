"""Tables of another process, followed: the equation is *replica == remote table*, whatever happens in between."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, Self

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from statedb import Database, InvalidTable, Snapshot, Table, UniqueIndex, WatchSet
from statedb.agent.address import Address
from statedb.agent.client.connection import Cancellation
from statedb.agent.client.remote import Remote
from statedb.agent.client.replica import Link, Links, Replica, ReplicaOptions
from statedb.agent.errors import Unreachable
from statedb.agent.http.app import make_app
from statedb.agent.http.limits import Limits
from statedb.agent.http.resources import Resources
from statedb.agent.http.server import Server
from statedb.agent.http.streams import Streams
from statedb.agent.process.agent import Agent
from statedb.agent.readiness import Readiness
from statedb.catalog import Identities, Node, NodeKey, Nodes
from statedb.testing import Host, Hosts, Slot, SlotKey, Slots, check_invariants, fold, histories, play

from ...tcp_proxy import TcpProxy
from ...waiting import AT_ONCE_S
from .conftest import WAIT_S, identity, node, put, until_no_connection

QUICK = {"retry_min_s": 0.01, "retry_max_s": 0.05}
QUICKLY = ReplicaOptions(**QUICK)


class Home:
    """A database served over real HTTP, which can go away and come back at the same address; a context manager."""

    def __init__(self, *tables: Any, pending: bool = False) -> None:
        self.address = Address("127.0.0.1", 0)
        self.tables = tables
        self.begin(pending=pending)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self, *rows: Any, pending: bool = False) -> None:
        """Serve a new database; ``pending``: its tables are not initialized before `finish`."""
        self.db = Database(*self.tables)
        self.pending = {}
        with self.db.write(*self.tables) as txn:
            for table in self.tables:
                if pending:
                    self.pending[table] = txn[table].begin_initializer("filling")
        self.insert(*rows)
        self.streams = Streams(self.db)
        self.server = Server(self.address, make_app(Resources(self.db, Readiness(self.db)), self.streams))
        self.address = self.server.address
        self.server.begin()

    def end(self) -> None:
        self.streams.close()
        self.server.end()

    def restart(self, *rows: Any, pending: bool = False) -> None:
        self.end()
        self.begin(*rows, pending=pending)

    def finish(self) -> None:
        with self.db.write(*self.tables) as txn:
            for table, initializer in self.pending.items():
                txn[table].finish_initializer(initializer)

    def insert(self, *rows: Any) -> int:
        """In one transaction, the first table's rows; its revision."""
        with self.db.write(*self.tables) as txn:
            for row in rows:
                txn[self.tables[0]].insert(row)
        return txn.commit()[self.tables[0]].revision

    def replica(self, **options: float) -> Replica:
        return Replica(Remote(self.address), *self.tables, options=ReplicaOptions(**{**QUICK, **options}))


def until(replica: Replica, wanted: Callable[[Snapshot], bool]) -> Snapshot:
    """The first snapshot seen that is as wanted."""
    end = monotonic() + WAIT_S
    while True:
        snapshot = replica.db.snapshot()
        if wanted(snapshot):
            return snapshot
        watches = [snapshot[table].watch() for table in replica.db.tables]
        assert WatchSet(*watches).wait(max(0.0, end - monotonic())), dict(snapshot[Links])


def until_link(replica: Replica, table: Any = Nodes, **fields: object) -> Link:
    """The link once its fields are these."""

    def as_wanted(snapshot: Snapshot) -> bool:
        link = snapshot[Links][table.name]
        return all(getattr(link, name) == value for name, value in fields.items())

    return until(replica, as_wanted)[Links][table.name]


def names(replica: Replica) -> list[str]:
    return [key.name for key in replica.db.snapshot()[Nodes]]


def told(batch: Any) -> dict[str, bool]:
    """The name of each node that changed, and whether it is gone."""
    return {change.row.key.name: change.deleted for change in batch}


# -- following ---------------------------------------------------------------------------------------------------


def test_a_replica_has_the_same_rows_by_the_same_views(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    with Replica(Remote(agent.address), Nodes, Identities) as replica:
        assert replica.db.wait_initialized(timeout=WAIT_S)
        here, there = replica.db.snapshot(), agent.db.snapshot()
        assert dict(here[Nodes]) == dict(there[Nodes])
        assert dict(here[Identities]) == dict(there[Identities])
        assert [row.key.name for row in here[Nodes.by_pod_cidr].covering("10.244.2.9")] == ["b"]
        row = here[Nodes].watch(NodeKey("c1", "c"))
        put(manifests, "more.yaml", node("c", 3))
        assert row.wait(WAIT_S)
        assert names(replica) == ["a", "b", "c"]
        put(manifests, "all.yaml", node("a", 9))
        until(replica, lambda snapshot: len(snapshot[Nodes]) == 2 and len(snapshot[Identities]) == 0)
        assert replica.db.snapshot()[Nodes][NodeKey("c1", "a")].addresses[0].ip == "172.18.0.9"
        assert repr(replica) == "<Replica of nodes, identities>"


def test_one_batch_is_one_transaction_and_the_remote_revision_is_written_with_it():
    with Home(Nodes) as home, home.replica() as replica:
        until_link(replica, connected=True)
        with replica.db.changes(Nodes, since=replica.db.snapshot()) as stream:
            revision = home.insert(*[Node(NodeKey("c", f"n{number}")) for number in range(100)])
            batch = stream.next(WAIT_S)
        assert len(batch) == 100
        assert batch.snapshot[Links]["nodes"].revision == revision


def test_a_unix_socket_is_followed_in_the_same_way(manifests: Path, tmp_path: Path, start: Callable[..., Agent]):
    agent = start(manifests, f"unix:{tmp_path / 's.sock'}")
    with Replica(Remote(agent.address), Nodes) as replica:
        assert replica.db.wait_initialized(timeout=WAIT_S)
        assert names(replica) == ["a", "b"]


def test_nothing_is_initialized_before_the_remote_table_is():
    with Home(Nodes, pending=True) as home, home.replica() as replica:
        home.insert(Node(NodeKey("c", "a")))
        snapshot = until(replica, lambda snapshot: len(snapshot[Nodes]) == 1)
        assert snapshot[Links]["nodes"].connected
        assert not snapshot[Nodes].initialized
        home.finish()
        assert replica.db.wait_initialized(Nodes, timeout=WAIT_S)


@pytest.mark.parametrize("pending", [False, True])
def test_unique_keys_that_changed_hands_within_one_batch_arrive(pending: bool):
    """Two rows exchange them by way of a third state, which is not told."""
    with Home(Hosts, pending=pending) as home, home.replica() as replica:
        home.insert(Host("a", "1"), Host("b", "2"))
        until(replica, lambda snapshot: len(snapshot[Hosts]) == 2)
        with replica.db.changes(Hosts, since=replica.db.snapshot()) as stream:
            home.insert(Host("a", None), Host("b", "1"), Host("a", "2"))
            batch = stream.next(WAIT_S)
        assert [(change.row.name, change.row.address, change.deleted) for change in batch] == [
            ("b", "1", False),
            ("a", "2", False),
        ]
        assert batch.snapshot[Links][Hosts.name].connections == 1


# -- interruptions -----------------------------------------------------------------------------------------------


def test_after_a_restart_the_stream_has_exactly_the_difference(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    address = agent.address
    with Replica(Remote(address), Nodes, options=QUICKLY) as replica:
        assert replica.db.wait_initialized(timeout=WAIT_S)
        stream = replica.db.changes(Nodes, since=replica.db.snapshot())
        assert agent.stop()
        link = until_link(replica, connected=False)
        assert link.last_error
        assert names(replica) == ["a", "b"]
        put(manifests, "all.yaml", node("a", 1), node("c", 3))
        start(manifests, address.removeprefix("http://"))
        until_link(replica, connected=True, connections=2)
        assert told(stream.next(WAIT_S)) == {"b": True, "c": False}
        assert stream.next(0) is None
        assert replica.status["nodes"].revision > 0  # not earlier: the table may have been empty when it connected
        stream.close()


def test_an_agent_that_comes_back_as_it_was_wakes_nobody():
    rows = [Node(NodeKey("c", name)) for name in "ab"]
    with Home(Nodes) as home:
        home.insert(*rows)
        with home.replica() as replica:
            until_link(replica, connected=True)
            watch = replica.db.snapshot()[Nodes].watch()
            home.restart(*reversed(rows))
            until_link(replica, connected=True, connections=2)
            assert not watch.tripped


def test_a_restarted_agent_deletes_nothing_before_it_is_initialized():
    a, b, c, d = [Node(NodeKey("c", name)) for name in "abcd"]
    with Home(Nodes) as home:
        home.insert(a, b, c)
        with home.replica() as replica:
            assert replica.db.wait_initialized(timeout=WAIT_S)
            stream = replica.db.changes(Nodes, since=replica.db.snapshot())
            home.restart(a, pending=True)
            until_link(replica, connected=True, connections=2)
            assert names(replica) == ["a", "b", "c"]
            home.insert(d)
            assert told(stream.next(WAIT_S)) == {"d": False}
            assert replica.db.snapshot()[Nodes].initialized
            with home.db.write(Nodes) as txn:
                txn[Nodes].delete(d.key)
            assert told(stream.next(WAIT_S)) == {"d": True}
            assert names(replica) == ["a", "b", "c"]
            home.insert(b)
            home.finish()
            assert told(stream.next(WAIT_S)) == {"c": True}
            assert names(replica) == ["a", "b"]
            stream.close()


def test_a_whole_agent_that_restarts_empty_handed_empties_nothing(
    manifests: Path, tmp_path: Path, start: Callable[..., Agent]
):
    agent = start(manifests)
    address = agent.address
    with Replica(Remote(address), Nodes, options=QUICKLY) as replica:
        assert replica.db.wait_initialized(timeout=WAIT_S)
        assert agent.stop()
        later = tmp_path / "later"
        start(later, address.removeprefix("http://"), synced=False)
        until_link(replica, connected=True, connections=2)
        assert names(replica) == ["a", "b"]
        later.mkdir()
        put(later, "all.yaml", node("b", 2), identity(1))
        until(replica, lambda snapshot: len(snapshot[Nodes]) == 1)
        assert names(replica) == ["b"]


def test_a_row_that_is_kept_gives_way_to_the_one_that_has_its_unique_key_now():
    with Home(Hosts) as home:
        home.insert(Host("a", "1"), Host("b", "2"))
        with home.replica() as replica:
            assert replica.db.wait_initialized(timeout=WAIT_S)
            home.restart(Host("c", "1"), pending=True)
            until_link(replica, Hosts, connected=True, connections=2)
            assert list(replica.db.snapshot()[Hosts]) == ["b", "c"]


def test_a_cut_connection_is_made_again():
    with Home(Nodes) as home, TcpProxy(str(home.address)) as proxy:
        home.insert(Node(NodeKey("c", "a")))
        with Replica(Remote(proxy.endpoint), Nodes, options=QUICKLY) as replica:
            assert replica.db.wait_initialized(timeout=WAIT_S)
            proxy.cut()
            link = until_link(replica, connected=False)
            assert "ended the stream" in link.last_error
            home.insert(Node(NodeKey("c", "b")))
            assert names(replica) == ["a"]
            proxy.mend()
            healed = until_link(replica, connected=True, connections=2)
            assert names(replica) == ["a", "b"]
            assert healed.since >= link.since
            assert healed.last_error


def test_the_error_of_an_agent_that_is_away_is_one_line_with_the_remedy():
    with Home(Nodes) as home:
        with home.replica() as replica:
            until_link(replica, connected=True)
            home.end()
            link = until_link(
                replica,
                connected=False,
                last_error=f"no agent answers at {home.address}; start one with 'statedb run -c agent.yaml', "
                "or give the address of another (on the command line: --server or STATEDB_SERVER)",
            )
            assert link.connections == 1
            home.begin()
            until_link(replica, connected=True)


class Tagged(msgspec.Struct, frozen=True):
    key: NodeKey
    labels: int


class OtherNodes(Table[NodeKey, Tagged], name="nodes"):
    primary = UniqueIndex[NodeKey, Tagged](lambda row: row.key)


class Addressed(Table[NodeKey, Node], name="nodes"):
    """Of rows that the other side does not take for unique."""

    primary = UniqueIndex[NodeKey, Node](lambda row: row.key)
    by_boot = UniqueIndex[str, Node](lambda row: row.boot_id)


def test_a_table_that_is_not_there_is_told_and_found_when_it_comes():
    with Home(Hosts) as home, Replica(Remote(home.address), Nodes, Hosts, options=QUICKLY) as replica:
        until_link(replica, Hosts, connected=True)
        link = until_link(replica, last_error="no table 'nodes'; known are sample-hosts")
        assert not link.connected
        home.db.register(Nodes)
        until_link(replica, connected=True)
        assert replica.db.snapshot()[Nodes].initialized


@pytest.mark.parametrize(
    ("table", "error"),
    [
        (OtherNodes, "rows of 'nodes' do not fit the local table: Expected `int`, got `array`"),
        (
            Addressed,
            "rows of 'nodes' do not fit the local table: table 'nodes', unique index 'by_boot': '' belongs to row",
        ),
    ],
)
def test_rows_that_do_not_fit_are_told_and_the_table_stays(table: Any, error: str):
    with Home(Nodes) as home, Replica(Remote(home.address), table, options=QUICKLY) as replica:
        until_link(replica, connected=True)
        home.insert(Node(NodeKey("c", "a")), Node(NodeKey("c", "b")))
        until(replica, lambda snapshot: snapshot[Links]["nodes"].last_error.startswith(error))
        assert len(replica.db.snapshot()[table]) == 0
        assert replica.status["nodes"].last_error.endswith("; run the same version on both")


@contextmanager
def answering(*answers: bytes | None) -> Iterator[str]:
    """A server that gives one answer for each connection, and then nothing; None leaves the connection open."""
    listener = socket.create_server(("127.0.0.1", 0))
    held = []

    def serve() -> None:
        try:
            for answer in answers:
                connection, _ = listener.accept()
                connection.recv(65536)
                if answer is None:
                    held.append(connection)
                    continue
                connection.sendall(answer)
                connection.close()
        except OSError:
            pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(WAIT_S)
        for connection in held:
            connection.close()


def test_half_a_line_is_the_end_of_the_stream():
    half = b'{"event":"put","revision":1,"ro'
    with (
        answering(b"HTTP/1.1 200 OK\r\n\r\n" + half, None) as server,
        Replica(Remote(server), Nodes, options=QUICKLY) as replica,
    ):
        until_link(
            replica,
            last_error=f"http://{server} ended the stream; request it again to start over from the current rows",
        )


def test_too_many_connections_are_an_outage_like_any_other():
    with Home(Nodes) as home:
        home.server._connections.limits = Limits(connections=0)
        with home.replica() as replica:
            until_link(replica, last_error="0 connections are open already; close one")
            home.server._connections.limits = Limits(connections=1)
            until_link(replica, connected=True)


def test_what_is_no_agent_is_told():
    with (
        answering(b"HTTP/1.1 200 OK\r\n\r\n[1]\n", None) as server,
        Replica(Remote(server), Nodes, options=QUICKLY) as replica,
    ):
        link = until(replica, lambda snapshot: snapshot[Links]["nodes"].last_error != "")[Links]["nodes"]
        assert link.last_error == f"what answers at http://{server} is not an agent; give the address of one"


# -- the end -----------------------------------------------------------------------------------------------------


def test_a_silent_agent_is_left_at_once_and_given_up_after_a_while():
    impatient = ReplicaOptions(silence_s=0.05, **QUICK)
    with answering(None, None) as server, Replica(Remote(server), Nodes, options=impatient) as replica:
        until_link(replica, last_error=f"http://{server} has sent nothing for 0.05 s; check whether it is running")
    with answering(None) as server:
        replica = Replica(Remote(server), Nodes)
        replica.start()
        assert replica.close(AT_ONCE_S)


def test_closing_does_not_wait_for_a_connection_that_nobody_takes():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:  # what the kernel takes for a listener that does not
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        replica = Replica(Remote(f"127.0.0.1:{listener.getsockname()[1]}"), Nodes)
        replica.start()
        assert replica.close(AT_ONCE_S)
        assert not replica.status["nodes"].connected
        for filler in fillers:
            filler.close()


def test_closing_does_not_wait_for_the_next_try(tmp_path: Path):
    with Replica(
        Remote(f"unix:{tmp_path}/none.sock"), Nodes, options=ReplicaOptions(retry_min_s=60, retry_max_s=60)
    ) as replica:
        until(replica, lambda snapshot: "there is no such socket" in snapshot[Links]["nodes"].last_error)
        assert replica.close(AT_ONCE_S)


def test_rows_stay_when_the_replica_is_closed():
    with Home(Nodes) as home:
        home.insert(Node(NodeKey("c", "a")))
        with home.replica() as replica:
            assert replica.db.wait_initialized(timeout=WAIT_S)
            assert replica.close(AT_ONCE_S)
        link = replica.status["nodes"]
        assert (link.connected, link.last_error, names(replica)) == (False, "", ["a"])
        assert replica.close()  # again
        until_no_connection(home.server)
        with pytest.raises(RuntimeError, match="threads can only be started once"):
            replica.start()


def test_a_replica_that_was_never_started_is_closed_too():
    replica = Replica(Remote(), Nodes)
    assert replica.close()
    assert not replica.db.snapshot()[Nodes].initialized


def test_mistakes_are_told_before_anything_runs():
    with pytest.raises(ValueError, match=r"name at least one table to follow, as in Replica\(remote, Endpoints\)"):
        Replica(Remote())
    with pytest.raises(InvalidTable, match="is not a table"):
        Replica(Remote(), "nodes")  # type: ignore[arg-type]


def test_a_cut_ends_what_waits_and_what_comes_later():
    with answering(None) as server:
        cancellation = Cancellation()
        raised = []

        def follow() -> None:
            with pytest.raises(Unreachable) as caught:
                next(Remote(server).table(Nodes).changes(cancellation=cancellation))
            raised.append(str(caught.value))

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        while thread.is_alive():
            cancellation.cancel()
            thread.join(0.01)
        follow()
        assert raised[1].startswith(f"no agent answers at http://{server}: the request was cancelled; ")


# -- the equation ------------------------------------------------------------------------------------------------


class Event(NamedTuple):
    """What happens, and then what is written."""

    kind: str
    history: Any


def events() -> st.SearchStrategy[list[Event]]:
    kinds = st.sampled_from(["write", "write", "cut", "restart", "restart unfilled", "finish"])
    return st.lists(st.builds(Event, kinds, histories(max_size=3)), min_size=1, max_size=6)


class Trial:
    """A replica behind a proxy that cuts, and streams of it that are folded."""

    def __init__(self, home: Home, proxy: TcpProxy, replica: Replica) -> None:
        self.home, self.proxy, self.replica = home, proxy, replica
        self.marks = 0
        self.streams = {table: replica.db.changes(table) for table in home.tables}
        self.folded: dict[Any, dict[Any, Any]] = {table: {} for table in home.tables}

    def happen(self, event: Event) -> None:
        match event.kind:
            case "cut":
                self.proxy.cut()
                play(event.history, self.home.db)
                self.proxy.mend()
                return
            case "restart" | "restart unfilled":
                self.home.restart(pending=event.kind == "restart unfilled")
            case "finish":
                self.home.finish()
                self.home.pending = {}
            case _:
                pass
        play(event.history, self.home.db)

    def compare(self) -> None:
        """Wait until all is there, and compare."""
        self.marks += 1
        mark, slot = Host("~", amount=self.marks), Slot(SlotKey("~", 0), amount=self.marks)
        with self.home.db.write(Hosts, Slots) as txn:
            txn[Hosts].insert(mark)
            txn[Slots].insert(slot)
        there = txn.commit()
        here = until(self.replica, lambda here: here[Hosts].get("~") == mark and here[Slots].get(slot.key) == slot)
        for table in (Hosts, Slots):
            rows, remote = dict(here[table]), dict(there[table])
            if self.home.pending:
                assert rows.items() >= remote.items()
            else:
                assert rows == remote
                assert here[table].initialized
            self.fold(table)
            assert self.folded[table] == rows
        check_invariants(self.replica.db)

    def fold(self, table: Any) -> None:
        """Every change is one: no row is told that is as it was."""
        while (batch := self.streams[table].next(0)) is not None:
            folded = self.folded[table]
            assert all(change.deleted or folded.get(table.key_of(change.row)) != change.row for change in batch)
            fold(batch, folded, table)


@settings(max_examples=25)
@given(events(), st.booleans())
def test_a_replica_is_the_remote_table_after_any_history(history: list[Event], pending: bool):
    with Home(Hosts, Slots, pending=pending) as home, TcpProxy(str(home.address)) as proxy:
        with Replica(Remote(proxy.endpoint), Hosts, Slots, options=QUICKLY) as replica:
            trial = Trial(home, proxy, replica)
            for event in history:
                trial.happen(event)
                trial.compare()


@pytest.mark.stress
@settings(max_examples=500)
@given(events(), st.booleans())
def test_a_replica_is_the_remote_table_after_many_histories(history: list[Event], pending: bool):
    test_a_replica_is_the_remote_table_after_any_history.hypothesis.inner_test(history, pending)
