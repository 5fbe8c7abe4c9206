"""A real agent on a directory of manifests."""

import os
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from statedb.agent.http.limits import Limits
from statedb.agent.http.server import Server
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config

from .certificates import Authority

ROOT = Path(__file__).parents[3]
WAIT_S = 60.0
READ, OPERATE = "read-0123456789abcdef", "operate-0123456789abcdef"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from this checkout."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of an environment with the wheel. Its dependencies are those of the tests."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--disable-pip-version-check", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True)
    site = sysconfig.get_path("purelib", vars={"base": str(home)})
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def node(name: str, n: int = 1) -> str:
    return (
        f"apiVersion: cilium.io/v2\nkind: CiliumNode\nmetadata: {{name: {name}}}\n"
        f"spec:\n  addresses: [{{ip: 172.18.0.{n}, type: InternalIP}}]\n  ipam: {{podCIDRs: [10.244.{n}.0/24]}}\n"
    )


def identity(number: int, app: str = "web") -> str:
    return (
        f'apiVersion: cilium.io/v2\nkind: CiliumIdentity\nmetadata: {{name: "{number}"}}\n'
        f'security-labels: {{"k8s:app": {app}}}\n'
    )


def put(directory: Path, name: str, *texts: str) -> None:
    """Write a file at once, so that nobody sees half of it."""
    hidden = directory / f".{name}"
    hidden.write_text("---\n".join(texts))
    os.replace(hidden, directory / name)


def config_text(directory: Path, listen: str = "127.0.0.1:0") -> str:
    return (
        "cluster: {name: c1, id: 1}\n"
        f"ingest: {{manifests: {{directory: '{directory}', rescan-s: 0.02, settle-s: 0.01}}}}\n"
        f"http: {{listen: '{listen}'}}\n"
    )


def until_no_connection(server: Server) -> None:
    end = time.monotonic() + WAIT_S
    while server.connection_count:
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    directory = tmp_path / "manifests"
    directory.mkdir()
    put(directory, "all.yaml", node("a", 1), node("b", 2), identity(1000), identity(1001, "db"))
    return directory


@pytest.fixture
def start() -> Iterator[Callable[..., Agent]]:
    agents: list[Agent] = []

    def start(directory: Path, listen: str = "127.0.0.1:0", *, synced: bool = True, **options: Any) -> Agent:
        agent = Agent(parse_config(config_text(directory, listen)), **options)
        agents.append(agent)
        agent.start()
        assert not synced or agent.wait_synced(WAIT_S)
        return agent

    yield start
    for agent in agents:
        assert agent.stop(WAIT_S)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def serve(manifests: Path, tmp_path: Path, authority: Authority) -> Iterator[Callable[..., Agent]]:
    """Start an agent that other machines can reach, with tokens and client certificates."""
    agents: list[Agent] = []
    (tmp_path / "read").write_text(f"# who may look\n{READ}\n")
    (tmp_path / "operate").write_text(f"{OPERATE}\n")

    def serve(*more: str, tokens: bool = True, limits: Limits | None = None) -> Agent:
        cert, key = authority.issue("server")
        section = [
            "listen: '0.0.0.0:0'",
            f"tls: {{cert-file: {cert}, key-file: {key}, client-ca-file: {authority.file}}}",
        ]
        section += [f"read-token-file: {tmp_path}/read", f"operate-token-file: {tmp_path}/operate"] if tokens else []
        text = (
            "cluster: {name: c1, id: 1}\n"
            f"ingest: {{manifests: {{directory: '{manifests}', rescan-s: 0.02, settle-s: 0.01}}}}\n"
            f"http: {{{', '.join([*section, *more])}}}\n"
        )
        agent = Agent(parse_config(text), limits=limits)
        agents.append(agent)
        agent.start()
        assert agent.wait_synced(WAIT_S)
        return agent

    yield serve
    for agent in agents:
        assert agent.stop(WAIT_S)
