"""One connection of a writer: it reads the content of the etcd, then makes it equal to what is desired."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from consumers.running.retries import delay_s

from .batches import LAST, Operation, batches, halves, ordered
from .blocked import Blocked
from .election import Election
from .options import WriterOptions
from .pacing import Pace, StallTimer
from .present import Present
from .refusals import Refusals
from .rules import Rules
from .store import DELETE, Event, Store, beat_value, decode, encode
from .transactions import Transactions, Written
from .watching import OwnKeysWatch
from .writer_state import WriterState

log = logging.getLogger("statedb.consumers")

_LONGEST_WAIT_S = 60.0
_CHECKED_MAX = 1000
_RENEWALS = 3
"""How often a lease is renewed in its time to live."""


class Session:
    """One session per connection. `run` is for the writer's thread, the attributes are for any thread."""

    def __init__(
        self,
        store: Store,
        state: WriterState,
        rules: Rules,
        options: WriterOptions,
        *,
        election: Election | None,
        outdated_s: Callable[[], float],
        report_refusals: Callable[[], None],
        clock: Callable[[], float],
        now: Callable[[], bytes],
    ) -> None:
        """``outdated_s`` returns for how long the desired state has been out of date.

        ``now`` returns the time as a value. ``report_refusals`` is called after each round of writing.
        """
        self.present = Present()
        self.loaded = False
        """Whether the content of the etcd has been read."""
        self.complete = False
        """Whether all keys that were desired at the start of the connection have been checked."""
        self.no_space = ""
        """The error of the server while its database is full; else empty."""
        self._store = store
        self._writer_state = state
        self._desired = state.desired
        self._leases = state.leases
        self._rules = rules
        self._options = options
        self._election = election
        self._outdated_s = outdated_s
        self._report_refusals = report_refusals
        self._clock = clock
        self._now = now
        self._transactions = Transactions(store, state, self.present, election, clock=clock, now=now)
        self._blocked = Blocked(rules, state.desired, options.retry_min_s, options.retry_max_s)
        self._refusals = Refusals(rules, state.desired, self.present, options.retry_min_s, options.retry_max_s)
        self._pace = Pace(options.writes_per_s)
        self._misleading = StallTimer()
        self._starts: dict[str, int] = {}
        self._initial_keys_left: set[str] = set()
        self._own_keys: OwnKeysWatch
        self._term = -1
        self._wrote = False
        self._keys_max = options.batch_keys_max
        self._no_space_tries = 0
        self._puts_at = self._renew_at = self._beat_at = self._periodic_at = 0.0

    @property
    def leads(self) -> bool:
        """Whether this process writes: always without an election, otherwise while it is the leader."""
        return self._election is None or self._election.leads

    @property
    def stuck_s(self) -> float:
        """For how long keys or the heartbeat wait without being written, if longer than the limit; otherwise 0."""
        now, waiting = self._clock(), self._writer_state.stall_timer
        waited_s = max(waiting.waited_s(now), self._misleading.waited_s(now), self._outdated_s())
        return waited_s if waited_s > self._options.stuck_s else 0.0

    @property
    def is_misleading(self) -> bool:
        """Whether the heartbeat waits until keys are deleted: they tell readers that all others are there."""
        return self._misleading.waited_s(self._clock()) > 0

    @property
    def denied(self) -> str:
        """A key and why it is not written, if it is the heartbeat, or if nothing could be written; otherwise empty."""
        refused, heartbeat = self._desired.refused(), self._rules.heartbeat
        key = heartbeat if heartbeat in refused else next(iter(refused), "")
        if not key or (key != heartbeat and (self._wrote or len(self.present))):
            return ""
        return f"{key}: {refused[key].reason}"

    def run(self) -> None:
        """Write until stopped. Raises the exception that ends the connection."""
        if self._rules.prepare is not None:
            self._rules.prepare(self._store)
        self._load()
        self.loaded = True
        keys = [self._rules.heartbeat] if self._rules.heartbeat else []
        wake = self._writer_state.wake
        with OwnKeysWatch(self._store, self._starts, keys, wake) as self._own_keys:
            changes = self._own_keys.take()
            while not self._writer_state.stop.is_set():
                for event in changes:
                    self._on_event(event)
                if self._election is not None:
                    self._election.check()
                if self.leads:
                    self._lead()
                else:
                    self._desired.stand_by(self.present)
                    self._writer_state.stall_timer.update(False, self._clock())
                changes = self._own_keys.take()  # before we wait: those that came during a commit do not wake us
                if not changes:
                    wake.wait(self._idle_s())
                    wake.clear()  # before the checks, so that a wake-up between them is not lost
                    changes = self._own_keys.take()

    def _lead(self) -> None:
        term = 0 if self._election is None else self._election.term
        if term != self._term:
            self._term = term
            self._rules.begins()
            self._desired.load(self.present)  # another process may have led until now
            self._initial_keys_left = set(self._desired.waiting())
            self._renew_at = 0.0
        self._run_due()
        self._write()
        self._report_refusals()

    def _idle_s(self) -> float:
        """How long to wait unless something wakes the thread."""
        now = self._clock()
        if not self.leads:
            return _LONGEST_WAIT_S
        retries = (self._writer_state.repairs.next_due, self._blocked.next_due, self._refusals.next_due)
        until = [self._renew_at, now + _LONGEST_WAIT_S, *(due for due in retries if due is not None)]
        if self._rules.heartbeat:
            until.append(self._beat_at)
        if self._rules.periodic is not None:
            until.append(self._periodic_at)
        if len(self._desired):
            until.append(max(self._puts_at, now + self._pace.wait_s(now)))
        return max(0.0, min(until) - now)

    # --- what is in the etcd ------------------------------------------------------------------------------------------

    def _load(self) -> None:
        """Read all keys of the writer, whichever process wrote them."""
        for prefix in self._rules.prefixes:
            for page in self._store.list(encode(prefix), self._options.page_limit):
                for kv in page.kvs:
                    key = decode(kv.key)
                    if key in self._desired or self._rules.is_own(key, kv.value):
                        self.present.put(key, kv.value, kv.lease, kv.mod_revision)
                self._starts[prefix] = page.revision + 1
        if self._rules.heartbeat:
            self._starts[self._rules.heartbeat] = max(self._starts.values(), default=1)

    def _on_event(self, event: Event) -> None:
        """Handle a change of a key, possibly by ourselves."""
        kv = event.kv
        key = decode(kv.key)
        entry = self.present.get(key)
        if entry is not None and kv.mod_revision <= entry.revision:
            return
        if key == self._rules.heartbeat:
            self._on_heartbeat(event)
        elif event.type == DELETE:
            if entry is None:
                return
            self.present.drop(key)
        elif key in self._desired or self._rules.is_own(key, kv.value):
            self.present.put(key, kv.value, kv.lease, kv.mod_revision)
            if self._leases.is_new(kv.lease):
                self._renew_at = min(self._renew_at, self._clock() + 1.0)
        else:
            return
        if (
            key != self._rules.heartbeat
            and self.leads
            and self._desired.operation(key, self.present, self._leases.is_good) is not None
        ):
            self._writer_state.counts["repairs"] += 1
            if self._writer_state.repairs.record_change(key, self._clock()):
                self._desired.recheck([key])

    def _on_heartbeat(self, event: Event) -> None:
        """Handle a change of the heartbeat: a write by another process counts as ours, a delete is repaired."""
        kv, now = event.kv, self._clock()
        if event.type != DELETE:
            self.present.put(self._rules.heartbeat, kv.value, kv.lease, kv.mod_revision)
            self._beat_at = now + self._options.heartbeat_s
        elif self._rules.heartbeat in self.present:
            self.present.drop(self._rules.heartbeat)
            if self._writer_state.repairs.record_change(self._rules.heartbeat, now):
                self._beat_at = 0.0

    # --- what is due by time ------------------------------------------------------------------------------------------

    def _run_due(self) -> None:
        now = self._clock()
        if self._rules.periodic is not None and now >= self._periodic_at:
            self._periodic_at = now + self._rules.periodic(self._store)
        if now >= self._renew_at:
            self._renew()
        self._repair_due(now)
        self._blocked.unblock_due(now)
        self._refusals.retry_due(now)
        if self._writer_state.beat.is_set():
            self._writer_state.beat.clear()
            self._beat_at = 0.0
        if self._rules.heartbeat and now >= self._beat_at:
            self._write_heartbeat(now)

    def _repair_due(self, now: float) -> None:
        while (key := self._writer_state.repairs.pop_due(now)) is not None:
            if key == self._rules.heartbeat:
                self._beat_at = 0.0
            else:
                self._desired.recheck([key])

    def _renew(self) -> None:
        """Renew all leases that have keys, including those of an earlier or another process."""
        self._renew_at = self._clock() + self._options.lease_time_s / _RENEWALS
        asked_at = self._clock()  # before the request, so that the estimate of the remaining time is never too long
        ended, short = self._leases.renewed(self._store.renew_all(self._leases.to_renew(self.present)), asked_at)
        lost = [key for lease in ended for key in self.present.drop_lease(lease)]
        if short:
            self._desired.recheck(self.present.under(short))
        if lost:
            log.warning("%d keys were lost with their lease and are written anew", len(lost))
            self._desired.recheck(lost)
            self._desired.withdraw_marks(self.present)
            self._beat_at = 0.0
        self._writer_state.repairs.drop_quiet(self._clock())

    def _write_heartbeat(self, now: float) -> None:
        """Write the heartbeat, unless the published state is out of date, or keys must be deleted first."""
        self._beat_at = now + 1.0  # unless it is written
        misleads = self._desired.misleads(self.present)
        self._misleading.update(misleads, now)
        if not self.stuck_s and now >= self._puts_at and not misleads:
            self._commit([Operation(self._rules.heartbeat, beat_value(self._now(), self._rules.doubt()))])
            if self._rules.heartbeat in self.present:
                self._beat_at = now + self._options.heartbeat_s

    # --- writing ------------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        """Write the first queued keys, unless the rate limit requires a pause."""
        now = self._clock()
        stall_timer = self._writer_state.stall_timer
        stall_timer.update(bool(len(self._desired)), now)
        if self._pace.wait_s(now) > 0:
            stall_timer.reset(now)
            return
        written = tried = 0
        chosen = self._choose(puts_too=now >= self._puts_at)
        if any(each.rank == LAST for each in chosen):
            self._prepare_mark()
            chosen = self._choose(puts_too=now >= self._puts_at)
        for batch in batches(ordered(chosen), self._keys_max, self._options.batch_bytes_max):
            if batch[0].rank == LAST and written < tried:
                break  # the marks may have to wait for what was refused just now
            tried += len(batch)
            done = self._commit(batch)
            if done is None:
                break
            written += done
        if written:
            stall_timer.reset(self._clock())
        self._pace.written(written, self._clock())
        self.complete = self.complete or not self._initial_keys_left
        stall_timer.update(bool(len(self._desired)), self._clock())

    def _prepare_mark(self) -> None:
        """Queue lost keys and renew all leases before a mark is written: the mark must not outlive any other key."""
        self._renew()
        self._repair_due(math.inf)

    def _choose(self, *, puts_too: bool) -> list[Operation]:
        """The next operations. Keys that need none leave the queue."""
        most = self._pace.keys_max(self._keys_max)
        chosen: list[Operation] = []
        desired, present, is_good, may_block = (
            self._desired,
            self.present,
            self._leases.is_good,
            self._blocked.may_block,
        )
        with desired.lock:
            for key in desired.first(_CHECKED_MAX) if puts_too else desired.waiting():
                operation = desired.operation(key, present, is_good)
                if (
                    operation is None
                    or (may_block and self._blocked.sets_aside(operation))
                    or self._refusals.sets_aside(operation)
                ):
                    desired.dequeue(key)
                    self._initial_keys_left.discard(key)
                elif operation.value is None or puts_too:
                    if may_block and self._blocked.must_wait(operation, present):
                        return []
                    chosen.append(operation)
                    if len(chosen) >= most:
                        break
        return chosen

    def _commit(self, batch: list[Operation]) -> int | None:
        """Write a batch. Returns the number of written keys. A batch that the server refuses is split in two.

        None means that nothing more can be written now. A single refused key is set aside.
        """
        written, rest = 0, [batch]
        while rest:
            part = rest.pop()
            outcome = self._transactions.write(part, self._own_keys.commit, self._keys_max)
            match outcome.refusal:
                case "":
                    self._record(part, outcome)
                    written += len(part)
                case "too many" if outcome.size > 1:
                    self._keys_max = outcome.size // 2
                    rest += [list(half) for half in reversed(halves(part)) if half]
                case "too large" | "denied" if len(part) > 1:
                    rest += [list(half) for half in reversed(halves(part))]
                case "too large" | "too many" | "denied":
                    if self._is_blocked(part[0], outcome.reason, passes=outcome.refusal == "denied"):
                        return None
                case _:
                    self._handle_refusal(outcome.refusal, outcome.reason, part)
                    return None
        return written

    def _is_blocked(self, operation: Operation, reason: str, *, passes: bool) -> bool:
        """Set a refused key aside. Returns True if others must wait for it."""
        now = self._clock()
        if self._blocked.blocks(operation.key, reason, now):
            return True
        self._initial_keys_left.discard(operation.key)
        self._refusals.add(operation, reason, now, passes=passes)
        return False

    def _record(self, part: list[Operation], outcome: Written) -> None:
        """Record a transaction that was written."""
        values = outcome.values
        self._writer_state.count_transaction([value for value, _ in values.values()], len(part) - len(values))
        if values:
            self.no_space, self._no_space_tries = "", 0
        self._wrote = True
        self.present.put_all(values, outcome.revision)
        for each in part:
            if each.value is None:
                self.present.drop(each.key)
        done = [each for each in part if each.key != self._rules.heartbeat]
        if self._initial_keys_left:
            self._initial_keys_left -= {op.key for op in done if op.value is not None or op.key not in self._desired}
        self._desired.written(done, self.present, self._leases.is_good)
        self._refusals.written([each.key for each in done])
        if len(done) < len(part):
            self._desired.heartbeat_written()

    def _handle_refusal(self, refusal: str, reason: str, part: list[Operation]) -> None:
        """Handle a refusal of the whole transaction."""
        if refusal == "fenced":
            if self._election is not None:
                self._election.depose()
        elif refusal == "no lease":
            self._renew_at = 0.0
        elif refusal == "no space":
            self.no_space = reason
            options = self._options
            self._puts_at = self._clock() + delay_s(self._no_space_tries, options.retry_min_s, options.retry_max_s)
            self._no_space_tries += 1
            for each in part:  # transactions are refused now, even those that only delete (etcd 3.5.1)
                if each.value is None and self._election is None:
                    denied = self._transactions.delete_alone(each.key)
                    if not denied:
                        self._record([each], Written())
                    elif self._is_blocked(each, denied, passes=True):
                        return
