"""A thin client of etcd on gRPC, and a runner of local servers. Needs the extra ``statedb[etcd]``.

    messages         the protobuf messages, declared by field number
    endpoint         addresses and channels
    client watch     calls; a watch of several prefixes on one stream
    types errors     what comes out

Rules that each have a test against the real server: a watch resumes after the last event it saw, not at the header's
revision; fragments are put together; a refusal is seen although the watch was "created"; dead connections are found by
pings; a member without a leader is no server; an expired login is renewed; a list is one revision on all its pages; a
locked connection takes answers of one etcd cluster only.
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
