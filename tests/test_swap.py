"""examples/swap: another backend is another line of configuration; tables and consumers are the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from statedb.agent.demo.etcd import MirroredEtcd
from statedb.agent.process.config import load_config

ROOT = Path(__file__).parents[1]
SWAP = ROOT / "examples" / "swap"


def printed(config: Path) -> list[str]:
    command = [sys.executable, str(SWAP / "consumer.py"), str(config)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_consumer_prints_the_same(tmp_path: Path):
    cluster = tmp_path / "cluster"
    shutil.copytree(ROOT / "examples" / "cluster", cluster)
    (tmp_path / "swap").mkdir()
    for name in ("manifests.yaml", "kvstore.yaml"):
        shutil.copy(SWAP / name, tmp_path / "swap" / name)
    one = printed(tmp_path / "swap" / "manifests.yaml")
    assert len([line for line in one if line.startswith("route ")]) >= 3
    assert len(one) > 40
    with MirroredEtcd(str(cluster), "cluster1", 1) as etcd:
        config = tmp_path / "swap" / "kvstore.yaml"
        config.write_text(config.read_text().replace("http://127.0.0.1:2379", etcd.endpoint))
        assert printed(config) == one


def test_the_configurations_differ_in_one_line():
    one, other = ((SWAP / name).read_text().splitlines() for name in ("manifests.yaml", "kvstore.yaml"))
    assert len(one) == len(other)
    assert [number for number, (a, b) in enumerate(zip(one, other, strict=True)) if a != b] == [2]
    for name in ("manifests.yaml", "kvstore.yaml"):
        assert load_config(SWAP / name).ingest
