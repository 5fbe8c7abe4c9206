"""A source that reads a large file says how far it is, and can be stopped."""

import json
from collections.abc import Callable
from pathlib import Path

from ingest import ManifestsOptions
from ingest.manifests.source import ManifestsSource
from statedb import Database
from statedb.catalog import TABLES, Nodes, Sources

OBJECTS = 3500
WAIT_S = 30.0


def large(directory: Path) -> None:
    nodes = [
        {"apiVersion": "cilium.io/v2", "kind": "CiliumNode", "metadata": {"name": f"n{n}"}} for n in range(OBJECTS)
    ]
    (directory / "large.json").write_text(json.dumps({"kind": "List", "items": nodes}))


class Rig:
    """A source on a directory; ``look`` is called with each error of `sources` while the source runs."""

    def __init__(self, directory: Path, look: Callable[[str], None]) -> None:
        self.db = Database(*TABLES)
        self._scan = look
        self._now = 0.0
        options = ManifestsOptions(directory=str(directory), rescan_s=0.02)
        self.source = ManifestsSource(self.db, "c1", 1, options, clock=self._clock)

    def _clock(self) -> float:
        """Each reading of the clock is two seconds after the one before."""
        self._now += 2
        for row in self.db.snapshot()[Sources].values():
            self._scan(f"{row.state}: {row.last_error}")
        return self._now


def test_reading_a_large_file_is_reported(tmp_path: Path):
    large(tmp_path)
    seen: set[str] = set()
    rig = Rig(tmp_path, seen.add)
    rig.source.start()
    assert rig.db.wait_initialized(Nodes, timeout=WAIT_S)
    rig.source.stop()
    assert rig.source.join(WAIT_S)
    assert rig.source.failure is None
    assert "syncing: reading large.json: 1000 objects of a list" in seen
    assert len(rig.db.snapshot()[Nodes]) == OBJECTS


def test_stopping_gives_up_the_file_that_is_being_read(tmp_path: Path):
    large(tmp_path)
    seen: list[str] = []

    def stop_at_the_first_report(state: str) -> None:
        if "reading" in state:
            rig.source.stop()
            seen.append(state)

    rig = Rig(tmp_path, stop_at_the_first_report)
    rig.source.start()
    assert rig.source.join(WAIT_S)
    assert rig.source.failure is None
    assert seen
    assert not any("3000 objects" in state for state in seen)
    assert not rig.db.snapshot()[Nodes].initialized
