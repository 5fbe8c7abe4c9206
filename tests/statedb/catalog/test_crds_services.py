"""Service and EndpointSlice: cilium/cilium clustermesh-apiserver/clustermesh (service_sync.go, testdata),

Sources: cilium/cilium clustermesh-apiserver/clustermesh (service_sync.go, testdata/services.txtar),
pkg/annotation/clustermesh.go and pkg/k8s/endpoints.go.
"""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from statedb.catalog import Backend, BackendKey, EndpointSliceCopy, Frontend, Service
from statedb.catalog.wire import WireError, crds, endpoint_slices, faults_of, services

from .strategies import addresses, as_form_v1, names, ports, protocols, texts
from .test_services import KEY, NAME, SERVICE, SLICE, VALUE

GLOBAL = {"service.cilium.io/global": "true"}


def read(metadata: dict[str, Any] | None = None, **spec: Any) -> Service:
    value = {
        "metadata": {"name": "web", "namespace": "shop", "annotations": GLOBAL, **(metadata or {})},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80}], **spec},
    }
    (found,) = crds.service(value, "c", 1)
    return found


def backends(*endpoints: dict[str, Any], **fields: Any) -> tuple[Backend, ...]:
    return crds.endpoint_slice({**SLICE, "endpoints": list(endpoints), **fields}, "c")


def test_the_objects_of_upstream_become_the_bytes_of_upstream():
    (service,) = crds.service(SERVICE, "cluster3", 3)
    assert service.key == KEY
    assert services.name(service) == NAME
    joined = crds.join(service, [crds.endpoint_slice(SLICE, "cluster3")])
    assert services.encode(service, [each for each in joined if each.ready or each.serving]) == VALUE


def test_frontends_are_every_cluster_address_with_every_port():
    service = read(
        clusterIPs=["FD00::1", "10.96.0.1"],
        ports=[{"name": "http", "port": 80, "targetPort": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}],
    )
    assert service.frontends == (
        Frontend("10.96.0.1", "dns", "UDP", 53),
        Frontend("10.96.0.1", "http", "TCP", 80),
        Frontend("fd00::1", "dns", "UDP", 53),
        Frontend("fd00::1", "http", "TCP", 80),
    )


def test_the_one_cluster_address_counts_where_there_is_no_list():
    assert read().frontends == (Frontend("10.96.0.1", "http", "TCP", 80),)
    assert read(clusterIPs=[]).frontends == (Frontend("10.96.0.1", "http", "TCP", 80),)
    assert read(ports=[{"port": 80}]).frontends == (Frontend("10.96.0.1", "", "TCP", 80),)


@pytest.mark.parametrize(
    ("metadata", "spec"),
    [
        ({}, {"clusterIP": "None"}),
        ({}, {"clusterIP": "none"}),
        ({}, {"clusterIP": "None", "clusterIPs": ["None"]}),
        ({}, {"clusterIP": "", "clusterIPs": ["None"]}),
        ({}, {"clusterIP": ""}),
        ({}, {"clusterIP": None}),
        ({}, {"ports": []}),
        ({"labels": {"service.kubernetes.io/headless": ""}}, {}),
        ({"labels": {"service.kubernetes.io/headless": ""}}, {"clusterIPs": ["10.96.0.1"]}),
    ],
)
def test_a_headless_service_or_one_without_ports_has_no_frontends(metadata: dict[str, Any], spec: dict[str, Any]):
    assert read(metadata, **spec).frontends == ()


def test_labels_and_selector_are_copied_and_a_published_service_is_shared():
    service = read({"labels": {"b": "2", "a": "1"}}, selector={"app": "web"})
    assert service.labels == (("a", "1"), ("b", "2"))
    assert service.selector == (("app", "web"),)
    assert (service.shared, service.include_external, service.affinity, service.cluster_id) == (True, True, "", 1)


@pytest.mark.parametrize(
    ("annotations", "shared"),
    [
        ({"io.cilium/global-service": "false", "service.cilium.io/global": "true"}, True),
        ({"io.cilium/global-service": "true", "service.cilium.io/global": "false"}, False),
        ({"service.cilium.io/global": "tRuE"}, True),
        ({"service.cilium.io/global": " true"}, False),
        ({"service.cilium.io/global": "1"}, False),
        ({"service.cilium.io/global": ""}, False),
        ({**GLOBAL, "service.cilium.io/shared": ""}, False),
        ({**GLOBAL, "io.cilium/shared-service": "true"}, True),
        ({"service.cilium.io/shared": "true"}, False),
    ],
)
def test_which_services_are_shared(annotations: dict[str, str], shared: bool):
    (row,) = crds.service({"metadata": {"name": "x", "annotations": annotations}}, "c", 1)
    assert row.shared is shared


