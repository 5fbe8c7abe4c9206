"""Conversations with an API server, recorded as what was asked and answered, so that two servers can be compared.

What differs from server to server and run to run is left out of a record: uids, times, versions (their order is kept),
managedFields, texts of messages, and what schemas fill in.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urlencode, urlsplit

from ...waiting import eventually

Json = dict[str, Any]

MERGE, APPLY, JSON_PATCH = "application/merge-patch+json", "application/apply-patch+yaml", "application/json-patch+json"
_SECRET = {"uid", "creationTimestamp", "deletionTimestamp", "managedFields", "selfLink", "message", "generation"}
_SECRET |= {"lastTransitionTime", "details", "continue", "immutable"}


class Talk:
    """One client of one server, with what was said so far."""

    def __init__(self, url: str, *, ca: str | None = None, token: str = "") -> None:
        parts = urlsplit(url)
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname or "", parts.port
        self._ca = ca
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._versions: dict[str, int] = {}
        self.record: list[Any] = []

    def ask(self, method: str, path: str, body: Any = None, kind: str = "application/json", **query: str) -> Json:
        """One request; its answer is recorded."""
        with closing(self._connect()) as connection:
            answer = self._send(connection, method, path, body, kind, query)
            text = answer.read()
        # A server to which a path means nothing says so in plain text.
        said = json.loads(text) if answer.headers.get_content_type() == "application/json" else {"kind": text.decode()}
        self.record.append((method, path, dict(query), answer.status, self._comparable(said)))
        return said

    def watch(self, path: str, count: int, **query: str) -> list[Json]:
        """The first events of a watch, bookmarks left out unless one ends a list; they are recorded."""
        events: list[Json] = []
        with closing(self._connect()) as connection:
            asked = {"watch": "true", "timeoutSeconds": "60", **query}
            answer = self._send(connection, "GET", path, None, "", asked)
            while len(events) < count and (line := answer.readline()):
                event = json.loads(line)
                if event["type"] != "BOOKMARK" or event["object"]["metadata"].get("annotations"):
                    events.append(event)
            answer.close()
        told = [(event["type"], self._comparable(event["object"])) for event in events]
        if "sendInitialEvents" in query:
            told = [*sorted(told[:-1], key=repr), *told[-1:]]
        self.record.append(("watch", path, {**query, "resourceVersion": ""}, answer.status, told))
        return events

    def _connect(self) -> http.client.HTTPConnection:
        if not self._secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=60)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=60, context=ssl.create_default_context(cafile=self._ca)
        )

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Any,
        kind: str,
        query: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        headers = {
            **self._headers,
            "Accept": "application/json",
            **({"Content-Type": kind} if body is not None else {}),
        }
        target = f"{path}?{urlencode(query)}" if query else path
        connection.request(method, target, None if body is None else json.dumps(body), headers)
        return connection.getresponse()

    def _comparable(self, value: Any, name: str = "") -> Any:
        if name == "resourceVersion":
            return "" if not value else "some"
        if isinstance(value, dict):
            return {each: self._comparable(of, each) for each, of in sorted(value.items()) if each not in _SECRET}
        if isinstance(value, list):
            return [self._comparable(each) for each in value]
        return value


def maps(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps" + (f"/{name}" if name else "")


def config_map(name: str, data: Json | None = None, **metadata: Any) -> Json:
    value: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}
    return value if data is None else {**value, "data": data}


def definition(group: str) -> Json:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}}}
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wi"]}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [{"name": "v1", **version}]}
    metadata = {"name": f"widgets.{group}"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": spec,
    }


# --- the conversations ------------------------------------------------------------------------------------------------


def writes(talk: Talk, namespace: str) -> None:
    """Create, get, replace, conflict, delete, and what is refused."""
    talk.ask("GET", maps(namespace, "a"))
    made = talk.ask("POST", maps(namespace), config_map("a", {"x": "1"}, labels={"app": "web"}))
    talk.ask("POST", maps(namespace), config_map("a"))
    talk.ask("POST", maps(namespace), config_map("No_Name"))
    talk.ask("POST", maps(namespace), {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}})
    talk.ask("POST", maps(namespace), config_map("b", namespace="other"))
    talk.ask("POST", maps("of-nobody"), config_map("b"))
    talk.ask("POST", maps(namespace), {**config_map("b"), "kind": "Secret"})
    talk.ask("GET", maps(namespace, "a"))
    changed = talk.ask("PUT", maps(namespace, "a"), {**made, "data": {"x": "2"}})
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]
    assert changed["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    same = talk.ask("PUT", maps(namespace, "a"), changed)
    assert same["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"], "nothing changed"
    talk.ask("PUT", maps(namespace, "a"), {**made, "data": {"x": "3"}})
    talk.ask("PUT", maps(namespace, "c"), config_map("c"))
    talk.ask("DELETE", maps(namespace, "a"), {"preconditions": {"uid": "another"}})
    talk.ask("DELETE", maps(namespace, "a"), {"preconditions": {"uid": made["metadata"]["uid"]}})
    talk.ask("DELETE", maps(namespace, "a"))
    named = talk.ask("POST", maps(namespace), {**config_map(""), "metadata": {"generateName": "some-"}})["metadata"]
    assert named["name"].startswith("some-")
    assert len(named["name"]) == len("some-") + 5
    talk.record.pop()  # the name is another one each time


def patches(talk: Talk, namespace: str) -> None:
    """Merge patches and JSON patches."""
    made = talk.ask("POST", maps(namespace), config_map("a", {"x": "1", "y": "1"}))
    talk.ask("PATCH", maps(namespace, "a"), {"data": {"x": None, "z": "1"}}, MERGE)
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"x": "9"}}
    talk.ask("PATCH", maps(namespace, "a"), stale, MERGE)
    talk.ask("PATCH", maps(namespace, "b"), {"data": {"x": "1"}}, MERGE)
    talk.ask("PATCH", maps(namespace, "a"), [{"op": "replace", "path": "/data/y", "value": "2"}], JSON_PATCH)
    talk.ask("PATCH", maps(namespace, "a"), [{"op": "add", "path": "/data/w", "value": "1"}], JSON_PATCH)
    talk.ask("PATCH", maps(namespace, "a"), [{"op": "remove", "path": "/data/none"}], JSON_PATCH)
    talk.ask("PATCH", maps(namespace, "a"), [{"op": "test", "path": "/data/y", "value": "1"}], JSON_PATCH)
    talk.ask("PATCH", maps(namespace, "a"), {"metadata": {"labels": {"app": "web"}, "uid": None}}, MERGE)
    talk.ask("PATCH", maps(namespace, "a"), "no patch", "text/plain")


def applies(talk: Talk, namespace: str) -> None:
    """Server-side apply: fields that are owned, shared, taken and given back."""

    def apply(manager: str, data: Json, force: str = "false", **metadata: Any) -> Json:
        value = config_map("a", data, **metadata)
        return talk.ask("PATCH", maps(namespace, "a"), value, APPLY, fieldManager=manager, force=force)

    talk.ask("PATCH", maps(namespace, "a"), config_map("a", {}), APPLY)
    first = apply("one", {"x": "1", "y": "1"})
    again = apply("one", {"x": "1", "y": "1"})
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    apply("two", {"z": "1"}, labels={"of": "two"})
    apply("two", {"x": "2", "z": "1"}, labels={"of": "two"})
    apply("two", {"x": "2", "z": "1"}, "true", labels={"of": "two"})
    apply("one", {"y": "2"})
    apply("two", {"y": "2"})
    apply("one", {})
    talk.ask("PATCH", maps(namespace, "a"), {"data": {"y": "by-hand"}}, MERGE, fieldManager="hand")
    apply("two", {"y": "3"})
    apply("one", {}, finalizers=["example.org/one"])
    apply("two", {}, finalizers=["example.org/two"])
    apply("one", {})
    apply("two", {})


def finalizers(talk: Talk, namespace: str) -> None:
    """An object that finalizers hold goes with the last of them."""
    talk.ask("POST", maps(namespace), config_map("a", {"x": "1"}, finalizers=["example.org/one", "example.org/two"]))
    marked = talk.ask("DELETE", maps(namespace, "a"))
    assert marked["metadata"]["deletionTimestamp"]
    again = talk.ask("DELETE", maps(namespace, "a"))
    assert again["metadata"]["resourceVersion"] == marked["metadata"]["resourceVersion"]
    talk.ask("PATCH", maps(namespace, "a"), {"metadata": {"finalizers": ["example.org/one"]}}, MERGE)
    talk.ask("PATCH", maps(namespace, "a"), {"data": {"x": "2"}, "metadata": {"finalizers": None}}, MERGE)
    talk.ask("GET", maps(namespace, "a"))


def lists(talk: Talk, namespace: str) -> None:
    """Selectors and pages."""
    for number in range(5):
        app = {"app": "web" if number % 2 else "dns", **({"odd": "yes"} if number == 3 else {})}
        talk.ask("POST", maps(namespace), config_map(f"map-{number}", labels=app))
    for selector in (
        "app=web",
        "app==dns",
        "app!=web",
        "odd",
        "!odd",
        "app in (web, dns),odd",
        "app notin (web)",
        "a=b=c",
    ):
        talk.ask("GET", maps(namespace), labelSelector=selector)
    for selector in (
        "metadata.name=map-1",
        "metadata.name!=map-1",
        f"metadata.namespace={namespace},metadata.name=map-2",
    ):
        talk.ask("GET", maps(namespace), fieldSelector=selector)
    token = ""
    for _ in range(3):
        query = {"limit": "2", **({"continue": token} if token else {})}
        page = talk.ask("GET", maps(namespace), **query)
        talk.record[-1] = talk.record[-1][3:]  # the token is another one each time
        token = page["metadata"].get("continue", "")
    assert not token
    talk.ask("GET", maps("of-nobody"))


def watches(talk: Talk, namespace: str) -> None:
    """What watches say: from a version, from now, as a streamed list, and through a selector."""
    start = talk.ask("GET", maps(namespace))["metadata"]["resourceVersion"]
    for number in range(2):
        talk.ask("POST", maps(namespace), config_map(f"map-{number}", {"x": "1"}, labels={"app": "web"}))
    talk.ask("PATCH", maps(namespace, "map-0"), {"metadata": {"labels": {"app": "dns"}}}, MERGE)
    talk.ask("PATCH", maps(namespace, "map-1"), {"data": {"x": "2"}}, MERGE)
    talk.ask("DELETE", maps(namespace, "map-1"))
    talk.watch(maps(namespace), 5, resourceVersion=start)
    talk.watch(maps(namespace), 5, resourceVersion=start, labelSelector="app=web")
    talk.watch(maps(namespace), 2, resourceVersion=start, fieldSelector="metadata.name=map-0")
    talk.ask("POST", maps(namespace), config_map("map-2", {"x": "1"}))
    streamed = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    ended = talk.watch(maps(namespace), 3, **streamed)[-1]["object"]
    assert ended["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def custom(talk: Talk, namespace: str) -> None:
    """A resource of a CustomResourceDefinition: status, generations, and its end."""
    group = f"{namespace}.example.org"
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    path = f"/apis/{group}/v1/namespaces/{namespace}/widgets"
    talk.ask("POST", crds, definition(group))
    talk.record.clear()  # schemas fill in much
    value = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": {"size": 1}}
    made: Json = {}

    def is_made() -> bool:
        nonlocal made
        talk.record.clear()
        made = talk.ask("POST", path, {**value, "status": {"ready": True}})
        return bool(made["kind"] == "Widget")

    eventually(is_made, "the new resource")  # it is served some time after it was defined
    assert made["metadata"]["generation"] == 1
    assert "status" not in made
    ready = talk.ask("PATCH", f"{path}/a/status", {"status": {"ready": True}, "spec": {"size": 9}}, MERGE)
    assert (ready["metadata"]["generation"], ready["spec"]) == (1, {"size": 1})
    larger = talk.ask("PATCH", f"{path}/a", {"status": {"ready": False}, "spec": {"size": 2}}, MERGE)
    assert (larger["metadata"]["generation"], larger["status"]) == (2, {"ready": True})
    talk.ask("PATCH", f"{path}/a", {"metadata": {"labels": {"a": "b"}}}, MERGE)
    talk.ask("PATCH", f"{path}/a", {**value, "spec": {"color": "red"}}, APPLY, fieldManager="one")
    talk.ask("PATCH", f"{path}/a/status", {**value, "status": {"color": "red"}}, APPLY, fieldManager="one")
    talk.ask("GET", path)
    talk.ask("GET", f"{path}/a/status")
    talk.ask("DELETE", f"{path}/a")
    talk.ask("DELETE", f"{crds}/widgets.{group}")
    talk.record.pop()


ALL = (writes, patches, applies, finalizers, lists, watches, custom)
