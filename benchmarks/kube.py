"""A real API server with the endpoints of a cluster, for whoever measures: objects are put into its store at once.

What is measured is what comes out of the server. So that 40 000 objects need not go in through its front door one by
one, they are written where it keeps them, as it would have written them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from ingest import KubernetesOptions
from ingest.etcd import Client
from ingest.kubernetes.api import Api
from ingest.kubernetes.request import Request
from statedb.catalog.wire.crds.endpoints import _Endpoint as CiliumEndpoint
from tests.apiserver.binary import Missing
from tests.apiserver.objects import ENDPOINTS, IDENTITIES, NODES, endpoint, identity, node
from tests.apiserver.server import ApiServer

from .harness import require

Object = dict[str, Any]
"""JSON."""

_PATH = "/apis/cilium.io/v2/ciliumendpoints"
_STORE = "/registry/cilium.io"
_SERVICES = "/api/v1/namespaces/default/services"
_SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
_WAIT_S = 60.0


class _ListMetadata(msgspec.Struct, rename={"version": "resourceVersion", "token": "continue"}):
    version: str = ""
    token: str = ""


class _List(msgspec.Struct):
    metadata: _ListMetadata
    items: list[CiliumEndpoint]


class _Event(msgspec.Struct):
    type: str
    object: CiliumEndpoint


class _Versioned(msgspec.Struct):
    metadata: _ListMetadata


class _Version(msgspec.Struct):
    object: _Versioned


@contextmanager
def served() -> Iterator[ApiServer | None]:
    """A running API server; None where none can be had, which is told on stderr."""
    try:
        server = ApiServer()
    except Missing as missing:
        print(f"  no figures of an API server: {missing}", file=sys.stderr)
        yield None
        return
    with server:
        server.start()
        yield server


def values(template: Object, first_identity: int, numbers: range, rows: int) -> list[tuple[bytes, bytes]]:
    """What the store holds of the endpoints; write number n is of endpoint n modulo ``rows``."""
    items = []
    text = json.dumps(template)
    for number in numbers:
        which = number % rows
        each = text.replace("pod-template", f"pod-{which}").replace("10.255.255.254", address(which))
        each = each.replace("000000000000", f"{which:012}").replace('"id": 999999', f'"id": {first_identity + number}')
        items.append((f"{_STORE}/ciliumendpoints/default/pod-{which}".encode(), each.encode()))
    return items


def address(number: int) -> str:
    """The address of an endpoint."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def template_of(server: ApiServer) -> Object:
    """An endpoint as the server stores it, to be filled in."""
    rest = server.rest()
    value = endpoint("pod-template", "10.255.255.254")
    value["status"]["identity"]["id"] = 999_999
    value["status"]["networking"]["addressing"] = [{"ipv4": "10.255.255.254"}]
    rest.create(ENDPOINTS, value)
    key = f"{_STORE}/ciliumendpoints/default/pod-template".encode()
    with server.etcd.client() as client:
        kv = client.get(key).kv
        assert kv is not None
        client.delete(key)
    stored: Object = json.loads(kv.value)
    stored["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    return stored


def fill(server: ApiServer, rows: int) -> Object:
    """So many endpoints, and wait until the server tells of them; how an endpoint is stored."""
    template = template_of(server)
    with server.etcd.client() as client:
        put_all(client, values(template, 1_000, range(rows), rows))
    wait_told(server, _PATH, rows)
    return template


def put_all(client: Client, items: list[tuple[bytes, bytes]]) -> None:
    """In transactions of 100."""
    for start in range(0, len(items), 100):
        client.put_many(items[start : start + 100])


def wait_told(server: ApiServer, path: str, count: int) -> None:
    """The server's cache has all objects that its store has."""
    deadline = time.monotonic() + _WAIT_S
    while True:
        page = server.rest().get(path, limit="1", resourceVersion="0")
        found = len(page["items"]) + page["metadata"].get("remainingItemCount", 0)
        if found >= count:
            return
        require(time.monotonic() < deadline, f"the API server tells of all {count} objects at {path}")
        time.sleep(0.1)  # there is nothing to wait on: it is about the server's own cache


def rest_of_cluster(server: ApiServer, rows: int) -> None:
    """The identities, nodes and services with backends that go with so many endpoints."""
    with server.etcd.client() as client:
        made = [
            (f"{_STORE}/ciliumidentities", IDENTITIES, identity("65535"), "65535", rows // 8),
            (f"{_STORE}/ciliumnodes", NODES, node("node-template"), "node-template", rows // 40),
            ("/registry/services/specs/default", _SERVICES, _service(), "service-template", rows // 40),
            ("/registry/endpointslices/default", _SLICES, _slice(), "slice-template", rows // 40),
        ]
        for prefix, path, value, name, count in made:
            server.rest().create(path, value)
            text = json.dumps(_plain(server.rest().get(f"{path}/{name}")))
            server.rest().delete(f"{path}/{name}")
            put_all(client, [_named(prefix, text, name, number) for number in range(count)])
            wait_told(server, path, count)


def write_manifests(directory: Path, rows: int) -> None:
    """The same cluster as files, a hundred objects in each."""
    template = endpoint("pod-template", "10.255.255.254")
    template["status"]["identity"]["id"] = 999_999
    template["status"]["networking"]["addressing"] = [{"ipv4": "10.255.255.254"}]
    documents = [value.decode() for _, value in values(template, 1_000, range(rows), rows)]
    made = [
        (identity("65535"), "65535", rows // 8),
        (node("node-template"), "node-template", rows // 40),
        (_service(), "service-template", rows // 40),
        (_slice(), "slice-template", rows // 40),
    ]
    for value, name, count in made:
        documents += [_named("", json.dumps(value), name, number)[1].decode() for number in range(count)]
    for number in range(0, len(documents), 100):
        (directory / f"{number // 100:04}.yaml").write_text("\n---\n".join(documents[number : number + 100]))


def _named(prefix: str, text: str, name: str, number: int) -> tuple[bytes, bytes]:
    new = str(65_536 + number) if name.isdigit() else f"{name.removesuffix('template')}{number}"
    each = text.replace(name, new).replace("service-template", f"service-{number}")
    each = each.replace("172.18.0.2", f"172.18.{number >> 8}.{number & 255}").replace(
        "10.244.0.", f"10.{number % 250}.0."
    )
    each = each.replace("10.244.0.0/24", f"10.{number >> 8}.{number & 255}.0/24").replace(
        "000000000000", f"{number:012}"
    )
    return f"{prefix}/{new}".encode(), each.encode()


def _plain(value: Object) -> Object:
    """An object as it is stored: without what the server adds when it answers."""
    metadata = {name: each for name, each in value["metadata"].items() if name not in ("resourceVersion", "selfLink")}
    return {**value, "metadata": {**metadata, "uid": "00000000-0000-0000-0000-000000000000"}}


def _service() -> Object:
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]
    metadata = {"name": "service-template", "annotations": {"service.cilium.io/global": "true"}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports, "clusterIP": "None"}}


def _slice() -> Object:
    labels = {"kubernetes.io/service-name": "service-template"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "slice-template", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [f"10.244.0.{n}"], "conditions": {"ready": True}} for n in range(4, 8)],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


# -- the bare client --------------------------------------------------------------------------------------------------


def list_bare(options: KubernetesOptions) -> tuple[int, str]:
    """How many there are, and their version: what anybody must do who wants them as structs, page by page."""
    api = Api(options)
    decode = msgspec.json.Decoder(_List, strict=False).decode
    found, token = list[CiliumEndpoint](), ""
    while True:
        query = {"limit": str(options.page_limit)} | ({"continue": token} if token else {})
        with api.get(Request("list", "ciliumendpoints", _PATH, query), compressed=True) as answer:
            page = decode(b"".join(answer.chunks(decoded=True)))
        found += page.items
        token = page.metadata.token
        if not token:
            return len(found), page.metadata.version


def watch_bare(options: KubernetesOptions) -> Generator[list[int], None, None]:
    """First an empty list, when the watch stands; then the identities of what comes, each decoded into a struct.

    A busy server ends watches in good order. It goes on after the last event then, as every client must.
    """
    version = list_bare(options)[1]
    decode = msgspec.json.Decoder(_Event, strict=False).decode
    api, begins = Api(options), True
    while True:
        query, last = {"watch": "true", "resourceVersion": version}, b""
        with api.get(Request("watch", "ciliumendpoints", _PATH, query)) as answer:
            if begins:
                yield []
            begins, rest = False, b""
            for chunk in answer.chunks():
                *lines, rest = (rest + chunk).split(b"\n")
                last = lines[-1] if lines else last
                yield [decode(line).object.status.identity.id for line in lines]
        version = msgspec.json.decode(last, type=_Version).object.metadata.version if last else version
