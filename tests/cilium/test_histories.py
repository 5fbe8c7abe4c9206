"""After any history both writers have written the same; either may be killed and started again in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from ..apiserver.server import ApiServer
from .comparing import require_equal
from .conftest import Etcds, Say
from .histories import Cluster, step
from .peers import SHORTEST_LEASE_S, ClusterMesh
from .publishing import OursAsProcess

LEASE = f"--kvstore-lease-ttl={SHORTEST_LEASE_S}s"
"""What the real writer leaves behind after a restart goes with its old lease."""


class Pair:
    """Both writers, what they write, and the cluster that they read."""

    def __init__(self, server: ApiServer, etcds: Etcds, directory: Path) -> None:
        self.etcds = etcds(), etcds()
        self.real = ClusterMesh(directory / "real", server, self.etcds[0], LEASE)
        self.ours = OursAsProcess(directory / "ours", server, self.etcds[1])
        self.cluster = Cluster(server, self.etcds)
        self.rounds = self.keys = 0

    def round(self, steps: list[tuple[Any, ...]], restarted: str) -> None:
        """So much happens, with one writer dead meanwhile or none, and then both hold the same."""
        writer = {"real": self.real, "ours": self.ours}.get(restarted)
        if writer is not None:
            writer.kill()
        for what, *arguments in steps:
            self.cluster.do(what, *arguments)
        if writer is not None:
            writer.start()
        shown = self.cluster.finish()

        def is_seen() -> bool:
            self.real.require_running()
            self.ours.require_running()
            return shown()

        keys, _ = require_equal(*self.etcds, until=is_seen)
        self.rounds += 1
        self.keys += keys


def play(
    server: ApiServer, etcds: Etcds, directory: Path, *, examples: int, restarts: list[str], rounds: int, say: Say
) -> None:
    pair = Pair(server, etcds, directory)

    # As a failure was found it is told: to shrink it would take hours.
    @settings(max_examples=examples, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.lists(step, min_size=1, max_size=8), st.sampled_from(restarts)), max_size=rounds))
    def history(rounds: list[tuple[list[tuple[Any, ...]], str]]) -> None:
        for steps, restarted in rounds:
            pair.round(steps, restarted)
        pair.cluster.clear()

    with pair.real, pair.ours:
        history()
    say(f"histories: {pair.rounds} rounds, {pair.keys} keys compared")


def test_after_any_history_both_writers_have_written_the_same(
    server: ApiServer, etcds: Etcds, tmp_path: Path, say: Say
):
    play(server, etcds, tmp_path, say=say, examples=4, restarts=["", "", "ours"], rounds=3)


@pytest.mark.stress
def test_long_histories_with_kills_of_either_writer(server: ApiServer, etcds: Etcds, tmp_path: Path, say: Say):
    play(server, etcds, tmp_path, say=say, examples=20, restarts=["", "", "", "ours", "real"], rounds=6)
