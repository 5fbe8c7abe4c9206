"""A thread that keeps an etcd equal to the keys and values that it is given: level-triggered, one connection at a time.

connect ─▶ what stands there? ─▶ queue of keys that may differ ─▶ transactions, paced and bounded ─▶ etcd
   ▲                                  ▲                                                               │
   │                                  └── changes by others (a watch), lost leases, `put`, `delete` ◀─┘
   └── any error: pause, and all of that anew
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from consumers.running.retries import delay_s

from .desired import Desired, Refusal
from .election import Election
from .options import WriterOptions
from .rules import Rules
from .session import Session, time_value
from .statistics import WriterStats
from .store import Connect
from .writer_state import WriterState

log = logging.getLogger("statedb.consumers")

_RESIGN_S = 1.0
Report = Callable[[dict[str, Refusal]], None]
"""Called on the writer's thread with all keys that the server refuses, whenever that changes."""


class EtcdWriter:
    """Started once, stopped once; all methods are for any thread. A context manager.

    `put`, `delete` and `mark` may be called before it is started and while there is no connection. A key waits at most
    once, and what is written is its value of that moment. Keys stand under leases, so they go in the end with their
    writer. A key that somebody else changes or deletes is written again, at once and then less and less often. A key
    that the server refuses keeps its old value, is named in `health`, and is tried again when it changes.

    Two writers of equal keys, a restart, and a return to an etcd that still has everything write nothing.
    """

    def __init__(
        self,
        connect: Connect,
        rules: Rules,
        options: WriterOptions = WriterOptions(),  # noqa: B008  # frozen
        *,
        name: str = "etcd writer",
        report: Report | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``connect`` gives a new connection each time. ``clock`` paces, ``wall`` dates, ``jitter`` (0 to 1) jitters.

        ``name`` appears in the log and in the key of a leader election.
        """
        self.name = name
        self.crash: BaseException | None = None
        """What ended its thread against expectation: a bug. Else None."""
        self._connect = connect
        self._rules = rules
        self._options = options
        self._report = report
        self._clock = clock
        self._wall = wall
        self._jitter = jitter
        self._identity = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        may_delete = rules.may_delete or (lambda _: self._others_may_go)
        self._desired = Desired(rules.rank, may_delete, rules.heartbeat, rules.part_of)
        self._writer_state = WriterState(options, self._desired, jitter)
        self._others_may_go = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        # Its own words on whether it runs: while a thread begins it has an identifier and says that it is not alive.
        self._begun = False
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._store: Any = None
        self._session: Session | None = None
        self._election: Election | None = None
        self._state = "not started"
        self._tries = 0
        self._failure = ""
        self._outdated: tuple[str, float] | None = None
        self._reported = 0
        self._resigning = False

    # --- what is wanted -----------------------------------------------------------------------------------------------

    def put(self, key: str, value: bytes) -> None:
        """The key should have this value. Raises ValueError for a key outside of the prefixes."""
        self._check(key)
        if (
            self._desired.put(key, value) and not self._writer_state.wake.is_set()
        ):  # what is set is cleared before the look
            self._writer_state.wake.set()

    def mark(self, key: str) -> None:
        """Write the time into the key, once, behind all that waits; from then on it should only be there.

        So a reader who sees it knows that all that was put before it is there. Likewise on each new connection.
        """
        self._check(key)
        self._desired.mark(key)
        self._writer_state.wake.set()

    def delete(self, key: str) -> None:
        """The key should not be there. Raises ValueError for a key outside of the prefixes."""
        self._check(key)
        self._desired.delete(key)
        self._writer_state.wake.set()

    def release(self, key: str) -> None:
        """Undo `put`, `mark` or `delete`: if the key stands, it goes only where the rules' ``may_delete`` agrees."""
        self._desired.release(key)
        self._writer_state.wake.set()

    def review(self, part: str | None = None) -> None:
        """Ask ``may_delete`` again about the keys that stand and that nobody has put or deleted: of a part, or all."""
        if self._desired.review(part):
            self._writer_state.wake.set()

    def delete_others(self) -> None:
        """All keys were put: what else stands below the prefixes and is our own goes."""
        self._others_may_go = True
        self.review()

    def outdated(self, reason: str) -> None:
        """What was put is out of date, and why; empty where it is up to date again. In the end the heartbeat stops."""
        if not reason:
            self._outdated = None
        elif self._outdated is None:
            self._outdated = (reason, self._clock())

    # --- for its owner ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin. Raises RuntimeError the second time."""
        self._thread.start()
        self._begun = True

    def stop(self) -> None:
        """Ask it to end; a request under way is cut off. What it has written stays for the time of its leases."""
        self._writer_state.stop.set()
        self._writer_state.wake.set()
        with self._lock:
            store, election = self._store, self._election
            self._resigning = store is not None and election is not None
        if store is None:
            return
        if election is None:
            store.close()
            return
        threading.Thread(target=_resign, args=(election, store), daemon=True).start()
        late = threading.Timer(_RESIGN_S, store.close)  # nobody waits for an etcd that does not answer
        late.daemon = True
        late.start()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; True at once if it never started."""
        if not self._begun:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, and wait for its end."""
        self.stop()
        self.join()

    @property
    def ready(self) -> bool:
        """Whether all is well now: connected, what was wanted at first is written, and nothing is stuck.

        A process that stands by because another one leads is ready.
        """
        session = self._session
        if session is None or not session.loaded or self.crash is not None or self._writer_state.stop.is_set():
            return False
        if not session.leads:
            return self._leader() != ""
        return session.complete and not session.stuck_s

    def wait_ready(self, timeout: float | None = None, *, also: Callable[[], bool] = lambda: True) -> bool:
        """Wait until it is `ready` and ``also`` holds; False after ``timeout`` seconds, or when it has ended."""
        until = None if timeout is None else time.monotonic() + timeout
        pause = threading.Event()  # for looking again: many things decide, and some of them are only the time
        while not (self.ready and also()):
            left = None if until is None else until - time.monotonic()
            if (left is not None and left <= 0) or self._ended.is_set():
                return False
            pause.wait(0.01 if left is None else min(0.01, left))
        return True

    def is_written(self, key: str) -> bool:
        """Whether a wanted key stands as it should, as far as is known."""
        session = self._session
        return session is not None and self._desired.is_written(key, session.present)

    @property
    def health(self) -> str:
        """How it is doing, in one line, which begins with OK where it does well."""
        if self.crash is not None:
            return f"crashed: {self.crash!r}"
        session = self._session
        if session is None or not session.loaded:
            return self._state
        if not session.leads:
            return f"OK, standing by: {self._leader() or 'nobody'} leads"
        return self._health_of(session)

    def _health_of(self, session: Session) -> str:
        waiting, outdated, stuck_s = len(self._desired), self._outdated, session.stuck_s
        if stuck_s:
            why = session.no_space or (outdated[0] if outdated is not None else f"{waiting} keys wait")
            return f"stuck for {stuck_s:.0f} s, the heartbeat has stopped: {why}"
        if session.no_space:
            return f"the database is full; compact it and disarm the alarm: {session.no_space}"
        if not session.complete:
            return f"writing, {waiting} keys wait"
        refused, contested = self._desired.refused(), self._writer_state.repairs.contested(self._clock())
        if refused:
            key, first = next(iter(refused.items()))
            return f"OK, but {len(refused)} keys are not written: {key}: {first.reason}"
        if contested:
            key, count = next(iter(contested.items()))
            return f"OK, but somebody else changes {len(contested)} of our keys: {key}, {count} times"
        return "OK"

    def refused(self) -> dict[str, Refusal]:
        """The keys that the server refuses, and why."""
        return self._desired.refused()

    @property
    def queue_size(self) -> int:
        """How many keys wait to be written; never more than there are."""
        return len(self._desired)

    def stats(self) -> WriterStats:
        """What it has done."""
        count, session = self._writer_state.counts, self._session
        return WriterStats(
            puts=count["puts"],
            deletes=count["deletes"],
            put_bytes=count["bytes"],
            transactions=count["transactions"],
            connections=count["connections"],
            failures=count["failures"],
            repairs=count["repairs"],
            keys=0 if session is None else len(session.present),
            leases=0 if session is None else len(session.present.leases()),
            unwritten=len(self._desired.refused()),
            contested=len(self._writer_state.repairs.contested(self._clock())),
            leads=not self._options.leader_election if session is None else session.leads,
            lease_time_s=self._writer_state.leases.ttl_s,
            lease_left_s=self._writer_state.leases.left_s(self._clock()),
        )

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._writer_state.stop.is_set():
                self._connect_and_write()
            self._state = "stopped"
        except BaseException as error:
            self.crash = error
            raise
        finally:
            self._session = None
            self._ended.set()

    def _connect_and_write(self) -> None:
        """One connection; after a failure, the pause before the next."""
        if not self._tries:
            self._state = "connecting"
        try:
            self._write_on(self._connect())
        except Exception as error:  # whatever an etcd, or the way to it, can raise: all is done anew
            if self._writer_state.stop.is_set():
                return
            if self._session is not None and self._session.complete:
                self._tries, self._failure = 0, ""
            self._session = None
            self._tries += 1
            self._writer_state.counts["failures"] += 1
            self._state = f"failing, {self._tries} tries: {error}"
            log.log(logging.DEBUG if str(error) == self._failure else logging.WARNING, "%s: %s", self.name, self._state)
            self._failure = str(error)
            pause_s = delay_s(self._tries - 1, self._options.retry_min_s, self._options.retry_max_s)
            self._writer_state.stop.wait(pause_s * (0.5 + 0.5 * self._jitter()))

    def _write_on(self, store: Any) -> None:
        memory, options = self._writer_state, self._options
        election = None
        if options.leader_election:
            key = f"statedb/leader/{self.name}"
            election = Election(store, key, self._identity, options.leader_time_s, memory.wake)
        session = Session(
            store,
            memory,
            self._rules,
            options,
            election=election,
            outdated_s=self._outdated_s,
            report_refusals=self._report_refusals,
            clock=self._clock,
            now=lambda: time_value(self._wall()),
        )
        with self._lock:
            self._store, self._election, self._session = store, election, session
        try:
            if memory.stop.is_set():
                return
            memory.counts["connections"] += 1
            if election is None:
                session.run()
            else:
                with election:
                    session.run()
        finally:
            with self._lock:
                self._store = self._election = None
                closed_later = self._resigning
            if not closed_later:
                store.close()

    def _report_refusals(self) -> None:
        if self._report is not None and self._desired.refusals != self._reported:
            self._reported = self._desired.refusals
            self._report(self._desired.refused())

    def _leader(self) -> str:
        election = self._election
        return "" if election is None else election.leader

    def _outdated_s(self) -> float:
        outdated = self._outdated
        return 0.0 if outdated is None else self._clock() - outdated[1]

    def _check(self, key: str) -> None:
        if not key.startswith(self._rules.prefixes):
            raise ValueError(
                f"{self.name}: key {key!r} is below none of the prefixes {', '.join(self._rules.prefixes)}"
            )


def _resign(election: Election, store: Any) -> None:
    try:
        election.resign()
    except Exception as error:  # the lease expires by itself
        log.info("the leader could not resign: %s", error)
    store.close()
