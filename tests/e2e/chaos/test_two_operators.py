"""Whatever dies, hangs or is refused: every object ends as desired, and no child is created twice."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from .world import World

pytestmark = pytest.mark.apiserver


def test_leaders_killed_and_frozen_and_a_server_that_restarts():
    with World(seed=1, lease_s=3.0) as world:
        for fault in (world.kill_leader, world.freeze_leader, world.restart_server):
            for _ in range(10):
                world.change(15)
            fault()
        for _ in range(10):
            world.change(15)
        world.settle(120)
        world.check_creations()
        assert sum(world.proxy.created.values()) <= sum(spec["size"] for spec in world.desired.values())


@pytest.mark.stress
@pytest.mark.timeout(3600)
def test_thousands_of_objects_for_10_minutes():
    """``STATEDB_CHAOS=2000,600,10``: Sets, seconds, changes a second. Its figures go to build/chaos.json."""
    objects, seconds, rate = map(int, os.environ.get("STATEDB_CHAOS", "2000,600,10").split(","))
    with World(seed=2, lease_s=6.0) as world:
        begun = time.monotonic()
        for number in range(objects):
            world.want(f"set-{number}", world.random.randrange(4))
        filled_s = time.monotonic() - begun
        first_s = filled_s + world.settle(1800)
        begun, changes, pause = time.monotonic(), world.changes, threading.Event()
        next_fault = begun + 10
        while (now := time.monotonic()) < begun + seconds:
            if now >= next_fault:
                world.random.choice((world.kill_leader, world.freeze_leader, world.restart_server))()
                next_fault = time.monotonic() + world.random.uniform(10, 30)
            world.change(objects)
            world.keep_two()
            pause.wait(max(0.0, begun + (world.changes - changes) / rate - time.monotonic()))
        churned_s = time.monotonic() - begun
        wrong = len(world.wrong())
        settled_s = world.settle(1800)
        world.check_creations()
        children = sum(spec["size"] for spec in world.desired.values())
        figures = {
            "objects": len(world.desired),
            "children": children,
            "created, told by the server": sum(world.proxy.created.values()),
            "created twice": sum(times > 1 for times in world.proxy.created.values()),
            "refused because they were there": sum(world.proxy.refused.values()),
            "seconds to the first state": round(first_s),
            "seconds of changes": round(churned_s),
            "changes": world.changes - changes,
            "behind when the changes ended": wrong,
            "seconds to the end": round(settled_s, 1),
            "faults": dict(world.faults),
            "injected": dict(world.proxy.injected),
        }
        Path("build").mkdir(exist_ok=True)
        Path("build/chaos.json").write_text(json.dumps(figures, indent=1))
        print(json.dumps(figures, indent=1))
