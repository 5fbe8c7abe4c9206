"""An exception at every line of reading, watching, following and staging: nothing is spoilt for whoever goes on."""

from collections.abc import Callable
from typing import Any

import pytest
from sortedcontainers import sortedlist

from statedb import Database, InvalidKey, Snapshot
from statedb.engine import turn

from ._helpers import (
    Hosts,
    Interrupted,
    Lines,
    Port,
    Ports,
    Scene,
    fold_into,
    lines_of,
    picture,
    picture_after_the_change,
)

READS: dict[str, Callable[[Any], Any]] = {
    "get": lambda state: state[Hosts].get("a"),
    "entry": lambda state: state[Hosts].entry("a"),
    "values": lambda state: list(state[Hosts].values()),
    "items": lambda state: list(state[Hosts].items()),
    "prefix": lambda state: state[Hosts].prefix("a"),
    "range": lambda state: state[Hosts].range("a", None, limit=2),
    "since": lambda state: state[Hosts].since(0),
    "unique": lambda state: state[Hosts.by_address].get("1"),
    "list": lambda state: state[Hosts.by_tag]["red"],
    "index keys": lambda state: state[Hosts.by_tag].keys(),
    "index prefix": lambda state: state[Hosts.by_tag].prefix("r"),
    "index range": lambda state: state[Hosts.by_address].range("2"),
    "longest": lambda state: state[Hosts.by_network].longest("10.1.2.3"),
    "covering": lambda state: state[Hosts.by_network].covering("10.1.2.3"),
    "within": lambda state: state[Hosts.by_network].within("10.0.0.0/8"),
}

WATCHES: dict[str, Callable[[Snapshot], Any]] = {
    "table": lambda snap: snap[Hosts].watch(),
    "row": lambda snap: snap[Hosts].watch("a"),
    "rows": lambda snap: snap[Hosts].watch_prefix("a"),
    "list": lambda snap: snap[Hosts.by_tag].watch("red"),
    "lists": lambda snap: snap[Hosts.by_tag].watch_prefix("r"),
    "longest": lambda snap: snap[Hosts.by_network].watch_longest("10.1.2.3"),
    "within": lambda snap: snap[Hosts.by_network].watch_within("10.0.0.0/8"),
}


def commit_the_change(scene: Scene) -> None:
    with scene.db.write(Hosts, Ports) as txn:
        scene.change(txn)


AFTER = picture_after_the_change()


def broken(action: Callable[[], Any], line: int) -> str:
    """Break an action at a line; at which place that was."""
    breaking = Lines(line)
    with pytest.raises(Interrupted):
        breaking.run(action)
    return breaking.broken


@pytest.mark.parametrize("stale", [False, True], ids=["fresh", "stale"])
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_broken_read_spoils_no_later_one(read, stale):
    """Caches, orders and layers are built while reading; half of one must never be taken for the whole."""

    def prepared() -> tuple[Scene, Snapshot]:
        scene = Scene()
        if stale:
            commit_the_change(scene)
            return scene, scene.old
        return scene, scene.before

    scene, snap = prepared()
    lines = lines_of(lambda: read(snap))
    expected = read(snap)
    scene.close()
    for line in lines:
        scene, snap = prepared()
        shown = scene.old_picture if stale else scene.before_picture
        place = broken(lambda snap=snap: read(snap), line)
        assert not turn._inside, place
        assert read(snap) == expected, place
        assert picture(snap) == shown, place
        scene.db.check()
        if not stale:
            commit_the_change(scene)
            assert picture(snap) == shown, place
        assert picture(scene.db.snapshot()) == AFTER, place
        scene.db.check()
        scene.close()


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_broken_read_in_a_transaction_leaves_it_usable(read):
    scene = Scene()
    with scene.db.write(Hosts, Ports) as txn:
        scene.change(txn)
        lines = lines_of(lambda: read(txn))
        expected = read(txn)
    scene.close()
    for line in lines:
        scene = Scene()
        with scene.db.write(Hosts, Ports) as txn:
            scene.change(txn)
            place = broken(lambda txn=txn: read(txn), line)
            assert read(txn) == expected, place
        assert picture(scene.db.snapshot()) == AFTER, place
        scene.db.check()
        scene.close()


@pytest.mark.parametrize("stale", [False, True], ids=["fresh", "stale"])
@pytest.mark.parametrize("ask", WATCHES.values(), ids=WATCHES)
def test_a_broken_registration_leaves_no_watch_behind(ask, stale):
    def prepared() -> tuple[Scene, Snapshot]:
        scene = Scene()
        if stale:
            commit_the_change(scene)
        return scene, scene.before

    scene, snap = prepared()
    lines = lines_of(lambda: ask(snap))
    scene.close()
    for line in lines:
        scene, snap = prepared()
        registry = scene.db._stores[Hosts].registry
        standing = len(registry)
        place = broken(lambda snap=snap: ask(snap), line)
        watch = ask(snap)
        assert watch.tripped is stale, place
        assert len(registry) == standing + (0 if stale else 1), place
        if not stale:
            commit_the_change(scene)
        assert watch.tripped, place
        assert all(other.tripped for other in scene.concerned), place
        del watch
        scene.concerned.clear()
        scene.unconcerned.clear()
        scene.close()
        last = scene.db.snapshot()[Hosts].watch("nobody")  # sweeps what was dropped
        assert len(registry) == 1, place
        del last


