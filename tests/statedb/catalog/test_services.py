"""Shared services v1: cilium/cilium pkg/clustermesh/store and clustermesh-apiserver's testdata/services.txtar."""

import json
from typing import Any

import pytest

from statedb.catalog import Backend, BackendKey, Frontend, Service, ServiceKey
from statedb.catalog.wire import WireError, crds, services

VALUE = (
    b'{"cluster":"cluster3","namespace":"test","name":"echo","frontends":{"10.96.50.104":{"http":{"Protocol":"TCP",'
    b'"Port":80}}},"backends":{"10.244.1.1":{"http":{"Protocol":"TCP","Port":8080}}},"zones":{"10.244.1.1":{"zone":'
    b'"zone1","forZones":[{"name":"zone1"}]}},"labels":{},"selector":{"name":"echo"},"includeExternal":true,'
    b'"shared":true,"clusterID":3}'
)
NAME = "cluster3/test/echo"
KEY_PARTS = ("cluster3", "test", "echo")
KEY = ServiceKey(*KEY_PARTS)
SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "echo", "namespace": "test", "annotations": {"service.cilium.io/global": "true"}},
    "spec": {
        "clusterIP": "10.96.50.104",
        "clusterIPs": ["10.96.50.104"],
        "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}],
        "selector": {"name": "echo"},
    },
}
SLICE: dict[str, Any] = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {"name": "echo-kvlm2", "namespace": "test", "labels": {"kubernetes.io/service-name": "echo"}},
    "addressType": "IPv4",
    "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
    "endpoints": [
        {
            "addresses": ["10.244.1.1"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "zone": "zone1",
            "hints": {"forZones": [{"name": "zone1"}]},
        },
        {"addresses": ["10.244.1.2"], "conditions": {"ready": False, "serving": False, "terminating": True}},
    ],
}


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(VALUE), **fields}).encode()


def test_the_literal_of_upstream_both_ways():
    service, backends = services.decode("cluster3", NAME, VALUE, cluster_id=3)
    assert service.key == KEY
    assert service.frontends == (Frontend("10.96.50.104", "http", "TCP", 80),)
    assert backends == (
        Backend(
            BackendKey("cluster3", "test", "echo", "10.244.1.1", 8080, "TCP"),
            ("http",),
            zone="zone1",
            zone_hints=("zone1",),
        ),
    )
    assert services.encode(service, backends) == VALUE


def test_the_objects_give_the_same_rows():
    (service,) = crds.service(SERVICE, "cluster3", 3)
    backends = crds.join(service, [crds.endpoint_slice(SLICE, "cluster3")])
    serving = tuple([backend for backend in backends if backend.ready or backend.serving])
    assert (service, serving) == services.decode("cluster3", NAME, VALUE)


def test_many_names_of_one_port_are_one_backend():
    ports = {
        "a": {"Protocol": "TCP", "Port": 80},
        "b": {"Protocol": "TCP", "Port": 80},
        "": {"Protocol": "UDP", "Port": 80},
    }
    _, backends = services.decode("cluster3", NAME, changed(backends={"10.0.0.1": ports}))
    assert [(backend.key.protocol, backend.port_names) for backend in backends] == [("TCP", ("a", "b")), ("UDP", ("",))]


def test_one_address_in_two_spellings_is_one_backend():
    port = {"http": {"Protocol": "TCP", "Port": 80}}
    _, backends = services.decode("cluster3", NAME, changed(backends={"fd00::1": port, "FD00:0::1": port}))
    assert [backend.key.ip for backend in backends] == ["fd00::1"]


