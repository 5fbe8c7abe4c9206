"""Keeps an etcd equal to given keys and values, on a thread: level-triggered, with one connection at a time.

connect ─▶ read its content   ─▶ queue of keys that may differ ─▶ transactions, paced and bounded ─▶ etcd
   ▲                                  ▲                                                               │
   │                                  └── changes by others (a watch), lost leases, `put`, `delete` ◀─┘
   └── any error: pause, then start over
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from random import SystemRandom
from typing import Any, Self

from consumers.running.retries import delay_s

from .desired import Desired, Refusal
from .election import Election
from .options import WriterOptions
from .rules import Rules
from .session import Session
from .statistics import WriterStats
from .store import Connect, time_value
from .writer_state import WriterState

_chance = SystemRandom()  # not the generator of the user's program, which may be seeded

log = logging.getLogger("statedb.consumers")

_RESIGN_S = 1.0
Report = Callable[[dict[str, Refusal]], None]
"""Called on the writer's thread with all keys that the server refuses, whenever that changes."""


class EtcdWriter:
    """A writer. Start and stop it once each. All methods may be called from any thread. A context manager.

    `put`, `delete` and `mark` may be called before the start and without a connection. A key is queued at most once;
    the value at the time of the write is written. Keys are attached to leases, so they expire after their writer has
    ended. A key that another writer changes or deletes is written again, at once, then at growing intervals. A key that
    the server refuses keeps its old value, is named in `health`, and is retried when it changes; one that we may not
    write is also retried after growing pauses, and a mark waits for it if the etcd lacks it.

    Nothing is written if the etcd already has everything, as after a restart or beside a second, equal writer.
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
        jitter: Callable[[], float] = _chance.random,
    ) -> None:
        """``connect`` returns a new connection at each call. ``clock`` is monotonic, ``wall`` returns Unix seconds.

        ``jitter`` returns numbers from 0 to 1. ``name`` appears in the log and in the key of the leader election.
        """
        self.name = name
        self.crash: BaseException | None = None
        """The unexpected exception that ended its thread, which is a bug; otherwise None."""
        self._connect = connect
        self._rules = rules
        self._options = options
        self._report = report
        self._clock = clock
        self._wall = wall
        self._jitter = jitter
        self._identity = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        may_delete = rules.may_delete or (lambda _: self._may_delete_others)
        self._desired = Desired(rules.rank, may_delete, rules.heartbeat, rules.part_of, rules.describes_part)
        self._writer_state = WriterState(options, self._desired, jitter)
        self._may_delete_others = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        # A flag of our own: a thread that is just starting has an identifier, but `is_alive` is still False.
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

    # --- the desired content ------------------------------------------------------------------------------------------

    def put(self, key: str, value: bytes) -> None:
        """Set the value that the key should have. Raises ValueError for a key outside of the prefixes."""
        self.update({key: value})

    def update(self, changes: Mapping[str, bytes | None]) -> None:
        """Call `put`, or `delete` for None, for each key. Costs less for many keys. Raises as `put` does."""
        for key in changes:
            self._check(key)
        if self._desired.update(changes) and not self._writer_state.wake.is_set():
            self._writer_state.wake.set()  # the writer clears the flag before it checks the queue

    def mark(self, key: str) -> None:
        """Write the time to the key once, after everything that is queued. From then on it only has to exist.

        A reader who sees the key knows that everything put before it exists. It is written on each new connection.
        """
        self._check(key)
        self._desired.mark(key)
        self._writer_state.wake.set()

    def delete(self, key: str) -> None:
        """Declare that the key should not exist. Raises ValueError for a key outside of the prefixes."""
        self.update({key: None})

    def release(self, key: str, *, is_gone: bool = False) -> None:
        """Undo `put`, `mark` or `delete`. If the key exists, the rules' ``may_delete`` decides about it.

        ``is_gone``: the owner knows that what the key stands for is gone; see `is_known_gone`.
        """
        self._desired.release(key, is_gone=is_gone)
        self._writer_state.wake.set()

    def review(self, part: str | None = None) -> None:
        """Ask ``may_delete`` again about the keys in the etcd that nobody has put or deleted: of one part, or all."""
        if self._desired.review(part):
            self._writer_state.wake.set()

    def delete_others(self) -> None:
        """Declare that all keys were put: all other own keys below the prefixes are deleted."""
        self._may_delete_others = True
        self.review()

    def outdated(self, reason: str) -> None:
        """Declare why the desired state is out of date, or with an empty text that it is current.

        If it stays out of date, the heartbeat stops.
        """
        if not reason:
            self._outdated = None
        elif self._outdated is None:
            self._outdated = (reason, self._clock())

    def beat(self) -> None:
        """Write the heartbeat now, because the result of the rules' ``doubt`` has changed."""
        self._writer_state.beat.set()
        self._writer_state.wake.set()

    # --- for its owner ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin. Raises RuntimeError the second time."""
        self._thread.start()
        self._begun = True

    def stop(self) -> None:
        """Ask it to end. A running request is aborted. Written keys stay until their leases expire."""
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
        late = threading.Timer(_RESIGN_S, store.close)  # do not wait for an etcd that does not answer
        late.daemon = True
        late.start()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; True at once if it was never started."""
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
        """Whether it is connected, the initial keys are written, and nothing is stuck now.

        A process that stands by because another one leads is ready too.
        """
        session = self._session
        if session is None or not session.loaded or self.crash is not None or self._writer_state.stop.is_set():
            return False
        if not session.leads:
            return self._leader() != ""
        return session.complete and not session.stuck_s and not session.denied

    def wait_ready(self, timeout: float | None = None, *, also: Callable[[], bool] = lambda: True) -> bool:
        """Wait until it is `ready` and ``also`` holds; False after ``timeout`` seconds, or when it has ended."""
        until = None if timeout is None else time.monotonic() + timeout
        pause = threading.Event()  # polled, because readiness also depends on the time
        while not (self.ready and also()):
            left = None if until is None else until - time.monotonic()
            if (left is not None and left <= 0) or self._ended.is_set():
                return False
            pause.wait(0.01 if left is None else min(0.01, left))
        return True

    def is_written(self, key: str) -> bool:
        """Whether a wanted key is in the etcd in its desired state, as far as is known."""
        session = self._session
        return session is not None and self._desired.is_written(key, session.present)

    def is_known_gone(self, key: str) -> bool:
        """Whether `release` said that it is gone while it was in the etcd, and only `review` was called since."""
        return self._desired.is_known_gone(key)

    @property
    def health(self) -> str:
        """The state in one line. It begins with OK while all is well."""
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
            if session.is_misleading:
                why = "keys are missing, and a mark that says otherwise cannot be deleted"
            return f"stuck for {stuck_s:.0f} s, the heartbeat has stopped: {why}"
        if session.no_space:
            return f"the database is full; compact it and disarm the alarm: {session.no_space}"
        if denied := session.denied:
            return f"failing: {denied}"
        if not session.complete:
            return f"writing, {waiting} keys wait"
        refused, contested = self._desired.refused(), self._writer_state.repairs.contested(self._clock())
        if refused:
            key, first = next(iter(refused.items()))
            return f"OK, but {len(refused)} keys are not written: {key}: {first.reason}"
        if contested:
            key, count = next(iter(contested.items()))
            return f"OK, but another writer changes {len(contested)} of our keys: {key}, {count} times"
        return "OK"

    def refused(self) -> dict[str, Refusal]:
        """The keys that the server refuses, with the reasons."""
        return self._desired.refused()

    @property
    def queue_size(self) -> int:
        """The number of keys that wait to be written. Each key counts once."""
        return len(self._desired)

    def stats(self) -> WriterStats:
        """Statistics."""
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
        """Run one connection. After a failure, pause before the next."""
        if not self._tries:
            self._state = "connecting"
        try:
            self._write_on(self._connect())
        except Exception as error:  # any error of the etcd or the network: start over
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
                f"{self.name}: key {key!r} is not below any of the prefixes {', '.join(self._rules.prefixes)}"
            )


def _resign(election: Election, store: Any) -> None:
    try:
        election.resign()
    except Exception as error:  # the lease expires by itself
        log.info("the leader could not resign: %s", error)
    store.close()
