"""Random services with annotations, their slices, and the services that other clusters share."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NAMES = ("web", "db")
CLUSTERS = {"c2": 2, "c3": 3}

_GLOBAL = ("service.cilium.io/global", "io.cilium/global-service")
_SHARED = ("service.cilium.io/shared", "io.cilium/shared-service")
_AFFINITY = ("service.cilium.io/affinity", "io.cilium/service-affinity")
_port_names = st.sampled_from(["", "http", "https"])
_protocols = st.sampled_from(["TCP", "TCP", "UDP"])
_numbers = st.sampled_from([80, 443])


@st.composite
def _annotations(draw: st.DrawFn) -> dict[str, str]:
    found = {}
    is_global = draw(st.sampled_from(["true", "true", "true", "True", " true ", "false", None]))
    if is_global is not None:
        found[draw(st.sampled_from(_GLOBAL))] = is_global
    if not draw(st.integers(0, 9)):
        found[draw(st.sampled_from(_GLOBAL))] = draw(st.sampled_from(["true", "false"]))
    for names, values in ((_SHARED, ["true", "false"]), (_AFFINITY, ["local", "remote", "none", "Local", "odd"])):
        if draw(st.booleans()):
            found[draw(st.sampled_from(names))] = draw(st.sampled_from(values))
    return found


@st.composite
def _service(draw: st.DrawFn, number: int) -> dict[str, Any]:
    ips = draw(
        st.sampled_from([[f"10.96.0.{number}"], [f"10.96.0.{number}", f"fd00:96::{number}"], [f"fd00:96::{number}"]])
    )
    spec: dict[str, Any] = {"clusterIP": ips[0], "clusterIPs": ips}
    labels = {}
    match draw(st.integers(0, 19)):
        case 0:
            spec = {"clusterIP": "None", "clusterIPs": ["None"]}
        case 1:
            labels = {"service.kubernetes.io/headless": ""}
        case 2:
            spec = {"clusterIP": ips[0]}
    ports = draw(st.lists(st.tuples(_numbers, _protocols), min_size=1, max_size=2, unique=True))
    names = draw(st.lists(_port_names, min_size=2, max_size=2, unique=True))
    spec["ports"] = [{"name": name, "port": port, "protocol": kind} for name, (port, kind) in zip(names, ports)]
    metadata = {"name": NAMES[number], "namespace": "shop", "labels": labels, "annotations": draw(_annotations())}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


_conditions = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from([True, False, None]) for name in ("ready", "serving", "terminating")}
)


@st.composite
def _slice(draw: st.DrawFn, name: str, number: int, family: str) -> dict[str, Any]:
    """One slice of a service. No two of one service have an address in common: Cilium then chooses at random."""
    ips = [f"10.0.{number}.{last}" if family == "IPv4" else f"fd00::{number}:{last}" for last in (1, 2, 3)]
    endpoints = [
        {"addresses": [ip], "conditions": draw(_conditions)} for ip in draw(st.lists(st.sampled_from(ips), unique=True))
    ]
    ports = draw(
        st.lists(
            st.tuples(_port_names, _protocols, st.sampled_from([8080, 8443])), max_size=2, unique_by=lambda p: p[0]
        )
    )
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-{family.lower()}-{number}",
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": [{"name": each[0], "protocol": each[1], "port": each[2]} for each in ports],
    }


_remote_ips = st.sampled_from(["10.0.0.1", "10.0.1.1", "10.2.0.1", "10.2.0.2", "fd00::0:1", "fd00:2::1"])
_remote_ports = st.dictionaries(
    _port_names,
    st.fixed_dictionaries({"Protocol": _protocols, "Port": st.sampled_from([8080, 8443])}),
    max_size=2,
)


@st.composite
def _shared(draw: st.DrawFn, cluster: str, name: str) -> dict[str, Any]:
    return {
        "cluster": cluster,
        "namespace": "shop",
        "name": name,
        "frontends": {},
        "backends": draw(st.dictionaries(_remote_ips, _remote_ports, max_size=3)),
        "labels": {},
        "selector": {},
        "includeExternal": draw(st.sampled_from([True, True, False])),
        "shared": draw(st.sampled_from([True, True, True, False])),
        "clusterID": CLUSTERS[cluster],
    }


@st.composite
def _world(draw: st.DrawFn) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {"services": [], "slices": [], "shared": []}
    for number, name in enumerate(NAMES):
        if draw(st.integers(0, 3)):
            found["services"].append(draw(_service(number)))
        for family in ("IPv4", "IPv6"):
            for place in range(draw(st.integers(0, 2))):
                found["slices"].append(draw(_slice(name, 2 * number + place, family)))
        for cluster in CLUSTERS:
            if draw(st.booleans()):
                found["shared"].append(draw(_shared(cluster, name)))
    return found


worlds: st.SearchStrategy[dict[str, list[dict[str, Any]]]] = _world()
"""The three lists of a question to the oracle."""
