"""Lists and watches of one API server. Objects are not decoded here. Knows no rows and no tables.

A list is complete, or raises: all pages have one version, and if a page has another one, the list fails. A watch ends
without an error when the server ends it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from random import SystemRandom

import msgspec

from statedb.catalog.wire import DECODE_ERRORS

from .api import Api, Identity
from .discovery import Discovery
from .errors import Broken, Expired, Forbidden, Missing, TooLarge
from .locator import Locator
from .options import KubernetesOptions
from .request import Request
from .resource_spec import Resource
from .stream import Item, item_of
from .streamed_list import Page, StreamedList
from .utf8 import repaired
from .watch import Watch

_chance = SystemRandom()  # the global generator belongs to the program that we run in, which may have seeded it

BRIEF_S = 4.0
"""The duration of a brief watch. The API server sends a bookmark two seconds before the end, at most one second late
(`nextBookmarkTime` in kubernetes/staging/src/k8s.io/apiserver/pkg/storage/cacher/cache_watcher.go)."""

_PAGES_MAX = 1_000_000
_PAGE_BYTES = 64 << 20
_LIST_BYTES = 256 << 20
_SHRINK_FACTOR = 8
_IDENTITY = Request("get", "namespaces", "/api/v1/namespaces/kube-system")


class Client:
    """Lists and watches resources. For any thread."""

    def __init__(
        self,
        api: Api,
        options: KubernetesOptions,
        *,
        locator: Locator | None = None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = _chance.random,
    ) -> None:
        """``locator`` finds resources without a version. ``jitter`` returns numbers from 0 to 1, which vary the length
        of watches. ``clock`` is for deadlines.
        """
        self._api = api
        self._locator = locator or Locator(Discovery(api, clock))
        self._options = options
        self._clock = clock
        self._jitter = jitter

    def identity(self) -> str:
        """The UID of the namespace kube-system, which identifies a cluster; empty if we may not read it."""
        try:
            return self._api.document(_IDENTITY, _Namespace, bytes_max=_PAGE_BYTES, clock=self._clock).metadata.uid
        except (Forbidden, Missing):
            return ""

    def version(self, resource: Resource) -> tuple[str, str | None]:
        """The newest version of the resource's store (not of a cache), and the identity of the server that answered."""
        page, server = self._page(resource, {"limit": "1"}, by_label=False)
        return page.metadata.version, server

    def pages(self, resource: Resource) -> Iterator[Page]:
        """All objects at one version. Raises Expired if the version becomes too old between pages.

        Pages that are too large are requested again with fewer objects, so that memory is bounded in bytes.
        """
        limit, token, version = self._options.page_limit, "", ""
        for _ in range(_PAGES_MAX):
            asked = {"limit": str(limit)}
            try:
                page, server = self._page(resource, {**asked, "continue": token} if token else asked)
            except TooLarge:
                if limit == 1:
                    raise
                limit = max(1, limit // _SHRINK_FACTOR)
                continue
            if version and page.metadata.version != version:
                raise Expired(f"list {resource.name}: the list went on at another version")
            version = page.metadata.version
            yield _read(page, server)
            if not page.metadata.token:
                return
            if page.metadata.token == token:
                break
            token = page.metadata.token
        raise Broken(f"list {resource.name}: the list does not end")

    def whole(self, resource: Resource) -> Page:
        """All objects at one version in one answer, for lists that expire before their last page.

        Raises TooLarge for more than 256 MiB.
        """
        page, server = self._page(resource, {}, bytes_max=_LIST_BYTES)
        if page.metadata.token:
            raise Broken(f"list {resource.name}: the list was to be whole, but is not")
        return _read(page, server)

    def streamed(self, resource: Resource) -> StreamedList:
        """All objects as the beginning of a watch. The watch is open when this returns; the caller closes it.

        Raises Invalid if the server does not offer that.
        """
        options = self._options
        parameters = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "sendInitialEvents": "true",
            "resourceVersionMatch": "NotOlderThan",
            "timeoutSeconds": str(math.ceil(self._watch_s())),
        }
        return StreamedList(
            self._watch(resource, parameters),
            f"watch {resource.name}",
            silence_s=options.request_timeout_s,
            limit_s=options.watch_timeout_s,
            clock=self._clock,
        )

    def watch(self, resource: Resource, version: str, *, brief: bool = False) -> Watch:
        """The changes after a version. The watch is open when this returns; the caller closes it.

        A ``brief`` watch ends after `BRIEF_S`; a server that sends bookmarks sends one before the end.

        Raises Expired if the server refuses the watch because it no longer has these changes.
        """
        lasts_s = BRIEF_S if brief else self._watch_s()
        parameters = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(math.ceil(lasts_s)),
        }
        return self._watch(resource, parameters)

    def _watch_s(self) -> float:
        """How long a watch is to last; varied, so that watches spread over the replicas of a server."""
        return self._options.watch_timeout_s * (1 + self._jitter())

    def _watch(self, resource: Resource, parameters: Mapping[str, str]) -> Watch:
        with self._locator.request("watch", resource, parameters) as request:
            return Watch(self._api.stream(request), self._options.silence_s)

    def _page(
        self,
        resource: Resource,
        parameters: Mapping[str, str],
        *,
        bytes_max: int | None = None,
        by_label: bool = True,
    ) -> tuple[_List, str | None]:
        with self._locator.request("list", resource, parameters, by_label=by_label) as request:
            page, server = self._api.read(request, _List, bytes_max=bytes_max or _PAGE_BYTES, clock=self._clock)
        if not page.kind.endswith("List") or not page.metadata.version:
            raise Broken(f"list {resource.name}: the answer is not a list")
        return page, server


class _Identified(msgspec.Struct, gc=False):
    uid: str = ""


class _Namespace(msgspec.Struct, gc=False):
    metadata: _Identified


KUBE_SYSTEM = Identity(_IDENTITY, lambda body: msgspec.json.decode(body, type=_Namespace).metadata.uid)
"""Clusters are identified by the UID of their namespace kube-system."""


class _ListMetadata(msgspec.Struct, rename={"version": "resourceVersion", "token": "continue"}, gc=False):
    version: str = ""
    token: str = ""


class _List(msgspec.Struct):
    kind: str
    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


def _read(page: _List, server: str | None) -> Page:
    items, unnamed = [], 0
    for value in page.items or ():
        item = _item(value)
        if item is None:
            unnamed += 1
        else:
            items.append(item)
    return Page(items, page.metadata.version, unnamed, server)


def _item(value: msgspec.Raw) -> Item | None:
    """An object of a list; None if its name cannot be decoded."""
    try:
        item = item_of("ADDED", value)
    except DECODE_ERRORS:
        text = repaired(bytes(value))
        return None if text is None else _item(msgspec.Raw(text))
    return item if item.name else None
