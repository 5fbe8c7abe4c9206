"""Leader election: two never lead at once, whatever their clocks, their requests and their pauses."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from ingest import InvalidOptions, kubernetes
from ingest.kubernetes.election import Election
from ingest.kubernetes.errors import Absent, Conflict, Unavailable
from statedb.catalog import ObjectKey

from ...apiserver.server import ApiServer
from .informing import new_namespace, options

LEASE_S, RENEW_S, RETRY_S = 15.0, 10.0, 2.0


class World:
    """True time, and one Lease with optimistic locking, as the API server keeps it.

    ``requests``: of each request how long it and its answer are under way, whether the answer is lost, and what
    happens before the server takes it, and after.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.requests: list[tuple[float, float, bool, Callable[[], None], Callable[[], None]]] = []
        self.version = 0
        self.lease: dict[str, Any] | None = None

    def get(self, resource: str, key: ObjectKey) -> dict[str, Any]:
        request = self._before()
        if self.lease is None:
            raise Absent("none")
        return self._after(self.lease, request)

    def create(self, value: dict[str, Any]) -> dict[str, Any]:
        request = self._before()
        if self.lease is not None:
            raise Conflict("there is one")
        return self._after(self._store(value), request)

    def replace(self, value: dict[str, Any]) -> dict[str, Any]:
        request = self._before()
        if self.lease is None or value["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Conflict("somebody was faster")
        return self._after(self._store(value), request)

    def _store(self, value: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.lease = {**value, "metadata": {**value["metadata"], "resourceVersion": str(self.version)}}
        return self.lease

    def _before(self) -> tuple[float, bool, Callable[[], None]]:
        request = self.requests.pop(0) if self.requests else (0.0, 0.0, False, nothing, nothing)
        there, back, lost, before, after = request
        self.now += there
        before()
        return back, lost, after

    def _after(self, lease: dict[str, Any], request: tuple[float, bool, Callable[[], None]]) -> dict[str, Any]:
        back, lost, after = request
        after()
        self.now += back
        if lost:
            raise Unavailable("the answer was lost")
        return lease


def nothing() -> None:
    """Nothing happens meanwhile."""


def candidate(world: World, name: str, rate: float = 1.0, offset: float = 0.0) -> Election:
    return Election(
        world,
        "default",
        "one",
        identity=name,
        lease_s=LEASE_S,
        renew_s=RENEW_S,
        retry_s=RETRY_S,
        clock=lambda: offset + rate * world.now,
    )


CANDIDATES = 2
TIMES = st.sampled_from([0.0, 1.0, 2.0, 4.0, 7.0, 11.0, 16.0])
REQUESTS = st.lists(st.tuples(TIMES, TIMES, *[st.booleans()] * 3), max_size=2)
EQUAL = ((1.0, 0.0), (1.0, 0.0))
AT_ONCE = (0.0, 0.0, False, False, False)
STEPS = st.lists(
    st.tuples(st.integers(0, CANDIDATES - 1), TIMES, st.sampled_from([True, True, True, False]), REQUESTS), max_size=12
)
CLOCKS = st.tuples(st.sampled_from([0.82, 1.0, 1.2]), st.sampled_from([0.0, -1e6, 1e6]))


@settings(max_examples=500)
@example([(0, 0.0, True, [AT_ONCE, (0.0, 16.0, False, False, True)]), (1, 0.0, True, [])], EQUAL)
@example([(0, 0.0, True, []), (1, 0.0, True, [(16.0, 0.0, False, True, False)]), (1, 0.0, True, [])], EQUAL)
@example([(0, 0.0, True, []), (1, 0.0, True, []), (1, 9.5, True, [])], EQUAL)
@given(STEPS, st.tuples(*[CLOCKS] * CANDIDATES))
def test_two_never_lead_at_once(steps: list[Any], clocks: tuple[tuple[float, float], ...]):
    world = World()
    candidates = [candidate(world, f"c{place}", *clock) for place, clock in enumerate(clocks)]

    def act(place: int, attempts: bool) -> None:
        with suppress(Unavailable, Conflict, Absent):
            (candidates[place].attempt if attempts else candidates[place].release)()
        assert sum(each.leads for each in candidates) <= 1

    def other(place: int) -> Callable[[], None]:
        def meanwhile() -> None:
            left, world.requests = world.requests, []
            act((place + 1) % CANDIDATES, True)
            world.requests = left

        return meanwhile

    for place, pause, attempts, requests in steps:
        world.now += pause
        assert sum(each.leads for each in candidates) <= 1
        world.requests = [
            (there, back, lost, *[other(place) if interrupted else nothing for interrupted in interruptions])
            for there, back, lost, *interruptions in requests
        ]
        act(place, attempts)


def test_a_frozen_leader_finds_its_time_over_and_another_one_leads():
    world = World()
    first, second = candidate(world, "first"), candidate(world, "second", offset=-1e9)
    first.attempt()
    second.attempt()
    assert (first.leads, second.leads) == (True, False)
    world.now += RENEW_S  # the first is frozen
    assert not first.leads
    second.attempt()
    assert not second.leads
    world.now += LEASE_S - RENEW_S
    second.attempt()
    assert (first.leads, second.leads) == (False, True)
    first.attempt()
    assert (first.leads, second.leads) == (False, True)
    assert world.lease is not None
    assert world.lease["spec"]["leaseTransitions"] == 1


def test_candidates_on_a_real_api_server(apiserver: ApiServer):
    namespace = new_namespace(apiserver)
    with kubernetes.writer("tests", options(apiserver)) as writer:
        times = {"lease_s": 3600.0, "renew_s": 1800.0, "retry_s": 0.05}
        with Election(writer, namespace, "one", identity="first", **times) as first:
            assert first.wait(timeout=30)
            with Election(writer, namespace, "one", identity="second", **times) as second:
                held = writer.get("lease", ObjectKey("", namespace, "one"))
                assert held["spec"]["holderIdentity"] == "first"
                assert not second.leads
                first.__exit__()
                assert not first.leads
                assert second.wait(timeout=30)
        assert not writer.get("lease", ObjectKey("", namespace, "one"))["spec"].get("holderIdentity")


def test_times_that_could_let_two_lead_are_refused():
    for times in ((15.0, 15.0, 2.0), (15.0, 10.0, 10.0), (15.0, 10.0, 0.0), (math.nan, 10.0, 2.0)):
        with pytest.raises(InvalidOptions, match="renew_s below lease_s"):
            Election(World(), "a", "b", lease_s=times[0], renew_s=times[1], retry_s=times[2])
