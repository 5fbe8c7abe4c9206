"""What `make cilium` builds, without building it."""

import shutil
from pathlib import Path

import pytest

from . import binary


def test_the_release_is_pinned_in_one_line():
    release = binary.APISERVER.release()
    lines = [line.split() for line in (binary.HERE / "go.mod").read_text().splitlines()]
    assert release.startswith("v1.")
    assert [line for line in lines if binary.MODULE in line[:1]] == [[binary.MODULE, release]]


def test_each_folder_with_a_main_is_a_program_and_is_built_again_when_it_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    shutil.copytree(binary.HERE, tmp_path / "module", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(binary, "HERE", tmp_path / "module")
    program = tmp_path / "module" / "mine" / "main.go"
    program.parent.mkdir()
    program.write_text("package main\n")
    (mine,) = [each for each in binary.programs() if each.name == "mine"]
    before = mine.cached()
    program.write_text("package main // changed\n")
    assert mine.cached() != before
    assert mine.package == "./mine"


def test_what_is_not_built_is_missing_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert binary.missing() == f"there is no clustermesh-apiserver-{binary.APISERVER.release()}; run `make cilium`"
