"""A real Prometheus that scrapes and evaluates twice a second."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ingest.etcd.local import free_port

NO_PROMETHEUS = "there is no prometheus; install the package `prometheus`"
_WAIT_S = 60.0
_PAUSE_S = 0.1


def without_delays(rules: str) -> str:
    """Rules that fire at once: how long they wait is tried in simulated time."""
    return re.sub(r"^ +for: .*\n", "", rules, flags=re.MULTILINE)


class Prometheus:
    """Runs while its block does. Its data are in ``directory``."""

    def __init__(self, directory: Path, target: str, rules: Path) -> None:
        """``target`` is the host and port of an agent."""
        (directory / "rules.yaml").write_text(without_delays(rules.read_text()))
        config = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [str(directory / "rules.yaml")],
            "scrape_configs": [{"job_name": "statedb-agent", "static_configs": [{"targets": [target]}]}],
        }
        (directory / "prometheus.yaml").write_text(json.dumps(config))
        self._directory = directory
        self._url = f"http://127.0.0.1:{free_port()}"

    def __enter__(self) -> Self:
        program = shutil.which("prometheus")
        assert program is not None, NO_PROMETHEUS
        self._log = (self._directory / "log").open("wb")
        arguments = {
            "config.file": self._directory / "prometheus.yaml",
            "storage.tsdb.path": self._directory / "data",
            "web.listen-address": self._url.removeprefix("http://"),
        }
        command = [program, *[f"--{name}={value}" for name, value in arguments.items()]]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def alerts(self) -> set[str]:
        """The names of those that fire now."""
        return {each["labels"]["alertname"] for each in self._get("alerts")["alerts"] if each["state"] == "firing"}

    def value(self, query: str) -> float | None:
        """Of the one series that a query gives; None if there is none."""
        found = self._get(f"query?query={query}")["result"]
        return float(found[0]["value"][1]) if found else None

    def wait(self, holds: Callable[[], bool]) -> None:
        """Until it holds; an AssertionError after a minute."""
        until = time.monotonic() + _WAIT_S
        while True:
            try:
                if holds():
                    return
            except (urllib.error.URLError, ConnectionError):  # it is starting
                assert self._process.poll() is None, (self._directory / "log").read_text()
            assert time.monotonic() < until, self.alerts()
            time.sleep(_PAUSE_S)

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}", timeout=_WAIT_S) as answer:
            return json.load(answer)["data"]
