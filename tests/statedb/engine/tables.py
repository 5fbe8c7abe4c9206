"""The tables that the tests of this folder use."""

import msgspec

from statedb import Database, Index, PrefixIndex, Table, UniqueIndex


class Pod(msgspec.Struct, frozen=True, gc=False):
    name: str
    node: str = "n1"
    tags: tuple[str, ...] = ()
    address: str | None = None
    networks: tuple[str, ...] = ()


class Pods(Table[str, Pod], name="pods"):
    primary = UniqueIndex[str, Pod](lambda pod: pod.name)
    by_node = Index[str, Pod](lambda pod: (pod.node,))
    by_tag = Index[str, Pod](lambda pod: pod.tags)
    by_address = UniqueIndex[str, Pod](lambda pod: pod.address)
    by_network = PrefixIndex[str, Pod](lambda pod: pod.networks)


class Account(msgspec.Struct, frozen=True, gc=False):
    number: int
    balance: int = 0


class Accounts(Table[int, Account], name="accounts"):
    primary = UniqueIndex[int, Account](lambda account: account.number)


def database(*pods: Pod) -> Database:
    db = Database(Pods, Accounts)
    put(db, *pods)
    return db


def put(db: Database, *pods: Pod) -> None:
    with db.write(Pods) as txn:
        for pod in pods:
            txn[Pods].insert(pod)


def delete(db: Database, *names: str) -> None:
    with db.write(Pods) as txn:
        for name in names:
            txn[Pods].delete(name)


def names(rows) -> list[str]:
    return [row.name for row in rows]
