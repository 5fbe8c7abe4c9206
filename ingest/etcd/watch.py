"""A watch of several prefixes on one stream of etcd.

A thread reads responses from gRPC into an inbox, so that the reader of the watch can wait with a timeout. When the
inbox is full, by count or by bytes, the thread stops reading, and flow control slows the server down. This bounds the
memory that catching up after an outage takes. A reader that needs no timeout reads from gRPC itself, without a thread.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Self

import grpc

from ..inbox import Inbox
from .errors import Closed, Compacted, EtcdError, PermissionDenied
from .messages import CLASSES
from .ranges import range_end
from .types import Header, WatchBatch

_RESPONSES_MAX = 64
_RESPONSES_BYTES_MAX = 4 << 20
_FOREVER_S = float(threading.TIMEOUT_MAX)


class _Watched:
    """One prefix or key: the revision to resume from, and the events of a revision that is not complete yet."""

    __slots__ = ("fragments", "is_key", "prefix", "resume")

    def __init__(self, prefix: bytes, resume: int, is_key: bool) -> None:
        self.prefix = prefix
        self.resume = resume
        self.is_key = is_key
        self.fragments: list[Any] = []


class WatchStream:
    """What `Client.watch` returns. `next` is for one thread at a time, `close` for any."""

    def __init__(
        self,
        call: Callable[..., Any],
        starts: Mapping[bytes, int],
        keys: Collection[bytes],
        metadata: Callable[[], Sequence[tuple[str, str]]],
        relogin: Callable[[], None],
        translated: Callable[[grpc.RpcError], EtcdError],
        check: Callable[[Header], None],
        *,
        blocks: bool = False,
    ) -> None:
        """Created by the client. ``check`` is called with each header. If it ``blocks``, no thread reads ahead.

        ``call`` is the method of etcd, with answers as bytes (Any: gRPC has no types).
        """
        self._call = call
        self._watched = {
            number: _Watched(prefix, start, prefix in keys) for number, (prefix, start) in enumerate(starts.items(), 1)
        }
        self._metadata = metadata
        self._relogin = relogin
        self._translated = translated
        self._check = check
        self._blocks = blocks
        self._logged_in_anew = False
        self._waiting = set(self._watched)  # watches that the server has not created yet
        self._forget: Callable[[WatchStream], None] = lambda _: None
        self._closing = threading.Event()
        self._running: _Running | None = None

    def open(self, forget: Callable[[WatchStream], None]) -> None:
        """Open the stream. ``forget`` is called when it is closed."""
        self._forget = forget
        self._start()

    def __enter__(self) -> Self:
        """The stream itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def next(self, timeout: float | None = None) -> WatchBatch | None:
        """The next batch, or None if none came within ``timeout`` seconds. A watch that blocks ignores the timeout.

        None is also returned for an answer without news. Raises Compacted, PermissionDenied, Unavailable, Closed or
        EtcdError. The watch has ended then, and later calls raise the same error.
        """
        running = self._running
        if running is None:
            raise Closed("the watch is closed")
        got = running.next(_FOREVER_S if timeout is None else timeout)
        if self._closing.is_set():
            raise Closed("the watch is closed")
        if got is None:
            return None
        if isinstance(got, grpc.RpcError):
            running.ended(got)
            raise self._translated(got)
        return self._read(CLASSES["WatchResponse"].FromString(got))

    def add(self, prefix: bytes, start: int, *, is_key: bool = False) -> None:
        """Watch one more prefix or key, from this revision on. `ready` is false until the server has created the watch.

        Must be called by the thread that calls `next`.
        """
        number = len(self._watched) + 1
        self._watched[number] = watched = _Watched(prefix, start, is_key=is_key)
        self._waiting.add(number)
        if self._running is not None:
            self._running.requests.put(_create(number, watched))

    @property
    def ready(self) -> bool:
        """Whether the server has created the watch of every prefix."""
        return not self._waiting

    def close(self) -> None:
        """Close it, on the server as well. May be called from any thread and repeatedly."""
        self._closing.set()
        running = self._running
        if running is not None:
            running.cancel()
        self._forget(self)

    def _start(self) -> None:
        # Without this, a watch on a member that lost its leader is silent forever.
        metadata = (("hasleader", "true"), *self._metadata())
        self._waiting = set(self._watched)
        self._running = running = _Running(self._call, metadata, blocks=self._blocks)
        for number, watched in self._watched.items():
            watched.fragments.clear()
            running.requests.put(_create(number, watched))
        running.start()
        if self._closing.is_set():
            running.cancel()

    def _read(self, response: Any) -> WatchBatch | None:
        """A response of etcd as a batch; None for one without news."""
        self._check(response.header)
        if response.canceled:  # a refused watch is created and canceled in one response
            return self._canceled(response)
        if response.created:
            self._waiting.discard(response.watch_id)
            return None
        watched = self._watched.get(response.watch_id)
        if watched is None:
            return None
        events: Sequence[Any] = response.events
        if response.fragment:
            return self._read_fragment(watched, events)
        if watched.fragments:
            events, watched.fragments = [*watched.fragments, *events], []
        # The header's revision is the store's: far ahead of the events while a watch catches up.
        watched.resume = max(watched.resume, (events[-1].kv.mod_revision if events else response.header.revision) + 1)
        self._logged_in_anew = False
        return WatchBatch(watched.prefix, events, watched.resume)

    def _read_fragment(self, watched: _Watched, events: Sequence[Any]) -> WatchBatch | None:
        """The complete revisions of a fragment. Events of its last revision wait, because more of them may follow."""
        if not events:
            return None
        last = events[-1].kv.mod_revision
        watched.fragments.extend(events)
        if watched.fragments[0].kv.mod_revision == last:
            return None
        whole = [event for event in watched.fragments if event.kv.mod_revision < last]
        watched.fragments = watched.fragments[len(whole) :]
        watched.resume = max(watched.resume, last)
        return WatchBatch(watched.prefix, whole, watched.resume)

    def _canceled(self, response: Any) -> WatchBatch | None:
        reason = response.cancel_reason.removeprefix("etcdserver: ")
        watched = self._watched.get(response.watch_id)
        prefix = watched.prefix.decode("utf-8", "backslashreplace") if watched else "?"
        if response.compact_revision:
            raise Compacted(
                f"watch of {prefix}: the revisions before {response.compact_revision} are compacted",
                response.compact_revision,
            )
        if "permission denied" not in reason and "token" not in reason and "auth" not in reason:
            raise EtcdError(f"watch of {prefix} was canceled: {reason or 'the server gave no reason'}")
        if self._logged_in_anew or not self._metadata():
            raise PermissionDenied(f"watch of {prefix}: {reason}")
        # etcd refuses an expired token in the same words as a missing right: try once more with a new token.
        self._logged_in_anew = True
        if self._running is not None:
            self._running.cancel()
        self._relogin()
        self._start()
        return None


