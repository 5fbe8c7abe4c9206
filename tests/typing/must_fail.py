"""Misuse that a type checker must find, each line with the error expected of mypy --strict. Checked, never run."""

from statedb import Index, Table, UniqueIndex

from .must_pass import KEY, ROW, Peer, Peers, Service, Services, by_address, by_tag, db, snapshot, view, watch

# keys of the wrong type
view["a"]  # expect: index
view.get("a")  # expect: call-overload
view.entry("a")  # expect: arg-type
view.range("a")  # expect: arg-type
view.watch("a")  # expect: call-overload
view.since("a")  # expect: arg-type
snapshot[Peers]["1"]  # expect: index
by_tag[1]  # expect: index
by_tag.get(1)  # expect: arg-type
by_tag.watch(1)  # expect: arg-type
by_address[KEY]  # expect: index
by_address.range(1)  # expect: arg-type
snapshot[Peers.by_address].longest("10.0.0.1")  # expect: arg-type

# writing through a view, and changing what cannot be changed
view.insert(ROW)  # expect: attr-defined
view.delete(KEY)  # expect: attr-defined
view[KEY] = ROW  # expect: index
del view[KEY]  # expect: attr-defined
view[KEY].address = "x"  # expect: misc
view.revision = 7  # expect: misc
by_tag.insert(ROW)  # expect: attr-defined
view.commit()  # expect: attr-defined

# questions that an index does not answer
by_address.longest("x")  # expect: attr-defined
by_tag.within("x")  # expect: attr-defined
snapshot[Services.by_network].prefix("10.")  # expect: attr-defined
snapshot[Services.by_network].range("10.0.0.0/8")  # expect: attr-defined
snapshot["services"]  # expect: call-overload
Services.by_nothing  # expect: attr-defined

# answers taken for what they are not
one: Service = by_tag["x"]  # expect: assignment
sure: Service = view.get(KEY)  # expect: assignment
view.get(KEY).address  # expect: union-attr
other: Peer = view[KEY]  # expect: assignment

with db.write(Services) as txn:
    txn[Services].insert("a")  # expect: arg-type
    txn[Services].insert(Peer(1, watch))  # expect: arg-type, arg-type
    txn[Services].delete("a")  # expect: arg-type
    txn[Services].delete(ROW)  # expect: arg-type
    txn[Services].replace(KEY)  # expect: arg-type
    txn[Services].replace(ROW, 1)  # expect: call-arg
    txn[Services].modify(KEY, lambda row: row.key)  # expect: arg-type, return-value
    txn[Services].finish_initializer("x")  # expect: arg-type
    txn[Services.by_tag].insert(ROW)  # expect: attr-defined
    txn["services"]  # expect: call-overload

db.write("services")  # expect: arg-type
db.changes(Services.by_tag)  # expect: call-overload
db.wait_initialized("services")  # expect: arg-type
watch.tripped = True  # expect: misc
for batch in db.changes(Services):
    batch.next()  # expect: attr-defined
    batch[0].row.number  # expect: attr-defined


# declarations that contradict themselves
class WrongKey(Table[int, Service], name="wrong-key"):
    primary = UniqueIndex[str, Service](lambda service: service.key.name)  # expect: assignment


class WrongRow(Table[int, Service], name="wrong-row"):
    primary = UniqueIndex[int, Peer](lambda peer: peer.number)  # expect: assignment


class WrongIndex(Table[int, Peer], name="wrong-index"):
    primary = Index[int, Peer](lambda peer: [peer.number])  # expect: assignment


class WrongFunction(Table[int, Peer], name="wrong-function"):
    primary = UniqueIndex[int, Peer](lambda peer: str(peer.number))  # expect: arg-type, return-value
    by_number = Index[int, Peer](lambda peer: peer.number)  # expect: arg-type, return-value
