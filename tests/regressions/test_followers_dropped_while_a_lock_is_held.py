"""A loop that was dropped unfinished is ended by the collector, wherever that runs: also where a watch is registered.

It trips a watch at its end. The interrupted registration held a lock that this needed as well, and hung forever.
"""

from consumers.running.follower import follow
from consumers.running.steps import manual_watch
from statedb import Database
from statedb.engine.watch import Registry
from statedb.testing import Hosts

from ..statedb.engine._helpers import in_the_gap


def test_dropping_a_loop_takes_no_lock_of_a_watch():
    follower = follow(Database(Hosts), Hosts, apply=lambda batch: None)
    steps = [follower.steps()]
    next(steps[0])
    in_the_gap(Registry._register, "watching.add", steps.clear, manual_watch)
    assert follower.health == "ended"
