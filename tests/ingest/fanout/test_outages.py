"""What the one writer of a table and its etcd can go through, and that no row goes which the writer did not delete."""

from __future__ import annotations

import itertools
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from consumers.etcd import TableToEtcd, WriterOptions
from ingest import KvstoreOptions, kvstore
from ingest.etcd import Client, Commit, Compacted, Unavailable
from ingest.etcd.local import LocalEtcd
from statedb import Database
from statedb.catalog import Rejected, SourceKey, SourceRow, Sources

from ...tcp_proxy import TcpProxy
from ...waiting import eventually
from ..clustermesh.publisher import replica, token
from .rig import CLUSTER, MAPS, PODS, Reader, beats, config_map, delete, end_leases, insert, pod, threads, writer


def empty(etcd: LocalEtcd, *, same_id: bool = False) -> None:
    """What a pod restart does to an etcd in a pod: its data is gone."""
    etcd.kill()
    etcd.forget()
    if not same_id:
        etcd.add_arguments(token())
    etcd.start()


def test_a_writer_may_be_away_for_longer_than_its_leases(server: LocalEtcd):
    db = Database(PODS)
    insert(db, pod("a"), pod("b"))
    with Reader(server.endpoint) as reader:
        with writer(db, server):
            reader.has("a", "b")
        end_leases(server)
        reader.told("stale: waiting for tables/.synced/pods")
        reader.until(lambda s: reader.row(s).withheld_deletes == 2)
        delete(db, pod("b"))
        insert(db, pod("c"))
        with writer(db, server):
            reader.has("a", "c")
        assert reader.deleted == {"b"}


def test_a_table_that_is_half_written_is_not_initialized(server: LocalEtcd):
    db = Database(PODS)
    insert(db, pod("a"), pod("b"))
    with server.client() as client:
        client.put(b"tables/pods/c/shop/a", b"{}")  # what a writer leaves that died in the midst of it
    with Reader(server.endpoint) as reader:
        told = reader.told("syncing: waiting for tables/.synced/pods: not all of it is there yet")
        assert not told[PODS].initialized
        with writer(db, server):
            first = reader.until(lambda s: s[PODS].initialized)
            assert reader.names(first) == {"a", "b"}


def test_a_canary_that_goes_before_the_first_list_makes_it_incomplete(server: LocalEtcd):
    reader = Reader(server.endpoint)
    judged, may_list = reader.source.list_verdict, reader.source.may_list
    raised: list[str] = []

    def verdict(prefix, revision):
        reader.source.may_list = may_list  # type: ignore[method-assign]
        try:
            return judged(prefix, revision)
        except Unavailable as error:
            raised.append(str(error))
            raise

    reader.source.list_verdict = verdict  # type: ignore[method-assign]
    reader.source.may_list = lambda _: True  # type: ignore[method-assign]  # the canary was seen, and has gone since
    with reader:
        told = reader.told("waiting for tables/.synced/pods")
        assert not told[PODS].initialized
        assert len(raised) == 1


def test_the_writer_of_another_table_does_not_vouch(server: LocalEtcd):
    """One source, one thread; the leases of one table's writer end while the other's goes on."""
    pods, maps = Database(PODS), Database(MAPS)
    insert(pods, pod("a"))
    insert(maps, config_map("m"), table=MAPS)
    before = threads()
    with Reader(server.endpoint, PODS, MAPS, lease_time_s=0.05) as reader, writer(maps, server, MAPS, heartbeat_s=0.05):
        assert {name for name in threads() - before if name.startswith("etcd c")} == {"etcd c"}
        reader.has("m", table=MAPS)
        with writer(pods, server, lease_keys_max=1):
            reader.has("a")
        end_leases(server, "tables/pods/")
        reader.told("stale: withholding 1 deletes: its lease ended, and its writer has not written it again")
        beats(server, MAPS, 10)
        insert(maps, config_map("n"), table=MAPS)
        reader.has("m", "n", table=MAPS)
        assert reader.names() == {"a"}
        assert reader.row().state == "stale"
        with writer(pods, server, heartbeat_s=0.05):
            reader.has("a")
        assert reader.deleted == set()


