"""A thin client of etcd on gRPC, and a runner of local servers. Needs the extra ``statedb[etcd]``.

    messages         the protobuf messages, declared by field number
    endpoint         addresses and channels
    client watch     calls; a watch of several prefixes on one stream
    types errors     what comes out

Each of these rules has a test against the real server:

- A watch resumes after the last event that it saw, not at the revision in the header.
- Fragments of a response are joined.
- A watch that is refused raises an error, although etcd reports it as created.
- Pings find dead connections.
- A member without a leader counts as unavailable.
- An expired login is renewed.
- All pages of a list show the same revision.
- A locked connection accepts answers from one etcd cluster only.
"""

from .client import Client
from .endpoint import Endpoint, Keepalive, Tls, parse_endpoint
from .errors import (
    Closed,
    Compacted,
    EtcdError,
    FutureRevision,
    LeaseGone,
    NoSpace,
    OtherCluster,
    PermissionDenied,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from .ranges import range_end
from .types import DELETE, PUT, Answer, Commit, Header, KeyValue, Lease, Page, WatchBatch, WatchEvent
from .watch import WatchStream

__all__ = [
    "DELETE",
    "PUT",
    "Answer",
    "Client",
    "Closed",
    "Commit",
    "Compacted",
    "Endpoint",
    "EtcdError",
    "FutureRevision",
    "Header",
    "Keepalive",
    "KeyValue",
    "Lease",
    "LeaseGone",
    "NoSpace",
    "OtherCluster",
    "Page",
    "PermissionDenied",
    "Tls",
    "TooLarge",
    "TooMany",
    "Unauthenticated",
    "Unavailable",
    "WatchBatch",
    "WatchEvent",
    "WatchStream",
    "parse_endpoint",
    "range_end",
]
