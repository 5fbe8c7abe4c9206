"""One of several writers leads. Another takes over, and whoever leads anew reads anew what it should write."""

from __future__ import annotations

import threading
import time

from consumers.etcd.election import Election
from ingest.etcd.local import LocalEtcd

from ...waiting import WAIT_S, eventually
from .writing import PREFIX, Writing, stands


def test_of_several_one_leads_and_another_takes_over_within_five_seconds(cache: LocalEtcd):
    one = Writing(cache, {f"{PREFIX}a": b"1"}, leader_election=True)
    two = Writing(cache, {f"{PREFIX}a": b"2"}, leader_election=True)
    with one as first:
        assert first.wait_ready(WAIT_S)
        with two as second:
            assert second.wait_ready(WAIT_S)
            assert second.health.startswith("OK, standing by: ")
            assert stands(cache) == {f"{PREFIX}a": b"1"}
            one.is_cut_off = True  # it dies, and nobody revokes its lease
            one.cut()
            begun = time.monotonic()
            eventually(lambda: stands(cache) == {f"{PREFIX}a": b"2"}, "the other one's value")
            assert time.monotonic() - begun < 5
            one.is_cut_off = False
            eventually(lambda: first.health.startswith("OK, standing by: "), "the old leader")
            first.put(f"{PREFIX}a", b"3")
            second.put(f"{PREFIX}b", b"2")
            eventually(lambda: f"{PREFIX}b" in stands(cache))
            assert stands(cache)[f"{PREFIX}a"] == b"2"
        begun = time.monotonic()
        eventually(lambda: stands(cache)[f"{PREFIX}a"] == b"3", "the first one's value")
        assert time.monotonic() - begun < 2  # the second one resigned


def test_a_leader_that_was_replaced_without_knowing_it_cannot_write(cache: LocalEtcd):
    writing = Writing(cache, {f"{PREFIX}a": b"1"}, leader_election=True, leader_time_s=60)
    with writing as writer, cache.client() as client:
        assert writer.wait_ready(WAIT_S)
        client.put(b"statedb/leader/etcd writer", b"another")
        writer.put(f"{PREFIX}a", b"2")
        eventually(lambda: writer.health == "OK, standing by: another leads")
        assert stands(cache)[f"{PREFIX}a"] == b"1"


def test_a_leader_that_led_before_reads_anew_what_it_should_write(cache: LocalEtcd):
    """What was put while it stood by must not be lost, nor what was deleted."""
    key = b"statedb/leader/etcd writer"
    writing = Writing(cache, {f"{PREFIX}a": b"1"}, leader_election=True, leader_time_s=60)
    with writing as writer, cache.client() as client:
        assert writer.wait_ready(WAIT_S)
        client.put(key, b"another")
        eventually(lambda: writer.health == "OK, standing by: another leads")
        writer.put(f"{PREFIX}a", b"2")
        client.put(f"{PREFIX}b".encode(), b"")
        eventually(lambda: f"{PREFIX}b" in writer._session.present)
        writer.delete(f"{PREFIX}b")
        eventually(lambda: not writer.queue_size, "that it does nothing")
        assert stands(cache) == {f"{PREFIX}a": b"1", f"{PREFIX}b": b""}
        client.delete(key)
        eventually(lambda: stands(cache) == {f"{PREFIX}a": b"2"}, "all that changed meanwhile")


def test_a_lead_that_was_lost_and_won_between_two_looks_is_a_new_term(cache: LocalEtcd):
    with cache.client() as client, Election(client, "leader", "me", 60, threading.Event()) as election:
        eventually(lambda: election.leads)
        term = election.term
        client.delete(b"leader")
        eventually(lambda: election.term > term)
        eventually(lambda: election.leads)
