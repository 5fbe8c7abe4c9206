"""Groups writes into transactions that are small enough for the server. Pure."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

_OVERHEAD_BYTES = 40
"""The bytes of one operation besides its key and value, rounded up: tags, lengths and the lease."""


LAST = sys.maxsize
"""The rank of marks, which are written after everything else."""


class Operation(NamedTuple):
    """A key to put (``value``) or to delete (None). ``rank`` orders puts: lower ones first."""

    key: str
    value: bytes | None
    rank: int = 0


def ordered(operations: Iterable[Operation]) -> list[Operation]:
    """Deletes from the highest rank to the lowest, then puts from the lowest to the highest.

    So a reader never sees a key of a high rank, which tells that a prefix is complete, before the keys of lower ranks.
    """
    return sorted(operations, key=_order)


def _order(operation: Operation) -> tuple[bool, int]:
    return (False, -operation.rank) if operation.value is None else (True, operation.rank)


def batches(operations: Iterable[Operation], keys_max: int, bytes_max: int) -> Iterator[list[Operation]]:
    """Split operations into transactions, in order. Each has one rank, and fits the bounds unless it is one key.

    >>> [[each.key for each in batch] for batch in batches([Operation("a", b"x" * 90), Operation("b", b"")], 10, 100)]
    [['a'], ['b']]
    """
    batch: list[Operation] = []
    size = 0
    for each in operations:
        its_size = len(each.key) + len(each.value or b"") + _OVERHEAD_BYTES
        if batch and (len(batch) >= keys_max or size + its_size > bytes_max or each.rank != batch[-1].rank):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += its_size
    if batch:
        yield batch


def halves(batch: Sequence[Operation]) -> tuple[Sequence[Operation], Sequence[Operation]]:
    """Split a refused batch in two. It must have at least two operations."""
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]
