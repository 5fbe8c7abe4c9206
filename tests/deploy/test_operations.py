"""docs/operations.md, followed command by command: Helm and kubectl on a real API server.

Nothing runs pods there, so commands that talk to a pod or wait for one are left out. Rows of the agent and the
publisher that the chart describes are in `test_offloaded.py`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..apiserver.server import ApiServer
from . import helm

pytestmark = [
    pytest.mark.helm,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl"),
]

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "operations.md").read_text()
COMMAND = re.compile(r"^(?: {4,7}|[0-9]\. `)((?:helm|kubectl) [^`\n]*)`?$", re.MULTILINE)
NEEDS_PODS = re.compile(r"kubectl (?:-n \S+ )?(?:exec|rollout status|port-forward|logs)\b")
UPGRADE = "helm upgrade statedb deploy/helm/statedb -n statedb -f values.yaml"
VALUES = re.compile(r"^   ```yaml\n(.*?)^   ```$", re.MULTILINE | re.DOTALL)
OFFLOADED = "mode: offloaded\nagent: {consumers: [ipcache], rightsOfBothModes: true}\n"


class Reader:
    """Somebody with a shell in a checkout, helm, kubectl and the server's kubeconfig."""

    def __init__(self, folder: Path, kubeconfig: Path) -> None:
        self.folder = folder
        self._env = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        (folder / "deploy").symlink_to(ROOT / "deploy")
        self.run("kubectl create namespace statedb")  # `helm template` needs it; --create-namespace lets it be

    def values(self, more: str = "") -> None:
        found = VALUES.search(TEXT)
        assert found is not None
        kept = [
            line for line in found[1].splitlines() if not (more and line.strip().startswith(("agent:", "consumers:")))
        ]
        (self.folder / "values.yaml").write_text("\n".join(line.removeprefix("   ") for line in kept) + f"\n{more}")

    def run(self, command: str) -> str:
        program = helm.find()
        assert program is not None
        spelled = re.sub(r"\bhelm (?=[a-z])", f"{program} ", command)
        spelled = spelled.replace("kubectl apply", "kubectl apply --dry-run=server")  # Helm shall install it
        spelled = spelled.replace("delete namespace", "delete namespace --wait=false")  # no controller ends it here
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", spelled],
            cwd=self.folder,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def reader(apiserver: ApiServer, tmp_path: Path) -> Iterator[Reader]:
    yield Reader(tmp_path, apiserver.kubeconfig())
    apiserver.delete_namespace("statedb")


def test_every_command_of_the_page_runs_in_its_order(reader: Reader):
    commands = [command for command in COMMAND.findall(TEXT) if not NEEDS_PODS.match(command)]
    move, back, to_a_release, with_new_certificates = [each for each in commands if each.startswith("helm upgrade")]
    assert (move, back, with_new_certificates) == (UPGRADE, UPGRADE, UPGRADE)
    reader.values()
    modes = iter((OFFLOADED, "", "", OFFLOADED))
    told: dict[str, str] = {}
    for command in commands:
        if command.startswith("helm upgrade"):
            reader.values(next(modes))
        elif command.startswith("kubectl -n statedb delete secret"):  # the mode that has certificates
            reader.values(OFFLOADED)
            reader.run(UPGRADE)
        told[command] = reader.run(command)
    assert "statedb-0" in told["helm history statedb -n statedb"]
    assert "Rollback was a success" in told["helm rollback statedb 3 -n statedb"]
    assert "uninstalled" in told["helm uninstall statedb -n statedb"]
    assert to_a_release.endswith("image.tag=0.2.0")
    assert "cluster:" in (reader.folder / "agent.yaml").read_text()
