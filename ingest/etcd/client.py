"""A client of one etcd server: reads, lists in pages, writes, transactions, leases, watches. Knows no tables.

It is thin on purpose: one channel to one endpoint, and no retries except one new login. The caller decides what an
outage means. All methods block, raise an EtcdError, and may be called from any thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import grpc

from .endpoint import Endpoint, Keepalive, Tls, open_channel
from .errors import Closed, Compacted, EtcdError, FutureRevision, OtherCluster, TooLarge, is_stale_login, translated
from .messages import CLASSES, METHODS, name_of_message
from .ranges import range_end
from .types import Answer, Commit, Header, KeyValue, Lease, Page
from .users import Right, ensure
from .watch import WatchStream


class Client:
    """One connection to one etcd server; a context manager. Connects when it is first used."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        tls: Tls = Tls(),  # noqa: B008  # frozen
        login: tuple[str, str] | None = None,
        timeout_s: float = 30.0,
        keepalive: Keepalive = Keepalive(),  # noqa: B008  # frozen
        locked: bool = False,
    ) -> None:
        """``login`` is user and password. ``timeout_s`` bounds every request.

        With ``locked``, the first answer sets the etcd cluster of the connection. An answer from another cluster (one
        address may lead to several), or one without a cluster id, raises OtherCluster.
        """
        self.endpoint = endpoint
        self.on_answer: Callable[[float], None] = _ignore
        """Called after each answered request, with the seconds that it took."""
        self._login = login
        self._timeout_s = timeout_s
        self._token: str | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._watches: set[WatchStream] = set()
        self._lock_cluster = locked
        self._cluster_id = 0
        self._channel = open_channel(endpoint, tls, keepalive)
        self._calls: Mapping[str, Any] = {name: self._unary(service, name) for name, service in METHODS.items()}

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the connection; calls that wait on it raise Closed. May be called from any thread and repeatedly."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            watches = tuple(self._watches)
        for watch in watches:
            watch.close()
        self._channel.close()

    @property
    def cluster_id(self) -> int:
        """The etcd cluster that a locked connection is locked to; 0 before it has answered."""
        return self._cluster_id

    # --- reads --------------------------------------------------------------------------------------------------------

    def get(self, key: bytes, revision: int = 0) -> Answer:
        """One key, by a linearizable read; at an older revision if given (Compacted, FutureRevision)."""
        response = self._call("Range", key=key, revision=revision)
        return Answer(response.header, response.kvs[0] if response.kvs else None)

    def get_many(self, keys: Sequence[tuple[bytes, int]]) -> Sequence[KeyValue | None]:
        """Several keys, each at a revision of its own, without values. All requests are sent at once.

        None for a key that was not there, and for one whose revision is compacted or has not come yet.
        """
        # No transaction: etcd before 3.5.5 crashes if one that only reads is cancelled (etcd-io/etcd issue 14110).
        read = CLASSES["RangeRequest"]
        answers = self._call_all("Range", [read(key=key, revision=at, keys_only=True) for key, at in keys])
        found: list[KeyValue | None] = []
        for answer in answers:
            if isinstance(answer, EtcdError) and not isinstance(answer, (Compacted, FutureRevision)):
                raise answer
            kvs = () if isinstance(answer, EtcdError) else answer.kvs
            found.append(kvs[0] if kvs else None)
        return found

    def list(self, prefix: bytes, page_limit: int = 1000, revision: int = 0) -> Iterator[Page]:
        """All keys under a prefix, in order, at the revision of the first page (or an older one given).

        Yields at least one page, which may be empty. A page that exceeds the size of a message is requested again in
        halves. Raises Compacted if the revision is compacted between two pages: start over. Raises TooLarge if a single
        key does not fit into a message.
        """
        key, end = prefix or b"\0", range_end(prefix)
        while True:
            try:
                response = self._call("Range", key=key, range_end=end, limit=page_limit, revision=revision)
            except TooLarge:
                if page_limit == 1:
                    raise
                page_limit = max(1, page_limit // 2)
                continue
            revision = revision or response.header.revision
            yield Page(response.header, response.kvs, revision, response.more)
            if not response.more:
                return
            key = response.kvs[-1].key + b"\0"

    def count(self, prefix: bytes) -> int:
        """How many keys there are under a prefix."""
        response = self._call("Range", key=prefix or b"\0", range_end=range_end(prefix), count_only=True)
        return int(response.count)

    def version(self) -> str:
        """The server's version, as text."""
        return str(self._call("Status").version)

    # --- writes -------------------------------------------------------------------------------------------------------

    def put(self, key: bytes, value: bytes, lease: int = 0) -> Header:
        """Write one key, attached to a lease if given."""
        header: Header = self._call("Put", key=key, value=value, lease=lease).header
        return header

    def delete(self, key: bytes) -> int:
        """Delete one key; how many there were, 0 or 1."""
        return int(self._call("DeleteRange", key=key).deleted)

    def delete_prefix(self, prefix: bytes) -> int:
        """Delete all keys under a prefix; how many there were."""
        return int(self._call("DeleteRange", key=prefix or b"\0", range_end=range_end(prefix)).deleted)

    def put_many(self, items: Iterable[tuple[bytes, bytes]], lease: int = 0) -> Header:
        """Write up to the server's limit of keys (128 by default) in one transaction, at one revision."""
        put = CLASSES["PutRequest"]
        operation = CLASSES["RequestOp"]
        writes = [operation(request_put=put(key=key, value=value, lease=lease)) for key, value in items]
        header: Header = self._call("Txn", success=writes).header
        return header

    def write(self, puts: Iterable[tuple[bytes, bytes, int]], deletes: Iterable[bytes] = ()) -> Header:
        """Write keys, each under a lease (0: none), and delete others, in one transaction. A key may occur only once.

        The server limits the number of operations, by default to 128.
        """
        put, delete, operation = CLASSES["PutRequest"], CLASSES["DeleteRangeRequest"], CLASSES["RequestOp"]
        writes = [operation(request_put=put(key=key, value=value, lease=lease)) for key, value, lease in puts]
        writes += [operation(request_delete_range=delete(key=key)) for key in deletes]
        header: Header = self._call("Txn", success=writes).header
        return header

    def commit(
        self,
        puts: Iterable[tuple[bytes, bytes, int]],
        deletes: Iterable[bytes] = (),
        fence: tuple[bytes, bytes] | None = None,
        attached: Mapping[bytes, int] = {},
    ) -> Commit:
        """Write as `write` does, but return a refusal instead of raising it.

        ``fence`` is a key and a value: nothing is written unless the key has this value. Nor is it unless the keys of
        ``attached`` are attached to their leases. Raises Unavailable where the outcome of the transaction is unknown,
        and Unauthenticated where the server refuses every request.
        """
        put, delete, operation = CLASSES["PutRequest"], CLASSES["DeleteRangeRequest"], CLASSES["RequestOp"]
        expect = CLASSES["Compare"]
        compare = [] if fence is None else [expect(key=fence[0], target=_VALUE, result=_EQUAL, value=fence[1])]
        compare += [expect(key=key, target=_LEASE, result=_EQUAL, lease=lease) for key, lease in attached.items()]
        writes = [operation(request_put=put(key=key, value=value, lease=lease)) for key, value, lease in puts]
        writes += [operation(request_delete_range=delete(key=key)) for key in deletes]
        try:
            response = self._call("Txn", compare=compare, success=writes)
        except EtcdError as error:
            if not error.refusal:
                raise
            return Commit(refusal=error.refusal, reason=str(error))
        if not response.succeeded:
            if attached and not self.commit((), (), fence).refusal:
                return Commit(refusal="no lease", reason=f"{self.endpoint}: a lease of other keys has ended")
            return Commit(refusal="fenced", reason=f"{self.endpoint}: another process has become the leader")
        return Commit(response.header.revision)

    def create(self, key: bytes, value: bytes, lease: int = 0) -> bool:
        """Write a key only if it is not there; whether it was written."""
        write = CLASSES["RequestOp"](request_put=CLASSES["PutRequest"](key=key, value=value, lease=lease))
        absent = CLASSES["Compare"](key=key, target=_CREATE, result=_EQUAL, create_revision=0)
        return bool(self._call("Txn", compare=[absent], success=[write]).succeeded)

    def replace(self, key: bytes, value: bytes, mod_revision: int, lease: int = 0) -> bool:
        """Write a key only if its last change was at that revision; whether it was written."""
        write = CLASSES["RequestOp"](request_put=CLASSES["PutRequest"](key=key, value=value, lease=lease))
        unchanged = CLASSES["Compare"](key=key, target=_MOD, result=_EQUAL, mod_revision=mod_revision)
        return bool(self._call("Txn", compare=[unchanged], success=[write]).succeeded)

    def compact(self, revision: int) -> None:
        """Forget all history before a revision."""
        self._call("Compact", revision=revision, physical=True)

    # --- leases -------------------------------------------------------------------------------------------------------

    def grant(self, ttl_s: int) -> int:
        """Create a lease. Its keys are deleted when it is not renewed for ``ttl_s`` seconds."""
        return int(self._call("LeaseGrant", TTL=ttl_s).ID)

    def renew(self, lease: int) -> int:
        """Renew a lease once. Returns its remaining seconds, 0 if it has expired."""
        call = self._stream("Lease", "LeaseKeepAlive")
        request = CLASSES["LeaseKeepAliveRequest"](ID=lease)
        try:
            response = next(call(iter([request]), timeout=self._timeout_s, metadata=self._metadata()))
        except grpc.RpcError as error:
            raise self._translated(error) from None
        return int(response.TTL)

    def renew_all(self, leases: Iterable[int]) -> dict[int, int]:
        """Renew leases in one exchange. Returns the remaining seconds of each, 0 for those that have expired."""
        requests = [CLASSES["LeaseKeepAliveRequest"](ID=lease) for lease in leases]
        if not requests:
            return {}
        call = self._stream("Lease", "LeaseKeepAlive")
        try:
            responses = call(iter(requests), timeout=self._timeout_s, metadata=self._metadata())
            return {response.ID: int(response.TTL) for response in responses}
        except grpc.RpcError as error:
            raise self._translated(error) from None
        except ValueError:  # what gRPC says of a channel that was closed
            raise Closed(f"{self.endpoint}: the client is closed") from None

    def time_to_live(self, lease: int) -> Lease | None:
        """The lifetime of a lease; None if it has ended or never existed."""
        response = self._call("LeaseTimeToLive", ID=lease)
        return None if response.TTL < 0 else Lease(int(response.grantedTTL), int(response.TTL))

    def revoke(self, lease: int) -> None:
        """Revoke a lease: its keys are deleted at once."""
        self._call("LeaseRevoke", ID=lease)

    # --- users --------------------------------------------------------------------------------------------------------

    def ensure_users(self, roles: Mapping[str, frozenset[Right]], users: Mapping[str, str]) -> None:
        """Create these roles, and these users, who are identified by certificates; see `users.ensure`."""
        ensure(self._call, roles, users)

    # --- watches ------------------------------------------------------------------------------------------------------

    def watch(self, starts: Mapping[bytes, int], keys: Collection[bytes] = (), *, blocks: bool = False) -> WatchStream:
        """Watch prefixes, each from its own revision on, on one stream. Closing the client closes it as well.

        If it ``blocks``, its `next` has no timeout and costs less, for a reader with a thread of its own.

        Members of ``keys`` are watched as single keys, because a user with the right to read a key may lack the right
        to read it as a prefix. For a revision that the server has not reached yet etcd sends no error and no events:
        check the server's revision first.
        """
        call, check = self._stream("Watch", "Watch", raw=True), self._check_cluster
        stream = WatchStream(call, starts, keys, self._metadata, self._relogin, self._translated, check, blocks=blocks)
        with self._lock:
            if self._closed:
                raise Closed(f"{self.endpoint}: the client is closed")
            self._watches.add(stream)
        try:
            stream.open(self._watches.discard)
        except ValueError:  # what gRPC says of a channel that was closed
            raise Closed(f"{self.endpoint}: the client is closed") from None
        return stream

    # --- calls --------------------------------------------------------------------------------------------------------

    def _unary(self, service: str, name: str) -> Any:
        """A method of one request (Any: gRPC has no types)."""
        message = name_of_message(name)
        return self._channel.unary_unary(
            f"/etcdserverpb.{service}/{name}",
            request_serializer=CLASSES[message + "Request"].SerializeToString,
            response_deserializer=CLASSES[message + "Response"].FromString,
        )

    def _stream(self, service: str, name: str, *, raw: bool = False) -> Callable[..., Any]:
        """A method that streams in both directions. With ``raw`` its answers are bytes that are not decoded yet."""
        call: Callable[..., Any] = self._channel.stream_stream(
            f"/etcdserverpb.{service}/{name}",
            request_serializer=CLASSES[name + "Request"].SerializeToString,
            response_deserializer=None if raw else CLASSES[name + "Response"].FromString,
        )
        return call

    def _call(self, name: str, /, **fields: Any) -> Any:
        """One request (Any: protobuf messages)."""
        [answer] = self._call_all(name, [CLASSES[name_of_message(name) + "Request"](**fields)])
        if isinstance(answer, EtcdError):
            raise answer
        return answer

    def _call_all(self, name: str, requests: Sequence[Any]) -> Sequence[Any]:
        """Several requests at once: for each one its answer, or its error. A login that has expired is renewed, once.

        They count as one for `on_answer`.
        """
        started = time.perf_counter()
        answers = self._at_once(name, requests)
        if self._login is not None and any(
            isinstance(each, grpc.RpcError) and is_stale_login(each) for each in answers
        ):
            self._relogin()
            answers = self._at_once(name, requests)
        answers = [self._translated(each) if isinstance(each, grpc.RpcError) else each for each in answers]
        headers = [each.header for each in answers if not isinstance(each, EtcdError)]
        if headers:
            self.on_answer(time.perf_counter() - started)
        for header in headers:
            self._check_cluster(header)
        return answers

    def _at_once(self, name: str, requests: Sequence[Any]) -> Sequence[Any]:
        """For each request its answer, or gRPC's error. Raises Closed."""
        call, metadata = self._calls[name], self._metadata()
        try:
            if len(requests) == 1:
                return [call(requests[0], timeout=self._timeout_s, metadata=metadata)]
            waiting = [call.future(each, timeout=self._timeout_s, metadata=metadata) for each in requests]
        except grpc.RpcError as error:
            return [error]
        except ValueError:  # what gRPC says of a channel that was closed
            raise Closed(f"{self.endpoint}: the client is closed") from None
        return [each.exception() or each.result() for each in waiting]

    def _check_cluster(self, header: Header) -> None:
        """Raises OtherCluster if the answer is not from the etcd cluster that the connection is locked to."""
        if not self._lock_cluster or header.cluster_id == self._cluster_id != 0:
            return
        with self._lock:
            if not self._cluster_id and header.cluster_id:
                self._cluster_id = header.cluster_id
        if header.cluster_id != self._cluster_id or not header.cluster_id:
            raise OtherCluster(
                f"{self.endpoint}: another etcd answers: its cluster id was {self._cluster_id:x}, "
                f"is {header.cluster_id:x}"
            )

    def _metadata(self) -> Sequence[tuple[str, str]]:
        """The metadata of every request: the token, if the server requires a login."""
        if self._login is None:
            return ()
        if self._token is None:
            self._relogin()
        return (("token", self._token),) if self._token else ()

    def _relogin(self) -> None:
        """Get a new token. A server without authentication gives none and needs none."""
        if self._login is None:
            return
        name, password = self._login
        request = CLASSES["AuthenticateRequest"](name=name, password=password)
        try:
            self._token = self._calls["Authenticate"](request, timeout=self._timeout_s).token
        except grpc.RpcError as error:
            if "authentication is not enabled" not in str(error.details()):
                raise self._translated(error) from None
            self._token = ""

    def _translated(self, error: grpc.RpcError) -> EtcdError:
        if self._closed:
            return Closed(f"{self.endpoint}: the client is closed")
        return translated(error, str(self.endpoint))


_EQUAL = 0
_CREATE, _MOD, _VALUE, _LEASE = 1, 2, 3, 4
"""Enums of etcd's Compare: its result and its targets."""


def _ignore(_: float) -> None:
    """The default of `Client.on_answer`: does nothing."""
