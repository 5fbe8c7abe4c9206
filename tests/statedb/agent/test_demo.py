"""The demonstration as a newcomer runs it, on both backends."""

import os
import subprocess
import sys
import time

import pytest


def demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "statedb", "demo", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("backend", ["manifests", "kvstore"])
def test_it_shows_the_main_job_and_ends_well(backend: str):
    began = time.monotonic()
    done = demo("--backend", backend)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert time.monotonic() - began < 60
    for told in (
        "endpoints      80 rows",
        "consumer: upsert 10.244.2.200  pod shop/checkout-7d4  identity 65621  node 172.18.0.3",
        "consumer: gone   10.244.2.200",
        "$ statedb show nodes",
        "10.244.3.25        65642",
        f"cluster1  endpoints   {backend}",
        "statedb init; statedb run -c agent.yaml",
    ):
        assert told in done.stdout, told
    if backend == "manifests":
        assert "'10.244.2.2000' is not an IP address" in done.stdout


def test_it_says_how_a_shell_finds_the_command():
    """``make demo`` runs it from an environment that nobody has activated."""
    bare = os.pathsep.join(each for each in os.get_exec_path() if not os.path.exists(os.path.join(each, "statedb")))
    done = demo(PATH=bare)
    hint = done.stdout.partition("Try next:\n")[2].splitlines()[0]
    assert hint.endswith("bin/activate")
    found = subprocess.run(
        ["sh", "-c", f"{hint} && statedb --version"], env={"PATH": bare}, capture_output=True, text=True
    )
    assert found.stdout.startswith("statedb "), found.stderr


def test_without_an_etcd_one_line_says_which_package_brings_it():
    done = demo("--backend", "kvstore", ETCD_BIN="/nowhere/etcd")
    assert done.returncode == 2
    assert done.stdout.count("\n") <= 2
    (line,) = done.stderr.strip().splitlines()
    assert "ETCD_BIN names /nowhere/etcd" in line


def test_an_unknown_backend():
    done = demo("--backend", "nothing")
    assert done.returncode == 2
    assert "nothing" in done.stderr
    assert "Traceback" not in done.stderr
