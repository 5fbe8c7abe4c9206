"""The how-to pages, followed line by line in a clean environment that has the wheel of this checkout.

Commands are read from the page and run by a shell in an empty folder. What a page leaves to its reader (a port, a host,
a key) is put in; nothing else is changed. Snippets of Python are run one after the other, in a process for each page,
and print what their comments say. `docs/operations.md` is followed by `tests/deploy/test_operations.py`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.etcd.local import LocalEtcd
from statedb.agent.demo.etcd import MirroredEtcd
from statedb.testing.kubernetes import ApiServer

from .certificates import Authority

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "how-to"
PROGRAM = r"(?:~/[\w-]+/bin/\w+|statedb|curl|openssl|python3)"
LINES = re.compile(rf"^ {{4,7}}((?:[A-Z_]+=\S+ )?{PROGRAM} .*)$", re.MULTILINE)
SNIPPET = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTS = re.compile(r"^\s*print\(.*\)  # (?P<told>.*)$", re.MULTILINE)
INLINE = re.compile(r"`(statedb [^`]+)`")
YAML = re.compile(r"^(?P<margin> *)```yaml\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
WAIT_S = 60


def clean_env() -> dict[str, str]:
    """The environment without what would lead Python or the commands to this checkout or another agent."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "STATEDB_"))}


class Folder:
    """What a reader has before them: an empty folder, a shell, and at most one agent that runs in it."""

    def __init__(self, path: Path, page: str, programs: Path) -> None:
        self.path = path
        self.text = (PAGES / page).read_text()
        self.commands = [line.partition("  #")[0].rstrip() for line in LINES.findall(self.text)]
        self.unused = list(self.commands)
        self.put_in = {"statedb": f"{programs / 'statedb'}"}
        self.env = clean_env() | {"NO_COLOR": "1", "COLUMNS": "200"}
        self._agent: subprocess.Popen[str] | None = None

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text.replace("127.0.0.1:9974", "127.0.0.1:0"))

    def configuration(self, number: int) -> str:
        """A block of YAML of the page."""
        found = list(YAML.finditer(self.text))[number]
        return "".join(line.removeprefix(found["margin"]) for line in found["text"].splitlines(keepends=True))

    def line(self, start: str) -> str:
        """The command of the page that begins like this."""
        (found,) = [command for command in self.unused if re.match(rf"{re.escape(start)}(?![\w-])", command)]
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
def folder(request: pytest.FixtureRequest, tmp_path: Path, installed: Path) -> Iterator[Folder]:
    """Every command of the page must have been run in the end."""
    found = Folder(tmp_path, request.param, installed)
    try:
        yield found
    finally:
        found.stop()
    assert found.unused == []


@pytest.fixture
def started(folder: Folder) -> Folder:
    """A folder with the files of ``statedb init``."""
    folder.run("statedb init")
    folder.write("agent.yaml", (folder.path / "agent.yaml").read_text())
    return folder