def _create(number: int, watched: _Watched) -> Any:
    create = CLASSES["WatchCreateRequest"](
        key=watched.prefix or b"\0",
        range_end=b"" if watched.is_key else range_end(watched.prefix),
        start_revision=watched.resume,
        progress_notify=True,
        watch_id=number,
        fragment=True,  # otherwise one response that exceeds the message size breaks the stream each time
    )
    return CLASSES["WatchRequest"](create_request=create)


class _Running:
    """One call of etcd's Watch, and the thread that reads it, if there is one."""

    def __init__(self, call: Callable[..., Any], metadata: Sequence[tuple[str, str]], *, blocks: bool) -> None:
        self.requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.responses: Inbox[Any] | None = None if blocks else Inbox(_RESPONSES_MAX, _weight, _RESPONSES_BYTES_MAX)
        self._call = call(iter(self._next_request, None), metadata=metadata)
        self._thread = threading.Thread(target=self._pump, args=(self.responses,), name="etcd watch", daemon=True)

    def start(self) -> None:
        if self.responses is not None:
            self._thread.start()

    def next(self, timeout_s: float) -> Any:
        """The next response as bytes, or the error that ended the call; None if the time is over."""
        if self.responses is not None:
            return self.responses.get(timeout_s)
        try:
            return next(self._call)
        except StopIteration:
            end = self._call
        except grpc.RpcError as error:
            end = error
        self.requests.put(None)
        return end

    def ended(self, error: grpc.RpcError) -> None:
        """Return this error again at the next call of `next`."""
        if self.responses is not None:
            self.responses.put(error)

    def cancel(self) -> None:
        """Cancel the call: closing our half of it would not end the watch on the server."""
        self._call.cancel()
        self.requests.put(None)
        if self.responses is not None:
            self.responses.close()

    def _next_request(self) -> Any:
        return self.requests.get()

    def _pump(self, responses: Inbox[Any]) -> None:
        try:
            for response in self._call:
                if not responses.put(response):
                    break
            end: grpc.RpcError = self._call
        except grpc.RpcError as error:
            end = error
        self.requests.put(None)
        responses.put(end)


def _weight(response: bytes | grpc.RpcError) -> int:
    return len(response) if isinstance(response, bytes) else 0
