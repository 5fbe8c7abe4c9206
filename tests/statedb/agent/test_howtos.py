"""The how-to pages, followed line by line: their commands are read from the page and run in a folder by a shell.

What a page leaves to its reader (a port, a host, a key) is put in; nothing else is changed. Snippets of Python are run
by `tests/test_readme.py`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from statedb.agent.demo.etcd import MirroredEtcd

from .certificates import Authority

ROOT = Path(__file__).parents[3]
HOWTOS = ROOT / "docs" / "how-to"
LINES = re.compile(r"^ {4,7}((?:[A-Z_]+=\S+ )?(?:statedb|curl|openssl) .*)$", re.MULTILINE)
INLINE = re.compile(r"`(statedb [^`]+)`")
YAML = re.compile(r"^(?P<margin> *)```yaml\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
WAIT_S = 60


class Folder:
    """What a reader has before them: an empty folder, a shell, and at most one agent that runs in it."""

    def __init__(self, path: Path, page: str) -> None:
        self.path = path
        self.text = (HOWTOS / page).read_text()
        self.commands = [line.partition("  #")[0].rstrip() for line in LINES.findall(self.text)]
        self.unused = list(self.commands)
        self.put_in = {"statedb": f"{Path(sys.executable).parent / 'statedb'}"}
        self.env = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
        self._agent: subprocess.Popen[str] | None = None

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text.replace("127.0.0.1:9974", "127.0.0.1:0"))

    def configuration(self, number: int) -> str:
        """A block of YAML of the page."""
        found = list(YAML.finditer(self.text))[number]
        return "".join(line.removeprefix(found["margin"]) for line in found["text"].splitlines(keepends=True))

    def line(self, start: str) -> str:
        """The command of the page that begins like this."""
        (found,) = [command for command in self.unused if command.startswith(start)]
        self.unused.remove(found)
        return found

    def _spelled(self, command: str) -> str:
        for shown, real in self.put_in.items():
            command = re.sub(rf"(?<![\w./-]){re.escape(shown)}(?![\w.-])", real, command)
        return command

    def run(self, command: str, status: int = 0) -> str:
        """What a command prints; it must end with this status."""
        done = subprocess.run(
            ["bash", "-c", self._spelled(command)],
            cwd=self.path,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
        )
        assert done.returncode == status, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def start(self, command: str) -> None:
        """Start an agent in place of the one that runs, and wait until it is synced."""
        self.stop()
        exact = f"exec {self._spelled(command)}"
        self._agent = subprocess.Popen(
            ["bash", "-c", exact], cwd=self.path, env=self.env, stdout=subprocess.PIPE, text=True
        )
        assert self._agent.stdout is not None
        address = self._agent.stdout.readline().removeprefix("serving on ").strip()
        assert self._agent.stdout.readline().startswith("synced after")
        self.env["STATEDB_SERVER"] = self.put_in["http://127.0.0.1:9974"] = address

    def stop(self) -> None:
        if self._agent is not None:
            self._agent.send_signal(signal.SIGTERM)
            self._agent.communicate(timeout=WAIT_S)
            assert self._agent.returncode == 0
            self._agent = None


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    """With the files of ``statedb init``. Every command of the page must have been run in the end."""
    found = Folder(tmp_path, request.param)
    found.run("statedb init")
    found.write("agent.yaml", (tmp_path / "agent.yaml").read_text())
    try:
        yield found
    finally:
        found.stop()
    assert found.unused == []


def follow(page: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("folder", [page], indirect=True, ids=[page])


@follow("warm-start.md")
def test_an_agent_starts_with_the_rows_of_before(folder: Folder):
    folder.start("statedb run -c agent.yaml")
    before = folder.run("statedb show nodes -o json")
    folder.run(folder.line("statedb dump"))
    folder.start(folder.line("statedb run"))
    assert folder.run("statedb show nodes -o json") == before


@follow("swap-a-source.md")
def test_a_source_is_swapped(folder: Folder):
    with MirroredEtcd(str(folder.path / "cluster"), "cluster1", 1) as etcd:
        folder.start("statedb run -c agent.yaml")
        new = folder.configuration(0).replace("http://127.0.0.1:2379", etcd.endpoint)
        folder.write("new.yaml", new + 'http: {listen: "127.0.0.1:9974"}\n')
        for command in INLINE.findall(folder.text):
            if command.startswith("statedb check"):
                assert "good" in folder.run(command)
        folder.run(folder.line("statedb compare"))
        rows = folder.run("statedb show endpoints -o name")
        folder.run(folder.line("statedb dump"))
        folder.start(folder.line("statedb run"))
        assert folder.run("statedb show endpoints -o name") == rows
        assert "stale" not in folder.run("statedb sources")


@follow("why-this-row.md")
def test_the_steps_from_a_row_to_its_source(folder: Folder):
    config = (folder.path / "agent.yaml").read_text()
    folder.write("other.yaml", config)
    folder.write("agent.yaml", config.replace("# consumers:", "remote-clusters: {directory: clusters}\nconsumers:"))
    (folder.path / "clusters").mkdir()
    folder.start("statedb run -c agent.yaml")
    key = folder.run("statedb show endpoints -o name").splitlines()[0]
    folder.put_in |= {"TABLE": "endpoints", "KEY": key}
    for command in INLINE.findall(folder.text):
        if command.startswith("statedb watch"):
            folder.run(f"timeout --signal INT 2 {command}", status=124)
        else:
            folder.run(command)


@follow("secure.md")
def test_an_agent_is_asked_safely(folder: Folder):
    authority = Authority(folder.path)
    for name in ("agent", "me"):
        authority.issue(name)
    folder.run("mv agent.pem agent.crt && mv agent-key.pem agent.key && cp ca.pem ca.crt && cp ca.pem clients-ca.crt")
    folder.run("mv me.pem me.crt && mv me-key.pem me.key")
    folder.run(folder.line("openssl"))
    folder.run("cp read-tokens operate-tokens && openssl rand -hex 32 > operate-tokens")
    ingest = "".join((folder.path / "agent.yaml").read_text().partition("http:")[:1])

    folder.write("socket.yaml", ingest + folder.configuration(0).replace("/run/statedb", str(folder.path)))
    folder.start("statedb run -c socket.yaml")
    folder.put_in["/run/statedb"] = str(folder.path)
    assert "endpoints" in folder.run(folder.line("STATEDB_SERVER=unix:"))
    assert folder.run("stat -c %a agent.sock").strip() == "600"

    secured = folder.configuration(1).replace("0.0.0.0:9974", "127.0.0.1:0").replace("0.0.0.0:9975", "127.0.0.1:0")
    folder.write("secured.yaml", ingest + secured)
    folder.start("statedb run -c secured.yaml")
    folder.put_in["https://HOST:9974"] = folder.env["STATEDB_SERVER"]
    assert "endpoints" in folder.run(folder.line("statedb tables"))
    assert "synced" in folder.run(folder.line("statedb sources"))
    asked = folder.line("curl --cacert")
    assert '"endpoints"' in folder.run(asked)
    assert "credentials" in folder.run(re.sub(r'-H ".*?" ', "", asked))

    folder.run(folder.line("statedb check"))
    folder.start("statedb run -c agent.yaml")
    assert folder.run(folder.line("curl -H 'Host:") + " -o answer -sw '%{http_code}'") == "421"
    assert folder.run(folder.line("curl -H 'Origin:") + " -o answer -sw '%{http_code}'") == "403"
