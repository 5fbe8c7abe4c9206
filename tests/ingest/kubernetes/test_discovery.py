"""What a name means, and that both forms of discovery say the same of a real API server."""

from __future__ import annotations

import pytest

from ingest.kubernetes import discovery
from ingest.kubernetes.api import Api
from ingest.kubernetes.discovery import Discovery, Kind, find
from ingest.kubernetes.errors import ApiError, Missing, Unavailable

from ...apiserver.server import ApiServer
from .informing import options

WATCHED = ("list", "watch")
KINDS = (
    Kind("", "v1", "pods", "Pod", "pod", ("po",), True, WATCHED),
    Kind("", "v1", "events", "Event", "event", ("ev",), True, WATCHED),
    Kind("apps", "v1", "deployments", "Deployment", "deployment", ("deploy",), True, WATCHED),
    Kind("apps", "v1beta1", "deployments", "Deployment", "deployment", ("deploy",), True, WATCHED),
    Kind("events.k8s.io", "v1", "events", "Event", "event", ("ev",), True, WATCHED),
    Kind("v1.example.org", "v2", "po", "Po", "po", (), True, WATCHED),
)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("pods", ("", "v1", "pods")),
        ("Pod", ("", "v1", "pods")),
        ("deploy", ("apps", "v1", "deployments")),
        ("deployments.apps", ("apps", "v1", "deployments")),
        ("deploy.v1beta1.apps", ("apps", "v1beta1", "deployments")),
        ("events", ("", "v1", "events")),
        ("events.events.k8s.io", ("events.k8s.io", "v1", "events")),
        ("pods.v1", ("", "v1", "pods")),
        ("pods.v1.", ("", "v1", "pods")),
        ("po", ("v1.example.org", "v2", "po")),  # a plural goes before a short name, as for kubectl
        ("po.v1.example.org", ("v1.example.org", "v2", "po")),
        ("deployments.v2.apps", None),
        ("pods.apps", None),
        ("nothing", None),
        ("", None),
        (".", None),
    ],
)
def test_names_are_found_as_kubectl_finds_them(name: str, found: tuple[str, str, str] | None):
    kind = find(KINDS, name)
    assert (kind and (kind.group, kind.version, kind.plural)) == found


def test_both_forms_of_discovery_say_the_same(apiserver: ApiServer, monkeypatch: pytest.MonkeyPatch):
    api = Api(options(apiserver))
    aggregated = {kind.path + kind.plural: kind for kind in Discovery(api)._served()}
    monkeypatch.setattr(discovery, "_ACCEPT", "application/json")
    by_group = {kind.path + kind.plural: kind for kind in Discovery(api)._served()}
    assert len(aggregated) > 30
    assert by_group.keys() == aggregated.keys()
    for path, kind in by_group.items():
        assert set(kind.verbs) == set(aggregated[path].verbs)
        for field in ("group", "version", "plural", "kind", "singular", "short_names", "namespaced"):
            assert getattr(kind, field) == getattr(aggregated[path], field), path
    api.close()


def test_a_name_that_is_none_is_waited_for_with_a_hint(apiserver: ApiServer):
    api = Api(options(apiserver))
    with pytest.raises(Missing, match=r"waiting for its CRD \(or is deployments meant\?\)"):
        Discovery(api).find("deploymets")
    with pytest.raises(ApiError, match="not to watch"):
        Discovery(api).find("tokenreviews")
    api.close()


class _Away:
    """An API server that does not answer, and that counts how often it is asked."""

    asked = 0

    def document(self, *_: object, **__: object) -> None:
        self.asked += 1
        raise Unavailable("away")


def test_who_waited_shares_the_failure_and_who_comes_later_asks_again():
    away, now = _Away(), [1.0]
    found = Discovery(away, lambda: now[0])  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(Unavailable):
            found.find("pods")
    assert away.asked == 1
    now[0] = 2.0
    with pytest.raises(Unavailable):
        found.find("pods")
    assert away.asked == 2
