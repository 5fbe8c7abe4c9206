"""What comes on a watch of an etcd, with an end where nothing does."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ingest.etcd import WatchBatch, WatchStream

from ...waiting import WAIT_S


def batches(stream: WatchStream) -> Iterator[WatchBatch]:
    """What comes, until the test has seen enough; AssertionError after a minute in which nothing comes."""
    heard_at = time.monotonic()
    while True:
        batch = stream.next(10)
        if batch is not None:
            yield batch
            heard_at = time.monotonic()
        assert time.monotonic() < heard_at + WAIT_S, "nothing came"


def until_ready(stream: WatchStream) -> None:
    """Read until the server has taken up all of it."""
    end = time.monotonic() + WAIT_S
    while not stream.ready:
        assert time.monotonic() < end, "the watch is not taken up"
        stream.next(10)
