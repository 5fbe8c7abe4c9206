"""Services joined with their slices: whatever comes in whatever batches, the rows are those of the last good values."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings, strategies as st

from ingest.events import Bad, Delete, Listed, Upsert
from ingest.kubernetes.services import ServiceJoin, _pack, _unpack
from statedb.catalog import Backend, BackendKey, Service, ServiceKey
from statedb.catalog.wire import crds

FEED = "services"
names = st.sampled_from("abc")
slice_names = st.sampled_from("1234")


def service(name: str, version: int) -> Service:
    return Service(ServiceKey("c", "ns", name), labels=(("version", str(version)),))


def backends(name: str, ips: set[int]) -> tuple[Backend, ...]:
    return tuple(Backend(BackendKey("c", "ns", name, f"10.0.0.{ip}", 80, "TCP"), ("http",)) for ip in sorted(ips))


service_events = st.one_of(
    st.builds(
        lambda name, version: Upsert(FEED, f"services/ns/{name}", (service(name, version),)), names, st.integers(0, 2)
    ),
    st.builds(lambda name: Upsert(FEED, f"services/ns/{name}", ()), names),
    st.builds(lambda name: Bad(FEED, f"services/ns/{name}", "bad"), names),
    st.builds(lambda name: Delete(FEED, f"services/ns/{name}"), names),
)
slice_events = st.one_of(
    st.builds(
        lambda each, name, ips: Upsert(FEED, f"slices/{each}", backends(name, ips)),
        slice_names,
        names,
        st.sets(st.integers(1, 3)),
    ),
    st.builds(lambda each: Bad(FEED, f"slices/{each}", "bad", table="backends"), slice_names),
    st.builds(lambda each: Delete(FEED, f"slices/{each}"), slice_names),
)
steps = st.one_of(
    st.tuples(st.just("service"), service_events),
    st.tuples(st.just("slice"), slice_events),
    st.tuples(st.just("drain"), st.none()),
    st.tuples(st.sampled_from(["list services", "list slices"]), st.none()),
)


LISTED: list[tuple[str, Any]] = [("list services", None), ("list slices", None)]
GOOD = Upsert(FEED, "services/ns/b", (service("b", 0),))
UNSHARED = Upsert(FEED, "services/ns/b", ())
BAD = Bad(FEED, "services/ns/b", "bad")


class SocketAddress:
    """What the server holds, and the last good value of each."""

    def __init__(self) -> None:
        self.now: dict[str, Upsert | Bad] = {}
        self.good: dict[str, tuple[Any, ...]] = {}

    def take(self, event: Upsert | Bad | Delete) -> None:
        if isinstance(event, Delete):
            self.now.pop(event.object, None)
            self.good.pop(event.object, None)
            return
        self.now[event.object] = event
        if isinstance(event, Upsert):
            self.good[event.object] = event.rows


class Told:
    """What the events of the feed add up to."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[Any, ...]] = {}
        self.bad: set[str] = set()
        self.is_listed = False

    def take(self, event: Any) -> None:
        if isinstance(event, Listed):
            self.is_listed = True
            present = {each.object for each in event.objects}
            self.rows = {name: rows for name, rows in self.rows.items() if name in present}
            self.bad = {each.object for each in event.objects if isinstance(each, Bad)}
            for each in event.objects:
                self.take(each)
        elif isinstance(event, Bad):
            self.bad.add(event.object)
        else:
            self.bad.discard(event.object)
            self.rows.pop(event.object, None)
            if isinstance(event, Upsert) and event.rows:
                self.rows[event.object] = event.rows


@settings(max_examples=500)
@given(st.lists(steps, max_size=25))
@example([*LISTED, ("service", GOOD), ("service", BAD)])
@example([*LISTED, ("service", GOOD), ("drain", None), ("service", UNSHARED), ("service", BAD)])
def test_what_is_told_adds_up_to_what_is_there(history: list[tuple[str, Any]]):
    join, told = ServiceJoin(FEED), Told()
    services, slices = SocketAddress(), SocketAddress()
    listed: set[str] = set()
    for step, event in [*history, ("list services", None), ("list slices", None)]:
        if step in ("service", "slice") and f"list {step}s" not in listed:
            continue  # a watch begins where a list ends
        listed.add(step)
        if step == "service":
            services.take(event)
            join.take_service(event)
        elif step == "slice":
            slices.take(event)
            join.take_slice(event)
        elif step == "list services":
            join.list_services(list(services.now.values()), full=True)
        elif step == "list slices":
            join.list_slices(list(slices.now.values()), full=True)
        for said in join.drain() if step != "service" and step != "slice" else ():
            told.take(said)
    assert told.is_listed
    wanted = {name: rows[0] for name, rows in services.good.items() if rows}
    assert {name: rows[0] for name, rows in told.rows.items()} == wanted
    for name, row in wanted.items():
        if isinstance(services.now[name], Upsert):
            of = [rows for each, rows in sorted(slices.good.items()) if rows and rows[0].service == row.key]
            assert told.rows[name][1:] == crds.join(row, of)
    bad = {name for place in (services, slices) for name, each in place.now.items() if isinstance(each, Bad)}
    assert told.bad == bad


@given(st.lists(slice_events, max_size=10), st.sets(slice_names))
def test_slices_that_a_doubtful_list_leaves_out_stay_until_released(events: list[Any], left: set[str]):
    join, slices = ServiceJoin(FEED), SocketAddress()
    join.list_services([Upsert(FEED, f"services/ns/{name}", (service(name, 0),)) for name in "abc"], full=True)
    join.list_slices([], full=True)
    for event in events:
        slices.take(event)
        join.take_slice(event)
    told = Told()
    for said in join.drain():
        told.take(said)
    before = dict(told.rows)
    kept = [event for name, event in slices.now.items() if name.removeprefix("slices/") in left]
    join.list_slices(kept, full=False)
    for said in join.drain():
        told.take(said)
    assert told.rows == before
    gone = {name for name, rows in slices.good.items() if rows and name not in {event.object for event in kept}}
    assert join.withheld_slices == len(gone)
    join.release_slices()
    for said in join.drain():
        told.take(said)
    for name in "abc":
        row = service(name, 0)
        of = [
            rows
            for each, rows in sorted(slices.good.items())
            if each not in gone and rows and rows[0].service == row.key
        ]
        assert told.rows[f"services/ns/{name}"] == (row, *crds.join(row, of))


@given(names, st.sets(st.integers(1, 250), min_size=1))
def test_packed_rows_come_out_as_they_went_in(name: str, ips: set[int]):
    rows = backends(name, ips)
    assert _unpack(_pack(rows), rows[0].service) == (rows, None)


def test_a_value_that_is_good_and_then_bad_within_one_batch_is_told():
    join = ServiceJoin(FEED)
    join.list_services([], full=True)
    join.list_slices([], full=True)
    join.drain()
    join.take_service(Upsert(FEED, "services/ns/a", (service("a", 1),)))
    join.take_service(Bad(FEED, "services/ns/a", "bad"))
    assert join.drain() == [
        Upsert(FEED, "services/ns/a", (service("a", 1),)),
        Bad(FEED, "services/ns/a", "bad"),
    ]