def test_a_silent_writer_makes_its_table_stale(server: LocalEtcd):
    pods, maps = Database(PODS), Database(MAPS)
    insert(pods, pod("a"))
    with (
        Reader(server.endpoint, PODS, MAPS, beats_s=2.0) as reader,
        writer(maps, server, MAPS, heartbeat_s=0.05),
    ):
        with writer(pods, server):
            reader.has("a")
        reader.told("stale: its writer is silent: no heartbeat for")
        reader.told("synced", MAPS)
        with writer(pods, server, heartbeat_s=0.05):
            reader.told("synced")
        assert reader.deleted == set()


def test_a_canary_does_not_vouch_for_rows_whose_lease_has_just_ended(server: LocalEtcd):
    """The writer had not heard of it yet, and the reader took the canary for a word on what it had just doubted."""
    db = Database(PODS)
    insert(db, pod("a"), pod("b"))
    canary, row = b"tables/.synced/pods", b"tables/pods/c/shop/a"
    refusals: list[str] = []

    with Reader(server.endpoint) as reader, server.client() as client:

        def connect() -> Client:
            store = server.client()
            commit = store.commit

            def after_a_lease(puts: list[tuple[bytes, bytes, int]], *rest: Any) -> Commit:
                if armed and canary in [key for key, _, _ in puts]:
                    armed.clear()
                    client.revoke(client.get(row).kv.lease)
                    done = commit(puts, *rest)
                    refusals.append(done.refusal)
                    reader.until(lambda s: reader.row(s).withheld_deletes == 1 or not done.refusal)
                    if not done.refusal:
                        reader.until(lambda s: reader.names(s) == {"b"})
                    return done
                return commit(puts, *rest)

            store.commit = after_a_lease  # type: ignore[method-assign]
            return store

        armed: list[bool] = []
        options = WriterOptions(lease_keys_max=1, retry_min_s=0.02, repair_min_s=0.02)
        publisher = TableToEtcd(db, PODS, connect, options)
        with publisher:
            reader.has("a", "b")
            armed.append(True)
            client.delete(canary)
            reader.until(lambda _: refusals)
            reader.has("a", "b")
        assert refusals == ["no lease"]
        assert reader.deleted == set()


def test_the_canary_goes_no_later_than_rows_that_were_written_long_before_it(server: LocalEtcd):
    db = Database(PODS)
    insert(db, *[pod(name) for name in "abcdef"])  # the first is written some five seconds before the canary
    with writer(db, server, lease_keys_max=1, writes_per_s=1.0, lease_time_s=60.0) as publisher:
        assert publisher.wait_ready(30)
        with server.client() as client:
            found = [client.get(key).kv.lease for key in (b"tables/pods/c/shop/a", b"tables/.synced/pods")]
            of_row, of_canary = [client.time_to_live(lease) for lease in found]
        assert of_row is not None
        assert of_canary is not None
        assert of_canary.left_s <= of_row.left_s + 1


def test_a_server_that_compares_few_keys_gets_the_canary_again_too():
    db = Database(PODS)
    names = [f"p{number}" for number in range(7)]
    canary = b"tables/.synced/pods"
    with LocalEtcd(arguments=["--max-txn-ops=3"]) as etcd:
        etcd.start()
        with writer(db, etcd, lease_keys_max=1) as publisher, Reader(etcd.endpoint) as reader, etcd.client() as client:
            for name in names:
                insert(db, pod(name))  # each in a transaction of its own
                reader.has(*names[: names.index(name) + 1])
            assert publisher.wait_ready(30)
            client.delete(canary)
            eventually(lambda: client.get(canary).kv)
            assert publisher.health == "OK"


