"""A shadow of another source beside a running agent: only differences that last are told."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from statedb.agent.client.remote import Remote
from statedb.agent.errors import StartError, Unreachable
from statedb.agent.process.agent import Agent
from statedb.agent.process.comparison import compare
from statedb.agent.process.config import parse_config
from statedb.catalog import IdentityKey, NodeKey, Nodes

from .conftest import WAIT_S, config_text, identity, node, put


def statedb(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "statedb", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another directory of the same cluster, and a configuration beside it."""
    directory = tmp_path / "other"
    directory.mkdir()
    put(directory, "all.yaml", node("a", 1), node("b", 2), identity(1000), identity(1001, "db"))
    (tmp_path / "other.yaml").write_text(config_text(directory))
    return directory


def test_the_same_cluster_does_not_differ(start: Callable[..., Agent], manifests: Path, other: Path):
    agent = start(manifests)
    done = statedb("compare", str(other.parent / "other.yaml"), "--settle", "0.1", "-s", agent.address)
    assert (done.returncode, done.stdout) == (0, "")
    assert "no row differs; rows of the two: nodes 2 and 2, identities 2 and 2," in done.stderr


def test_rows_and_fields_that_differ_are_told(start: Callable[..., Agent], manifests: Path, other: Path):
    agent = start(manifests)
    put(other, "all.yaml", node("a", 7), node("c", 3), identity(1000), identity(1001, "cache"))
    path = str(other.parent / "other.yaml")
    done = statedb("compare", path, "--settle", "0.1", "-s", agent.address)
    assert done.returncode == 1
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["TABLE", "KEY", "FIELD", "RUNNING", "OTHER"]
    assert ["nodes", "c1/a", "pod_cidrs", "10.244.1.0/24", "10.244.7.0/24"] in lines
    assert ["nodes", "c1/b", "(row)", "yes", "no"] in lines
    assert ["nodes", "c1/c", "(row)", "no", "yes"] in lines
    assert ["identities", "c1/1001", "labels", "k8s:app=db", "k8s:app=cache"] in lines
    assert "4 rows differ; rows of the two: nodes 2 and 2" in done.stderr
    found = json.loads(statedb("compare", path, "--settle", "0.1", "-s", agent.address, "-o", "json").stdout)
    (row,) = [each for each in found if each["key"] == {"cluster": "c1", "id": 1001}]
    assert row["fields"] == ["labels"]
    ignored = statedb("compare", path, "--settle", "0.1", "--ignore", "labels", "-s", agent.address)
    assert "identities" not in ignored.stdout
    mistaken = statedb("compare", path, "--ignore", "labls", "-s", agent.address)
    assert (mistaken.returncode, mistaken.stdout) == (2, "")
    assert mistaken.stderr.startswith(
        "statedb: no compared table has a field 'labls' to ignore; did you mean 'labels'? known are "
    )


def test_a_difference_that_heals_is_none(start: Callable[..., Agent], manifests: Path, other: Path):
    agent = start(manifests)
    put(manifests, "more.yaml", node("late", 9))
    assert agent.db.snapshot()[Nodes].watch(NodeKey("c1", "late")).wait(WAIT_S)
    config = parse_config((other.parent / "other.yaml").read_text())
    healing = threading.Timer(0.3, put, [other, "more.yaml", node("late", 9)])
    healing.start()
    found = compare(Remote(agent.address), config, settle_s=5.0, timeout_s=WAIT_S, ignore=frozenset())
    healing.join()
    assert (found.differences, found.unsettled) == ((), 0)


def test_one_that_lasts_counts_and_a_young_one_does_not(start: Callable[..., Agent], manifests: Path, other: Path):
    agent = start(manifests)
    put(other, "all.yaml", node("a", 1), node("b", 2), identity(1000), identity(1001, "db"), identity(5))
    config = parse_config((other.parent / "other.yaml").read_text())
    remote = Remote(agent.address)
    lasting = compare(remote, config, settle_s=0.1, timeout_s=WAIT_S, ignore=frozenset())
    assert [(each.table, each.key) for each in lasting.differences] == [("identities", IdentityKey("c1", 5))]
    unsettled = compare(remote, config, settle_s=60.0, timeout_s=2.0, ignore=frozenset())
    assert (unsettled.differences, unsettled.unsettled) == ((), 1)


def test_what_cannot_be_compared_is_told(start: Callable[..., Agent], manifests: Path, tmp_path: Path, other: Path):
    agent = start(manifests)
    (tmp_path / "absent.yaml").write_text(config_text(tmp_path / "absent"))
    with pytest.raises(StartError, match=r"did not sync in time; its sources are connecting: .*absent"):
        config = parse_config((tmp_path / "absent.yaml").read_text())
        compare(Remote(agent.address), config, settle_s=0.1, timeout_s=3.0, ignore=frozenset())
    agent.stop()
    path = str(other.parent / "other.yaml")
    done = statedb("compare", path, "-s", agent.address)
    assert done.returncode == 2
    assert "no agent answers" in done.stderr or "Connection refused" in done.stderr
    with pytest.raises(Unreachable, match="of the running agent are late"):
        compare(
            Remote(agent.address),
            parse_config((other.parent / "other.yaml").read_text()),
            timeout_s=0.5,
            ignore=frozenset(),
        )
    done = statedb("compare", str(tmp_path / "none.yaml"), "-s", agent.address)
    assert done.returncode == 2
    assert "none.yaml: cannot be read" in done.stderr
