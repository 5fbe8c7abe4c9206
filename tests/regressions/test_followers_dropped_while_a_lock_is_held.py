"""A loop that was dropped unfinished is ended by the collector, wherever that runs: also where a watch is registered.

It tripped a watch at its end, under a lock that the interrupted registration held already, and hung for ever.
"""

import threading

from consumers.running.follower import follow
from consumers.running.steps import manual_watch
from statedb import Database
from statedb.testing import Hosts


def test_dropping_a_loop_takes_no_lock_of_a_watch():
    follower = follow(Database(Hosts), Hosts, apply=lambda batch: None)
    steps = [follower.steps()]
    next(steps[0])
    ended = threading.Event()

    def drop() -> None:
        with manual_watch()._registry._lock:  # as in the middle of a registration
            steps.clear()
        ended.set()

    threading.Thread(target=drop, daemon=True).start()
    assert ended.wait(20)
    assert follower.health == "ended"
