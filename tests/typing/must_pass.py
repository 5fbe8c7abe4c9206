"""A user's code, every call of the engine once: all of it must pass mypy --strict. Checked, never run."""

from collections.abc import Iterator, KeysView
from ipaddress import IPv4Address
from typing import TypeVar, assert_type

import msgspec

from statedb import (
    Change,
    ChangeBatch,
    ChangeStream,
    Database,
    Entry,
    Index,
    IndexView,
    Initializer,
    PrefixIndex,
    PrefixIndexView,
    RowNotFound,
    Snapshot,
    Table,
    TableView,
    TableWriter,
    TextPrefixIndex,
    TextPrefixIndexView,
    UniqueIndex,
    UniqueIndexView,
    UniqueKeysIndex,
    Watch,
    WatchSet,
    WriteTransaction,
)
from statedb.catalog import ObjectKey, kinds


class Key(msgspec.Struct, frozen=True, order=True):
    namespace: str
    name: str


class Service(msgspec.Struct, frozen=True):
    key: Key
    address: str | None = None
    tags: tuple[str, ...] = ()


class Services(Table[Key, Service], name="services"):
    primary = UniqueIndex[Key, Service](lambda service: service.key)
    by_address = UniqueIndex[str, Service](lambda service: service.address)
    by_tag = Index[str, Service](lambda service: service.tags)
    by_network = PrefixIndex[str, Service](lambda service: (service.address,) if service.address else ())
    by_path = TextPrefixIndex[str, Service](lambda service: service.tags)
    by_alias = UniqueKeysIndex[str, Service](lambda service: service.tags)


class Peer(msgspec.Struct, frozen=True):
    number: int
    address: IPv4Address


class Peers(Table[int, Peer], name="peers"):
    primary = UniqueIndex[int, Peer](lambda peer: peer.number)
    by_address = PrefixIndex[IPv4Address, Peer](lambda peer: [peer.address])


KEY = Key("a", "b")
ROW = Service(KEY)

# -- the database -----------------------------------------------------------------------------------------------------

db = Database(Services)
db.register(Peers)
db.check()
assert_type(db.wait_initialized(), bool)
assert_type(db.wait_initialized(Services, Peers, timeout=1.5), bool)
snapshot = db.snapshot()
assert_type(snapshot, Snapshot)
assert_type(Services in snapshot, bool)
assert_type(len(snapshot), int)
assert_type(Services.name, str)
assert_type(Services.key_of(ROW), Key)
assert_type(Services.by_tag.name, str)

# -- writing ----------------------------------------------------------------------------------------------------------

with db.write(Services, Peers) as txn:
    assert_type(txn, WriteTransaction)
    writer = txn[Services]
    assert_type(writer, TableWriter[Key, Service])
    assert_type(txn[Peers], TableWriter[int, Peer])
    assert_type(writer.insert(ROW), Service | None)
    assert_type(writer.insert(ROW, force=True), Service | None)
    assert_type(writer.replace(ROW), Service)
    assert_type(writer.replace(ROW, at=1), Service)
    assert_type(writer.modify(KEY, lambda row: msgspec.structs.replace(row, address="x")), Service)
    assert_type(writer.delete(KEY), Service | None)
    assert_type(writer.delete(KEY, at=1), Service | None)
    assert_type(writer.clear(), int)
    token = writer.begin_initializer("x")
    assert_type(token, Initializer)
    writer.finish_initializer(token)
    assert_type(writer[KEY], Service)  # a writer is a view as well
    assert_type(txn[Services.by_tag], IndexView[str, Service])
    assert_type(txn[Services.by_tag]["t"], tuple[Service, ...])
    assert_type(txn[Services.by_address], UniqueIndexView[str, Service])
    assert_type(txn[Peers.by_address], PrefixIndexView[IPv4Address, Peer])
    assert_type(txn.commit(), Snapshot)
txn.abort()

# -- a table ----------------------------------------------------------------------------------------------------------

view = snapshot[Services]
assert_type(view, TableView[Key, Service])
assert_type(view[KEY], Service)
assert_type(view.get(KEY), Service | None)
assert_type(view.get(KEY, ROW), Service)
assert_type(view.get(KEY, 0), Service | int)
assert_type(view.entry(KEY), Entry[Service] | None)
assert_type(KEY in view, bool)
assert_type(len(view), int)
assert_type(view.keys(), KeysView[Key])
assert_type(list(view), list[Key])
assert_type(list(view.values()), list[Service])
for key, row in view.items():
    assert_type(key, Key)
    assert_type(row, Service)
assert_type(view.prefix(("a",)), tuple[Service, ...])
assert_type(view.range(KEY, None, limit=3), tuple[Service, ...])
for entry in view.since(7):
    assert_type(entry.row, Service)
    assert_type(entry.revision, int)
assert_type(view.revision, int)
assert_type(view.initialized, bool)
assert_type(view.pending_initializers, tuple[str, ...])

# -- indexes ----------------------------------------------------------------------------------------------------------

