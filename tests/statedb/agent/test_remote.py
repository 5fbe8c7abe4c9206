"""Tables of another process, for programs."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from statedb.agent.client.remote import Remote
from statedb.agent.errors import BadRequest, NotFound, Unreachable
from statedb.agent.process.agent import Agent
from statedb.catalog import Identities, Node, NodeKey, Nodes, Policies

from .conftest import WAIT_S, node, put, until_no_connection


def test_a_remote_table_has_rows_of_its_type(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    nodes = Remote(agent.address).table(Nodes)
    entry = nodes.get("c1", "b")
    assert entry == agent.db.snapshot()[Nodes].entry(NodeKey("c1", "b"))
    assert isinstance(entry.row, Node)
    assert nodes.get("c1", "zz") is None
    assert [entry.row.key.name for entry in nodes.rows()] == ["a", "b"]
    assert [entry.row.key.name for entry in nodes.list("by_address", "172.18.0.2")] == ["b"]
    assert [entry.row.key.name for entry in nodes.prefix("10.244.0.0/16", index="by_pod_cidr")] == ["a", "b"]
    identities = Remote(agent.address).table(Identities)
    assert identities.get("c1", 1000).row.labels == ("k8s:app=web",)
    assert len(identities.prefix("c1")) == 2


def test_a_table_by_name_has_rows_as_dicts(manifests: Path, start: Callable[..., Agent]):
    entry = Remote(start(manifests).address).table("nodes").get("c1", "a")
    assert entry.row["key"] == {"cluster": "c1", "name": "a"}
    assert "revision" not in entry.row
    assert entry.revision > 0


def test_changes_come_in_batches(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    changes = Remote(agent.address).table(Nodes).changes()
    first = next(changes)
    assert ([change.row.key.name for change in first.changes], first.initialized) == (["a", "b"], True)
    put(manifests, "all.yaml", node("a", 9), node("c", 3))
    batch = next(changes)
    assert {change.row.key.name: change.deleted for change in batch.changes} == {"a": False, "b": True, "c": False}
    assert batch.revision == agent.db.snapshot()[Nodes].revision
    stopper = threading.Thread(target=agent.stop)
    stopper.start()
    with pytest.raises(Unreachable, match="ended the stream"):
        list(changes)
    stopper.join(WAIT_S)


def test_a_closed_stream_frees_its_place(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    changes = Remote(agent.address).table(Policies).changes()
    assert next(changes).changes == ()
    changes.close()
    until_no_connection(agent._serving._server)


def test_a_unix_socket_is_asked_in_the_same_way(manifests: Path, tmp_path: Path, start: Callable[..., Agent]):
    agent = start(manifests, f"unix:{tmp_path / 's.sock'}")
    assert len(Remote(agent.address).table(Nodes).rows()) == 2


def test_mistakes_are_told_by_the_server(manifests: Path, start: Callable[..., Agent]):
    remote = Remote(start(manifests).address)
    with pytest.raises(NotFound, match="no table 'node/s'; did you mean 'nodes'"):
        remote.table("node/s").rows()
    with pytest.raises(BadRequest, match=r"a key of nodes has 2 fields \(cluster, name\); 1 given"):
        remote.table(Nodes).get("c1")


def test_nobody_there_is_one_line_with_the_remedy(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(Unreachable) as caught:
            Remote(f"127.0.0.1:{port}").table(Nodes).rows()
    assert str(caught.value) == (
        f"no agent answers at http://127.0.0.1:{port}; start one with 'statedb run -c agent.yaml', "
        "or give the address of another (on the command line: --server or STATEDB_SERVER)"
    )
    with pytest.raises(Unreachable, match="there is no such socket"):
        Remote(f"unix:{tmp_path}/none.sock").table(Nodes).rows()
    with pytest.raises(BadRequest, match="is not a server; write http"):
        Remote("ftp://x")


def test_somebody_silent_is_given_up(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        remote = Remote(f"127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.05)
        with pytest.raises(Unreachable, match=r"has sent nothing for 0.05 s"):
            remote.table(Nodes).rows()
