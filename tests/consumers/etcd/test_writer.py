"""A writer on a real etcd that refuses, forgets, is full, or is changed by somebody else: in the end it is equal."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from consumers.etcd import EtcdWriter, Rules, WriterOptions
from ingest.etcd import Client
from ingest.etcd.local import LocalEtcd, find_binary

from ...ingest.clustermesh.publisher import replica
from ...waiting import WAIT_S, eventually

PREFIX = "my/"
RULES = Rules(prefixes=(PREFIX,))
QUICK = {"retry_min_s": 0.02, "retry_max_s": 0.1}


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalEtcd]:
    with replica() as server:
        server.start()
        yield server


@pytest.fixture
def etcd(shared: LocalEtcd) -> LocalEtcd:
    with shared.client() as client:
        client.delete_prefix(b"")
    return shared


def stands(etcd: LocalEtcd) -> dict[str, bytes]:
    with etcd.client() as client:
        return {kv.key.decode(): kv.value for page in client.list(PREFIX.encode()) for kv in page.kvs}


def revision(etcd: LocalEtcd) -> int:
    with etcd.client() as client:
        return client.get(b"x").header.revision


class Writing:
    """A writer of some keys, which can lose its connection and be cut off for good; a context manager."""

    def __init__(self, etcd: LocalEtcd, keys: dict[str, bytes], rules: Rules = RULES, **values: Any) -> None:
        self.etcd = etcd
        self.clients: list[Client] = []
        self.is_cut_off = False
        self.writer = EtcdWriter(self.connect, rules, WriterOptions(**(QUICK | values)))
        for key, value in keys.items():
            self.writer.put(key, value)

    def connect(self) -> Client:
        if self.is_cut_off:
            raise OSError("cut off")
        self.clients.append(self.etcd.client())
        return self.clients[-1]

    def cut(self) -> None:
        for client in self.clients[-1:]:
            client.close()

    def __enter__(self) -> EtcdWriter:
        self.writer.start()
        return self.writer

    def __exit__(self, *_: object) -> None:
        self.writer.stop()
        assert self.writer.join(10)
        assert self.writer.crash is None


def numbered(count: int) -> dict[str, bytes]:
    return {f"{PREFIX}{number}": b"%d" % number for number in range(count)}


# --- waiting ---------------------------------------------------------------------------------------------------------


def test_who_waits_while_the_thread_begins_is_not_told_that_it_has_ended(etcd: LocalEtcd):
    """A thread that begins has an identifier before it says that it is alive. The publisher starts its writer so."""
    looks = 0
    gate = threading.Event()

    class Looked(EtcdWriter):
        @property
        def ready(self) -> bool:
            nonlocal looks
            looks += 1
            if looks > 2:
                gate.set()
            return super().ready

    class Held(threading.Event):
        def set(self) -> None:
            gate.wait(WAIT_S)
            super().set()

    writing = Writing(etcd, numbered(3))
    writer = Looked(writing.connect, RULES, WriterOptions(**QUICK))
    writer._thread._started = Held()  # type: ignore[attr-defined]
    beginning = threading.Thread(target=writer.start)
    beginning.start()
    eventually(lambda: writer._thread.ident, "the identifier")
    assert writer.wait_ready(WAIT_S)
    beginning.join(WAIT_S)
    writer.stop()
    assert writer.join(WAIT_S)
    assert not writer.wait_ready(WAIT_S)


# --- what the server refuses ------------------------------------------------------------------------------------------


def test_one_value_that_is_too_large_costs_only_itself(etcd: LocalEtcd):
    big = {f"{PREFIX}b{number}": b"x" * 18_000 for number in range(200)}
    wanted = {**numbered(50), **big}
    with Writing(etcd, {**wanted, f"{PREFIX}huge": b"old"}) as writer:
        assert writer.wait_ready(WAIT_S)
        writer.put(f"{PREFIX}huge", b"x" * 2_000_000)
        eventually(lambda: writer.refused(), "the refusal")
        begun = time.monotonic()
        writer.put(f"{PREFIX}late", b"1")
        eventually(lambda: f"{PREFIX}late" in stands(etcd))
        assert time.monotonic() - begun < 1
        assert stands(etcd) == {**wanted, f"{PREFIX}huge": b"old", f"{PREFIX}late": b"1"}
        assert writer.ready
        assert writer.stats().unwritten == 1
        assert writer.health.startswith(f"OK, but 1 keys are not written: {PREFIX}huge: ")
        writer.put(f"{PREFIX}huge", b"new")
        eventually(lambda: stands(etcd)[f"{PREFIX}huge"] == b"new")
        eventually(lambda: writer.health == "OK")


def test_what_was_refused_is_not_tried_again_before_it_changes(etcd: LocalEtcd):
    with Writing(etcd, {f"{PREFIX}huge": b"x" * 2_000_000, f"{PREFIX}a": b""}) as writer:
        assert writer.wait_ready(WAIT_S)
        writer.put(f"{PREFIX}huge", b"x" * 2_000_001)
        eventually(lambda: writer.queue_size == 0)
        writer.put(f"{PREFIX}huge", b"")
        writer.delete(f"{PREFIX}huge")
        eventually(lambda: not writer.refused())
        eventually(lambda: writer.health == "OK")


class Guarded:
    """An etcd whose writer may write below some prefixes only. Its rights can be taken and given back."""

    def __init__(self, etcd: LocalEtcd, prefixes: tuple[str, ...]) -> None:
        self.etcd = etcd
        for name in ("root", "writer"):
            etcdctl(etcd, "user", "add", f"{name}:{name}")
        etcdctl(etcd, "role", "add", "writer")
        etcdctl(etcd, "user", "grant-role", "writer", "writer")
        etcdctl(etcd, "user", "grant-role", "root", "root")
        etcdctl(etcd, "auth", "enable")
        self.grant("read", PREFIX)
        for prefix in prefixes:
            self.grant("readwrite", prefix)

    def grant(self, right: str, prefix: str) -> None:
        etcdctl(self.etcd, "--user=root:root", "role", "grant-permission", "writer", "--prefix=true", right, prefix)

    def client(self) -> Client:
        return self.etcd.client(login=("writer", "writer"))

    def names(self) -> set[str]:
        with self.client() as client:
            return {kv.key.decode() for page in client.list(PREFIX.encode()) for kv in page.kvs}


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    with replica() as etcd:
        etcd.start()
        yield Guarded(etcd, (f"{PREFIX}a/", f"{PREFIX}b/", f"{PREFIX}synced/"))


def part_of(key: str) -> str:
    return key.split("/")[-1][0]


def test_what_was_denied_is_written_once_it_is_allowed_and_marks_wait_for_it(guarded: Guarded):
    """The right was given back, and nothing was tried again until the connection broke; the mark stood meanwhile."""
    writer = EtcdWriter(guarded.client, Rules(prefixes=(PREFIX,), part_of=part_of), WriterOptions(**QUICK))
    with writer:
        writer.put(f"{PREFIX}a/x", b"")
        assert writer.wait_ready(WAIT_S)
        guarded.grant("read", f"{PREFIX}b/")
        denied = [f"{PREFIX}b/x{number}" for number in range(5)]
        for key in denied:
            writer.put(key, b"")
        writer.mark(f"{PREFIX}synced/x")
        writer.mark(f"{PREFIX}synced/y")  # of a part of which nothing is denied
        eventually(lambda: writer.is_written(f"{PREFIX}synced/y"), "the other mark")
        eventually(lambda: writer.refused().keys() == {*denied, f"{PREFIX}synced/x"}, "that the mark waits")
        reason = writer.refused()[f"{PREFIX}synced/x"].reason
        assert reason.startswith(f"{PREFIX}b/x")
        assert "must be written first, but cannot be: " in reason
        assert f"{PREFIX}synced/x" not in guarded.names()
        guarded.grant("readwrite", f"{PREFIX}b/")
        eventually(lambda: writer.health == "OK", "that all is written")
        assert guarded.names() == {f"{PREFIX}a/x", f"{PREFIX}synced/x", f"{PREFIX}synced/y", *denied}
        assert writer.stats().connections == 1


def test_marks_do_not_wait_for_denied_keys_that_stand_there_or_are_no_longer_wanted(guarded: Guarded):
    writer = EtcdWriter(guarded.client, Rules(prefixes=(PREFIX,)), WriterOptions(**QUICK))
    there, missing = f"{PREFIX}b/there", f"{PREFIX}b/missing"
    with writer:
        writer.put(there, b"old")
        assert writer.wait_ready(WAIT_S)
        guarded.grant("read", f"{PREFIX}b/")
        writer.put(there, b"new")
        writer.mark(f"{PREFIX}synced/1")
        eventually(lambda: writer.is_written(f"{PREFIX}synced/1"), "the mark beside the old value")
        eventually(lambda: writer.refused().keys() == {there}, "what is denied")
        writer.put(missing, b"")
        writer.mark(f"{PREFIX}synced/2")
        eventually(lambda: f"{PREFIX}synced/2" in writer.refused(), "that the mark waits")
        writer.release(missing)
        eventually(lambda: writer.is_written(f"{PREFIX}synced/2"), "the mark without it")


@pytest.mark.parametrize("limits", [("--max-txn-ops=7",), ("--max-request-bytes=3000",)])
def test_a_server_that_takes_less_gets_less(limits: tuple[str, ...]):
    wanted = {f"{PREFIX}{number}": b"x" * 100 for number in range(300)}
    with LocalEtcd(arguments=limits) as etcd:
        etcd.start()
        with Writing(etcd, wanted) as writer:
            assert writer.wait_ready(WAIT_S)
            assert stands(etcd) == wanted
            assert writer.health == "OK"


def etcdctl(etcd: LocalEtcd, *arguments: str) -> None:
    tool = Path(find_binary()).with_name("etcdctl")
    tool.chmod(0o755)
    subprocess.run([str(tool), f"--endpoints={etcd.endpoint}", *arguments], check=True, capture_output=True, timeout=30)


def fill(etcd: LocalEtcd) -> None:
    """Until the quota is reached."""
    with etcd.client() as client:
        number = 0
        while not client.commit([(b"other/%d" % number, b"x" * 500_000, 0)]).refusal:
            number += 1


def empty(etcd: LocalEtcd) -> None:
    """Give the space back and disarm the alarm."""
    with etcd.client() as client:
        client.delete_prefix(b"other/")
        client.compact(client.get(b"x").header.revision)
    etcdctl(etcd, "defrag")
    etcdctl(etcd, "alarm", "disarm")


def test_a_full_database_stops_the_heartbeat_not_the_leases_nor_the_deletes():
    rules = Rules(prefixes=(PREFIX,), heartbeat="beat")
    with LocalEtcd(arguments=["--quota-backend-bytes=2000000"]) as etcd:
        etcd.start()
        options = {"heartbeat_s": 0.1, "stuck_s": 0.3, "lease_time_s": 3.0, "retry_max_s": 0.2}
        with Writing(etcd, numbered(5), rules, **options) as writer:
            assert writer.wait_ready(WAIT_S)
            fill(etcd)
            writer.put(f"{PREFIX}new", b"")
            eventually(lambda: writer.health.startswith("stuck for "), "that it is stuck")
            assert not writer.ready
            assert "space" in writer.health
            writer.delete(f"{PREFIX}0")
            eventually(lambda: f"{PREFIX}0" not in stands(etcd), "the delete")
            with etcd.client() as client:
                beat = client.get(b"beat").kv
                assert beat is not None
                threading.Event().wait(4.0)  # longer than the leases live; etcd's clock cannot be turned
                later = client.get(b"beat").kv
                assert later is not None
                assert later.mod_revision == beat.mod_revision
            assert len(stands(etcd)) == 4
            assert writer.stats().connections == 1
            empty(etcd)
            eventually(lambda: f"{PREFIX}new" in stands(etcd), "the new key")
            assert writer.wait_ready(WAIT_S)
            assert writer.health == "OK"


def test_what_is_wanted_and_out_of_date_stops_the_heartbeat_too(etcd: LocalEtcd):
    rules = Rules(prefixes=(PREFIX,), heartbeat="beat")
    with Writing(etcd, numbered(1), rules, heartbeat_s=0.05, stuck_s=0.2) as writer:
        assert writer.wait_ready(WAIT_S)
        writer.outdated("the tables cannot be followed")
        eventually(lambda: "the tables cannot be followed" in writer.health)
        assert not writer.ready
        with etcd.client() as client:

            def is_silent() -> bool:  # not at once: a beat may be under way
                before = client.get(b"beat").kv
                threading.Event().wait(0.5)
                return client.get(b"beat").kv == before

            eventually(is_silent)
        writer.outdated("")
        assert writer.wait_ready(WAIT_S)


def test_the_heartbeat_comes_back_and_is_never_taken_for_a_key_that_may_go(etcd: LocalEtcd):
    asked: list[str] = []

    def may_delete(key: str) -> bool:
        asked.append(key)
        return True

    rules = Rules(prefixes=(PREFIX,), heartbeat="beat", may_delete=may_delete)
    options = {"heartbeat_s": 3600.0, "lease_keys_max": 1, "lease_time_s": 1.0, "repair_min_s": 0.02}
    with Writing(etcd, numbered(2), rules, **options) as writer, etcd.client() as client:
        assert writer.wait_ready(WAIT_S)
        for _ in range(3):  # first at once, then after a pause
            kv = client.get(b"beat").kv
            assert kv is not None
            client.revoke(kv.lease)
            eventually(lambda: client.get(b"beat").kv is not None, "the heartbeat")
        writer.put(f"{PREFIX}new", b"")
        eventually(lambda: f"{PREFIX}new" in stands(etcd))
        assert client.get(b"beat").kv is not None
        assert writer.stats().connections == 1
    assert "beat" not in asked


# --- what others do ---------------------------------------------------------------------------------------------------


def test_what_somebody_deletes_changes_or_revokes_is_back_at_once(etcd: LocalEtcd):
    wanted = numbered(30)
    with Writing(etcd, wanted, lease_keys_max=10, repair_min_s=60.0) as writer:
        assert writer.wait_ready(WAIT_S)
        with etcd.client() as client:
            kv = client.get(f"{PREFIX}29".encode()).kv
            assert kv is not None
            client.delete(f"{PREFIX}0".encode())
            client.put(f"{PREFIX}1".encode(), b"not ours")
            client.revoke(kv.lease)
        begun = time.monotonic()
        eventually(lambda: stands(etcd) == wanted)
        assert time.monotonic() - begun < 2
        assert writer.stats().repairs == 12


def test_a_key_that_is_changed_again_and_again_is_written_less_and_less_often(etcd: LocalEtcd):
    key = f"{PREFIX}0"
    with Writing(etcd, {key: b"ours"}, repair_min_s=0.05, repair_max_s=60.0) as writer, etcd.client() as client:
        assert writer.wait_ready(WAIT_S)
        times: list[float] = []
        for _ in range(6):
            client.put(key.encode(), b"theirs")
            begun = time.monotonic()
            eventually(lambda: stands(etcd)[key] == b"ours")
            times.append(time.monotonic() - begun)
        assert times[-1] > 0.3  # a half of 0.05 s doubled four times, at least
        assert f"another writer changes 1 of our keys: {key}, 6 times" in writer.health


def test_equal_writers_write_nothing_against_each_other(etcd: LocalEtcd):
    wanted = numbered(20)
    with Writing(etcd, wanted) as first:
        assert first.wait_ready(WAIT_S)
        before = revision(etcd)
        with Writing(etcd, wanted) as second:
            assert second.wait_ready(WAIT_S)
            assert second.stats().puts == 0
            first.put(f"{PREFIX}new", b"1")
            second.put(f"{PREFIX}new", b"1")
            eventually(lambda: not first.queue_size and not second.queue_size)
        eventually(lambda: f"{PREFIX}new" in stands(etcd))
        assert revision(etcd) - before <= 2
        assert first.stats().repairs == 0


def test_writers_of_different_values_back_off_and_say_so(etcd: LocalEtcd):
    key = f"{PREFIX}0"
    slow = {"repair_min_s": 0.2, "repair_max_s": 60.0}
    with Writing(etcd, {key: b"first"}, **slow) as first, Writing(etcd, {key: b"second"}, **slow) as second:
        eventually(lambda: "another writer" in first.health and "another writer" in second.health, "what they say")
        assert first.stats().puts + second.stats().puts < 15


def test_a_restart_writes_nothing_and_keeps_the_leases_of_the_one_before(etcd: LocalEtcd):
    wanted = numbered(20)
    with Writing(etcd, wanted) as writer:
        assert writer.wait_ready(WAIT_S)
    with etcd.client() as client:
        made = {kv.key: (kv.mod_revision, kv.lease) for page in client.list(PREFIX.encode()) for kv in page.kvs}
        with Writing(etcd, wanted) as writer:
            assert writer.wait_ready(WAIT_S)
            assert writer.stats().puts == 0
        there = {kv.key: (kv.mod_revision, kv.lease) for page in client.list(PREFIX.encode()) for kv in page.kvs}
    assert there == made


def test_keys_under_a_lease_that_is_too_short_or_none_get_one_of_ours(etcd: LocalEtcd):
    with etcd.client() as client:
        client.put(f"{PREFIX}0".encode(), b"0", client.grant(5))
        client.put(f"{PREFIX}1".encode(), b"1")
    with Writing(etcd, numbered(2), lease_time_s=60.0) as writer:
        assert writer.wait_ready(WAIT_S)
        with etcd.client() as client:
            leases = {kv.lease for page in client.list(PREFIX.encode()) for kv in page.kvs}
            assert len(leases) == 1
            assert client.renew(leases.pop()) == 60


# --- one of several writes --------------------------------------------------------------------------------------------


def test_of_several_one_leads_and_another_takes_over_within_five_seconds(etcd: LocalEtcd):
    one = Writing(etcd, {f"{PREFIX}a": b"1"}, leader_election=True)
    two = Writing(etcd, {f"{PREFIX}a": b"2"}, leader_election=True)
    with one as first:
        assert first.wait_ready(WAIT_S)
        with two as second:
            assert second.wait_ready(WAIT_S)
            assert second.health.startswith("OK, standing by: ")
            assert stands(etcd) == {f"{PREFIX}a": b"1"}
            one.is_cut_off = True  # it dies, and nobody revokes its lease
            one.cut()
            begun = time.monotonic()
            eventually(lambda: stands(etcd) == {f"{PREFIX}a": b"2"}, "the other one's value")
            assert time.monotonic() - begun < 5
            one.is_cut_off = False
            eventually(lambda: first.health.startswith("OK, standing by: "), "the old leader")
            first.put(f"{PREFIX}a", b"3")
            second.put(f"{PREFIX}b", b"2")
            eventually(lambda: f"{PREFIX}b" in stands(etcd))
            assert stands(etcd)[f"{PREFIX}a"] == b"2"
        begun = time.monotonic()
        eventually(lambda: stands(etcd)[f"{PREFIX}a"] == b"3", "the first one's value")
        assert time.monotonic() - begun < 2  # the second one resigned


def test_a_leader_that_was_replaced_without_knowing_it_cannot_write(etcd: LocalEtcd):
    writing = Writing(etcd, {f"{PREFIX}a": b"1"}, leader_election=True, leader_time_s=60)
    with writing as writer, etcd.client() as client:
        assert writer.wait_ready(WAIT_S)
        client.put(b"statedb/leader/etcd writer", b"another")
        writer.put(f"{PREFIX}a", b"2")
        eventually(lambda: writer.health == "OK, standing by: another leads")
        assert stands(etcd)[f"{PREFIX}a"] == b"1"


# --- whose keys -------------------------------------------------------------------------------------------------------


def test_keys_of_others_are_left_alone_and_unclaimed_ones_go_only_when_asked(etcd: LocalEtcd):
    with etcd.client() as client:
        client.put_many([(b"my/theirs", b""), (b"my/old", b""), (b"elsewhere", b"")])
    rules = Rules(prefixes=(PREFIX,), is_own=lambda key, _: key != f"{PREFIX}theirs")
    with Writing(etcd, numbered(1), rules) as writer:
        assert writer.wait_ready(WAIT_S)
        assert set(stands(etcd)) == {f"{PREFIX}0", f"{PREFIX}theirs", f"{PREFIX}old"}
        writer.delete_others()
        eventually(lambda: set(stands(etcd)) == {f"{PREFIX}0", f"{PREFIX}theirs"})
        with pytest.raises(ValueError, match="is not below any of the prefixes my/"):
            writer.put("elsewhere", b"")


# --- any history ------------------------------------------------------------------------------------------------------

name = st.integers(0, 5).map(lambda number: f"{PREFIX}{number}")
value = st.sampled_from([b"", b"1", b"22"])
step = st.one_of(
    st.tuples(st.just("put"), name, value),
    st.tuples(st.just("put"), name, value),
    st.tuples(st.just("delete"), name),
    st.tuples(st.just("mark")),
    st.tuples(st.just("other puts"), name, st.sampled_from([b"1", b"other"])),
    st.tuples(st.just("other deletes"), name),
    st.tuples(st.just("other adds"), st.integers(6, 8).map(lambda number: f"{PREFIX}{number}")),
    st.tuples(st.sampled_from(["revoke", "cut", "restart", "settle"])),
)
MARK = f"{PREFIX}mark"


class History:
    """A writer, what it was told, and somebody who works against it."""

    def __init__(self, etcd: LocalEtcd) -> None:
        self.etcd = etcd
        self.wanted: dict[str, bytes] = {}
        self.marked = False
        self.begin()

    def begin(self) -> None:
        options = {"batch_keys_max": 3, "lease_keys_max": 2, "lease_time_s": 1.0, "repair_min_s": 0.01}
        self.writing = Writing(self.etcd, self.wanted, repair_max_s=0.02, **options)
        if self.marked:
            self.writing.writer.mark(MARK)
        self.writing.writer.delete_others()
        self.writing.writer.start()

    def do(self, client: Client, what: str, *arguments: Any) -> None:
        writer = self.writing.writer
        match what, arguments:
            case "put", (key, value):
                self.wanted[key] = value
                writer.put(key, value)
            case "delete", (key,):
                self.wanted.pop(key, None)
                writer.delete(key)
            case "mark", ():
                self.marked = True
                writer.mark(MARK)
            case "other puts", (key, value):
                client.put(key.encode(), value)
            case "other adds", (key,):
                client.put(key.encode(), b"stray")
            case "other deletes", (key,):
                client.delete(key.encode())
            case "revoke", ():
                for lease in {kv.lease for page in client.list(PREFIX.encode()) for kv in page.kvs} - {0}:
                    client.revoke(lease)
            case "cut", ():
                self.writing.cut()
            case "restart", ():
                self.writing.__exit__()
                self.begin()
            case _:
                self.settle()

    def settle(self) -> None:
        def is_equal() -> bool:
            there = stands(self.etcd)
            marked = there.pop(MARK, None) is not None
            return there == self.wanted and marked == self.marked

        eventually(is_equal, self.writing.writer.health)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=st.lists(step, min_size=5, max_size=30))
def test_after_any_history_the_etcd_is_what_the_writer_was_told(shared: LocalEtcd, steps: list[tuple[Any, ...]]):
    with shared.client() as client:
        client.delete_prefix(b"")
        history = History(shared)
        try:
            for what, *arguments in steps:
                history.do(client, what, *arguments)
            history.settle()
            quiet = revision(shared)
            threading.Event().wait(0.05)
            assert revision(shared) == quiet
        finally:
            history.writing.__exit__()
