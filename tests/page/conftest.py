"""A browser for a module of tests, and an agent whose endpoints the tests write themselves."""

import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import msgspec
import pytest
from playwright.sync_api import Browser, Page

from statedb import Database
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import ConsumerConfig, parse_config
from statedb.agent.process.consumers import CONSUMER_KINDS
from statedb.catalog import Endpoint, EndpointKey, Endpoints

from ..statedb.agent.conftest import WAIT_S, identity, node, put
from . import chromium


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip where there is no browser and none is required."""
    needing = [item for item in items if "page" in getattr(item, "fixturenames", ())]
    if not needing or os.environ.get(chromium.PLACE) == "required":
        return
    try:
        chromium.find()
    except chromium.NoChromium as error:
        for item in needing:
            item.add_marker(pytest.mark.skip(reason=str(error)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests a missing browser has cost, and the remedy."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = [report.longrepr[2] for report in skipped if "tests/page/" in report.nodeid]
    if reasons:
        terminalreporter.write_line(f"tests of the web page, skipped: {len(reasons)}: {reasons[0]}", yellow=True)


@pytest.fixture(scope="module")
def the_browser() -> Iterator[Browser]:
    with chromium.browser() as found:
        yield found


@pytest.fixture
def page(the_browser: Browser) -> Iterator[Page]:
    """A page without an error on its console, at the end of the test too."""
    errors: list[str] = []
    context = the_browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(WAIT_S * 1000)
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: _note(errors, message.type, message.text))
    yield page
    context.close()
    assert errors == []


def _note(errors: list[str], kind: str, text: str) -> None:
    if kind == "error" and "Failed to load resource" not in text and "ERR_" not in text:
        errors.append(text)


def endpoint(number: int, pod: str = "", identity: int = 1000) -> Endpoint:
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return Endpoint(EndpointKey("c1", address), identity, "172.18.0.1", "shop", pod or f"pod-{number}")


def write(db: Database, *rows: Endpoint) -> None:
    with db.write(Endpoints) as txn:
        txn[Endpoints].insert_all(rows)


class Churn:
    """Inserts, replaces and deletes endpoints at random on a thread, so many a second, while its block runs."""

    def __init__(self, db: Database, numbers: range, per_second: int) -> None:
        self._db = db
        self._numbers = numbers
        self._pause_s = 1 / (per_second / 20)
        self._random = random.Random(5)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.count = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._pause_s):
            with self._db.write(Endpoints) as txn:
                for _ in range(20):
                    self._change(txn[Endpoints])
            self.count += 20

    def _change(self, endpoints) -> None:
        row = endpoint(self._random.choice(self._numbers), identity=self._random.randrange(1000, 1020))
        if self._random.random() < 0.2:
            endpoints.delete(row.key)
        else:
            endpoints.insert(row)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Agent]]:
    """Starts an agent with nodes and identities from manifests; its endpoints belong to the test."""
    directory = tmp_path / "manifests"
    directory.mkdir()
    put(directory, "all.yaml", node("a", 1), node("b", 2), identity(1000), identity(1001, "db"))
    agents: list[Agent] = []

    def start(listen: str = "127.0.0.1:0", consumers: tuple[str, ...] = ()) -> Agent:
        text = (
            "cluster: {name: c1, id: 1}\n"
            f"ingest: {{manifests: {{directory: '{directory}', rescan-s: 0.02, settle-s: 0.01, "
            "tables: [nodes, identities, policies, services]}}\n"
            f"http: {{listen: '{listen}'}}\n"
        )
        chosen = tuple([ConsumerConfig(kind=kind, options=CONSUMER_KINDS[kind].options()) for kind in consumers])
        agent = Agent(msgspec.structs.replace(parse_config(text), consumers=chosen))
        agents.append(agent)
        agent.start()
        assert agent.wait_synced(WAIT_S)
        return agent

    yield start
    for agent in agents:
        assert agent.stop(WAIT_S)
