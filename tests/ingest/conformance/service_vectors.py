"""What a service's traffic goes to, by the rules in the documentation of Cilium and Kubernetes: one vector a rule.

A vector is the objects of two clusters and, for each frontend of the first one, the addresses that its traffic goes to;
one with a ``~`` terminates and still serves. Rules: docs.cilium.io "Load-balancing & Service Discovery" (Cluster Mesh),
kubernetes.io "EndpointSlices" and "Termination of pods", cilium/cilium pkg/clustermesh/testdata and pkg/annotation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..clusters import Object

GLOBAL = "service.cilium.io/global"
SHARED = "service.cilium.io/shared"
AFFINITY = "service.cilium.io/affinity"
OLD_GLOBAL = "io.cilium/global-service"
OLD_SHARED = "io.cilium/shared-service"
OLD_AFFINITY = "io.cilium/service-affinity"
OF_ECHO = {"kubernetes.io/service-name": "echo"}
PROXY_NAME = {"service.kubernetes.io/service-proxy-name": "other"}
HERE, THERE = "10.1.0.1", "10.2.0.1"
FRONTEND = "10.96.0.1:80"
L, R = f"{HERE}:8080", f"{THERE}:8080"
TERMINATING = {"ready": False, "serving": True, "terminating": True}
ENDED = {"ready": False, "serving": False, "terminating": True}
NOT_READY = {"ready": False, "serving": False, "terminating": False}

Wanted = dict[str, list[str]]


class Vector(NamedTuple):
    """``wanted`` is None where there is no service; ``by_v1`` where form v1 holds less than slices."""

    rule: str
    here: list[Object]
    there: list[Object]
    wanted: Wanted | None
    by_v1: Wanted | None = None


def ports(text: str) -> list[dict[str, Any]]:
    """``http:80 dns:53/UDP :9`` as ports of a service or a slice; no number is a null."""
    found: list[dict[str, Any]] = []
    for each in text.split():
        name, _, rest = each.partition(":")
        number, _, protocol = rest.partition("/")
        found.append({"name": name, "port": int(number) if number else None, "protocol": protocol or "TCP"})
    return found


def svc(annotations: dict[str, str] | None = None, of: str = "http:80", **spec: Any) -> Object:
    metadata = {"name": spec.pop("name", "echo"), "namespace": spec.pop("namespace", "test")}
    labels = spec.pop("labels", {})
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**metadata, "labels": labels, "annotations": annotations or {}},
        "spec": {"clusterIP": "10.96.0.1", "ports": ports(of), **spec},
    }


def ep(*addresses: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": list(addresses), **({"conditions": conditions} if conditions else {})}


def sl(
    *endpoints: dict[str, Any] | str, of: str = "http:8080", name: str = "echo-1", family: str = "IPv4", **metadata: Any
) -> Object:
    labels = metadata.pop("labels", {"kubernetes.io/service-name": "echo"})
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "test", "labels": labels, **metadata},
        "addressType": family,
        "ports": ports(of),
        "endpoints": [ep(each) if isinstance(each, str) else each for each in endpoints],
    }


def to(*backends: str, frontend: str = FRONTEND) -> Wanted:
    return {frontend: sorted(backends)}


G = {GLOBAL: "true"}
ENDS_HERE, ENDS_THERE = sl(ep(HERE, **TERMINATING)), sl(ep(THERE, **TERMINATING))
UNREADY_HERE, UNREADY_THERE = sl(ep(HERE, **NOT_READY)), sl(ep(THERE, **NOT_READY))
OTHER = "10.1.0.2:8080"
OURS = [svc(G), sl(HERE)]
THEIRS = [svc(G, clusterIP="10.97.0.1"), sl(THERE)]


def annotated(rule: str, here: dict[str, str], there: dict[str, str], *backends: str) -> Vector:
    """One ready backend in each cluster; only the annotations differ."""
    return Vector(rule, [svc(here), sl(HERE)], [svc(there), sl(THERE)], to(*backends))


def mine(rule: str, *backends: str, of: list[Object]) -> Vector:
    """A service of one cluster."""
    return Vector(rule, [svc(), *of], [], to(*backends))


def pair(
    rule: str, here: list[Object], there: list[Object], *backends: str, v1: tuple[str, ...] | None = None
) -> Vector:
    """A global service with these slices here and there."""
    return Vector(rule, [svc(G), *here], [svc(G), *there], to(*backends), None if v1 is None else to(*v1))


def preferring(
    rule: str, side: str, here: list[Object], there: list[Object], *backends: str, v1: tuple[str, ...] | None = None
) -> Vector:
    """The same with an affinity."""
    own = svc({**G, AFFINITY: side})
    return Vector(rule, [own, *here], [svc(G), *there], to(*backends), None if v1 is None else to(*v1))


_GLOBAL = [
    annotated("a service without annotations has its own backends only", {}, G, L),
    annotated("global in both clusters", G, G, L, R),
    annotated("the deprecated spelling of global", {OLD_GLOBAL: "true"}, {OLD_GLOBAL: "true"}, L, R),
    annotated("the new spelling of global counts: false", {GLOBAL: "false", OLD_GLOBAL: "true"}, G, L),
    annotated("the new spelling of global counts: true", {GLOBAL: "true", OLD_GLOBAL: "false"}, G, L, R),
    annotated("true in any case", {GLOBAL: "True"}, {GLOBAL: "TRUE"}, L, R),
    annotated("true with a space is not true", {GLOBAL: " true"}, G, L),
    annotated("1 is not true", {GLOBAL: "1"}, G, L),
    annotated("an empty annotation is not true", {GLOBAL: ""}, G, L),
    annotated("what is not shared uses others nevertheless", {**G, SHARED: "false"}, G, L, R),
    annotated("the same in the deprecated spelling", {**G, OLD_SHARED: "false"}, G, L, R),
    annotated("the remote service is not global", G, {}, L),
    annotated("the remote service is not shared", G, {**G, SHARED: "false"}, L),
    annotated("the same in the deprecated spelling, there", G, {**G, OLD_SHARED: "false"}, L),
    annotated("shared with an empty text is not shared", G, {**G, SHARED: ""}, L),
    annotated("shared in any case", G, {**G, SHARED: "TRUE"}, L, R),
    annotated("the new spelling of shared counts", G, {**G, SHARED: "true", OLD_SHARED: "false"}, L, R),
    annotated("shared alone is nothing", {SHARED: "true"}, G, L),
    annotated("shared alone is nothing, there", G, {SHARED: "true"}, L),
    Vector("no such service there", OURS, [], to(L)),
    Vector("a service that only others have", [], THEIRS, None),
    Vector("another namespace is another service", OURS, [svc(G, namespace="other")], to(L)),
    Vector("another name is another service", OURS, [svc(G, name="other")], to(L)),
]
_AFFINITY = [
    preferring("local: own ones while they are ready", "local", [sl(HERE)], [sl(THERE)], L),
    preferring("remote: the others while they are ready", "remote", [sl(HERE)], [sl(THERE)], R),
    preferring("none", "none", [sl(HERE)], [sl(THERE)], L, R),
    preferring("empty is none", "", [sl(HERE)], [sl(THERE)], L, R),
    preferring("affinity in any case", "LOCAL", [sl(HERE)], [sl(THERE)], L),
    preferring("an unknown affinity is none", "nearby", [sl(HERE)], [sl(THERE)], L, R),
    annotated("the deprecated spelling of affinity", {**G, OLD_AFFINITY: "remote"}, G, R),
    annotated("the new spelling of affinity counts", {**G, AFFINITY: "local", OLD_AFFINITY: "remote"}, G, L),
    annotated("affinity without global is nothing", {AFFINITY: "remote"}, G, L),
    annotated("affinity of the remote service is nothing", G, {**G, AFFINITY: "local"}, L, R),
    preferring("local: the others when no own one is ready", "local", [UNREADY_HERE], [sl(THERE)], R),
    preferring("local: a ready one there before one that ends here", "local", [ENDS_HERE], [sl(THERE)], R),
    preferring("local: the others when there is no own one", "local", [], [sl(THERE)], R),
    preferring("remote: own ones when there are no others", "remote", [sl(HERE)], [], L),
    preferring("remote: own ones when the others are not ready", "remote", [sl(HERE)], [UNREADY_THERE], L),
    preferring("local: none ready anywhere", "local", [ENDS_HERE], [UNREADY_THERE], L + "~"),
    preferring(
        "remote: all terminate",
        "remote",
        [ENDS_HERE],
        [ENDS_THERE],
        R + "~",
        v1=(R,),
    ),
]
_CONDITIONS = [
    mine("no condition is set", L, of=[sl(HERE)]),
    mine("ready alone is set: true", L, of=[sl(ep(HERE, ready=True))]),
    mine("ready alone is set: false", of=[sl(ep(HERE, ready=False))]),
    mine("not ready, serving, not terminating", of=[sl(ep(HERE, ready=False, serving=True, terminating=False))]),
    mine(
        "terminating takes nothing new while others are ready",
        OTHER,
        of=[sl(ep(HERE, **TERMINATING), "10.1.0.2")],
    ),
    mine("terminating and serving where nothing else is left", L + "~", of=[ENDS_HERE]),
    mine(
        "all that still serve",
        L + "~",
        OTHER + "~",
        of=[sl(ep(HERE, **TERMINATING), ep("10.1.0.2", **TERMINATING))],
    ),
    mine("terminating with serving not set", L + "~", of=[sl(ep(HERE, ready=False, terminating=True))]),
    mine("terminating and not serving", of=[sl(ep(HERE, **ENDED))]),
    mine(
        "ready while it terminates (publishNotReadyAddresses)",
        L,
        of=[sl(ep(HERE, **{**ENDED, "ready": True}))],
    ),
    mine("ready and not serving", L, of=[sl(ep(HERE, ready=True, serving=False))]),
    mine("neither beside a ready one", OTHER, of=[sl(ep(HERE, **NOT_READY), "10.1.0.2")]),
    pair("one that ends there", [sl(HERE)], [ENDS_THERE], L, v1=(L, R)),
    pair("one that is not ready there", [sl(HERE)], [UNREADY_THERE], L),
    pair("none here", [], [sl(THERE)], R),
    pair("none here is ready", [UNREADY_HERE], [sl(THERE)], R),
    pair("none anywhere", [], []),
]
_SLICES = [
    mine("two slices of one service", L, OTHER, of=[sl(HERE), sl("10.1.0.2", name="echo-2")]),
    mine("two pods with one address, the old one first", L, of=[sl(ep(HERE, **TERMINATING), ep(HERE, ready=True))]),
    mine("two pods with one address, the new one first", L, of=[sl(ep(HERE, ready=True), ep(HERE, **TERMINATING))]),
    mine("the same in two slices, the old one first", L, of=[ENDS_HERE, sl(HERE, name="echo-2")]),
    mine("the same in two slices, the new one first", L, of=[sl(HERE), sl(ep(HERE, **TERMINATING), name="echo-2")]),
    mine("two addresses of one endpoint", L, OTHER, of=[sl(ep(HERE, "10.1.0.2"))]),
    mine("an address that cannot be read", L, of=[sl("10.1.0.300", HERE)]),
    mine("names instead of addresses", L, of=[sl(HERE), sl("web.example", name="echo-2", family="FQDN")]),
    mine("a slice of no service", L, of=[sl(HERE), sl("10.1.0.2", name="lone", labels={})]),
    mine("a slice of another service", of=[sl(HERE, labels={"kubernetes.io/service-name": "other"})]),
    mine(
        "a slice that the mesh controller made of another cluster's",
        L,
        of=[
            sl(HERE),
            sl(
                THERE,
                name="echo-2",
                labels={
                    "kubernetes.io/service-name": "echo",
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-mesh-controller.cilium.io",
                },
            ),
        ],
    ),
    mine("a slice that another proxy serves", of=[sl(HERE, labels={**OF_ECHO, **PROXY_NAME})]),
    Vector("a service that another proxy serves", [svc(G, labels=PROXY_NAME), sl(HERE)], THEIRS, None),
    mine("a port without a number", L, of=[sl(HERE, of="all: http:8080")]),
    Vector(
        "an address that both clusters claim is the local one's",
        [svc(G), sl(HERE)],
        [svc(G), sl(ep(HERE, **TERMINATING), THERE)],
        to(L, R),
    ),
    Vector("also while it takes no traffic", [svc(G), UNREADY_HERE], [svc(G), sl(HERE)], to()),
]
_PORTS = [
    Vector(
        "each port goes to the backends of its name",
        [svc(G, "http:80 admin:81"), sl(HERE, of="http:8080 admin:9090")],
        [svc(G, "http:80 admin:81"), sl(THERE, of="http:8081 admin:9091")],
        {"10.96.0.1:80": [L, f"{THERE}:8081"], "10.96.0.1:81": [f"{HERE}:9090", f"{THERE}:9091"]},
    ),
    Vector(
        "several ports to one port of the pod",
        [svc(G, "a:80 b:81"), sl(HERE, of="a:8080 b:8080")],
        [svc(G, "a:80 b:81"), sl(THERE, of="a:8080 b:8080")],
        {"10.96.0.1:80": [L, R], "10.96.0.1:81": [L, R]},
    ),
    Vector(
        "a port without a name", [svc(G, ":80"), sl(HERE, of=":8080")], [svc(G, ":80"), sl(THERE, of=":8080")], to(L, R)
    ),
    Vector("no backend has the port's name", [svc(G, "web:80"), sl(HERE)], [], to()),
    Vector("a name that only the remote backends lack", OURS, [svc(G), sl(THERE, of="web:8080")], to(L)),
    Vector(
        "each protocol has its own backends",
        [svc(G, "dns:53/UDP dns-tcp:53/TCP"), sl(HERE, of="dns:5353/UDP dns-tcp:5354/TCP")],
        [],
        {"10.96.0.1:53/TCP": [f"{HERE}:5354"], "10.96.0.1:53/UDP": [f"{HERE}:5353"]},
    ),
    Vector("SCTP", [svc(G, "s:80/SCTP"), sl(HERE, of="s:9/SCTP")], [], {"10.96.0.1:80/SCTP": [f"{HERE}:9"]}),
    Vector(
        "two names of one frontend",
        [svc(G, "a:80 b:80"), sl(HERE, of="a:8080"), sl("10.1.0.2", of="b:8080", name="echo-2")],
        [],
        to(L, OTHER),
    ),
    Vector("the remote pods listen on another port", OURS, [svc(G), sl(THERE, of="http:9090")], to(L, f"{THERE}:9090")),
]
_FAMILIES = [
    Vector(
        "dual stack: each family has its own backends",
        [svc(G, clusterIPs=["10.96.0.1", "FD00:96::1"]), sl(HERE), sl("FD00:1::1", family="IPv6", name="echo-2")],
        [svc(G), sl(THERE), sl("fd00:2::1", family="IPv6", name="echo-2")],
        {FRONTEND: [L, R], "[fd00:96::1]:80": ["[fd00:1::1]:8080", "[fd00:2::1]:8080"]},
    ),
    Vector("the other family there is no use here", OURS, [svc(G), sl("fd00:2::1", family="IPv6")], to(L)),
    Vector("headless: no frontend", [svc(G, clusterIP="None"), sl(HERE)], THEIRS, {}),
    Vector("headless by its label", [svc(G, labels={"service.kubernetes.io/headless": ""}), sl(HERE)], THEIRS, {}),
    Vector("the remote service is headless", OURS, [svc(G, clusterIP="None"), sl(THERE)], to(L, R)),
    Vector("a bad address of the service", [svc(G, clusterIPs=["10.96.0.1", "x"]), sl(HERE)], [], to(L)),
    Vector("a name of another host", [svc(clusterIP="", type="ExternalName", externalName="web.example")], [], {}),
    Vector("no slice at all", [svc(G)], [svc(G)], to()),
]

VECTORS = [*_GLOBAL, *_AFFINITY, *_CONDITIONS, *_SLICES, *_PORTS, *_FAMILIES]
