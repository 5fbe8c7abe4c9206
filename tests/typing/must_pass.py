"""A user's code: every line must pass mypy --strict. Checked, never run."""

from collections.abc import Iterator
from typing import assert_type

import msgspec

from statedb import (
    Change,
    ChangeBatch,
    Database,
    Entry,
    Index,
    PrefixIndex,
    Snapshot,
    Table,
    TableView,
    TableWriter,
    UniqueIndex,
    Watch,
    WatchSet,
)


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


db = Database(Services)
with db.write(Services) as txn:
    writer = txn[Services]
    assert_type(writer, TableWriter[Key, Service])
    assert_type(writer.insert(Service(Key("a", "b"))), Service | None)
    assert_type(writer.replace(Service(Key("a", "b")), at=1), Service)
    assert_type(writer.modify(Key("a", "b"), lambda row: row), Service)
    assert_type(writer.delete(Key("a", "b")), Service | None)
    assert_type(txn[Services.by_tag]["t"], tuple[Service, ...])
    token = writer.begin_initializer("x")
    writer.finish_initializer(token)

snapshot = db.snapshot()
assert_type(snapshot, Snapshot)
view = snapshot[Services]
assert_type(view, TableView[Key, Service])
assert_type(view[Key("a", "b")], Service)
assert_type(view.get(Key("a", "b")), Service | None)
assert_type(view.entry(Key("a", "b")), Entry[Service] | None)
assert_type(view.prefix(("a",)), tuple[Service, ...])
assert_type(view.watch(Key("a", "b")), Watch)
assert_type(snapshot[Services.by_address].get("x"), Service | None)
assert_type(snapshot[Services.by_tag]["x"], tuple[Service, ...])
assert_type(snapshot[Services.by_network].longest("10.0.0.1"), tuple[Service, ...])
for key, row in view.items():
    assert_type(key, Key)
    assert_type(row, Service)


def follow(stream: Iterator[ChangeBatch[Service]]) -> None:
    for batch in stream:
        for change in batch:
            assert_type(change, Change[Service])
            assert_type(change.row, Service)


async def wait(watch: Watch) -> None:
    await watch
    await WatchSet(watch)
    async for batch in db.changes(Services):
        assert_type(batch, ChangeBatch[Service])
