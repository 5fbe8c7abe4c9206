"""A writer whose rights are taken, given back, or never were: it writes what it may, and no reader is misled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from consumers.etcd import EtcdWriter, Rules, WriterOptions
from ingest.etcd import Client, PermissionDenied
from ingest.etcd.local import LocalEtcd

from ...ingest.clustermesh.publisher import replica
from ...waiting import WAIT_S, eventually
from .writing import PREFIX, QUICK, RULES, Guarded, Interposed, empty, fill, numbered, stands


@pytest.fixture(scope="module")
def shared() -> Iterator[Guarded]:
    with replica() as etcd:
        etcd.add_arguments("--bcrypt-cost=4")  # a login takes much of a second otherwise
        etcd.start()
        guarded = Guarded(etcd)
        with guarded.root:
            yield guarded


@pytest.fixture
def guarded(shared: Guarded) -> Guarded:
    shared.reset((f"{PREFIX}a/", f"{PREFIX}b/", f"{PREFIX}synced/"))
    return shared


@pytest.fixture
def etcd() -> Iterator[LocalEtcd]:
    with replica() as server:
        server.start()
        yield server


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
        wanted = {f"{PREFIX}a/x", f"{PREFIX}synced/x", f"{PREFIX}synced/y", *denied}
        eventually(lambda: guarded.names() == wanted, "that all is written")
        assert writer.health == "OK"
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


# --- which keys are retried -------------------------------------------------------------------------------------------


def test_a_key_that_stays_denied_holds_up_no_other_one_whose_right_is_given_back(guarded: Guarded):
    """Only the oldest denied key was retried. Its right never came back, so the others waited for ever."""
    with EtcdWriter(guarded.client, RULES, WriterOptions(**QUICK)) as writer:
        guarded.grant("read", f"{PREFIX}b/")
        never, later = [f"{PREFIX}never/{number}" for number in range(3)], f"{PREFIX}b/later"
        for key in (*never, later):
            writer.put(key, b"")
        eventually(lambda: len(writer.refused()) == 4, "that all are denied")
        guarded.grant("readwrite", f"{PREFIX}b/")
        eventually(lambda: later in guarded.names(), "the key that may be written")
        eventually(lambda: writer.refused().keys() == set(never), "the others")


def test_a_denied_delete_is_done_once_it_is_allowed(guarded: Guarded):
    with EtcdWriter(guarded.client, RULES, WriterOptions(**QUICK)) as writer:
        for name in ("b/x", "b/y", "a/x"):
            writer.put(f"{PREFIX}{name}", b"")
        assert writer.wait_ready(WAIT_S)
        guarded.grant("read", f"{PREFIX}b/")
        writer.delete(f"{PREFIX}b/x")
        writer.delete(f"{PREFIX}a/x")
        eventually(lambda: writer.refused().keys() == {f"{PREFIX}b/x"}, "the denied delete")
        writer.mark(f"{PREFIX}synced/1")  # the key stands there, so nothing is missing
        eventually(lambda: writer.is_written(f"{PREFIX}synced/1"), "the mark")
        assert guarded.names() == {f"{PREFIX}b/x", f"{PREFIX}b/y", f"{PREFIX}synced/1"}
        guarded.grant("readwrite", f"{PREFIX}b/")
        eventually(lambda: guarded.names() == {f"{PREFIX}b/y", f"{PREFIX}synced/1"}, "the delete")


def test_a_key_that_somebody_deletes_while_its_right_is_away_comes_back_with_the_right(guarded: Guarded):
    with EtcdWriter(guarded.client, RULES, WriterOptions(**QUICK)) as writer:
        key = f"{PREFIX}b/x"
        writer.put(key, b"")
        assert writer.wait_ready(WAIT_S)
        guarded.grant("read", f"{PREFIX}b/")
        guarded.root.delete(key.encode())
        eventually(lambda: key in writer.refused(), "that it is denied")
        guarded.grant("readwrite", f"{PREFIX}b/")
        eventually(lambda: key in guarded.names(), "the key")
        assert writer.stats().connections == 1


# --- at the start -----------------------------------------------------------------------------------------------------


def test_keys_that_may_be_written_are_written_though_the_first_transaction_is_denied(guarded: Guarded):
    """A first transaction of denied keys only ended the connection, again and again."""
    with EtcdWriter(guarded.client, RULES, WriterOptions(**QUICK)) as writer:
        writer.update({f"{PREFIX}never/{number}": b"" for number in range(150)})
        writer.put(f"{PREFIX}a/x", b"")
        eventually(lambda: guarded.names() == {f"{PREFIX}a/x"}, "the key that may be written")
        eventually(lambda: writer.health.startswith("OK, but 150 keys are not written: "), "what it says")
        assert writer.stats().connections == 1


def test_a_writer_that_may_write_nothing_is_not_ready_and_says_so(guarded: Guarded):
    with EtcdWriter(guarded.client, RULES, WriterOptions(**QUICK)) as writer:
        writer.put(f"{PREFIX}never/x", b"")
        eventually(lambda: writer.health.startswith("failing: "), "what it says")
        assert "permission denied" in writer.health
        assert not writer.ready
        guarded.grant("readwrite", f"{PREFIX}never/")
        assert writer.wait_ready(WAIT_S)
        assert writer.health == "OK"


def test_a_denied_heartbeat_is_told_once_and_stops_nothing_else(guarded: Guarded, caplog: pytest.LogCaptureFixture):
    """At the start it ended each connection; later it was logged and reported again each second."""
    guarded.grant("read", "beat")
    rules = Rules(prefixes=(PREFIX,), heartbeat="beat")
    reports: list[object] = []
    options = WriterOptions(**QUICK, heartbeat_s=0.05)
    with EtcdWriter(guarded.client, rules, options, report=reports.append) as writer:
        writer.put(f"{PREFIX}a/x", b"")
        eventually(lambda: guarded.names() == {f"{PREFIX}a/x"}, "the key")
        eventually(lambda: "beat" in writer.refused(), "that the heartbeat is refused")
        assert not writer.ready
        for number in range(2):  # the heartbeat is tried once a second
            writer.beat()
            writer.put(f"{PREFIX}a/x", b"%d" % number)
            eventually(lambda: guarded.root.get(f"{PREFIX}a/x".encode()).kv.value == b"%d" % number)  # noqa: B023
        assert writer.health.startswith("failing: beat: ")
        assert len([each for each in caplog.records if "beat" in each.getMessage()]) == 1
        assert len(reports) == 1
        guarded.grant("readwrite", "beat")
        assert writer.wait_ready(WAIT_S)
        assert not writer.refused()


# --- marks that cannot be withdrawn -----------------------------------------------------------------------------------

BEATING = Rules(
    prefixes=(PREFIX,), heartbeat="beat", rank=lambda key: int("/synced/" in key), part_of=lambda _: "the one"
)


def test_no_heartbeat_vouches_for_a_mark_that_cannot_be_deleted_while_keys_are_missing(guarded: Guarded):
    """The heartbeat went on beside the mark, so readers took the missing key for deleted."""
    guarded.grant("readwrite", "beat")
    options = WriterOptions(**QUICK, heartbeat_s=0.05, stuck_s=0.3)
    keys, mark = [f"{PREFIX}a/x", f"{PREFIX}b/x"], f"{PREFIX}synced/1"

    def begin() -> EtcdWriter:
        writer = EtcdWriter(guarded.client, BEATING, options)
        for key in keys:
            writer.put(key, b"")
        writer.mark(mark)
        return writer

    with begin() as writer:
        assert writer.wait_ready(WAIT_S)
    guarded.grant("read", f"{PREFIX}synced/")
    guarded.grant("read", f"{PREFIX}b/")
    root = guarded.root
    root.delete_prefix(PREFIX.encode() + b"a/")
    root.delete_prefix(PREFIX.encode() + b"b/")
    beat = root.get(b"beat").kv
    with begin() as writer:
        eventually(lambda: f"{PREFIX}a/x" in guarded.names(), "the key that may be written")
        eventually(lambda: writer.health.startswith("stuck for "), "that the heartbeat waits")
        assert "a mark that says otherwise cannot be deleted" in writer.health
        assert not writer.ready
        assert root.get(b"beat").kv == beat
        guarded.grant("readwrite", f"{PREFIX}b/")
        eventually(lambda: root.get(b"beat").kv != beat, "the heartbeat beside a mark that is true again")
        assert guarded.names() == {*keys, mark}
        guarded.grant("readwrite", f"{PREFIX}synced/")
        eventually(lambda: writer.health == "OK", "that all is well")


def test_no_heartbeat_vouches_for_a_withdrawn_mark_whose_part_waits_for_another_denied_delete(guarded: Guarded):
    """The part waits for the deletion of one mark, and the writer no longer thought of the other one."""
    for prefix in ("beat", f"{PREFIX}config"):
        guarded.grant("readwrite", prefix)
    config, key, required, other = (f"{PREFIX}{name}" for name in ("config", "a/x", "synced/required", "synced/other"))
    rules = msgspec.structs.replace(
        BEATING,
        rank=lambda name: 2 if name == required else int("/synced/" in name),
        delete_first=lambda name, _, present: [required] if name == config and required in present else [],
    )

    def begin(value: bytes) -> EtcdWriter:
        writer = EtcdWriter(guarded.client, rules, WriterOptions(**QUICK, heartbeat_s=0.05, stuck_s=0.3))
        writer.update({config: value, key: b""})
        for mark in (required, other):
            writer.mark(mark)
        return writer

    with begin(b"1") as writer:
        assert writer.wait_ready(WAIT_S)
    guarded.grant("read", f"{PREFIX}synced/")
    root = guarded.root
    root.delete(key.encode())
    beat = root.get(b"beat").kv
    with begin(b"2") as writer:
        eventually(lambda: "must be deleted first" in getattr(writer.refused().get(key), "reason", ""), "the block")
        for _ in range(2):  # the second begins when the first has been tried
            writer.beat()
            eventually(lambda: not writer._writer_state.beat.is_set(), "that the heartbeat is tried")
        assert root.get(b"beat").kv == beat
        eventually(lambda: writer.health.startswith("stuck for "), "that the heartbeat waits")
        assert "a mark that says otherwise cannot be deleted" in writer.health
        guarded.grant("readwrite", f"{PREFIX}synced/")
        eventually(lambda: writer.health == "OK", "that all is well")
        assert guarded.names() == {config, key, required, other}
        eventually(lambda: root.get(b"beat").kv != beat, "the heartbeat")


# --- a full etcd, and values that change ------------------------------------------------------------------------------


def test_a_denied_delete_in_a_full_etcd_costs_only_itself():
    """A full etcd 3.5 does not check rights at all. So the denial is injected; the rest is real."""
    with LocalEtcd(arguments=["--quota-backend-bytes=2000000"]) as etcd:
        etcd.start()
        client = etcd.client()

        class Denying(Interposed):
            def commit(self, puts: list[tuple[bytes, bytes, int]], deletes: list[bytes], *arguments: Any) -> Any:
                """With a put: a transaction that only deletes is refused or not, by the size of the file just then."""
                return super().commit([*puts, (b"elsewhere", b"", 0)], deletes, *arguments)

            def delete(self, key: bytes) -> int:
                if key == f"{PREFIX}0".encode():
                    raise PermissionDenied("permission denied")
                return client.delete(key)

        with EtcdWriter(lambda: Denying(client, lambda *_: None), RULES, WriterOptions(**QUICK)) as writer:
            writer.update(numbered(3))
            assert writer.wait_ready(WAIT_S)
            fill(etcd)
            writer.update({f"{PREFIX}0": None, f"{PREFIX}1": None})
            eventually(lambda: stands(etcd).keys() == {f"{PREFIX}0", f"{PREFIX}2"}, "the delete that is allowed")
            eventually(lambda: writer.refused().keys() == {f"{PREFIX}0"}, "the other")
            assert writer.stats().connections == 1
            empty(etcd)
            eventually(lambda: stands(etcd).keys() == {f"{PREFIX}2"}, "the delete by a transaction")


def test_a_value_that_changes_while_the_old_one_is_refused_is_written(etcd: LocalEtcd):
    """The new value was taken for the refused one, and not written before it changed again."""
    key = f"{PREFIX}0"

    def change(puts: set[bytes], _: set[bytes]) -> None:
        if key.encode() in puts:
            writer.put(key, b"new")

    with EtcdWriter(lambda: Interposed(etcd.client(), change), RULES, WriterOptions(**QUICK)) as writer:
        writer.put(f"{PREFIX}1", b"")
        assert writer.wait_ready(WAIT_S)
        writer.put(key, b"x" * 2_000_000)
        writer.mark(f"{PREFIX}mark")
        eventually(lambda: stands(etcd).get(key) == b"new", "the new value")
        eventually(lambda: f"{PREFIX}mark" in stands(etcd), "the mark")
        with etcd.client() as client:
            revisions = [client.get(each.encode()).kv.mod_revision for each in (key, f"{PREFIX}mark")]
        assert revisions == sorted(revisions), "the mark came before the value"
        assert not writer.refused()


# --- any history ------------------------------------------------------------------------------------------------------

FOLDERS = ("a/", "b/", "synced/", "beat")
name = st.sampled_from([f"{PREFIX}{folder}{number}" for folder in ("a/", "b/") for number in range(3)])
step = st.one_of(
    st.tuples(st.just("put"), name, st.sampled_from([b"1", b"22"])),
    st.tuples(st.just("delete"), name),
    st.tuples(st.just("take"), st.sampled_from(FOLDERS)),
    st.tuples(st.just("give"), st.sampled_from(FOLDERS)),
    st.tuples(st.just("other deletes"), name),
    st.tuples(st.sampled_from(["mark", "revoke", "cut", "settle"])),
)
MARK = f"{PREFIX}synced/mark"


class RightsHistory:
    """A writer, what it was told, and an administrator who takes rights and keys."""

    def __init__(self, guarded: Guarded) -> None:
        self.guarded = guarded
        self.wanted: dict[str, bytes] = {}
        self.clients: list[Client] = []
        options = WriterOptions(
            **QUICK, lease_keys_max=2, lease_time_s=60.0, repair_min_s=0.01, repair_max_s=0.02, heartbeat_s=0.1
        )
        self.writer = EtcdWriter(self.connect, BEATING, options)
        self.writer.delete_others()

    def connect(self) -> Client:
        self.clients.append(self.guarded.client())
        return self.clients[-1]

    def right(self, right: str, folder: str) -> None:
        self.guarded.grant(right, folder if folder == "beat" else f"{PREFIX}{folder}")

    def do(self, root: Client, what: str, *arguments: Any) -> None:
        match what, arguments:
            case "put", (key, value):
                self.wanted[key] = value
                self.writer.put(key, value)
            case "delete", (key,):
                self.wanted.pop(key, None)
                self.writer.delete(key)
            case "mark", ():
                self.writer.mark(MARK)
            case "take", (folder,):
                self.right("read", folder)
            case "give", (folder,):
                self.right("readwrite", folder)
            case "other deletes", (key,):
                root.delete(key.encode())
            case "revoke", ():
                for lease in {kv.lease for page in root.list(PREFIX.encode()) for kv in page.kvs} - {0}:
                    root.revoke(lease)
            case "cut", ():
                for client in self.clients[-1:]:
                    client.close()
            case _:
                self.settle(root)

    def settle(self, root: Client) -> None:
        for folder in FOLDERS:
            self.right("readwrite", folder)

        def is_equal() -> bool:
            there = {kv.key.decode(): kv.value for page in root.list(PREFIX.encode()) for kv in page.kvs}
            there.pop(MARK, None)
            return there == self.wanted and self.writer.health == "OK"

        eventually(is_equal, self.writer.health)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(step, min_size=5, max_size=20))
def test_after_any_history_of_rights_the_etcd_is_what_the_writer_was_told(
    shared: Guarded, steps: list[tuple[Any, ...]]
):
    shared.reset((f"{PREFIX}a/", f"{PREFIX}b/", f"{PREFIX}synced/", "beat"))
    history = RightsHistory(shared)
    with history.writer:
        history.writer.mark(MARK)
        for what, *arguments in steps:
            history.do(shared.root, what, *arguments)
        history.settle(shared.root)
        eventually(lambda: shared.root.get(MARK.encode()).kv is not None, "the mark")
