"""A backend of a user's own, an installed package's entry point: configuration, command line and HTTP have it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ingest import BACKENDS, Backend, register
from ingest.etcd.local import LocalEtcd
from statedb import Table, UniqueIndex
from statedb.agent.errors import ConfigError
from statedb.agent.process.config import parse_config
from statedb.catalog import Nodes

ROOT = Path(__file__).parents[3]
OWN = ROOT / "examples" / "own_kind"


class Words(Table[str, str], name="words"):
    primary = UniqueIndex[str, str](lambda word: word)


class Options(msgspec.Struct, frozen=True):
    directory: str = ""


def opened(*_: Any) -> Any:
    raise AssertionError("not in these tests")


def backend(**changes: Any) -> Backend:
    return msgspec.structs.replace(Backend("words", Options, ("words",), opened, (Words,)), **changes)


@pytest.fixture
def registry() -> Iterator[None]:
    from ingest import backends

    before = dict(backends._registered)
    yield
    backends._registered.clear()
    backends._registered.update(before)


def install(where: Path, value: str, name: str = "certificates") -> None:
    """What an installer leaves of a package with one entry point."""
    info = where / "certs-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: certs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[statedb.backends]\n{name} = {value}\n")


def statedb(where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(map(str, (where, OWN, ROOT)))
    command = [sys.executable, "-m", "statedb", *arguments]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)


def test_an_agent_has_the_table_of_an_installed_backend(tmp_path: Path):
    install(tmp_path, "backend:CERTIFICATES")
    config = tmp_path / "agent.yaml"
    with LocalEtcd() as etcd:
        etcd.start()
        with etcd.client() as client:
            client.put(
                b"example.org/certificates/shop/web", b'{"issuer":"ca","notAfter":"2027-01-01","hosts":["shop"]}'
            )
        socket = tmp_path / "s.sock"
        config.write_text(
            f"ingest: {{certificates: {{endpoints: ['{etcd.endpoint}']}}}}\nhttp: {{listen: 'unix:{socket}'}}\n"
        )
        checked = statedb(tmp_path, "check", "-c", str(config))
        assert checked.returncode == 0, checked.stderr
        assert ["certificates", "certificates"] in [line.split() for line in checked.stdout.splitlines()]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, OWN, ROOT)))}
        command = [sys.executable, "-m", "statedb", "run", "-c", str(config)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
            assert running.stdout is not None
            try:
                assert running.stdout.readline().startswith("serving on ")
                assert "certificates 1" in running.stdout.readline()
                found = statedb(
                    tmp_path, "list", "certificates", "-i", "by_host", "shop", "-s", f"unix:{socket}", "-o", "json"
                )
                assert '"name": "shop/web"' in found.stdout
            finally:
                running.send_signal(signal.SIGTERM)
            assert running.wait(20) == 0


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("backend:NOTHING", "package 'certs' offers it, and it cannot be loaded: AttributeError: "),
        ("no.such.module:X", "package 'certs' offers it, and it cannot be loaded: ModuleNotFoundError: "),
        ("certificates:PREFIX", "package 'certs' offers certificates:PREFIX, which is no Backend of the name"),
    ],
)
def test_a_broken_package_is_told(tmp_path: Path, value: str, told: str):
    install(tmp_path, value)
    config = tmp_path / "agent.yaml"
    config.write_text("ingest: {certificates: {endpoints: ['http://127.0.0.1:1']}}\n")
    done = statedb(tmp_path, "check", "-c", str(config))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"ingest.certificates: {told}" in done.stderr


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: backend(name="Words"), "lower-case letters"),
        (lambda: backend(name="manifests"), "registered already"),
        (lambda: backend(own=(Nodes,), tables=("nodes",)), "nodes is a table of the catalog"),
        (lambda: backend(tables=("words", "nodse")), r"tables must name its own tables \(words\).*not nodse"),
        (lambda: backend(tables=("nodes",)), r"tables must name its own tables \(words\)"),
    ],
)
@pytest.mark.usefixtures("registry")
def test_what_cannot_be_registered(wrong: Callable[[], Backend], told: str):
    with pytest.raises(ValueError, match=told):
        register(wrong())
    assert "words" not in BACKENDS


@pytest.mark.usefixtures("registry")
def test_a_registered_one_is_a_backend_as_any():
    register(backend(tables=("words", "nodes")))
    register(BACKENDS["words"])  # twice does no harm
    (each,) = parse_config("ingest: {words: {directory: d}}").ingest
    assert each.tables == ("words", "nodes")
    with pytest.raises(ConfigError, match=r"backends 'words' and 'manifests' both claim table nodes"):
        parse_config("ingest: {words: {}, manifests: {directory: d}}")
