"""A real agent, asked over HTTP."""

import http.client
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from statedb.agent.errors import StartError
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config
from statedb.catalog import SourceKey, Sources

from .conftest import WAIT_S, config_text, node, put


def connect(agent: Agent) -> http.client.HTTPConnection:
    parts = urlsplit(agent.address)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=WAIT_S)


def request(agent: Agent, target: str, method: str = "GET", **headers: str) -> tuple[int, dict]:
    connection = connect(agent)
    try:
        connection.request(method, target, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


class Lines:
    """An open change stream."""

    def __init__(self, agent: Agent, target: str) -> None:
        self.connection = connect(agent)
        self.connection.request("GET", target)
        self.response = self.connection.getresponse()
        assert self.response.status == 200

    def until_commit(self) -> list[tuple[str, str]]:
        """(event, name of the node) of each change up to the next commit."""
        found = []
        while (line := json.loads(self.response.readline()))["event"] != "commit":
            found.append((line["event"], line["row"]["key"]["name"]))
        return found

    def close(self) -> None:
        self.response.close()
        self.connection.close()


def test_tables_and_rows_are_shown(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    status, shown = request(agent, "/tables")
    nodes = shown["tables"][0]
    assert (status, nodes["name"], nodes["rows"], nodes["initialized"], nodes["key"]) == (
        200,
        "nodes",
        2,
        True,
        ["cluster", "name"],
    )
    assert [index["name"] for index in nodes["indexes"]] == ["by_address", "by_pod_cidr", "by_ip"]
    status, answer = request(agent, "/tables/nodes")
    assert [row["key"]["name"] for row in answer["rows"]] == ["a", "b"]
    assert (answer["table"], answer["initialized"], answer["more"], answer["next"]) == ("nodes", True, False, None)
    _, answer = request(agent, "/tables/nodes?key=c1&key=b")
    assert answer["rows"][0]["addresses"] == [{"type": "InternalIP", "ip": "172.18.0.2"}]
    assert answer["rows"][0]["revision"] > 0
    _, answer = request(agent, "/tables/nodes?index=by_pod_cidr&key=10.244.2.9")
    assert [row["key"]["name"] for row in answer["rows"]] == ["b"]
    _, answer = request(agent, "/tables/identities?limit=1")
    assert ([row["key"]["id"] for row in answer["rows"]], answer["next"]) == ([1000], ["c1", "1001"])
    _, answer = request(agent, "/tables/identities?from=c1&from=1001")
    assert [row["key"]["id"] for row in answer["rows"]] == [1001]
    _, answer = request(agent, "/tables/services")
    assert answer["rows"] == []


@pytest.mark.parametrize(
    ("target", "status", "error"),
    [
        ("/page", 404, "nothing is at '/page'; known are /tables, /tables/{table}, "),
        ("/tables/node", 404, "no table 'node'; did you mean 'nodes'?"),
        ("/changes/node", 404, "no table 'node'; did you mean 'nodes'?"),
        ("/changes/nodes?key=c1", 400, "a key of nodes has 2 fields (cluster, name); 1 given"),
        ("/tables/nodes?index=x", 404, "table 'nodes' has no index 'x'; known are primary, by_address, by_pod_cidr"),
        ("/tables/nodes?key=c1", 400, "a key of nodes has 2 fields (cluster, name); 1 given"),
        ("/tables/nodes?key=c1/zz", 404, "table 'nodes' has no row 'c1 zz'"),
        ("/tables/nodes?limit=none", 400, "limit 'none' is not a whole number from 1 to 999999999"),
        ("/tables/nodes?limit=1&limit=2", 400, "parameter 'limit' is given 2 times; give it once"),
        ("/tables/nodes?lmit=1", 400, "unknown parameter 'lmit'; did you mean 'limit'?"),
        ("/tables/nodes?index=by_pod_cidr&key=1&match=best", 400, "match 'best' is none; known are longest, exact"),
        ("/tables/nodes?" + "key=a&" * 100, 400, "more than 64 parameters"),
    ],
)
def test_each_mistake_is_answered_in_one_line(
    manifests: Path, start: Callable[..., Agent], target: str, status: int, error: str
):
    answered, body = request(start(manifests), target)
    assert (answered, body["error"][: len(error)]) == (status, error)


def test_changes_begin_with_the_rows_as_they_are_and_follow(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    lines = Lines(agent, "/changes/nodes")
    one = Lines(agent, "/changes/nodes?key=c1/b")
    assert lines.until_commit() == [("put", "a"), ("put", "b")]
    assert one.until_commit() == [("put", "b")]
    put(manifests, "more.yaml", node("c", 3))
    assert lines.until_commit() == [("put", "c")]
    assert one.until_commit() == []
    put(manifests, "all.yaml", node("a", 1))
    assert lines.until_commit() == [("delete", "b")]
    assert one.until_commit() == [("delete", "b")]
    lines.close()
    one.close()


def test_a_silent_stream_says_that_it_lives_and_ends_with_the_agent(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests, keepalive_s=0.05)
    lines = Lines(agent, "/changes/policies")
    assert lines.until_commit() == []
    assert json.loads(lines.response.readline()) == {"event": "keepalive"}
    stopper = threading.Thread(target=agent.stop)
    stopper.start()
    while line := lines.response.readline():
        assert json.loads(line) == {"event": "keepalive"}
    stopper.join(WAIT_S)
    lines.close()


def until_source(agent: Agent, table: str, state: str) -> None:
    """Wait until the source of a table is in this state."""
    while True:
        sources = agent.db.snapshot()[Sources]
        if sources[SourceKey("c1", table)].state == state:
            return
        assert sources.watch().wait(WAIT_S)


def test_ready_after_the_first_list_and_still_ready_while_stale(tmp_path: Path, start: Callable[..., Agent]):
    directory = tmp_path / "later"
    agent = start(directory, synced=False)
    assert request(agent, "/healthz") == (200, {"status": "ok"})
    status, body = request(agent, "/readyz")
    assert (status, body["status"]) == (503, "not ready")
    assert (body["missing"][0]["table"], body["missing"][0]["backend"]) == ("nodes", "manifests")
    directory.mkdir()
    assert agent.wait_synced(WAIT_S)
    assert request(agent, "/readyz") == (200, {"status": "ready", "stale": []})
    directory.rmdir()
    until_source(agent, "nodes", "stale")
    status, body = request(agent, "/readyz")
    assert (status, body["status"]) == (200, "ready")
    assert (body["stale"][0]["table"], body["stale"][0]["state"]) == ("nodes", "stale")
    assert "later" in body["stale"][0]["error"]


def test_a_source_that_broke_makes_the_agent_unhealthy(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    agent.sources[0]._worker.failure = RuntimeError("a bug")
    status, body = request(agent, "/healthz")
    agent.sources[0]._worker.failure = None
    assert (status, body["error"]) == (503, "source manifests of cluster c1 ended: RuntimeError('a bug')")


def test_accepting_says_whose_word_is_taken(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    status, body = request(agent, "/sources/accept", "POST")
    assert (status, body["accepted"][0]["backend"], body["accepted"][0]["cluster"]) == (200, "manifests", "c1")
    assert request(agent, "/sources/accept?table=nodes", "POST")[0] == 200
    assert request(agent, "/sources/accept?table=sources", "POST")[1]["error"].startswith(
        "no source fills table 'sources'; filled are nodes, "
    )
    assert request(agent, "/sources/accept") == (405, {"error": "/sources/accept does not take GET; it takes POST"})
    assert request(agent, "/tables", "POST") == (405, {"error": "/tables does not take POST; it takes GET, HEAD"})
    assert request(agent, "/tables", "PUT")[0] == 405


def test_web_pages_cannot_reach_an_agent_through_a_browser(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    assert request(agent, "/tables", Host="evil.example")[0] == 421
    assert request(agent, "/tables", Host="evil.example:9974")[0] == 421
    assert request(agent, "/sources/accept", "POST", Origin="http://evil.example")[0] == 403
    for host in ("localhost", "localhost:1", "127.0.0.1:1", "[::1]:1"):
        assert request(agent, "/tables", Host=host)[0] == 200


def test_a_unix_socket_serves_too_and_is_its_owners(manifests: Path, tmp_path: Path, start: Callable[..., Agent]):
    path = tmp_path / "s.sock"
    agent = start(manifests, f"unix:{path}")
    assert (agent.address, path.stat().st_mode & 0o777) == (f"unix:{path}", 0o600)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        with client.makefile("rb") as answer:
            assert answer.read().endswith(b'\r\n\r\n{"status":"ok"}\n')
    with pytest.raises(StartError, match="another program listens on"):
        Agent(parse_config(config_text(manifests, f"unix:{path}")))
    assert agent.stop()
    assert not path.exists()


def test_a_socket_that_a_dead_agent_left_is_taken_over(manifests: Path, tmp_path: Path, start: Callable[..., Agent]):
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    start(manifests, f"unix:{path}")
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="exists and is not a socket"):
        Agent(parse_config(config_text(manifests, f"unix:{tmp_path / 'file'}")))


def test_an_address_that_is_taken_is_named(manifests: Path, start: Callable[..., Agent]):
    agent = start(manifests)
    with pytest.raises(StartError) as caught:
        Agent(parse_config(config_text(manifests, agent.address.removeprefix("http://"))))
    assert str(caught.value).startswith(f"http.listen: {agent.address} is in use; stop the other program, or choose")


def test_a_configuration_that_no_source_can_be_made_of_names_the_option():
    with pytest.raises(StartError) as caught:
        Agent(parse_config("ingest: {kvstore: {endpoints: ['etcd:1'], username: u}}"))
    assert str(caught.value).startswith("ingest.kvstore.endpoints[0]: 'etcd:1' is not an address like http://")