by_address = snapshot[Services.by_address]
assert_type(by_address, UniqueIndexView[str, Service])
assert_type(by_address["x"], Service)
assert_type(by_address.get("x"), Service | None)
assert_type(by_address.get("x", 0), Service | int)
assert_type(by_address.keys(), tuple[str, ...])
assert_type(by_address.prefix("x"), tuple[Service, ...])
assert_type(by_address.range("a", "b", limit=1), tuple[Service, ...])
assert_type(snapshot[Services.primary], UniqueIndexView[Key, Service])

by_tag = snapshot[Services.by_tag]
assert_type(by_tag, IndexView[str, Service])
assert_type(by_tag["x"], tuple[Service, ...])
assert_type(by_tag.get("x"), tuple[Service, ...])
assert_type(by_tag.keys(), tuple[str, ...])
assert_type(by_tag.prefix("x"), tuple[Service, ...])
assert_type(by_tag.range(stop="x"), tuple[Service, ...])
assert_type("x" in by_tag, bool)

by_network = snapshot[Services.by_network]
assert_type(by_network, PrefixIndexView[str, Service])
assert_type(by_network["10.0.0.0/8"], tuple[Service, ...])
assert_type(by_network.longest("10.0.0.1"), tuple[Service, ...])
assert_type(by_network.covering("10.0.0.1"), tuple[Service, ...])
assert_type(by_network.within("10.0.0.0/8"), tuple[Service, ...])
assert_type(by_network.keys(), tuple[str, ...])
assert_type(snapshot[Peers.by_address].longest(IPv4Address("10.0.0.1")), tuple[Peer, ...])

# -- watches ----------------------------------------------------------------------------------------------------------

watch = view.watch()
assert_type(watch, Watch)
assert_type(view.watch(KEY), Watch)
assert_type(view.watch_prefix(("a",)), Watch)
assert_type(by_address.watch("x"), Watch)
assert_type(by_tag.watch_prefix("x"), Watch)
assert_type(by_network.watch("10.0.0.0/8"), Watch)
assert_type(by_network.watch_longest("10.0.0.1"), Watch)
assert_type(by_network.watch_within("10.0.0.0/8"), Watch)
assert_type(watch.wait(), bool)
assert_type(watch.wait(0.5), bool)
assert_type(watch.tripped, bool)
watches = WatchSet(watch, by_tag.watch("x"), settle=0.1)
watches.add(view.watch())
watches.discard(watch)
assert_type(watches.wait(1), set[Watch])
for each in watches:
    assert_type(each, Watch)
watches.clear()

# -- change streams ---------------------------------------------------------------------------------------------------

with db.changes(Services) as stream:
    assert_type(stream, ChangeStream[Key, Service])
    assert_type(stream.next(), ChangeBatch[Service] | None)
    assert_type(stream.next(timeout=0), ChangeBatch[Service] | None)
    for batch in stream:
        assert_type(batch, ChangeBatch[Service])
        assert_type(batch.snapshot, Snapshot)
        assert_type(batch.initialized, bool)
        assert_type(batch[0], Change[Service])
        for change in batch:
            assert_type(change.row, Service)
            assert_type(change.revision, int)
            assert_type(change.deleted, bool)


def follow(batches: Iterator[ChangeBatch[Service]]) -> None:
    """Streams are iterators' sources like any other."""
    for batch in batches:
        assert_type(list(batch), list[Change[Service]])


follow(iter(stream))


async def wait(watch: Watch) -> None:
    """Tasks wait for the same things."""
    await watch
    assert_type(await WatchSet(watch), set[Watch])
    async for batch in db.changes(Services):
        assert_type(batch, ChangeBatch[Service])


# -- code for any table -----------------------------------------------------------------------------------------------

K = TypeVar("K")
R = TypeVar("R")


def only_row(snapshot: Snapshot, table: type[Table[K, R]], key: K) -> R | None:
    """What is written for every table keeps the types of each."""
    return snapshot[table].get(key)


try:
    assert_type(only_row(snapshot, Peers, 1), Peer | None)
except RowNotFound as error:
    assert_type(str(error), str)


def newer_words() -> None:
    assert_type(snapshot[Services.by_path], TextPrefixIndexView[str, Service])
    assert_type(snapshot[Services.by_path].longest("/a"), tuple[Service, ...])
    assert_type(snapshot[Services.by_alias], UniqueIndexView[str, Service])
    assert_type(Services.named("more-services"), type[Services])
    with db.write(Services) as txn:
        assert_type(txn[Services.by_path], TextPrefixIndexView[str, Service])
        assert_type(txn[Services].staged(), tuple[Change[Service], ...])
        assert_type(txn[Services].staged()[0].old, Service | None)
        assert_type(txn.snapshot(), Snapshot)


def typed_rows_of_kubernetes() -> None:
    kube = Database(kinds.Pods, kinds.Leases).snapshot()
    assert_type(kube[kinds.Pods.by_node], IndexView[str, kinds.Pod])
    assert_type(kube[kinds.Leases].get(ObjectKey("", "", "a")), kinds.Lease | None)
    assert_type(kube[kinds.Pods.by_label]["app=web"][0].status.holds("Ready"), bool)
