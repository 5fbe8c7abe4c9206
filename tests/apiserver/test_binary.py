"""Where the program comes from, and what is said where it cannot be had. No test here builds it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from . import binary

needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="there is no Go toolchain")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache folder, and nothing named."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return tmp_path / "cache" / "statedb"


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def fake_go(monkeypatch: pytest.MonkeyPatch, folder: Path, build: str) -> None:
    """A Go that has every module, and builds as the script says; ``$out`` is the file to make."""
    take = 'while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done'
    program(folder / "go", f'[ "$1" = mod ] && exit 0\n{take}\n{build}')
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_both_programs_are_pinned(empty: Path):
    assert binary.APISERVER.release().startswith("v1.")
    assert binary.ETCD.release().startswith("v3.")
    assert binary.APISERVER.cached() == empty / f"kube-apiserver-{binary.APISERVER.release()}"


def test_what_is_built_lies_in_the_cache_and_is_not_built_again(
    empty: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    fake_go(monkeypatch, tmp_path / "bin", f'echo x >> {tmp_path / "builds"}; echo binary > "$out"')
    assert binary.provide() == [binary.APISERVER.cached(), binary.ETCD.cached()]
    assert binary.find().read_text() == "binary\n"
    assert sorted(path.name for path in empty.iterdir()) == sorted(path.name for path in binary.provide())
    assert (tmp_path / "builds").read_text() == "x\nx\n"


def test_a_build_that_fails_shows_what_go_said_and_leaves_nothing(
    empty: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    fake_go(monkeypatch, tmp_path / "bin", 'echo half > "$out"; echo "undefined: x" >&2; exit 1')
    assert binary.main() == 1
    assert "could not build kube-apiserver v1." in capsys.readouterr().out
    assert list(empty.iterdir()) == []


def test_a_build_that_does_not_end_is_given_up_and_its_compilers_with_it(
    empty: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(binary, "_BUILD_S", 1.5)
    monkeypatch.setattr(binary, "_PROGRESS_S", 0.5)
    fake_go(monkeypatch, tmp_path / "bin", "echo some/package >&2; sleep 1000")
    assert binary.main() == 1
    said = capsys.readouterr().out
    assert "1 packages; now some/package" in said  # progress
    assert "gave up building kube-apiserver v1." in said


def test_without_go_the_status_says_that_none_can_be_had(
    empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PATH", "")
    assert binary.main() == binary.UNAVAILABLE
    assert "no Go toolchain" in capsys.readouterr().out


@needs_go
def test_without_the_module_proxy_too(
    empty: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("GOPROXY", "off")
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modules"))
    assert binary.main() == binary.UNAVAILABLE
    assert "GOPROXY=off" in capsys.readouterr().out


@needs_go
def test_a_proxy_that_does_not_answer_is_waited_for_only_so_long(
    empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(binary, "_DOWNLOAD_S", 0.0)
    assert binary.main() == binary.UNAVAILABLE
    assert "did not come within 0 s" in capsys.readouterr().out


def test_the_one_that_is_named_is_used_and_put_into_the_cache(
    empty: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    named = program(tmp_path / "assets" / "kube-apiserver", "echo Kubernetes v1.2.3")
    program(tmp_path / "assets" / "etcd", "echo etcd Version: 3.9.9")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    assert binary.find() == named
    assert binary.find_etcd() == tmp_path / "assets" / "etcd"
    assert binary.provide() == [empty / "kube-apiserver-v1.2.3", empty / "etcd-v3.9.9"]


def test_a_name_without_a_program_is_an_error(empty: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(binary.BuildFailed, match="has no program kube-apiserver; correct or unset it"):
        binary.find()


@pytest.mark.parametrize("required", [False, True], ids=["skipped", "required"])
def test_without_a_server_the_summary_counts_what_was_skipped_or_the_run_fails(empty: Path, required: bool):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/apiserver/test_server.py"]
    only = ["-k", "kubeconfig or namespaces_come or crds_come or names_that"]
    environment = {**os.environ, "STATEDB_APISERVER": "required" if required else ""}
    run = subprocess.run([*command, *only], cwd=ROOT, env=environment, capture_output=True, text=True)
    if required:
        assert run.returncode == 1
        assert "no kube-apiserver" in run.stdout
    else:
        assert run.returncode == 0, run.stdout
        assert "tests against a real API server, skipped: 3, for there is no kube-apiserver" in run.stdout
        assert "1 passed, 3 skipped" in run.stdout
