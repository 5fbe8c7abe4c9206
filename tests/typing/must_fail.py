"""Misuse that a type checker must find, each line with the error expected of mypy --strict. Checked, never run."""

from tests.typing.must_pass import Key, Service, Services, db, snapshot

view = snapshot[Services]
view["a"]  # expect: index
view.get("a")  # expect: call-overload
view.watch("a")  # expect: call-overload
view.insert(Service(Key("a", "b")))  # expect: attr-defined
view[Key("a", "b")] = Service(Key("a", "b"))  # expect: index
snapshot[Services.by_tag][1]  # expect: index
snapshot[Services.by_address].longest("x")  # expect: attr-defined
snapshot["services"]  # expect: call-overload

with db.write(Services) as txn:
    txn[Services].insert("a")  # expect: arg-type
    txn[Services].delete("a")  # expect: arg-type
    txn[Services].replace(Key("a", "b"))  # expect: arg-type
