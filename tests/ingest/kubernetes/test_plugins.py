"""A credential plugin that hangs holds up new requests until its time limit, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from ingest import KubernetesOptions
from ingest.kubernetes import login
from ingest.kubernetes.errors import Unauthorized
from ingest.kubernetes.plugins import Plugins
from ingest.kubernetes.sockets import Sockets
from statedb.catalog import Endpoints

from ...waiting import eventually
from ..kube_fake import FakeApi
from ..kube_rig import KubeRig, cep, node


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as fake:
        yield fake


class Plugin:
    """A program that prints a token which ends at once, or hangs with a child of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        self.config = str(folder / "config")
        self._hangs, program = folder / "hangs", folder / "give-token"
        self.started = folder / "started"
        program.write_text(
            f"""#!/bin/sh
if [ -e {self._hangs} ]; then echo $$ >> {self.started}; sleep 1000; fi
printf '%s' '{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status":'
printf '%s' '{{"token": "t"}}}}'
"""
        )
        program.chmod(0o700)
        Path(self.config).write_text(
            f"current-context: c\nclusters: [{{name: k, cluster: {{server: '{url}'}}}}]\n"
            "contexts: [{name: c, context: {cluster: k, user: u}}]\n"
            "users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, "
            f"command: '{program}'}}}}}}]\n"
        )

    def hang(self) -> None:
        self._hangs.touch()

    def go_on(self) -> None:
        self._hangs.unlink()

    def starts(self) -> list[int]:
        return [int(pid) for pid in self.started.read_text().split()] if self.started.exists() else []


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_hanging_plugin_is_named_killed_and_asked_again(api: FakeApi, tmp_path: Path):
    plugin = Plugin(tmp_path, api.url)
    options = {"kubeconfig": plugin.config, "plugin_timeout_s": 1.5}
    with KubeRig(tables=("endpoints", "nodes"), **options) as rig:
        rig.synced()
        plugin.hang()
        api.tokens = set()  # the token is refused, so the plugin is asked anew
        api.cut()
        rig.until(lambda s: "plugin 'give-token' gives no answer within 1.5 s" in rig.row(s).last_error)
        first = plugin.starts()[0]
        until = time.monotonic() + 10
        while is_running(first) and time.monotonic() < until:
            time.sleep(0.01)
        assert not is_running(first)
        api.tokens = None
        plugin.go_on()
        api.put(cep("10.0.0.1"))
        api.put(node("n1"))
        rig.until(lambda s: len(s[Endpoints]) == 1 and rig.state(s) == "synced")


def test_stopping_does_not_wait_for_a_plugin(api: FakeApi, tmp_path: Path):
    plugin = Plugin(tmp_path, api.url)
    rig = KubeRig(tables=("endpoints", "nodes"), kubeconfig=plugin.config, plugin_timeout_s=600.0)
    with rig:
        rig.synced()
        plugin.hang()
        api.tokens = set()
        api.cut()
        rig.until(lambda s: "waiting for credential plugin 'give-token'" in rig.row(s).last_error)
        started = time.monotonic()
    assert time.monotonic() - started < 5.0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("kubernetes cluster")]


def test_opening_does_not_wait_for_a_plugin(api: FakeApi, tmp_path: Path):
    plugin = Plugin(tmp_path, api.url)
    plugin.hang()
    api.put(cep("10.0.0.1"))
    started = time.monotonic()
    rig = KubeRig(tables=("endpoints",), kubeconfig=plugin.config, plugin_timeout_s=1.0)
    assert time.monotonic() - started < 10.0
    plugin.go_on()
    with rig:
        rig.until(lambda s: len(s[Endpoints]) == 1)


def test_those_who_waited_share_one_failure(monkeypatch: pytest.MonkeyPatch):
    """Eight resources wait for one plugin: it is not asked eight times in a row before anybody is told."""
    asked, arrived, release = [], [], threading.Event()

    class Hanging:
        pools = urllib3.PoolManager()
        url = "http://h"

        def headers(self) -> dict[str, str]:
            asked.append(1)
            if len(asked) > 1:
                release.wait()
                raise Unauthorized("no answer")
            return {}

    def clock() -> float:
        arrived.append(1)
        return float(len(arrived))

    monkeypatch.setattr(login, "plain_credentials", lambda _: None)
    monkeypatch.setattr(login, "package_credentials", lambda _: Hanging)
    one = login.Login(KubernetesOptions(server="http://h"), Sockets(), clock)
    failures: list[str] = []

    def ask() -> None:
        try:
            one.request_context()
        except Unauthorized as error:
            failures.append(str(error))

    before = len(arrived)
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(arrived) >= before + 8, "all of them")
    release.set()
    for thread in threads:
        thread.join()
    assert failures == ["no answer"] * 8
    assert len(asked) == 2


def test_a_question_that_raises_raises_for_whoever_asked():
    with pytest.raises(ZeroDivisionError):
        Plugins().run(lambda: 1 / 0, 5.0)


def test_a_question_without_a_plugin_has_a_time_limit_too():
    plugins, release = Plugins(), threading.Event()
    with pytest.raises(Unauthorized, match="identity provider"):
        plugins.run(release.wait, 0.05)
    release.set()
    assert plugins.run(lambda: 7, 5.0) == 7
    plugins.close()
    with pytest.raises(Unauthorized, match="stopped"):
        plugins.run(lambda: 7, 5.0)
