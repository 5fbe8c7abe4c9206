"""Parses requests. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import yaml

from ._refusal import Refusal

_TARGET = re.compile(
    r"(?P<root>/api/[^/]+|/apis/[^/]+/[^/]+)(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<part>[^/]+))?)?"
)


class Request(msgspec.Struct, frozen=True):
    """A parsed request. ``root`` is empty if it is not about a resource."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    data: bytes
    root: str = ""
    namespace: str = ""
    plural: str = ""
    name: str = ""
    part: str = ""

    @property
    def verb(self) -> str:
        """The verb of the request, as in RBAC rules."""
        if self.method == "GET":
            return "get" if self.name else "watch" if self.query.get("watch") in ("true", "1") else "list"
        verbs = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
        return "deletecollection" if self.method == "DELETE" and not self.name else verbs[self.method]

    @property
    def manager(self) -> str:
        """The field manager: the given name, or that of the client program."""
        return self.query.get("fieldManager") or self.headers.get("user-agent", "").partition("/")[0] or "unknown"

    @property
    def only_metadata(self) -> bool:
        """Whether only the metadata of objects is requested."""
        return "as=PartialObjectMetadata" in self.headers.get("accept", "")

    def body(self) -> Any:
        """The decoded body (Any: JSON). Raises Refusal."""
        if not self.data:
            return {}
        try:
            if "yaml" in self.headers.get("content-type", ""):
                return yaml.safe_load(self.data)
            return msgspec.json.decode(self.data)
        except (msgspec.DecodeError, yaml.YAMLError) as error:
            raise Refusal(400, "BadRequest", f"the body of the request cannot be read: {error}") from None


def read(method: str, target: str, headers: Mapping[str, str], data: bytes) -> Request:
    """Parse a request."""
    url = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    lowered = {name.lower(): value for name, value in headers.items()}
    found = _TARGET.fullmatch(url.path)
    parts = {name: unquote(value) for name, value in found.groupdict(default="").items()} if found else {}
    if parts.get("namespace") and parts["plural"] in ("status", "finalize"):  # a subresource of the namespace itself
        parts |= {"name": parts["namespace"], "part": parts["plural"], "plural": "namespaces", "namespace": ""}
    return Request(method, url.path, query, lowered, data, **parts)