def test_the_canary_waits_for_rows_that_wait_for_their_repair(server: LocalEtcd):
    db = Database(PODS)
    insert(db, pod("a"))
    canary, row = b"tables/.synced/pods", b"tables/pods/c/shop/a"
    with writer(db, server, repair_min_s=30.0, repair_max_s=60.0) as publisher, server.client() as client:
        assert publisher.wait_ready(30)
        client.delete(row)
        eventually(lambda: client.get(row).kv)
        client.delete(row)  # the second time it is not written again at once
        client.delete(canary)
        eventually(lambda: client.get(canary).kv)
        assert client.get(row, client.get(canary).kv.mod_revision).kv is not None


@pytest.mark.parametrize("same_id", [False, True])
def test_an_etcd_that_lost_everything_takes_no_row(server: LocalEtcd, same_id: bool):
    db = Database(PODS)
    insert(db, pod("a"), pod("b"))
    with Reader(server.endpoint) as reader:
        with writer(db, server):
            reader.has("a", "b")
        empty(server, same_id=same_id)
        reader.told("stale: waiting for tables/.synced/pods")
        delete(db, pod("a"))
        with writer(db, server):
            reader.has("b")
        assert reader.deleted == {"a"}


def test_a_backup_takes_no_row_and_brings_none_back_for_good(server: LocalEtcd, tmp_path: Path):
    db = Database(PODS)
    insert(db, pod("a"), pod("old"))
    with Reader(server.endpoint) as reader:
        with writer(db, server):
            reader.has("a", "old")
        server.kill()
        server.back_up(tmp_path / "backup")
        server.start()
        delete(db, pod("old"))
        insert(db, pod("new"))
        with writer(db, server):
            reader.has("a", "new")
            server.kill()
            server.restore(tmp_path / "backup")
            server.start()
            reader.until(lambda s: reader.row(s).state != "synced")
            reader.has("a", "new")
        assert reader.deleted == {"old"}


def test_rows_of_before_stay_until_the_writer_has_acted(server: LocalEtcd):
    """The keys are those of a writer that died: its canary stands, and one row of before is not among its rows."""
    db, copy = Database(PODS), Reader(server.endpoint).db
    insert(db, pod("a"))
    with writer(db, server) as publisher:
        assert publisher.wait_ready(30)
    insert(copy, pod("a"), pod("b"))
    with Reader(server.endpoint, db=copy) as reader:
        reader.told("stale")
        reader.until(lambda s: reader.row(s).withheld_deletes == 1)
        assert reader.names() == {"a", "b"}
        with writer(db, server, heartbeat_s=0.05):
            reader.has("a")


def test_an_operator_may_accept_what_is_there(server: LocalEtcd):
    db = Database(PODS)
    insert(db, pod("a"))
    with Reader(server.endpoint) as reader:
        with writer(db, server):
            reader.has("a")
        end_leases(server)
        reader.told("waiting for tables/.synced/pods")
        reader.source.accept()
        reader.until(lambda s: not reader.names(s))


def test_what_goes_after_an_operator_has_accepted_is_judged_as_ever(server: LocalEtcd):
    db = Database(PODS)
    insert(db, pod("a"))
    with Reader(server.endpoint) as reader:
        with writer(db, server):
            reader.has("a")
            lists = reader.source.list_verdict
            listed: list[int] = []
            reader.source.list_verdict = lambda *each: listed.append(each[1]) or lists(*each)  # type: ignore
            reader.source.accept()
            reader.until(lambda _: listed, "the list of what was accepted")
            reader.has("a")
        end_leases(server)
        reader.told("stale: waiting for tables/.synced/pods")
        reader.until(lambda s: reader.row(s).withheld_deletes == 1)
        assert reader.deleted == set()