@pytest.mark.parametrize(
    ("annotations", "told"),
    [
        ({}, (False, False, "")),
        ({"service.cilium.io/affinity": "local"}, (False, False, "")),
        (GLOBAL, (True, True, "")),
        ({**GLOBAL, "service.cilium.io/shared": "false"}, (True, False, "")),
        ({**GLOBAL, "service.cilium.io/affinity": "local"}, (True, True, "local")),
        ({**GLOBAL, "service.cilium.io/affinity": "Remote"}, (True, True, "remote")),
        ({**GLOBAL, "service.cilium.io/affinity": "none"}, (True, True, "")),
        ({**GLOBAL, "service.cilium.io/affinity": "here"}, (True, True, "")),
        ({**GLOBAL, "service.cilium.io/affinity": " local"}, (True, True, "")),
        ({**GLOBAL, "io.cilium/service-affinity": "remote"}, (True, True, "remote")),
        (
            {**GLOBAL, "io.cilium/service-affinity": "remote", "service.cilium.io/affinity": "local"},
            (True, True, "local"),
        ),
    ],
)
def test_what_the_annotations_say(annotations: dict[str, str], told: tuple[bool, bool, str]):
    row = read({"annotations": annotations})
    assert (row.include_external, row.shared, row.affinity) == told


def test_what_another_proxy_serves_or_the_mesh_controller_made_is_not_ours():
    proxied = {"service.kubernetes.io/service-proxy-name": "other"}
    assert crds.service({"metadata": {"name": "x", "labels": proxied}}, "c", 1) == ()
    own = SLICE["metadata"]["labels"]
    for labels in (
        {**own, **proxied},
        {**own, "endpointslice.kubernetes.io/managed-by": "endpointslice-mesh-controller.cilium.io"},
    ):
        assert backends({"addresses": ["10.0.0.1"]}, metadata={**SLICE["metadata"], "labels": labels}) == ()
        of = {**SLICE, "metadata": {**SLICE["metadata"], "labels": labels}}
        assert crds.whole_endpoint_slice(of, "c", 1) == ()
    kept = {**own, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
    assert len(backends({"addresses": ["10.0.0.1"]}, metadata={**SLICE["metadata"], "labels": kept})) == 1


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        (None, (True, True, False)),
        ({}, (True, True, False)),
        ({"ready": None, "serving": None, "terminating": None}, (True, True, False)),
        ({"ready": True, "serving": True, "terminating": True}, (True, True, True)),
        ({"ready": False, "serving": True, "terminating": True}, (False, True, True)),
        ({"ready": False}, (False, True, False)),
        ({"ready": True, "serving": False}, (True, False, False)),
        ({"ready": False, "serving": False}, (False, False, False)),
        ({"ready": False, "serving": False, "terminating": True}, (False, False, True)),
    ],
)
def test_conditions_that_are_not_set_are_ready_serving_and_not_terminating(conditions: Any, told: Any):
    (row,) = backends({"addresses": ["10.0.0.1"], "conditions": conditions})
    assert (row.ready, row.serving, row.terminating) == told


def test_a_copy_keeps_what_rows_do_not_have():
    endpoint = {"addresses": ["10.0.0.1"], "zone": "", "hints": {}, "hostname": "h", "nodeName": "n"}
    of = {**SLICE, "endpoints": [endpoint], "ports": [{"name": "a", "port": 80, "appProtocol": "https"}]}
    *_, copy = crds.whole_endpoint_slice(of, "c", 1)
    assert isinstance(copy, EndpointSliceCopy)
    found = endpoint_slices.parse(copy.message)
    assert found.ports == (endpoint_slices.SlicePort("a", "TCP", 80, "https"),)
    (each,) = found.endpoints
    assert (each.zone, each.zone_hints, each.hostname, each.node) == ("", (), "h", "n")


def test_every_address_with_every_port_is_a_backend():
    slice_ports = [
        {"name": "a", "port": 80},
        {"name": "b", "port": 80},
        {"port": 53, "protocol": "UDP"},
        {"name": "none"},
    ]
    endpoint = {"addresses": ["10.0.0.1", "FD00::1"], "hostname": "h"}
    for kind, ip in (("IPv4", "10.0.0.1"), ("IPv6", "fd00::1")):  # a slice has addresses of one kind
        rows = backends(endpoint, ports=slice_ports, addressType=kind)
        assert [(row.key.ip, row.key.port, row.key.protocol, row.port_names, row.hostname) for row in rows] == [
            (ip, 53, "UDP", ("",), "h"),
            (ip, 80, "TCP", ("a", "b"), "h"),
        ]


def test_zones_and_their_hints():
    hints = {"forZones": [{"name": "z2"}, {"name": "z1"}]}
    with_zone, without = backends(
        {"addresses": ["10.0.0.1"], "zone": "z1", "hints": hints}, {"addresses": ["10.0.0.2"], "hints": hints}
    )
    assert (with_zone.zone, with_zone.zone_hints) == ("z1", ("z2", "z1"))
    assert (without.zone, without.zone_hints) == ("", ("z2", "z1"))


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"name": "x", "namespace": "test"}},
        {"metadata": {"name": "x", "labels": {"kubernetes.io/service-name": ""}}},
        {"addressType": "FQDN", "endpoints": [{"addresses": ["web.example"]}]},
        {"endpoints": None},
        {"endpoints": []},
        {"ports": None},
    ],
)
def test_slices_without_backends(change: dict[str, Any]):
    assert crds.endpoint_slice({**SLICE, **change}, "c") == ()


