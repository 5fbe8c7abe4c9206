"""The wheel, installed into an environment of its own, and run where files have the names of our modules."""

import os
import subprocess
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

HOSTILE = ("agent.py", "config.py", "catalog/__init__.py", "ingest/__init__.py", "consumers/__init__.py", "types.py")
"""What a user may well call their own files. Each of ours ends the process when it is imported."""


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder that has modules of our names."""
    folder = tmp_path / "hostile"
    for name in HOSTILE:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"raise SystemExit('imported {name}')\n")
    (folder / "statedb.yaml").write_text("ingest: {manifests: {directory: .}}\n")
    return folder


@pytest.fixture
def run(installed: Path, hostile: Path) -> Run:
    """Runs a command of the environment in the hostile folder."""

    def run(*command: str, pythonpath: str = "") -> subprocess.CompletedProcess[str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        if pythonpath:
            env["PYTHONPATH"] = pythonpath
        return subprocess.run(
            [str(installed / command[0]), *command[1:]], cwd=hostile, env=env, capture_output=True, text=True
        )

    return run


def test_the_wheel_holds_our_three_packages_and_metadata_only(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    (metadata,) = [top for top in tops if top.endswith(".dist-info")]
    assert tops == {"statedb", "ingest", "consumers", metadata}
    assert {"statedb/py.typed", "statedb/agent/demo/example_cluster/nodes.yaml"} <= set(names)
    assert not [name for name in names if "/tests/" in name or name.endswith(".pyc")]


def test_the_demonstration_runs_beside_files_of_our_names(run: Run):
    done = run("statedb", "demo")
    assert (done.returncode, done.stderr) == (0, "")
    assert "consumer: gone" in done.stdout
    assert "internal error" not in done.stdout


def test_an_agent_is_written_run_and_asked_from_an_empty_folder(installed: Path, tmp_path: Path):
    def start(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen([installed / "statedb", *arguments], cwd=tmp_path, stdout=subprocess.PIPE, text=True)

    init = start("init")
    assert "wrote agent.yaml\n" in init.communicate()[0]
    config = tmp_path / "agent.yaml"
    config.write_text(config.read_text().replace("127.0.0.1:9974", "127.0.0.1:0"))
    with start("run", "-c", "agent.yaml") as agent:
        try:
            assert agent.stdout is not None
            address = agent.stdout.readline().removeprefix("serving on ").strip()
            assert agent.stdout.readline().startswith("synced after")
            with urllib.request.urlopen(f"{address}/tables/nodes") as answer:
                assert b'"cluster1"' in answer.read()
        finally:
            agent.terminate()
    assert agent.returncode == 0


def test_a_configuration_is_checked_beside_files_of_our_names(run: Run):
    done = run("statedb", "check", "-c", "statedb.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("statedb.yaml: good\n")


def test_python_m_takes_the_current_folder_off_the_path(run: Run, hostile: Path):
    done = run("python", "-P", "-m", "statedb", "check", "-c", "statedb.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    (hostile / "types.py").unlink()  # without -P it breaks Python itself, long before us
    done = run("python", "-m", "statedb", "check", "-c", "statedb.yaml")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("package", ["ingest", "consumers"])
def test_a_package_that_hides_ours_is_named_with_both_paths(run: Run, tmp_path: Path, package: str):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / package).mkdir(parents=True)
    (elsewhere / package / "__init__.py").touch()
    done = run("statedb", "--version", pythonpath=str(elsewhere))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"statedb: {elsewhere / package / '__init__.py'} hides /")
    assert line.endswith(f"/{package}, which statedb needs; rename it, or remove its folder from PYTHONPATH")
