"""Threads for work that may block: a few, more only while work hangs, and none without work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ingest.kubernetes.pool import Pool

WAIT_S = 60.0
NEVER_S = 3600.0


@contextmanager
def pool(**times: float) -> Iterator[Pool]:
    made = Pool("pool of a test", **times)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        made.close()
        made.join()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "pool of a test"]


def test_what_hangs_stops_nothing_else():
    released, done = threading.Event(), threading.Semaphore(0)
    with pool(overdue_s=0.001) as made:
        for _ in range(10):
            made.submit(released.wait)
        made.submit(done.release)
        assert done.acquire(timeout=WAIT_S)
        released.set()


def test_two_run_at_a_time_while_none_hangs():
    lock, running, most, left = threading.Lock(), 0, 0, threading.Semaphore(0)

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1
        left.release()

    with pool(usual=2, overdue_s=NEVER_S, idle_s=NEVER_S) as made:
        for _ in range(200):
            made.submit(work)
        for _ in range(200):
            assert left.acquire(timeout=WAIT_S)
        assert len(threads()) <= 3
    assert most <= 2


def test_a_third_waits_until_one_of_two_is_done():
    released = [threading.Event() for _ in range(3)]
    begun: list[int] = []
    done = threading.Semaphore(0)

    def work(number: int) -> Callable[[], None]:
        def run() -> None:
            begun.append(number)
            done.release()
            released[number].wait(WAIT_S)

        return run

    with pool(usual=2, overdue_s=NEVER_S) as made:
        for number in range(3):
            made.submit(work(number))
        for _ in range(2):
            assert done.acquire(timeout=WAIT_S)
        assert sorted(begun) == [0, 1]
        released[1].set()
        assert done.acquire(timeout=WAIT_S)
        assert begun[2] == 2
        for event in released:
            event.set()


def test_threads_without_work_end_and_come_again():
    done = threading.Semaphore(0)
    with pool(idle_s=0.001) as made:
        for _ in range(3):
            made.submit(done.release)
            assert done.acquire(timeout=WAIT_S)
            for thread in threads():
                thread.join(WAIT_S)
            assert not threads()


def test_a_closed_pool_begins_nothing():
    begun, released, ran = threading.Event(), threading.Event(), list[str]()

    def first() -> None:
        begun.set()
        released.wait(WAIT_S)
        ran.append("first")

    made = Pool("pool of a test", usual=1, overdue_s=NEVER_S)
    made.submit(first)
    assert begun.wait(WAIT_S)
    made.submit(lambda: ran.append("second"))
    made.close()
    made.submit(lambda: ran.append("third"))
    released.set()
    made.join()
    assert ran == ["first"]
