"""Discovery: the resources that an API server serves, and the resource of a name, by the rules of kubectl.

Aggregated discovery (KEP-3352) takes two requests. Without it, one request is sent for each version of a group.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import TypeVar

import msgspec

from .api import Api
from .errors import ApiError, Broken, Invalid, Missing, Unavailable
from .request import Request

_ACCEPT = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)
_BYTES_MAX = 64 << 20
_FRESH_S = 2.0
_VERSION = re.compile(r"v[0-9]+((alpha|beta)[0-9]+)?")

S = TypeVar("S", bound=msgspec.Struct)


class _Named(msgspec.Struct):
    name: str = ""


class _ResponseKind(msgspec.Struct):
    kind: str = ""


class _Served(msgspec.Struct, rename="camel"):
    """A resource, in aggregated discovery."""

    resource: str
    response_kind: _ResponseKind = msgspec.field(default_factory=_ResponseKind)
    scope: str = "Namespaced"
    singular_resource: str = ""
    short_names: list[str] | None = None
    verbs: list[str] = []


class _Version(msgspec.Struct):
    """A version of a group, in either form of discovery."""

    version: str
    resources: list[_Served] = []


class _Group(msgspec.Struct):
    """A group, in either form of discovery."""

    name: str = ""
    metadata: _Named = msgspec.field(default_factory=_Named)
    versions: list[_Version] = []


class _Groups(msgspec.Struct):
    """An APIGroupDiscoveryList, or an APIGroupList from servers without aggregated discovery."""

    kind: str
    items: list[_Group] = []
    groups: list[_Group] = []


class _CoreGroups(msgspec.Struct):
    """An APIGroupDiscoveryList of the core group, or APIVersions from servers without aggregated discovery."""

    kind: str
    items: list[_Group] = []
    versions: list[str] = []


class _Listed(msgspec.Struct, rename="camel"):
    """A resource, in an APIResourceList."""

    name: str
    kind: str = ""
    singular_name: str = ""
    short_names: list[str] | None = None
    namespaced: bool = True
    verbs: list[str] = []


class _Resources(msgspec.Struct):
    resources: list[_Listed] = []


class Kind(msgspec.Struct, frozen=True, gc=False):
    """A resource that is served. ``group`` is empty for the core group. ``verbs`` are those of Kubernetes."""

    group: str
    version: str
    plural: str
    kind: str = ""
    singular: str = ""
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    verbs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name with the group: ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def path(self) -> str:
        """The path of its group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


def find(kinds: Iterable[Kind], name: str) -> Kind | None:
    """The resource of a name, or None.

    A name is a plural, singular, short name or kind, in upper or lower case, perhaps with a group, or with a version
    and a group: ``po``, ``deployments.apps``, ``deploy.v1.apps``. Of several resources the first one is chosen. Groups
    and versions are in the server's order of preference, with the core group first.
    """
    word, _, rest = name.lower().partition(".")
    version, _, group = rest.partition(".")
    candidates = tuple(kinds)
    if rest and _VERSION.fullmatch(version):
        exact = [each for each in candidates if (each.version, each.group) == (version, group)]
        found = _named(exact, word)
        if found is not None:
            return found
    return _named([each for each in candidates if not rest or each.group == rest], word)


def _named(kinds: list[Kind], word: str) -> Kind | None:
    ways: tuple[Callable[[Kind], bool], ...] = (
        lambda kind: kind.plural == word,
        lambda kind: kind.singular == word,
        lambda kind: word in kind.short_names,
        lambda kind: kind.kind.lower() == word,
    )
    return next((kind for way in ways for kind in kinds if way(kind)), None)


class Discovery:
    """The resources of one API server, requested when they are needed. For any thread."""

    def __init__(self, api: Api, clock: Callable[[], float] = time.monotonic) -> None:
        """No request is sent yet."""
        self._api = api
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: tuple[Kind, ...] = ()
        self._asked_at = float("-inf")
        self._failed_at = float("-inf")
        self._failure: ApiError = Missing()

    def find(self, name: str, *, to_watch: bool = True) -> Kind:
        """The resource of a name. Raises Missing, and Invalid if it cannot be watched but ``to_watch``, and ApiErrors.

        A call during the request of another thread shares its result or its failure.
        """
        kinds = self._served()
        found = find(kinds, name)
        if found is None:
            raise Missing(f"find {name}: not served by this API server; waiting for its CRD{_hint(kinds, name)}")
        if to_watch and not {"list", "watch"} <= set(found.verbs):
            raise Invalid(f"find {name}: {found.name} can only be asked to {', '.join(found.verbs)}, not to watch")
        return found

    def _served(self) -> tuple[Kind, ...]:
        arrived = self._clock()
        with self._lock:
            if self._failed_at >= arrived:
                raise self._failure
            if self._asked_at < arrived - _FRESH_S:
                try:
                    self._kinds = tuple(self._ask())
                except ApiError as error:
                    self._failed_at, self._failure = self._clock(), error
                    raise
                self._asked_at = self._clock()
            return self._kinds

    def _ask(self) -> Iterator[Kind]:
        core = self._get("/api", _CoreGroups, _ACCEPT)
        yield from _aggregated(core.items)
        for name in core.versions:
            yield from self._of_version("", name)
        others = self._get("/apis", _Groups, _ACCEPT)
        yield from _aggregated(others.items)
        for group in others.groups:
            for version in group.versions:
                yield from self._of_version(group.name, version.version)

    def _of_version(self, group: str, version: str) -> Iterator[Kind]:
        """The resources of one version of a group; none if its own server does not answer now."""
        place = Kind(group, version, "").path
        try:
            listed = self._get(place, _Resources)
        except (Broken, Invalid, Missing, Unavailable):
            return
        for each in listed.resources:
            if "/" not in each.name:
                yield Kind(
                    group,
                    version,
                    each.name,
                    each.kind,
                    each.singular_name,
                    tuple(each.short_names or ()),
                    each.namespaced,
                    tuple(each.verbs),
                )

    def _get(self, path: str, kind: type[S], accept: str = "") -> S:
        request = Request("discover", path, path, accept=accept)
        return self._api.document(request, kind, bytes_max=_BYTES_MAX, clock=self._clock)


def _hint(kinds: Iterable[Kind], name: str) -> str:
    names = [word for kind in kinds for word in (kind.plural, kind.name)]
    close = get_close_matches(name.lower(), names, n=1)
    return f" (or is {close[0]} meant?)" if close else ""


def _aggregated(groups: Iterable[_Group]) -> Iterator[Kind]:
    for group in groups:
        for version in group.versions:
            for each in version.resources:
                yield Kind(
                    group.metadata.name,
                    version.version,
                    each.resource,
                    each.response_kind.kind,
                    each.singular_resource,
                    tuple(each.short_names or ()),
                    each.scope == "Namespaced",
                    tuple(each.verbs),
                )
