"""Whatever a server, or a proxy before it, answers: the client gives objects or an ApiError, never anything else."""

from __future__ import annotations

import gzip
import json
import os
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import pytest

from ingest import KubernetesOptions
from ingest.kubernetes.api import Api
from ingest.kubernetes.client import Client
from ingest.kubernetes.errors import ApiError
from ingest.kubernetes.event_reader import EventReader
from ingest.kubernetes.resource_spec import Resource
from ingest.kubernetes.sockets import Sockets
from statedb.catalog import Endpoints
from statedb.catalog.wire import crds

from ...mutations import many
from ..kube_rig import cep

CEPS = Resource("cilium.io", "v2", "ciliumendpoints", (Endpoints,), lambda value: crds.endpoint(value, "c"))


def object_at(version: int) -> dict:
    value = cep(f"10.0.0.{version % 250}")
    value["metadata"]["resourceVersion"] = str(version)
    return value


def plain(body: bytes, status: str = "200 OK", headers: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n"
    return head % (status.encode(), headers, len(body)) + body


def chunked(*chunks: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in chunks) + b"0\r\n\r\n"


def line(kind: str, value: dict) -> bytes:
    return json.dumps({"type": kind, "object": value}, separators=(",", ":")).encode() + b"\n"


LIST = json.dumps(
    {"kind": "CiliumEndpointList", "metadata": {"resourceVersion": "120"}, "items": [object_at(n) for n in (101, 102)]}
).encode()
STATUS = b'{"kind":"Status","message":"too many","reason":"X","code":429,"details":{"retryAfterSeconds":1}}'
BOOKMARK = {"kind": "X", "metadata": {"resourceVersion": "130", "annotations": {"k8s.io/initial-events-end": "true"}}}
LISTS = (
    plain(LIST),
    plain(gzip.compress(LIST), headers=b"Content-Encoding: gzip\r\n"),
    chunked(LIST[:50], LIST[50:]),
    plain(STATUS, "429 Too Many Requests", b"Retry-After: 1\r\n"),
    plain(STATUS, "503 Service Unavailable", b"Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n"),
    plain(b"<html>", "502 Bad Gateway"),
)
WATCHES = (
    chunked(line("ADDED", object_at(121)), line("MODIFIED", object_at(122)), line("DELETED", object_at(123))),
    chunked(line("ADDED", object_at(124)) + line("BOOKMARK", BOOKMARK)),
    chunked(line("ERROR", json.loads(STATUS))),
    plain(line("ADDED", object_at(125)), headers=b"Connection: close\r\n"),
)


def listed(client: Client) -> None:
    for page in client.pages(CEPS):
        for item in page.items:
            EventReader(CEPS, "f").event(item)


def watched(client: Client) -> None:
    with closing(client.watch(CEPS, "100")) as watch:
        while not watch.has_ended:
            select.select([watch], [], [])
            for item in watch.read():
                EventReader(CEPS, "f").event(item)


def streamed(client: Client) -> None:
    streamed_list = client.streamed(CEPS)
    with closing(streamed_list.watch) as watch:
        for page in streamed_list.pages():
            for item in page.items:
                EventReader(CEPS, "f").event(item)
        while not watch.has_ended:
            select.select([watch], [], [])
            for item in watch.read():
                EventReader(CEPS, "f").event(item)


ASKED: dict[str, tuple[Callable[[Client], None], Sequence[bytes]]] = {
    "list": (listed, LISTS),
    "watch": (watched, WATCHES),
    "streamed list": (streamed, WATCHES),
    "identity": (lambda client: client.identity() and None, (plain(b'{"metadata":{"uid":"u"}}'), *LISTS[3:])),
}


class Wire:
    """Every connection of a client is one whose other side has sent ``answer`` and closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer = b""
        self._others: list[socket.socket] = []
        monkeypatch.setattr(Sockets, "connect", self._connect)
        options = KubernetesOptions(server="http://h")
        self._api = Api(options)
        self.client = Client(self._api, options)

    def _connect(self, host: str, port: int, timeout_s: float | None) -> tuple[socket.socket, socket.socket]:
        ours, others = socket.socketpair()
        ours.settimeout(1.0)
        others.sendall(self.answer)
        others.shutdown(socket.SHUT_WR)
        self._others.append(others)
        return ours, socket.socket(ours.family, ours.type, ours.proto, fileno=os.dup(ours.fileno()))

    def close(self) -> None:
        self._api.clear()
        while self._others:
            self._others.pop().close()


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    one = Wire(monkeypatch)
    yield one
    one.close()


@pytest.mark.parametrize("asked", ASKED)
def test_the_answers_themselves_can_be_read(wire: Wire, asked: str):
    ask, originals = ASKED[asked]
    wire.answer = originals[1 if asked == "streamed list" else 0]
    ask(wire.client)


def fuzz(wire: Wire, asked: str, seed: int, count: int) -> None:
    ask, originals = ASKED[asked]
    for number, answer in enumerate(many(seed, originals, count)):
        wire.answer = answer
        try:
            ask(wire.client)
        except ApiError:
            pass
        except Exception as error:
            raise AssertionError(f"mutation {number} of seed {seed}: {error!r}: {answer[:400]!r}") from error
        finally:
            wire.close()


@pytest.mark.parametrize("asked", ASKED)
def test_nothing_but_its_own_errors_leaves_the_client(wire: Wire, asked: str):
    fuzz(wire, asked, seed=1, count=400)


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(10, 14))
@pytest.mark.parametrize("asked", ASKED)
def test_nothing_but_its_own_errors_leaves_the_client_at_length(wire: Wire, asked: str, seed: int):
    fuzz(wire, asked, seed, count=12_500)
