"""The desired content of an etcd, and a queue of the keys that may differ from it. The queue holds each key once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from itertools import islice

import msgspec

from .batches import LAST, Operation
from .present import Present


class Refusal(msgspec.Struct, frozen=True):
    """A key that the server refused to write: its value and the reason."""

    value: bytes | None
    reason: str


class Desired:
    """The desired keys and values. Safe for any thread. Values are not copied.

    A key is in one of these states:

        wanted      `put` gave a value, or `mark` requires that the key exists
        unwanted    `delete` was called
        unclaimed   no call was made, or `release` undid it: the key is deleted only if ``may_delete`` agrees
    """

    def __init__(
        self,
        rank: Callable[[str], int],
        may_delete: Callable[[str], bool],
        heartbeat: str = "",
        part_of: Callable[[str], str] = lambda _: "",
        describes_part: Callable[[str], bool] | None = None,
    ) -> None:
        """``rank`` orders keys that are written together; ``may_delete`` decides about unclaimed keys in the etcd.

        ``heartbeat`` is the key that the writer maintains itself. It is ignored here. ``part_of``
        names the part of a key. ``describes_part``: whether all other keys of the part depend on this one.
        """
        self.lock = threading.RLock()
        self._rank = rank
        self._heartbeat = heartbeat
        self._may_delete = may_delete
        self._part_of = part_of
        self._describes_part = describes_part
        self._values: dict[str, bytes] = {}
        self._marks: dict[str, None] = {}
        self._unwanted: set[str] = set()
        self._known_gone: set[str] = set()
        self._queue: dict[str, None] = {}
        self._unwritten_marks: set[str] = set()
        self._to_delete_first: set[str] = set()
        self._withdrawn_marks: set[str] = set()
        self._unclaimed: dict[str, set[str]] = {}
        self._refused: dict[str, Refusal] = {}
        self.refusals = 0
        """Incremented whenever `refused` changes."""

    # --- for the owner of the keys ------------------------------------------------------------------------------------

    def put(self, key: str, value: bytes) -> bool:
        """Set the value that the key should have. Returns whether there may be something to write."""
        return self.update({key: value})

    def update(self, changes: Mapping[str, bytes | None]) -> bool:
        """Set the values that keys should have; with None a key should not exist.

        Returns whether there may be something to write.
        """
        with self.lock:
            values, queue, any_changed = self._values, self._queue, False
            for key, value in changes.items():
                if value is None:
                    self._forget(key)
                    self._unwanted.add(key)
                else:
                    self._marks.pop(key, None)
                    if values.get(key) == value:
                        continue
                    self._unwanted.discard(key)
                    self._known_gone.discard(key)
                    if self._refused:
                        self._clear_refusal(key)
                    values[key] = value
                queue.setdefault(key)
                any_changed = True
            return any_changed

    def mark(self, key: str) -> None:
        """Write the key once more, after everything that is queued. Its value does not matter."""
        with self.lock:
            self._values.pop(key, None)
            self._unwanted.discard(key)
            self._known_gone.discard(key)
            self._clear_refusal(key)
            self._marks[key] = None
            self._unwritten_marks.add(key)
            self._move_to_end(key)

    def mark_again(self) -> None:
        """Write all marks once more, after everything that is queued."""
        with self.lock:
            for key in self._marks:
                self.mark(key)

    def withdraw_marks(self, present: Present) -> None:
        """Keys are missing: delete the marks before anything is written, and write them again after all keys."""
        with self.lock:
            self.mark_again()
            there = [key for key in self._marks if key in present]
            self._withdrawn_marks.update(there)
            self.delete_first(there)

    def misleads(self, present: Present) -> bool:
        """Whether the etcd has keys that must be deleted first, or a withdrawn mark stays there while keys are missing.

        Cost: O(all keys) while a withdrawn mark stays there, because it or what comes before it may not be deleted.
        """
        with self.lock:
            if any(key in present for key in self._to_delete_first):
                return True
            if not any(key in present for key in self._withdrawn_marks):
                return False
            if all(key in present for key in self._values):
                self._withdrawn_marks.clear()
            return bool(self._withdrawn_marks)

    def delete(self, key: str) -> None:
        """The key should not exist."""
        self.update({key: None})

    def release(self, key: str, *, is_gone: bool = False) -> None:
        """The key is unclaimed from now on. ``is_gone``: what it stands for is known to be gone."""
        with self.lock:
            self._forget(key)
            self._unwanted.discard(key)
            (self._known_gone.add if is_gone else self._known_gone.discard)(key)
            self._queue.setdefault(key)

    def is_known_gone(self, key: str) -> bool:
        """Whether `release` said so. The key has been unclaimed and in the etcd since, in one term of this writer."""
        return key in self._known_gone

    def review(self, part: str | None = None) -> bool:
        """Ask ``may_delete`` again about the unclaimed keys in the etcd, of one part or all. False if there are none.

        Cost: O(those keys).
        """
        with self.lock:
            found = [self._unclaimed.pop(each, set()) for each in (list(self._unclaimed) if part is None else [part])]
            keys = [key for of_part in found for key in of_part]
            for key in sorted(keys, key=self._rank, reverse=True):
                self._queue.setdefault(key)
            return bool(keys)

    def __contains__(self, key: str) -> bool:
        """Whether the key is wanted."""
        return key in self._values or key in self._marks

    def __len__(self) -> int:
        """The number of queued keys."""
        return len(self._queue)

    def refused(self) -> dict[str, Refusal]:
        """The keys that the server refused."""
        with self.lock:
            return dict(self._refused)

    def is_written(self, key: str, present: Present) -> bool:
        """Whether a wanted key is in the etcd with its value, as far as is known.

        A key that another writer has changed may not be queued yet, because its repair waits.
        """
        with self.lock:
            entry = present.get(key)
            if entry is None or key in self._queue or key in self._refused:
                return False
            return key in self._marks or entry.value == self._values.get(key)

    # --- for the writer -----------------------------------------------------------------------------------------------

    def load(self, present: Present) -> None:
        """Queue all keys for a new connection, where ``present`` is the content. Refused keys are tried again.

        If a key that should have a value is missing, existing marks are wrong and are withdrawn. Readers believe a mark
        as long as the heartbeat of its writer continues.
        """
        with self.lock:
            self._unwanted.intersection_update(present.names())
            self._known_gone.clear()  # another process may have put them again
            self._unclaimed.clear()
            self._to_delete_first.clear()
            self._withdrawn_marks.clear()
            for key in list(self._refused):
                self._clear_refusal(key)
            self._queue = dict.fromkeys(sorted([*self._values, *self._unwanted], key=self._rank))
            left = [key for key in present.names() if key not in self and key not in self._unwanted]
            self._queue.update(dict.fromkeys(sorted(left, key=self._rank, reverse=True)))
            if all(key in present for key in self._values):
                self.mark_again()
            else:
                self.withdraw_marks(present)

    def stand_by(self, present: Present) -> None:
        """Another process writes: do nothing until the next `load`."""
        with self.lock:
            self._queue.clear()
            self._known_gone.clear()
            self._unwanted = {key for key in self._unwanted if key in present}

    def recheck(self, keys: Iterable[str]) -> None:
        """Queue keys that may differ from what they should be. Marks that are queued come after them."""
        with self.lock:
            for key in sorted(keys, key=self._rank):
                self._queue.setdefault(key)
                if key in self._marks:
                    self._unwritten_marks.add(key)
            for mark in [mark for mark in self._unwritten_marks if mark in self._queue]:
                self._move_to_end(mark)

    def delete_first(self, keys: Iterable[str]) -> None:
        """Delete these keys before anything else, then check them. Cost: O(queued keys), if any key is new."""
        with self.lock:
            known = len(self._to_delete_first)
            self._to_delete_first.update(keys)
            if len(self._to_delete_first) == known:
                return
            waiting = self._queue
            self._queue = dict.fromkeys(sorted(self._to_delete_first, key=self._rank, reverse=True))
            for key in waiting:
                self._queue.setdefault(key)

    def stop_deleting_first(self, part: str) -> None:
        """Treat the keys of a part like any other. Withdrawn marks still count as misleading. Cost: O(keys to delete
        first).
        """
        with self.lock:
            self._to_delete_first -= {key for key in self._to_delete_first if self._part_of(key) == part}

    def try_again(self, keys: Iterable[str]) -> None:
        """Retry refused keys before all others, in the order of their ranks; marks after all. Cost: O(queued keys).

        Only keys that are to be deleted first stay before them.
        """
        with self.lock:
            again = sorted(keys, key=self._rank)
            for key in again:
                self._clear_refusal(key)
            marks = [key for key in again if key in self._marks]
            first = [key for key in self._queue if key in self._to_delete_first] if self._to_delete_first else []
            self._queue = dict.fromkeys([*first, *(key for key in again if key not in self._marks), *self._queue])
            for mark in marks:
                self._move_to_end(mark)

    def operation(self, key: str, present: Present, is_good: Callable[[int], bool]) -> Operation | None:
        """The operation that brings the key to its desired state. None if none is needed or possible."""
        if key == self._heartbeat:
            return None
        entry = present.get(key)
        if key in self._to_delete_first and entry is not None:
            return Operation(key, None, self._rank(key))
        value = self._values.get(key)
        if value is not None:
            if entry is not None and entry.value == value and is_good(entry.lease):
                return None
        elif key in self._marks:
            if entry is not None and is_good(entry.lease) and key not in self._unwritten_marks:
                return None
            return None if key in self._refused else Operation(key, b"", LAST)
        elif entry is None:
            self._unwanted.discard(key)
            self._known_gone.discard(key)
            return None
        elif key not in self._unwanted:
            with self.lock:  # so that no review comes in between
                if not self._may_delete(key):
                    self._unclaimed.setdefault(self._part_of(key), set()).add(key)
                    return None
        return None if key in self._refused else Operation(key, value, self._rank(key))

    def waiting(self) -> list[str]:
        """The queued keys, in order. Cost: O(queued keys)."""
        with self.lock:
            return list(self._queue)

    def first(self, count: int) -> list[str]:
        """The first ``count`` queued keys."""
        with self.lock:
            return list(islice(self._queue, count))

    def is_mark(self, key: str) -> bool:
        """Whether the key only has to exist."""
        return key in self._marks

    def any_mark(self, operations: Iterable[Operation]) -> bool:
        """Whether any of these operations puts a key that only has to exist."""
        return not self._marks.keys().isdisjoint([each.key for each in operations if each.value is not None])

    def is_deleted_first(self, key: str) -> bool:
        """Whether the key is to be deleted before it is checked."""
        return key in self._to_delete_first

    def dequeue(self, key: str) -> None:
        """Remove a key from the queue: it needs no operation.

        An unclaimed key reviews nothing: the review would queue it again, for ever.
        """
        with self.lock:
            if key in self._queue:
                del self._queue[key]
                if key in self._values and self._describes_part is not None and self._describes_part(key):
                    self.review(self._part_of(key))

    def written(self, operations: Iterable[Operation], present: Present, is_good: Callable[[int], bool]) -> None:
        """Record that the operations were done; ``present`` already includes them. Keys that have changed meanwhile
        stay queued. After a key that describes its part, the marks of the part are written again: readers do not
        believe older ones.
        """
        with self.lock:
            described: set[str] = set()
            for operation in operations:
                key, value, _ = operation
                self._queue.pop(key, None)
                if self._refused:
                    self._clear_refusal(key)
                if value is not None and self._describes_part is not None and self._describes_part(key):
                    described.add(self._part_of(key))
                if value is not None and self._values.get(key) is value and key not in self._to_delete_first:
                    continue  # it has not changed
                self._unwritten_marks.discard(key)
                self._withdrawn_marks.discard(key)
                was_to_delete_first = key in self._to_delete_first
                self._to_delete_first.discard(key)
                if value is None and not was_to_delete_first:
                    self._unwanted.discard(key)
                if self.operation(key, present, is_good) is not None:
                    self._queue[key] = None
            for part in described:
                self.review(part)
            if described:
                for mark in [mark for mark in self._marks if self._part_of(mark) in described]:
                    self.mark(mark)

    def refuse(self, operation: Operation, reason: str) -> None:
        """Record that the server refused a key. It is retried when its value changes, or on a new connection.

        A key whose value has changed since the operation was made stays queued.
        """
        key, value, _ = operation
        with self.lock:
            if key in self._to_delete_first:
                self._to_delete_first.discard(key)
            elif self._is_outdated(operation):
                return
            before = self._refused.get(key)
            if before is None or before.reason != reason:
                self._refused[key] = Refusal(value, reason)
                self.refusals += 1
            self._queue.pop(key, None)

    def _is_outdated(self, operation: Operation) -> bool:
        """Whether something else is desired now than when the operation was made."""
        key, value, rank = operation
        if key in self._marks:
            return rank != LAST
        return key != self._heartbeat and self._values.get(key) is not value

    def heartbeat_written(self) -> None:
        """Record that the heartbeat was written."""
        with self.lock:
            self._clear_refusal(self._heartbeat)

    def _forget(self, key: str) -> None:
        self._values.pop(key, None)
        self._marks.pop(key, None)
        self._unwritten_marks.discard(key)
        self._clear_refusal(key)

    def _clear_refusal(self, key: str) -> None:
        """Forget the refusal of a key, because it is no longer wanted, was written, or is to be retried."""
        if self._refused.pop(key, None) is not None:
            self.refusals += 1

    def _move_to_end(self, key: str) -> None:
        """Queue a key behind all others. One that is to be deleted first keeps its place."""
        if key not in self._to_delete_first:
            self._queue.pop(key, None)
        self._queue[key] = None
