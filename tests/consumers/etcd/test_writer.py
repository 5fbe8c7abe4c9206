"""A writer on a real etcd that refuses, forgets, is full, or is changed by somebody else: in the end it is equal."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from consumers.etcd import EtcdWriter, Rules, WriterOptions
from ingest.etcd import Client
from ingest.etcd.local import LocalEtcd

from ...ingest.clustermesh.publisher import replica
from ...waiting import WAIT_S, eventually
from .writing import PREFIX, QUICK, RULES, Writing, empty, fill, numbered, revision, stands


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


@pytest.mark.parametrize("limits", [("--max-txn-ops=7",), ("--max-request-bytes=3000",)])
def test_a_server_that_takes_less_gets_less(limits: tuple[str, ...]):
    wanted = {f"{PREFIX}{number}": b"x" * 100 for number in range(300)}
    with LocalEtcd(arguments=limits) as etcd:
        etcd.start()
        with Writing(etcd, wanted) as writer:
            assert writer.wait_ready(WAIT_S)
            assert stands(etcd) == wanted
            assert writer.health == "OK"


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
