"""The answers of discovery in both formats: aggregated (KEP-3352), and for each group."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ._resources import VERBS, Resource, groups

Json = dict[str, Any]
_AGGREGATED = "apidiscovery.k8s.io"


def document(resources: Iterable[Resource], path: str, accept: str) -> Json | None:
    """The answer for a discovery path. None for any other path."""
    by_group = groups(resources)
    if path in ("/api", "/apis"):
        chosen = {name: each for name, each in by_group.items() if (name == "") == (path == "/api")}
        return _aggregated(chosen) if _AGGREGATED in accept else _plain(chosen, path)
    for group, versions in by_group.items():
        for version, served in versions.items():
            if path == served[0].root:
                return _resources(served, f"{group}/{version}" if group else version)
        if group and path == f"/apis/{group}":
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)}
    return None


def _aggregated(by_group: dict[str, dict[str, list[Resource]]]) -> Json:
    items = [
        {
            "metadata": {"name": group} if group else {},
            "versions": [
                {"version": version, "freshness": "Current", "resources": [_one(each) for each in served]}
                for version, served in versions.items()
            ],
        }
        for group, versions in by_group.items()
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": f"{_AGGREGATED}/v2", "metadata": {}, "items": items}


def _one(resource: Resource) -> Json:
    response = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    status = {"subresource": "status", "responseKind": response, "verbs": ["get", "patch", "update"]}
    return {
        "resource": resource.plural,
        "responseKind": response,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "shortNames": list(resource.short_names),
        "verbs": list(VERBS),
        "subresources": [status] if resource.has_status else [],
    }


def _plain(by_group: dict[str, dict[str, list[Resource]]], path: str) -> Json:
    if path == "/api":
        return {"kind": "APIVersions", "versions": list(by_group[""])}
    found = [_group(group, versions) for group, versions in by_group.items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def _group(group: str, versions: Iterable[str]) -> Json:
    served = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": served, "preferredVersion": served[0]}


def _resources(served: list[Resource], group_version: str) -> Json:
    listed = []
    for each in served:
        listed.append(
            {
                "name": each.plural,
                "singularName": each.singular,
                "namespaced": each.namespaced,
                "kind": each.kind,
                "verbs": list(VERBS),
                "shortNames": list(each.short_names),
            }
        )
        if each.has_status:
            status = {"name": f"{each.plural}/status", "namespaced": each.namespaced, "kind": each.kind}
            listed.append({**status, "singularName": "", "verbs": ["get", "patch", "update"]})
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}
