"""A transaction is for the thread that opened it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from statedb import Database, WrongThread

from ._helpers import Host, Hosts, Port, Ports


def elsewhere(call: Callable[[], Any]) -> Any:
    """What a call gives, or raises, in another thread."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return outcome[0]


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "txn[table]": lambda txn, _: txn[Ports],
    "txn[index]": lambda txn, _: txn[Hosts.by_tag],
    "insert": lambda _, hosts: hosts.insert(Host("b", "2")),
    "insert_all": lambda _, hosts: hosts.insert_all([Host("b", "2")]),
    "replace": lambda _, hosts: hosts.replace(Host("a", "2")),
    "modify": lambda _, hosts: hosts.modify("a", lambda row: row),
    "delete": lambda _, hosts: hosts.delete("a"),
    "clear": lambda _, hosts: hosts.clear(),
    "begin_initializer": lambda _, hosts: hosts.begin_initializer("source"),
    "get": lambda _, hosts: hosts.get("a"),
    "len": lambda _, hosts: len(hosts),
    "values": lambda _, hosts: list(hosts.values()),
    "commit": lambda txn, _: txn.commit(),
    "the end of the block": lambda txn, _: txn.__exit__(None, None, None),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_elsewhere_every_call_is_refused(call):
    db = Database(Hosts, Ports)
    txn = db.write(Hosts, Ports)
    hosts = txn[Hosts]
    hosts.insert(Host("a", "1"))
    error = elsewhere(lambda: call(txn, hosts))
    assert isinstance(error, WrongThread), error
    assert "opened in another thread" in str(error)
    assert "hosts" in str(error)
    if call is not CALLS["the end of the block"]:  # which ends it all the same
        assert len(hosts) == 1
        txn.commit()
        assert db.snapshot()[Hosts]["a"] == Host("a", "1")
    with db.write(Hosts, Ports) as again:  # nothing stays locked
        again[Ports].insert(Port(1, "a"))


def test_a_view_of_an_index_is_refused_as_well():
    db = Database(Hosts)
    with db.write(Hosts) as txn:
        txn[Hosts].insert(Host("a", "1", ("red",)))
        view = txn[Hosts.by_tag]
        assert isinstance(elsewhere(lambda: view["red"]), WrongThread)
        assert len(view["red"]) == 1


def test_anybody_may_abort():
    db = Database(Hosts)
    txn = db.write(Hosts)
    txn[Hosts].insert(Host("a", "1"))
    assert elsewhere(txn.abort) is None
    with db.write(Hosts) as again:
        assert len(again[Hosts]) == 0