def follow(page: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("folder", [page], indirect=True, ids=[page])


@follow("install.md")
def test_a_release_is_installed_upgraded_and_rolled_back(folder: Folder):
    """Without a network: pip, the build backend and the dependencies are those of the tests."""
    folder.env["HOME"] = str(folder.path)
    quick = "install --quiet --no-compile --no-index --no-deps --no-build-isolation --disable-pip-version-check"
    folder.put_in = {
        "python3 -m venv": f"{sys.executable} -m venv --without-pip",
        "python3 -m pip wheel": f"{sys.executable} -m pip wheel --quiet --no-build-isolation",
        "dist .": f"dist {ROOT}",
        "'.[etcd,kubernetes]'": f"'{ROOT}[etcd,kubernetes]'",
    }
    for environment in ("statedb", "statedb-new"):
        shown = f"~/{environment}/bin/pip install"
        folder.put_in[shown] = f"{sys.executable} -m pip --python ~/{environment}/bin/python {quick}"

    def install(environment: str) -> None:
        folder.run(folder.line(f"python3 -m venv ~/{environment}"))
        site = sysconfig.get_path("purelib", vars={"base": str(folder.path / environment)})
        (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        folder.run(folder.line(f"~/{environment}/bin/pip install"))

    install("statedb")
    assert "statedb 0." in folder.run(folder.line("~/statedb/bin/statedb --version"))
    folder.run(folder.line("~/statedb/bin/statedb init"))
    folder.write("cluster1/agent.yaml", (folder.path / "cluster1" / "agent.yaml").read_text())
    folder.run(folder.line("~/statedb/bin/statedb check"))
    start, back = [command for command in folder.unused if command.startswith("~/statedb/bin/statedb run")]
    folder.unused = [command for command in folder.unused if command not in (start, back)]
    folder.start(start)
    before = folder.run("~/statedb/bin/statedb show nodes -o json")
    folder.run(folder.line("python3 -m pip wheel"))

    install("statedb-new")
    folder.run(folder.line("~/statedb-new/bin/statedb check"))
    folder.run(folder.line("~/statedb/bin/statedb dump"))
    folder.start(folder.line("~/statedb-new/bin/statedb run"))
    assert "stale" not in folder.run(folder.line("~/statedb-new/bin/statedb sources"))
    assert folder.run("~/statedb-new/bin/statedb show nodes -o json") == before
    folder.start(back)
    assert folder.run("~/statedb/bin/statedb show nodes -o json") == before


@follow("warm-start.md")
def test_an_agent_starts_with_the_rows_of_before(started: Folder):
    started.start("statedb run -c agent.yaml")
    before = started.run("statedb show nodes -o json")
    started.run(started.line("statedb dump"))
    started.start(started.line("statedb run"))
    assert started.run("statedb show nodes -o json") == before


@follow("swap-a-source.md")
def test_a_source_is_swapped(started: Folder):
    with MirroredEtcd(str(started.path / "cluster"), "cluster1", 1) as etcd:
        started.start("statedb run -c agent.yaml")
        new = started.configuration(0).replace("http://127.0.0.1:2379", etcd.endpoint)
        started.write("new.yaml", new + 'http: {listen: "127.0.0.1:9974"}\n')
        for command in INLINE.findall(started.text):
            if command.startswith("statedb check"):
                assert "good" in started.run(command)
        started.run(started.line("statedb compare"))
        rows = started.run("statedb show endpoints -o name")
        started.run(started.line("statedb dump"))
        started.start(started.line("statedb run"))
        assert started.run("statedb show endpoints -o name") == rows
        assert "stale" not in started.run("statedb sources")


@follow("why-this-row.md")
def test_the_steps_from_a_row_to_its_source(started: Folder):
    config = (started.path / "agent.yaml").read_text()
    started.write("other.yaml", config)
    started.write("agent.yaml", config.replace("# consumers:", "remote-clusters: {directory: clusters}\nconsumers:"))
    (started.path / "clusters").mkdir()
    started.start("statedb run -c agent.yaml")
    key = started.run("statedb show endpoints -o name").splitlines()[0]
    started.put_in |= {"TABLE": "endpoints", "KEY": key}
    for command in INLINE.findall(started.text):
        if command.startswith("statedb watch"):
            started.run(f"timeout --signal INT 2 {command}", status=124)
        else:
            started.run(command)


@follow("secure.md")
def test_an_agent_is_asked_safely(started: Folder):
    authority = Authority(started.path)
    for name in ("agent", "me"):
        authority.issue(name)
    started.run("mv agent.pem agent.crt && mv agent-key.pem agent.key && cp ca.pem ca.crt && cp ca.pem clients-ca.crt")
    started.run("mv me.pem me.crt && mv me-key.pem me.key")
    started.run(started.line("openssl"))
    started.run("cp read-tokens operate-tokens && openssl rand -hex 32 > operate-tokens")
    ingest = "".join((started.path / "agent.yaml").read_text().partition("http:")[:1])

    started.write("socket.yaml", ingest + started.configuration(0).replace("/run/statedb", str(started.path)))
    started.start("statedb run -c socket.yaml")
    started.put_in["/run/statedb"] = str(started.path)
    assert "endpoints" in started.run(started.line("STATEDB_SERVER=unix:"))
    assert started.run("stat -c %a agent.sock").strip() == "600"

    secured = started.configuration(1).replace("0.0.0.0:9974", "127.0.0.1:0").replace("0.0.0.0:9975", "127.0.0.1:0")
    started.write("secured.yaml", ingest + secured)
    started.start("statedb run -c secured.yaml")
    started.put_in["https://HOST:9974"] = started.env["STATEDB_SERVER"]
    assert "endpoints" in started.run(started.line("statedb tables"))
    assert "synced" in started.run(started.line("statedb sources"))
    asked = started.line("curl --cacert")
    assert '"endpoints"' in started.run(asked)
    assert "credentials" in started.run(re.sub(r'-H ".*?" ', "", asked))

    started.run(started.line("statedb check"))
    started.start("statedb run -c agent.yaml")
    assert started.run(started.line("curl -H 'Host:") + " -o answer -sw '%{http_code}'") == "421"
    assert started.run(started.line("curl -H 'Origin:") + " -o answer -sw '%{http_code}'") == "403"


@follow("../monitoring.md")
def test_an_agent_is_monitored(started: Folder):
    started.start("statedb run -c agent.yaml")
    told = started.run(started.line("curl -s http://127.0.0.1:9974/metrics"))
    assert 'table="nodes",state="synced"} 1' in told or 'state="synced",table="nodes"} 1' in told
    assert started.run(started.line("curl -s -o answer")) == "200"
    started.run(started.line("statedb health"))
    assert "synced" in started.run(started.line("statedb sources"))


@follow("../tutorials/agent.md")
def test_the_tutorial_of_an_agent_of_ones_own(folder: Folder):
    folder.run(folder.line("statedb init cluster1"))
    folder.path /= "cluster1"
    folder.write("agent.yaml", (folder.path / "agent.yaml").read_text())
    assert "good" in folder.run(folder.line("statedb check"))
    start, again = [command for command in folder.unused if command.startswith("statedb run")]
    folder.start(start)
    folder.run(folder.line("statedb tables"))
    assert "node-3" in folder.run(folder.line("statedb show nodes"))
    assert "10.244.3.25" in folder.run(folder.line("statedb list endpoints"))
    assert "synced" in folder.run(folder.line("statedb sources"))

    good = folder.configuration(0)
    watching = subprocess.Popen(
        ["bash", "-c", folder._spelled(folder.line("statedb watch"))],
        cwd=folder.path,
        env=folder.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stderr is not None
    assert "watching nodes" in watching.stderr.readline()
    folder.write("cluster/node-4.yaml", good)
    assert "node-4" in watching.communicate(timeout=WAIT_S)[0]
    folder.write("cluster/node-4.yaml", good.replace("172.18.0.5", "172.18.0.500"))
    folder.run("statedb wait rejected --for rows=1")
    assert "172.18.0.500" in folder.run(folder.line("statedb show rejected"))
    assert "node-4" in folder.run(folder.line("statedb get nodes"))

    folder.write("cluster/node-4.yaml", good)
    config = (folder.path / "agent.yaml").read_text()
    folder.write("agent.yaml", config.replace("# consumers:", "consumers:"))
    folder.start(again)
    folder.unused = [command for command in folder.unused if not command.startswith("statedb run")]
    assert "ipcache" in folder.run(folder.line("statedb consumers"))
    assert "10.244.3.25" in folder.run(folder.line("statedb list ipcache"))


@follow("fan-out.md")
def test_a_resource_is_fanned_out(folder: Folder, installed: Path):
    with ApiServer() as server, LocalEtcd() as etcd:
        etcd.start()
        containers = [{"name": "web", "image": "example.org/web"}]
        server.create(
            {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web"}, "spec": {"containers": containers}}
        )
        folder.env["KUBECONFIG"] = server.write_kubeconfig(folder.path / "kubeconfig")
        reader = Folder(folder.path / "reader", "fan-out.md", installed)
        reader.path.mkdir()
        publishing, reading = (
            folder.configuration(number).replace("http://127.0.0.1:2379", etcd.endpoint) for number in (0, 1)
        )
        folder.write("publisher.yaml", publishing + 'http: {listen: "127.0.0.1:9974"}\n')
        reader.write("reader.yaml", reading.replace("127.0.0.1:9975", "127.0.0.1:9974"))
        folder.start("statedb run -c publisher.yaml")
        try:
            reader.start("statedb run -c reader.yaml")
            (show,) = [command for command in INLINE.findall(folder.text) if command.startswith("statedb show")]
            rows = folder.run(show)
            assert "web" in rows
            assert reader.run(show) == rows
        finally:
            reader.stop()


WITH_SNIPPETS = [page.name for page in sorted(PAGES.glob("*.md")) if SNIPPET.search(page.read_text())]


@pytest.mark.parametrize("page", WITH_SNIPPETS)
def test_snippets_print_what_their_comments_say(page: str, installed: Path):
    code = "".join(SNIPPET.findall((PAGES / page).read_text()))
    done = subprocess.run(
        [installed / "python", "-P", "-c", code],
        cwd=ROOT,  # some read examples/
        env=clean_env(),
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == PRINTS.findall(code)


def test_every_page_is_followed():
    """A how-to page has commands that a test above follows, or snippets, or both."""
    followed = re.findall(r'^@follow\("(.*)"\)$', Path(__file__).read_text(), re.MULTILINE)
    assert {page.name for page in PAGES.glob("*.md")} <= {*followed, *WITH_SNIPPETS}