def stream_at(first: bool) -> tuple[Scene, dict[Any, Any], Any]:
    """A stream that has not begun, or one behind by a commit; with the rows it has given so far."""
    scene = Scene()
    stream = scene.db.changes(Hosts)
    rows: dict[Any, Any] = {}
    if not first:
        fold_into(rows, stream.next(timeout=0), Hosts.primary)
        commit_the_change(scene)
    return scene, rows, stream


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_a_stream_broken_in_next_gives_the_batch_again_or_stands_behind_it(first):
    """It moves on in its last step; an exception after that loses the batch as one in the caller's next line would."""
    scene, _, stream = stream_at(first)
    lines = lines_of(lambda: stream.next(timeout=0))
    stream.close()
    scene.close()
    given = 0
    for line in lines:
        scene, rows, stream = stream_at(first)
        stood = stream._pins
        place = broken(lambda stream=stream: stream.next(timeout=0), line)
        moved = stream._pins is not stood
        if moved:
            rows = dict(scene.db.snapshot()[Hosts])
            given += 1
        else:
            fold_into(rows, stream.next(timeout=0), Hosts.primary)
        scene.write_from_another_thread()
        fold_into(rows, stream.next(timeout=0), Hosts.primary)
        assert rows == dict(scene.db.snapshot()[Hosts]), place
        assert stream.next(timeout=0) is None
        stream.close()
        scene.close()
    assert given <= 7, "the stream moves on in its last lines, those that say that it is read no more included"


def test_a_stream_broken_while_it_waits_goes_on():
    scene, rows, stream = stream_at(True)
    fold_into(rows, stream.next(timeout=0), Hosts.primary)
    for line in lines_of(lambda: stream.next(timeout=0)):
        place = broken(lambda: stream.next(timeout=0), line)
        assert stream.next(timeout=0) is None, place
    commit_the_change(scene)
    fold_into(rows, stream.next(), Hosts.primary)
    assert rows == dict(scene.db.snapshot()[Hosts])
    stream.close()
    scene.close()


@pytest.mark.parametrize("line_error", [Interrupted, MemoryError])
def test_a_broken_wait_leaves_the_watch_working(line_error):
    scene = Scene()
    snap = scene.before
    first = snap[Hosts].watch("d")
    for line in lines_of(lambda: first.wait(0)):
        watch = snap[Hosts].watch("d")
        with pytest.raises(line_error):
            Lines(line, error=line_error).run(lambda watch=watch: watch.wait(0))
        scene.concerned.append(watch)
    commit_the_change(scene)
    assert all(watch.wait(0) for watch in scene.concerned)
    assert scene.db._stores[Hosts].registry.waiting() == 0
    scene.close()


LARGE = [Port(number, "a") for number in range(5000)]
"""So many keys that a SortedList has several lists, and computes positions when it is first asked for one."""


@pytest.mark.parametrize("read", [lambda ports: ports.range(2000, 4500, limit=3), lambda ports: ports.key_at(4000)])
def test_a_large_order_broken_at_any_line_of_its_sorted_list_is_right_afterwards(read):
    def ordered() -> Database:
        db = Database(Ports)
        with db.write(Ports) as txn:
            txn[Ports].insert_all(LARGE)
        db.snapshot()[Ports].range(0, 1)
        with db.write(Ports) as txn:  # so few that they are sorted into the list
            for number in (10, 3000, 4000):
                txn[Ports].delete(number)
        return db

    db = ordered()
    lines = lines_of(lambda: read(db.snapshot()[Ports]), of=sortedlist.__file__)
    expected = read(db.snapshot()[Ports])
    for line in lines[-40:]:
        db = ordered()
        breaking = Lines(line, of=sortedlist.__file__)
        with pytest.raises(Interrupted):
            breaking.run(lambda db=db: read(db.snapshot()[Ports]))
        assert read(db.snapshot()[Ports]) == expected, breaking.broken
        db.check()


def test_a_bound_of_another_type_does_not_cost_the_order():
    scene = Scene()
    hosts = scene.before[Hosts]
    assert len(hosts.range(limit=9)) == 3
    order = scene.db._stores[Hosts].order
    kept = order._sorted
    with pytest.raises(InvalidKey):
        hosts.range(1, limit=9)
    assert order._sorted is kept is not None
    scene.close()
