"""The snippets of docs/kubernetes.md on a real API server, and the rows that they promise."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import pytest

from ...apiserver.server import ApiServer
from .informing import CRDS, at, create_served, pod, running, until, widgets_crd

PAGE = Path(__file__).parents[3] / "docs" / "kubernetes.md"
BLOCK = re.compile(r"^```python apiserver\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_snippets_of_the_page_run(
    apiserver: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    rest = apiserver.rest()
    monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig()))
    apiserver.create_namespace("shop")
    rest.create(CRDS, widgets_crd("example.org"))
    create_served(rest, at("shop", "pods"), pod("web-1", labels={"app": "web"}))
    names: dict[str, Any] = {"__name__": "snippet"}
    sources = {}  # several snippets have one of this name; one that went on would be taken for that of a later test
    for found in BLOCK.finditer(PAGE.read_text()):
        exec(compile(found["code"], PAGE.name, "exec"), names)
        sources[id(names.get("source"))] = names.get("source")
    assert {"shop web-1 None", "there web-1"} <= set(capsys.readouterr().out.splitlines())  # beside other tests' pods
    with running(names["mine"]):
        snapshot = until(names["db"], lambda s: s[names["Images"]])
        assert list(snapshot[names["Images"]]) == [("web-1", "side:2"), ("web-1", "web:1")]
    for source in filter(None, sources.values()):
        source.stop()
        assert source.join(20)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("kubernetes ")]
    for path in (f"{at('shop', 'pods')}/web-1", f"{CRDS}/widgets.example.org"):
        rest.delete(path)


def test_every_behaviour_of_informers_names_a_test_or_a_reason():
    rows = [row for row in (PAGE.parent / "informers.md").read_text().splitlines() if row.startswith("| ")][1:]
    told = [row for row in rows if not row.startswith("| **")]
    assert len(told) >= 40
    assert [row for row in told if "`test_" not in row and "| reason: " not in row] == []
