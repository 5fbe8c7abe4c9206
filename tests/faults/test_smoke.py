"""Some of the faults, once each: that the harness of `make faults` and `make soak` works, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(module: str, *arguments: str) -> str:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("backend", "faults"),
    [
        ("manifests", ("killed", "half", "clocks", "unmounted")),
        ("kubernetes (fake server)", ("emptied", "half", "refused")),
        ("kvstore", ("replaced", "credentials", "restored")),
        ("clustermesh", ("scale-up", "dead-writer")),
        ("etcd", ("emptied", "replaced", "turned", "credentials")),
    ],
)
def test_faults_heal_and_the_page_tells_of_them(backend: str, faults: tuple[str, ...], tmp_path: Path):
    page = tmp_path / "faults.md"
    chosen = [word for fault in faults for word in ("--fault", fault)]
    told = run("tests.faults", "--backend", backend, *chosen, "--rounds", "1", "--cycles", "3", "--page", str(page))
    assert "0 failures" in told
    text = page.read_text()
    assert f"| fault | {backend} |" in text
    assert "127.0.0.1" not in text
    assert str(tmp_path) not in text
