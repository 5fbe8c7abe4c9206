"""Two sample tables that have, between them, every kind of index and both kinds of primary keys."""

from __future__ import annotations

import msgspec

from statedb.engine.schema import Index, PrefixIndex, Table, TextPrefixIndex, UniqueIndex, UniqueKeysIndex


class Host(msgspec.Struct, frozen=True, gc=False):
    """A row of ``Hosts``. Everything except the name may be missing."""

    name: str
    address: str | None = None
    tags: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    amount: int = 0


class Hosts(Table[str, Host], name="sample-hosts"):
    """Text keys, a unique index that does not have every row, tags that may repeat, and networks with host bits."""

    primary = UniqueIndex[str, Host](lambda host: host.name)
    by_address = UniqueIndex[str, Host](lambda host: host.address)
    by_tag = Index[str, Host](lambda host: host.tags)
    by_network = PrefixIndex[str, Host](lambda host: host.networks)


class SlotKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """The primary key of a slot."""

    zone: str
    number: int


class Slot(msgspec.Struct, frozen=True, gc=False):
    """A row of ``Slots``."""

    key: SlotKey
    host: str = ""
    ports: tuple[tuple[str, int], ...] = ()
    address: bytes = b""
    amount: int = 0
    paths: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


class Slots(Table[SlotKey, Slot], name="sample-slots"):
    """Struct keys, unique indexes of tuples and of several keys per row, and indexes of tuples, packed addresses and
    paths.
    """

    primary = UniqueIndex[SlotKey, Slot](lambda slot: slot.key)
    by_host = UniqueIndex[tuple[str, str], Slot](lambda slot: (slot.key.zone, slot.host) if slot.host else None)
    by_port = Index[tuple[str, int], Slot](lambda slot: slot.ports)
    by_address = PrefixIndex[bytes, Slot](lambda slot: (slot.address,) if slot.address else ())
    by_path = TextPrefixIndex[str, Slot](lambda slot: slot.paths)
    by_alias = UniqueKeysIndex[str, Slot](lambda slot: slot.aliases)