@pytest.mark.parametrize("same_id", [False, True])
def test_a_third_etcd_that_answers_before_the_accepted_one_is_not_believed(server: LocalEtcd, same_id: bool):
    """An empty etcd leaves nothing that would tell it from the next empty one, whose id may be the same."""
    db = Database(PODS)
    insert(db, pod("a"))
    with Reader(server.endpoint) as reader:
        with writer(db, server):
            reader.has("a")
        empty(server, same_id=same_id)
        reader.told("stale: waiting for tables/.synced/pods")
        server.kill()
        reader.until(lambda s: reader.row(s).state == "stale" and "waiting" not in reader.row(s).last_error)
        reader.source.accept()
        empty(server, same_id=same_id)
        reader.until(lambda s: "waiting" in reader.row(s).last_error or not reader.names(s))
        assert reader.names() == {"a"}
        reader.source.accept()
        reader.until(lambda s: not reader.names(s))


def test_what_is_accepted_while_the_etcd_is_away_does_not_hold_for_another_one(server: LocalEtcd):
    db = Database(PODS)
    insert(db, pod("a"))
    with Reader(server.endpoint) as reader:
        with writer(db, server):
            reader.has("a")
        server.kill()
        reader.until(lambda s: reader.row(s).state == "stale" and "waiting" not in reader.row(s).last_error)
        reader.source.accept()
        empty(server)
        reader.until(lambda s: "waiting" in reader.row(s).last_error or not reader.names(s))
        assert reader.names() == {"a"}


def test_what_is_accepted_while_the_etcd_is_away_does_not_hold_for_what_goes_meanwhile(
    server: LocalEtcd, caplog: pytest.LogCaptureFixture
):
    """It was the same etcd that came back, but the leases of the writer had ended."""
    db = Database(PODS)
    insert(db, pod("a"))
    with TcpProxy(server.endpoint) as proxy, Reader(proxy.endpoint) as reader:
        with writer(db, server):
            reader.has("a")
        proxy.cut()
        reader.until(lambda s: reader.row(s).state == "stale")
        reader.source.accept()
        end_leases(server)
        proxy.mend()
        reader.until(lambda s: "waiting" in reader.row(s).last_error or not reader.names(s))
        assert reader.deleted == set()
    told = "what was accepted before this connection counts for nothing; accept it again"
    assert [each for each in caplog.messages if told in each] == [f"etcd/{reader.source.cluster}: {told}"]


def test_the_reader_of_one_table_judges_likewise(server: LocalEtcd):
    db, copy = Database(PODS), Database()
    insert(db, pod("a"))
    source = kvstore.table(copy, PODS, KvstoreOptions(endpoints=(server.endpoint,)), cluster="c")
    with writer(db, server):
        source.start()
        assert copy.wait_initialized(PODS, timeout=30)
    source.stop()
    assert source.join(10)
    assert len(copy.snapshot()[PODS]) == 1


def test_rows_that_are_not_the_readers_are_told(server: LocalEtcd):
    db, maps = Database(PODS), Database(MAPS)
    insert(db, pod("a"), pod("b", cluster="other"))
    insert(maps, pod("m"), table=MAPS)
    with Reader(server.endpoint, PODS, MAPS) as reader, writer(db, server), writer(maps, server, MAPS):
        reader.has("a")
        rejected = reader.until(lambda s: len(s[Rejected]) == 2)[Rejected].values()
        errors = {row.key.object: row.error for row in rejected}
        assert "give both agents the same cluster.name" in errors["tables/pods/other/shop/b"]
        assert "its writer has 1 indexes by path, this table has 0" in errors["tables/maps/c/shop/m"]


names = st.sets(st.sampled_from("abcdefgh"), max_size=4)
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["put", "delete"]), names),
        st.tuples(
            st.sampled_from(
                ["stop", "go on", "go on otherwise", "see", "read anew", "source is away", "source is back"]
            ),
            st.none(),
        ),
        st.tuples(
            st.sampled_from(["end leases", "cut", "kill", "empty", "compact", "back up", "restore", "empty table"]),
            st.none(),
        ),
    ),
    max_size=10,
)


@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_readers_have_the_rows_of_the_writer_after_any_history(history: list):
    with replica() as etcd, TemporaryDirectory() as folder:
        etcd.start()
        Histories(etcd, Path(folder)).run(history)


