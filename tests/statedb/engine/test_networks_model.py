"""Prefix indexes against brute force with ``ipaddress``: every question and every watch, in transactions, after them,
and on snapshots that have long been superseded."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from statedb import Database, PrefixIndex, Table, UniqueIndex, Watch
from statedb.engine import order as _order, store as _store

AnyNetwork = IPv4Network | IPv6Network


class Route(msgspec.Struct, frozen=True):
    name: str
    networks: tuple[Any, ...]
    amount: int = 0


class Routes(Table[str, Route], name="routes"):
    primary = UniqueIndex[str, Route](lambda route: route.name)
    by_network = PrefixIndex[Any, Route](lambda route: route.networks)


# -- the model: all rows, one after the other -------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def network_of(given: Any) -> AnyNetwork:
    """Any accepted form as ``ipaddress`` has it."""
    return ip_network(ip_address(given)) if isinstance(given, bytes) else ip_network(given, strict=False)


@lru_cache(maxsize=65536)
def holds(outer: AnyNetwork, inner: AnyNetwork) -> bool:
    if outer.version != inner.version:
        return False
    return inner.subnet_of(outer)


def names(rows: Iterable[Route]) -> list[str]:
    return [row.name for row in rows]


class Model:
    """The answers, found by looking at every row."""

    def __init__(self, rows: dict[str, Route]) -> None:
        pairs = {(network_of(network), name) for name, row in rows.items() for network in row.networks}
        self.pairs = sorted(pairs, key=lambda p: (p[0].version, int(p[0].network_address), p[0].prefixlen, p[1]))

    def exact(self, asked: AnyNetwork) -> list[str]:
        return [name for network, name in self.pairs if network == asked]

    def covering(self, asked: AnyNetwork) -> list[str]:
        found = [(network.prefixlen, name) for network, name in self.pairs if holds(network, asked)]
        return list(dict.fromkeys([name for _, name in sorted(found)]))

    def longest(self, asked: AnyNetwork) -> list[str]:
        found = [(network.prefixlen, name) for network, name in self.pairs if holds(network, asked)]
        return sorted([name for length, name in found if length == max(found)[0]])

    def within(self, asked: AnyNetwork) -> list[str]:
        return list(dict.fromkeys([name for network, name in self.pairs if holds(asked, network)]))

    def keys(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([str(network) for network, _ in self.pairs]))


def agrees(view: Any, rows: dict[str, Route], questions: list[Any]) -> None:
    """The view of an index answers as the model does."""
    model = Model(rows)
    assert view.keys() == model.keys()
    for question in questions:
        asked = network_of(question)
        assert names(view[question]) == names(view.get(question)) == model.exact(asked), question
        assert (question in view) == bool(model.exact(asked)), question
        assert names(view.longest(question)) == model.longest(asked), question
        assert names(view.covering(question)) == model.covering(asked), question
        assert names(view.within(question)) == model.within(asked), question
        for row in view.covering(question) + view.within(question):
            assert row is rows[row.name]


# -- watches ----------------------------------------------------------------------------------------------------------

CONCERNS: dict[str, Callable[[AnyNetwork, AnyNetwork], bool]] = {
    "watch": lambda asked, network: asked == network,
    "watch_longest": lambda asked, network: holds(network, asked),  # also says whether ``covering`` may differ
    "watch_within": lambda asked, network: holds(asked, network),
}


class Watched(NamedTuple):
    watch: Watch
    kind: str
    asked: AnyNetwork
    commits: int  # how many there had been where it was asked


def touched(kind: str, asked: AnyNetwork, before: dict[str, Route], after: dict[str, Route]) -> bool:
    """Whether a commit changed a row that stands, or stood, under a network of this concern."""
    changed = [
        row
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
        for row in (before.get(name), after.get(name))
        if row is not None
    ]
    return any(CONCERNS[kind](asked, network_of(network)) for row in changed for network in row.networks)


def watches_of(view: Any, questions: list[Any], commits: int) -> list[Watched]:
    return [
        Watched(getattr(view, kind)(question), kind, network_of(question), commits)
        for kind in CONCERNS
        for question in questions
    ]


def have_tripped_where_they_had_to(watched: list[Watched], states: list[dict[str, Route]]) -> None:
    newest = Model(states[-1])
    for watch, kind, asked, commits in watched:
        since = states[commits:]
        expected = any(touched(kind, asked, before, after) for before, after in pairwise(since))
        assert watch.tripped == expected, (kind, asked)
        if not watch.tripped:  # what users rely on: who was not woken need not ask again
            old = Model(states[commits])
            if kind == "watch_longest":
                assert (old.longest(asked), old.covering(asked)) == (newest.longest(asked), newest.covering(asked))
            elif kind == "watch_within":
                assert old.within(asked) == newest.within(asked)
            else:
                assert old.exact(asked) == newest.exact(asked)


# -- what is tried ----------------------------------------------------------------------------------------------------

ADDRESSES = (
    *["10.1.2.3", "fd00:8000::1"] * 4,  # most networks hold one of these two: so they hold each other
    *["0.0.0.0", "10.0.0.0", "10.1.2.255", "10.1.3.0", "128.0.0.0", "255.255.255.255"],
    *["::", "::1", "fd00::", "fd00::1:0:0:1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    "::ffff:10.1.2.3",  # an IPv6 address, whatever it means to people
)
LENGTHS = (0, 1, 7, 8, 9, 16, 17, 24, 31, 32, 63, 64, 65, 127, 128)


@st.composite
def given_networks(draw: Any) -> Any:
    """An address or network near others, in one of the forms that are accepted."""
    address = ip_address(draw(st.sampled_from(ADDRESSES)))
    bits = address.max_prefixlen
    length = draw(st.sampled_from([n for n in LENGTHS if n <= bits]) | st.integers(0, bits))
    if length == bits:
        return draw(st.sampled_from([str(address), f"{address}/{bits}", address, address.packed, ip_network(address)]))
    text = f"{address}/{length}"  # with host bits, where the address has any
    return draw(st.sampled_from([text, ip_network(text, strict=False)]))


routes = st.builds(
    Route,
    st.sampled_from(["a", "b", "c", "d", "e"]),
    st.lists(given_networks(), max_size=4).map(tuple),
    st.integers(0, 1),
)


class Writes(NamedTuple):
    """One transaction: rows to insert, names to delete (None: all), how it ends, what is kept of the time before."""

    steps: list[Any]
    commits: bool
    keeps: bool
    watches_old: bool


writes = st.builds(
    Writes,
    st.lists(routes | routes | routes | st.sampled_from(["a", "b", "c", None]), max_size=4),
    st.sampled_from([True, True, True, False]),
    st.booleans(),
    st.booleans(),
)


def run(history: list[Writes], questions: list[Any], *, exact: bool) -> None:
    """Play a history; ``exact`` where history is not compacted, so that each commit is known to late watches."""
    db = Database(Routes)
    states: list[dict[str, Route]] = [{}]
    kept: list[tuple[Any, int]] = []
    watched: list[Watched] = []
    for write in history:
        if write.keeps:
            kept.append((db.snapshot()[Routes.by_network], len(states) - 1))
        watched += watches_of(db.snapshot()[Routes.by_network], questions[:2], len(states) - 1)
        if write.watches_old and kept and exact:
            view, commits = kept[0]
            watched += watches_of(view, questions[-2:], commits)
        staged = dict(states[-1])
        txn = db.write(Routes)
        watched += watches_of(txn[Routes.by_network], questions[-1:], len(states) - 1)
        for step in write.steps:
            if isinstance(step, Route):
                assert txn[Routes].insert(step) == staged.get(step.name)
                if staged.get(step.name) != step:
                    staged[step.name] = step
            elif step is None:
                assert txn[Routes].clear() == len(staged)
                staged.clear()
            else:
                assert txn[Routes].delete(step) == staged.pop(step, None)
            agrees(txn[Routes.by_network], staged, questions)
        if write.commits:
            snapshot = txn.commit()
            states.append(staged)
            agrees(snapshot[Routes.by_network], staged, questions)
        else:
            txn.abort()
        agrees(db.snapshot()[Routes.by_network], states[-1], questions)
        for view, commits in kept:
            agrees(view, states[commits], questions)
        have_tripped_where_they_had_to(watched, states)
    db.check()


histories = st.lists(writes, min_size=1, max_size=5)
asked = st.lists(given_networks(), min_size=1, max_size=4)


@given(histories, asked)
@settings(max_examples=150)
def test_every_question_and_every_watch_as_brute_force_has_it(history: list[Writes], questions: list[Any]) -> None:
    run(history, questions, exact=True)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_store, "_COMPACT_EVERY", 2)
    monkeypatch.setattr(_order, "_REBUILD_SHARE", 0)
    monkeypatch.setattr(_order, "_KEPT_MIN", 0)


@pytest.mark.usefixtures("hurried")
def test_every_question_as_brute_force_has_it_while_the_history_is_compacted() -> None:
    given(histories, asked)(
        settings(max_examples=100)(lambda history, questions: run(history, questions, exact=False))
    )()


# -- watches, while others write --------------------------------------------------------------------------------------

ROUNDS = 600
FAMILIES = {
    4: ("10.1.2.3", "10.1.0.0/16", "10.0.0.0/8", "10.128.0.0/9"),
    6: ("fd00:1::3", "fd00:1::/32", "fd00::/16", "fd00:8000::/17"),
}
FORMS: dict[str, Callable[[str], Any]] = {
    "text": str,
    "object": lambda text: ip_network(text) if "/" in text else ip_address(text),
    "packed": lambda text: text if "/" in text else ip_address(text).packed,  # networks have no packed form
}


@pytest.fixture
def _switch_often() -> Iterator[None]:
    """Threads change places as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_switch_often")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("kind", "read"), [("watch", "get"), ("watch_longest", "covering"), ("watch_within", "within")]
)
def test_no_change_of_an_answer_is_lost_however_asking_and_committing_interleave(
    family: int, form: str, kind: str, read: str
) -> None:
    """One commit a round, while somebody reads and asks: an answer that is not the new one has a watch that trips.

    The row moves from one network to the next; whoever misses a commit would wait forever, since no other comes.
    """
    address, *networks = [FORMS[form](text) for text in FAMILIES[family]]
    asked = {"watch": networks[0], "watch_longest": address, "watch_within": networks[1]}[kind]
    turns: list[tuple[Any, ...]] = [(networks[0],), (networks[1],), (networks[2],), (address,), (), tuple(networks)]
    states = [Route("a", turns[number % len(turns)], number) for number in range(ROUNDS)]
    db = Database(Routes)
    go = threading.Semaphore(0)

    def write() -> None:
        for state in states:
            go.acquire()
            with db.write(Routes) as txn:
                txn[Routes].delete("a") if state.amount % 7 == 3 else txn[Routes].insert(state)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    waited = 0
    for state in states:
        there = {} if state.amount % 7 == 3 else {"a": state}
        reads = "exact" if read == "get" else read
        expected = tuple([there[name] for name in getattr(Model(there), reads)(network_of(asked))])
        go.release()
        view = db.snapshot()[Routes.by_network]
        while getattr(view, read)(asked) != expected:
            assert getattr(view, kind)(asked).wait(20), f"a change is lost in round {state.amount}"
            waited += 1
            view = db.snapshot()[Routes.by_network]
    writer.join(20)
    assert waited, "never was there anything to wait for"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_change_inside_wakes_only_who_asked_about_it(family: int) -> None:
    """One network comes, changes and goes: each of the three trips exactly those watches that stand over or under."""
    address, inner, outer, beside = FAMILIES[family]
    db = Database(Routes)
    changes: list[Callable[[Any], Any]] = [
        lambda routes: routes.insert(Route("a", (inner,))),
        lambda routes: routes.insert(Route("a", (inner,), 1)),
        lambda routes: routes.delete("a"),
    ]
    for change in changes:
        view = db.snapshot()[Routes.by_network]
        concerned = [view.watch(inner), view.watch_longest(address), view.watch_longest(inner)]
        concerned += [view.watch_within(outer), view.watch_within(inner)]
        others = [view.watch(outer), view.watch(address), view.watch_longest(outer), view.watch_longest(beside)]
        others += [view.watch_within(address), view.watch_within(beside)]
        woken = [threading.Thread(target=watch.wait) for watch in concerned]
        for thread in woken:
            thread.start()
        with db.write(Routes) as txn:
            change(txn[Routes])
        for thread in woken:
            thread.join(20)
            assert not thread.is_alive()
        assert [watch.tripped for watch in concerned] == [True] * len(concerned)
        assert [watch.tripped for watch in others] == [False] * len(others)
        late = [getattr(view, kind)(inner) for kind in CONCERNS]  # of the snapshot that is old now: born tripped
        assert [watch.tripped for watch in late] == [True] * len(late)


@pytest.mark.stress
@pytest.mark.timeout(3600)
@given(st.lists(writes, min_size=1, max_size=12), asked)
@settings(max_examples=3000)
def test_every_question_and_every_watch_as_brute_force_has_it_for_long(
    history: list[Writes], questions: list[Any]
) -> None:
    run(history, questions, exact=True)
