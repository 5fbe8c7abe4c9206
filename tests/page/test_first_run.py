"""From an empty folder with the wheel alone: install, `statedb init`, `statedb run`, and the page in a browser."""

import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page

from ..statedb.agent.conftest import installed, wheel

__all__ = ["installed", "wheel"]

pytestmark = pytest.mark.timeout(120)


def test_the_page_of_a_first_agent(page: Page, installed: Path, tmp_path: Path):
    def start(*arguments: str) -> subprocess.Popen[str]:
        print("$ statedb", *arguments)
        return subprocess.Popen([installed / "statedb", *arguments], cwd=tmp_path, stdout=subprocess.PIPE, text=True)

    with start("init") as init:
        print(init.communicate()[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.yaml", "cluster"]
    config = tmp_path / "agent.yaml"
    config.write_text(config.read_text().replace("127.0.0.1:9974", "127.0.0.1:0"))
    with start("run", "-c", "agent.yaml") as agent:
        try:
            assert agent.stdout is not None
            told = agent.stdout.readline()
            print(told + agent.stdout.readline())
            page.goto(told.removeprefix("serving on ").strip())
            page.wait_for_selector("a[href='#/table/nodes']")
            page.goto(f"{page.url.partition('#')[0]}#/table/nodes")
            page.wait_for_selector("#row-0:not(.loading) .grid-cell")
            row = page.inner_text("#row-0").split("\n")
            print("the page shows", row)
            assert row[:2] == ["node-1", "cluster1"]
        finally:
            agent.terminate()
    assert agent.returncode == 0
