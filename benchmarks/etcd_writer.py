"""A process that writes endpoints into an etcd: ``python -m benchmarks.etcd_writer ENDPOINT COUNT RATE KEYS FIRST``.

What it costs to write is then nobody else's time. With a rate (writes a second) it writes one by one and tells, in one
JSON line at its end, when the server had accepted each; the clock is one for all processes. With 0 it writes as fast as
it can. The identity in a value is FIRST and the number of the write. They are values of the KVStore layout, or those of
the store of an API server: then standard input has the object to be filled in.
"""

from __future__ import annotations

import json
import sys
import time

import msgspec

from ingest.etcd import Client
from ingest.etcd.endpoint import parse_endpoint
from statedb.catalog.wire import ips

from .kvstore import PREFIX, endpoint_of


def main(address: str, count: int, rate: float, rows: int, first: int) -> None:
    """Write so many values over the first keys, again and again."""
    template = sys.stdin.read()
    items = _of_a_server(template, count, rows, first) if template else _of_a_kvstore(count, rows, first)
    with Client(parse_endpoint(address)) as client:
        if not rate:
            for start in range(0, count, 100):
                client.put_many(items[start : start + 100])
            return
        accepted = []
        begun = time.monotonic()
        for number, (key, value) in enumerate(items):
            time.sleep(max(0.0, begun + number / rate - time.monotonic()))
            client.put(key, value)
            accepted.append(time.monotonic())
    print(json.dumps(accepted))


def _of_a_kvstore(count: int, rows: int, first: int) -> list[tuple[bytes, bytes]]:
    items = []
    for number in range(count):
        each = endpoint_of(number % rows)
        written = msgspec.structs.replace(each, identity=first + number)
        items.append((f"{PREFIX}{ips.name(each)}".encode(), ips.encode(written)))
    return items


def _of_a_server(template: str, count: int, rows: int, first: int) -> list[tuple[bytes, bytes]]:
    from .kube import values

    return values(json.loads(template), first, range(count), rows)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
