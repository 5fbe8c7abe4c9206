"""Follow certificates in an etcd: ``python from_etcd.py http://127.0.0.1:2379``. Ends with Ctrl-C."""

from __future__ import annotations

import sys

from certificates import PREFIX, Certificates, decode

from ingest import KvstoreOptions, kvstore
from statedb import Database
from statedb.catalog import Rejected, Sources


def main(endpoint: str) -> None:
    """Print every change, and what cannot be read."""
    db = Database(Certificates, Sources, Rejected)
    source = kvstore.source(db, PREFIX, decode, Certificates, KvstoreOptions(endpoints=(endpoint,)))
    source.start()
    try:
        with db.changes(Certificates, Rejected) as stream:
            for batch in stream:
                for change in batch[Certificates]:
                    print("-" if change.deleted else "+", change.row.name, change.row.not_after, flush=True)
                for change in batch[Rejected]:
                    if not change.deleted:
                        print("?", change.row.key.object, change.row.error, flush=True)
    except KeyboardInterrupt:
        pass
    finally:
        source.stop()
        source.join(5)


if __name__ == "__main__":
    main(sys.argv[1])
