"""The same as a backend that configurations can name. A package offers it with an entry point:

    [project.entry-points."statedb.backends"]
    certificates = "backend:CERTIFICATES"

and an agent with this configuration has the table, its queries and its changes over HTTP:

    ingest:
      certificates: {endpoints: ["http://127.0.0.1:2379"]}
"""

from __future__ import annotations

from certificates import PREFIX, Certificates, decode

from ingest import Backend, KvstoreOptions, Source, kvstore
from statedb import Database


def open_certificates(db: Database, cluster: str, cluster_id: int, options: KvstoreOptions) -> Source:
    """What `Backend.open` is."""
    return kvstore.source(db, PREFIX, decode, Certificates, options, cluster=cluster)


CERTIFICATES = Backend("certificates", KvstoreOptions, (Certificates.name,), open_certificates, own=(Certificates,))