def test_a_headless_service_has_no_frontends():
    service, _ = services.decode("cluster3", NAME, changed(frontends={}))
    assert service.frontends == ()
    for change in ({"spec": {**SERVICE["spec"], "clusterIP": "None", "clusterIPs": ["None"]}},):
        assert crds.service({**SERVICE, **change}, "c", 1)[0].frontends == ()
    labelled = {**SERVICE["metadata"], "labels": {"service.kubernetes.io/headless": ""}}
    assert crds.service({**SERVICE, "metadata": labelled}, "c", 1)[0].frontends == ()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"cluster": ""}, "cluster is unset"),
        ({"namespace": ""}, "namespace is unset"),
        ({"name": ""}, "name is unset"),
        ({"cluster": "other"}, "unexpected cluster name: got other"),
        ({"name": "other"}, "does not match the key"),
        ({"clusterID": 4}, "unexpected cluster ID: got 4, expected 3"),
        ({"backends": {"10.0.0.300": {}}}, "backends: '10.0.0.300' is not an IP address"),
        ({"frontends": {"fe80::1%eth0": {}}}, "frontends: 'fe80::1%eth0' is not an IP address"),
        ({"backends": {"10.0.0.1": {"a": {"Protocol": "TCP", "Port": 70000}}}}, "backends"),
        ({"backends": {"10.0.0.1": {"a": None}}}, "null"),
    ],
)
def test_what_does_not_fit_is_named(fields: dict[str, Any], told: str):
    with pytest.raises(WireError) as raised:
        services.decode("cluster3", NAME, changed(**fields), cluster_id=3)
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("annotations", "shared"),
    [
        ({}, False),
        ({"service.cilium.io/global": "true"}, True),
        ({"service.cilium.io/global": "TRUE"}, True),
        ({"service.cilium.io/global": "yes"}, False),
        ({"io.cilium/global-service": "true"}, True),
        ({"service.cilium.io/global": "true", "service.cilium.io/shared": "false"}, False),
        ({"service.cilium.io/global": "true", "service.cilium.io/shared": "True"}, True),
        ({"service.cilium.io/global": "true", "io.cilium/shared-service": "no"}, False),
    ],
)
def test_which_services_are_shared(annotations: dict[str, str], shared: bool):
    metadata = {**SERVICE["metadata"], "annotations": annotations}
    (row,) = crds.service({**SERVICE, "metadata": metadata}, "c", 1)
    assert row.shared is shared


def test_two_ports_of_one_name_are_written_as_the_lowest():
    backends = [
        Backend(BackendKey("c", "ns", "web", "10.0.0.1", port, protocol), ("http",))
        for port, protocol in ((9090, "TCP"), (8080, "UDP"), (8080, "TCP"))
    ]
    service = Service(ServiceKey("c", "ns", "web"))
    assert json.loads(services.encode(service, backends))["backends"] == {
        "10.0.0.1": {"http": {"Protocol": "TCP", "Port": 8080}}
    }


def test_of_two_ports_of_one_name_the_zone_is_that_of_the_one_that_is_written():
    (service,) = crds.service(SERVICE, "cluster3", 3)
    backends = [
        Backend(BackendKey(*KEY_PARTS, "10.0.0.1", port, "TCP"), ("http",), hostname=f"h{zone}", zone=zone)
        for port, zone in ((9090, "b"), (8080, "a"))
    ]
    value = json.loads(services.encode(service, backends))
    assert value["backends"]["10.0.0.1"]["http"]["Port"] == 8080
    assert value["zones"]["10.0.0.1"]["zone"] == "a"
    assert value["hostnames"]["10.0.0.1"] == "ha"


def test_a_zone_without_hints_has_an_empty_list_and_hints_without_a_zone_are_not_written():
    key = BackendKey("c", "ns", "web", "10.0.0.1", 80, "TCP")
    service = Service(ServiceKey("c", "ns", "web"))
    assert b'"zones":{"10.0.0.1":{"zone":"a","forZones":[]}}' in services.encode(service, [Backend(key, zone="a")])
    assert b"zones" not in services.encode(service, [Backend(key, zone_hints=("a",))])


def test_slices_of_no_service_and_of_names_have_no_backends():
    assert crds.endpoint_slice({**SLICE, "metadata": {"name": "x", "namespace": "test"}}, "c") == ()
    assert crds.endpoint_slice({**SLICE, "addressType": "FQDN"}, "c") == ()
    assert crds.join(None, [crds.endpoint_slice(SLICE, "c")]) == ()
