"""The program helm, built by the Go toolchain into the cache folder, and what the chart gives when it renders it.

``python -m tests.deploy.helm`` (``make helm``) builds it. Needs but Python.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.apiserver import binary

HELM = binary.Program("helm", "helm.sh/helm/v4", "helm.sh/helm/v4/cmd/helm", Path(__file__).parent)
CHART = Path(__file__).parents[2] / "deploy" / "helm" / "statedb"
RELEASE, NAMESPACE = "test", "rendered"


def find() -> str | None:
    """The path of helm: the cached one, else one of release 3 or 4 on the PATH, else None."""
    return str(HELM.cached()) if HELM.cached().exists() else shutil.which("helm")


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it, whatever its exit status."""
    program = find()
    assert program is not None
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)


def render(*settings: str) -> list[Any]:
    """The objects of the chart (Any: YAML) with these values, each like ``mode=offloaded``."""
    return list(_render(settings))


@functools.cache
def _render(settings: tuple[str, ...]) -> tuple[Any, ...]:
    import yaml  # the command below runs before anything is installed

    chosen = [word for each in settings for word in ("--set-json" if "=[" in each or "={" in each else "--set", each)]
    done = helm("template", RELEASE, str(CHART), "--namespace", NAMESPACE, *chosen)
    assert done.returncode == 0, done.stderr
    return tuple(each for each in yaml.safe_load_all(done.stdout) if each)


def only(objects: list[Any], kind: str, name: str) -> Any:
    """The one object of a kind with this name (Any: YAML)."""
    (found,) = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


if __name__ == "__main__":
    sys.exit(binary.main(lambda: binary.build(HELM)))