def test_all_slices_of_a_service_are_joined():
    one = backends({"addresses": ["10.0.0.1"]}, ports=[{"name": "a", "port": 80}])
    two = backends({"addresses": ["10.0.0.1", "10.0.0.0"]}, ports=[{"name": "b", "port": 80}])
    joined = crds.join(read(), [one, two])
    assert [(row.key.ip, row.port_names) for row in joined] == [("10.0.0.0", ("b",)), ("10.0.0.1", ("a", "b"))]
    assert crds.join(read(), []) == ()
    assert crds.join(None, [one, two]) == ()


def test_the_key_of_a_backend_names_its_service_not_its_slice():
    (row,) = backends({"addresses": ["10.0.0.1"]})
    assert row.key == BackendKey("c", "test", "echo", "10.0.0.1", 8080, "TCP")


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"ports": {}}, "spec.ports: expected array"),
        ({"selector": {"a": []}}, "spec.selector[...]: expected str"),
    ],
)
def test_what_is_wrong_with_a_service_is_named(spec: dict[str, Any], told: str):
    with pytest.raises(WireError) as raised:
        read(**spec)
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"endpoints": {}}, "endpoints: expected array"),
        ({"metadata": {"name": "x", "labels": []}}, "metadata.labels: expected object"),
    ],
)
def test_what_is_wrong_with_a_slice_is_named(fields: dict[str, Any], told: str):
    with pytest.raises(WireError) as raised:
        crds.endpoint_slice({**SLICE, **fields}, "c")
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize(
    ("spec", "fault", "frontends"),
    [
        ({"clusterIPs": ["10.96.0.1", "x"]}, "spec.clusterIPs[1]: 'x' is not", 1),
        ({"clusterIP": "x"}, "spec.clusterIP: 'x' is not", 0),
        ({"ports": [{"name": "a"}, {"port": 80}]}, "spec.ports[0]: object missing required field port", 1),
        ({"ports": [{"port": 65536}, {"port": 80}]}, "spec.ports[0].port: expected int <= 65535", 1),
    ],
)
def test_one_bad_address_or_port_of_a_service_costs_only_itself(spec: dict[str, Any], fault: str, frontends: int):
    value = {
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80}], **spec},
    }
    rows = crds.service(value, "c", 1)
    assert len(rows[0].frontends) == frontends
    (told,) = faults_of(rows)
    assert told.startswith(fault)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"endpoints": [{"addresses": ["x"]}]}, "endpoints[0].addresses[0]: 'x' is not"),
        ({"endpoints": [{"conditions": {"ready": "maybe"}}]}, "endpoints[0].conditions.ready: expected bool"),
        ({"endpoints": [{"hints": {"forZones": [{}]}}]}, "endpoints[0].hints.forZones[0]: object missing"),
        ({"ports": [{"port": -1}]}, "ports[0].port: expected int >= 0"),
    ],
)
def test_one_bad_part_of_a_slice_costs_only_itself(fields: dict[str, list[Any]], fault: str):
    more = {name: [*fields.get(name, []), *SLICE[name]] for name in ("endpoints", "ports")}
    rows = crds.endpoint_slice({**SLICE, **more}, "c")
    assert rows == crds.endpoint_slice(SLICE, "c")
    (told,) = faults_of(rows)
    assert told.startswith(fault)


port_lists = st.lists(
    st.fixed_dictionaries({"name": names, "port": ports}, optional={"protocol": protocols}),
    max_size=3,
    unique_by=lambda port: port["name"],
)
endpoint_lists = st.lists(
    st.fixed_dictionaries(
        {"addresses": addresses.map(lambda ip: [ip])},
        optional={
            "conditions": st.dictionaries(st.sampled_from(["ready", "serving"]), st.booleans()),
            "hostname": texts,
            "zone": texts,
            "hints": st.fixed_dictionaries({"forZones": st.lists(st.fixed_dictionaries({"name": names}), max_size=2)}),
        },
    ),
    max_size=3,
    unique_by=lambda endpoint: endpoint["addresses"][0],
)


@given(st.lists(addresses, max_size=2, unique=True), port_lists, endpoint_lists)
def test_objects_and_the_etcd_filled_from_them_tell_the_same(
    ips: list[str], slice_ports: list[dict[str, Any]], endpoints: list[dict[str, Any]]
):
    service = read(clusterIPs=ips, ports=slice_ports)
    metadata = {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}}
    found = crds.endpoint_slice({"metadata": metadata, "ports": slice_ports, "endpoints": endpoints}, "c")
    joined = as_form_v1(crds.join(service, [found]))
    assert services.decode("c", "c/shop/web", services.encode(service, joined), cluster_id=1) == (service, joined)
