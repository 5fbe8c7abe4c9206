"""What an agent costs to which nothing happens: scraped as Prometheus does, and shown in three browser windows."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from ingest.etcd.local import LocalEtcd
from statedb.catalog.wire import keys

from ..statedb.agent.conftest import WAIT_S, identity, node, put

pytestmark = [pytest.mark.stress, pytest.mark.timeout(300)]

_SCRAPES = 4
_SCRAPED_EVERY_S = 15.0
_PAGES = 3


@contextmanager
def running(config: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """An agent in a process of its own that has read its sources, and its address."""
    command = [sys.executable, "-m", "statedb", "run", "-c", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[-1]
            assert process.stdout.readline().startswith("synced after ")
            yield process, address
        finally:
            process.terminate()


def cpu_s(process: subprocess.Popen[str]) -> float:
    user, system = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("backend", ["manifests", "kvstore"])
def test_an_idle_agent_takes_less_than_a_percent_of_a_core(
    backend: str, the_browser: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with ExitStack() as stack:
        if backend == "kvstore":
            etcd = stack.enter_context(LocalEtcd())
            etcd.start()
            with etcd.client() as client:
                client.put(keys.HEARTBEAT.encode(), b"here")
            options = f"{{endpoints: ['{etcd.endpoint}']}}"
        else:
            put(tmp_path, "all.yaml", node("a", 1), node("b", 2), identity(1000))
            options = f"{{directory: '{tmp_path}'}}"
        config = tmp_path / "agent.conf"
        config.write_text(
            f"cluster: {{name: c1, id: 1}}\ningest: {{{backend}: {options}}}\n"
            "consumers: [ipcache, loadbalancer, routes]\nhttp: {listen: '127.0.0.1:0'}\n"
        )
        process, address = stack.enter_context(running(config))
        context = stack.enter_context(the_browser.new_context())
        context.set_default_timeout(WAIT_S * 1000)
        for _ in range(_PAGES):
            page = context.new_page()
            page.goto(address)
            page.wait_for_selector("#link.good")
        before = cpu_s(process)
        for _ in range(_SCRAPES):
            urllib.request.urlopen(f"{address}/metrics", timeout=WAIT_S).read()
            page.wait_for_timeout(_SCRAPED_EVERY_S * 1000)
        share = (cpu_s(process) - before) / (_SCRAPES * _SCRAPED_EVERY_S)
    with capsys.disabled():
        print(f"\n{backend}: an idle agent, scraped every 15 s, shown in three windows: {share:.2%} of a core")
    assert share < 0.01