@pytest.mark.stress
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_readers_have_the_rows_of_the_writer_after_many_histories(history: list):
    with replica() as etcd, TemporaryDirectory() as folder:
        etcd.start()
        Histories(etcd, Path(folder)).run(history)


class Histories:
    """A writer and a reader of one table; what the writer's table deleted is all that the reader may delete."""

    def __init__(self, etcd: LocalEtcd, folder: Path) -> None:
        self.etcd = etcd
        self.db = Database(PODS, Sources)
        self.backup = folder / "backup"
        self.deleted: set[str] = set()
        self.versions = itertools.count()

    def run(self, history: list) -> None:
        with ExitStack() as stack:
            self.proxy = stack.enter_context(TcpProxy(self.etcd.endpoint))
            self.writing = stack.enter_context(ExitStack())
            self.go_on()
            self.reading = stack.enter_context(ExitStack())
            self.reader = self.reading.enter_context(Reader(self.proxy.endpoint))
            for step, what in history:
                self.step(step, what)
                assert self.reader.deleted <= self.deleted
            self.source_is("synced")
            self.go_on()
            self.wait_equal(self.reader)
            assert self.reader.deleted <= self.deleted

    def step(self, step: str, what: set[str] | None) -> None:
        match step:
            case "put":
                insert(self.db, *[pod(name, str(next(self.versions))) for name in what or ()])
            case "delete":
                self.delete(what or set())
            case "empty table":
                self.delete(set("abcdefgh"))
            case "stop":
                self.writing.close()
                self.is_writing = False
            case "go on":
                self.go_on()
            case "go on otherwise":
                self.go_on(lease_keys_max=1, writes_per_s=20.0)
            case "source is away":
                self.source_is("stale")
            case "source is back":
                self.source_is("synced")
            case "see" if self.is_writing:
                self.reader.until(lambda s: dict(s[PODS]).items() >= dict(self.db.snapshot()[PODS]).items())
            case "read anew":
                self.reading.close()
                assert self.reader.deleted <= self.deleted
                self.reader = self.reading.enter_context(Reader(self.proxy.endpoint, db=self.reader.db))
            case _:
                self.mistreat(step)

    def mistreat(self, step: str) -> None:
        """What happens to the etcd and the way to it."""
        match step:
            case "end leases":
                end_leases(self.etcd)
            case "cut":
                self.proxy.cut()
                self.proxy.mend()
            case "kill":
                self.etcd.kill()
                self.etcd.start()
            case "empty":
                empty(self.etcd)
            case "back up":
                self.etcd.kill()
                self.etcd.back_up(self.backup)
                self.etcd.start()
            case "restore" if self.backup.exists():
                self.etcd.kill()
                self.etcd.restore(self.backup)
                self.etcd.start()
            case "compact":
                with self.etcd.client() as client, suppress(Compacted):  # it was compacted there before
                    client.compact(client.get(b"x").header.revision)

    def delete(self, names: set[str]) -> None:
        gone = names & {key.name for key in self.db.snapshot()[PODS]}
        self.deleted |= gone
        delete(self.db, *[pod(name) for name in gone])

    def source_is(self, state: str) -> None:
        with self.db.write(Sources) as txn:
            txn[Sources].insert(SourceRow(SourceKey(CLUSTER, "pods"), "kubernetes", state))

    is_writing = False

    def go_on(self, **options: Any) -> None:
        if not self.is_writing:
            self.writing.enter_context(writer(self.db, self.etcd, heartbeat_s=0.05, **options))
            self.is_writing = True

    def wait_equal(self, reader: Reader) -> None:
        """The time of the leases passes, once the writer has written all: then nothing is doubted any more."""
        rows = dict(self.db.snapshot()[PODS])
        with self.etcd.client() as client:
            reader.until(lambda _: len([kv for page in client.list(b"tables/pods/") for kv in page.kvs]) == len(rows))

        def equal(snapshot) -> bool:
            reader.clock.forward_s += 400.0
            return dict(snapshot[PODS]) == rows and snapshot[PODS].initialized

        reader.until(equal, "the writer's rows")
