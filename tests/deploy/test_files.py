"""The unit of systemd and the Containerfile, as far as they can be tried without either running."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "systemd" / "statedb.service"
CONTAINERFILE = ROOT / "deploy" / "container" / "Containerfile"

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)


@needs_systemd
def test_systemd_finds_no_fault_in_the_unit():
    done = analyze("verify", "--recursive-errors=no", str(UNIT))
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_systemd_finds_faults_at_all(tmp_path: Path):
    wrong = tmp_path / "statedb.service"
    wrong.write_text(UNIT.read_text().replace("ProtectSystem=strict", "ProtectSystem=very\nNoSuchSetting=1"))
    done = analyze("verify", "--recursive-errors=no", str(wrong))
    assert "Failed to parse protect system value" in done.stderr
    assert "NoSuchSetting" in done.stderr


@needs_systemd
def test_the_unit_is_locked_in():
    """Of 10, less is safer; what is left is the network."""
    done = analyze("security", "--offline=true", "--threshold=20", str(UNIT))
    assert done.returncode == 0, done.stdout


def test_the_image_has_no_root_and_what_it_copies_is_there():
    text = CONTAINERFILE.read_text()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["65532:65532"]
    sources = [word for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert {"pyproject.toml", "constraints.txt", "statedb", "ingest", "consumers"} <= set(sources)
    assert [each for each in sources if not (ROOT / each).exists()] == []
