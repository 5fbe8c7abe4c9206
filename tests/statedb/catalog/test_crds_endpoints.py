"""CiliumEndpoint and CiliumEndpointSlice: cilium/cilium clustermesh-apiserver/clustermesh (converters.go, and testdata:
ciliumendpoints.txtar and ciliumendpointslices.txtar)."""

import copy
from typing import Any

import pytest
from hypothesis import given, strategies as st

from statedb.catalog import Endpoint, EndpointKey, NamedPort
from statedb.catalog.wire import WireError, crds, faults_of, ips

from .strategies import addresses, ports, protocols, texts
from .test_ips import CEP, CES

SLICE = {
    "apiVersion": "cilium.io/v2alpha1",
    "kind": "CiliumEndpointSlice",
    "metadata": {"name": "ces-c7hlcxqpt-rwqlm"},
    "namespace": "qux",
    "endpoints": [
        {
            "name": "foo-002",
            "id": 199475,
            "encryption": {"key": 5},
            "networking": {
                "addressing": [{"ipv4": "10.244.2.74", "ipv6": "fd00:10:244:2::e024"}],
                "node": "172.18.0.2",
            },
            "service-account": "default",
            "named-ports": [],
        }
    ],
}


def with_status(**fields: Any) -> dict[str, Any]:
    return {**CEP, "status": {**CEP["status"], **fields}}


def slice_of(*endpoints: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**SLICE, "endpoints": list(endpoints), **fields}


def entry(name: str, ipv4: str, identity: int = 70000) -> dict[str, Any]:
    return {"name": name, "id": identity, "networking": {"addressing": [{"ipv4": ipv4}], "node": "172.18.0.2"}}


def test_a_slice_is_read_as_upstream_reads_it():
    assert crds.endpoint_slice_of_cilium(SLICE, "c") == tuple(
        Endpoint(EndpointKey("c", ip), 199475, "172.18.0.2", "qux", "foo-002", "default", 5)
        for ip in ("10.244.2.74", "fd00:10:244:2::e024")
    )


def test_one_row_for_every_address_in_order_and_each_once():
    addressing = [{"ipv4": "10.0.0.2", "ipv6": "fd00::2"}, {"ipv6": "FD00::1"}, {"ipv4": "10.0.0.2"}, {}]
    rows = crds.endpoint(with_status(networking={"addressing": addressing, "node": "172.18.0.2"}), "c")
    assert [row.key.ip for row in rows] == ["10.0.0.2", "fd00::2", "fd00::1"]


@pytest.mark.parametrize(
    "status", [{}, None, {"networking": None}, {"networking": {}}, {"networking": {"addressing": []}}]
)
def test_without_a_network_there_are_no_rows(status: Any):
    assert crds.endpoint({**CEP, "status": status}, "c") == ()
    assert crds.endpoint_slice_of_cilium(slice_of({**(status or {}), "name": "x"}), "c") == ()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"identity": None}, {"identity": 0}),
        ({"identity": {}}, {"identity": 0}),
        ({"identity": {"id": 1}}, {"identity": 6}),
        ({"identity": {"id": "199475"}}, {"identity": 199475}),
        ({"encryption": None}, {"encryption_key": 0}),
        ({"encryption": {}}, {"encryption_key": 0}),
        ({"encryption": {"key": 256}}, {"encryption_key": 0}),
        ({"encryption": {"key": -1}}, {"encryption_key": 255}),
        ({"named-ports": None}, {"named_ports": ()}),
        ({"named-ports": [{}]}, {"named_ports": (NamedPort("", 0, ""),)}),
        ({"service-account": None}, {"service_account": ""}),
        ({"networking": {"addressing": [{"ipv4": "10.0.0.1"}]}}, {"host_ip": ""}),
        ({"networking": {"addressing": [{"ipv4": "10.0.0.1"}], "node": "somewhere"}}, {"host_ip": ""}),
        ({"networking": {"addressing": [{"ipv4": "10.0.0.1"}], "node": "FD00::9"}}, {"host_ip": "fd00::9"}),
    ],
)
def test_what_is_told_in_a_special_way_or_not_at_all(fields: dict[str, Any], expected: dict[str, Any]):
    row = crds.endpoint(with_status(**fields), "c")[0]
    assert {name: getattr(row, name) for name in expected} == expected


def test_named_ports_keep_their_order():
    row = crds.endpoint(CEP, "c")[0]
    assert row.named_ports == (NamedPort("http", 8080, "TCP"), NamedPort("dns", 53, "UDP"))


def test_an_object_without_a_namespace_is_in_default():
    cep = {**CEP, "metadata": {"name": "cep-002"}}
    assert {row.namespace for row in crds.endpoint(cep, "c")} == {"default"}
    # A slice stands in no namespace itself, so that an empty one is what it says of its pods.
    ces = {name: value for name, value in SLICE.items() if name != "namespace"}
    assert {row.namespace for row in crds.endpoint_slice_of_cilium(ces, "c")} == {""}


def test_of_two_endpoints_of_a_slice_with_one_address_the_last_counts():
    """They have one owner, the slice, and so the later one is written over the earlier."""
    rows = crds.endpoint_slice_of_cilium(slice_of(entry("gone", "10.0.0.1", 1000), entry("new", "10.0.0.1", 2000)), "c")
    assert [(row.key.ip, row.pod, row.identity) for row in rows] == [("10.0.0.1", "new", 2000)]


def test_an_empty_slice_has_no_rows():
    assert crds.endpoint_slice_of_cilium(slice_of(), "c") == ()
    assert crds.endpoint_slice_of_cilium({**SLICE, "endpoints": None}, "c") == ()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"identity": {"id": -1}}, "status.identity.id: "),
        ({"identity": {"id": 2**32}}, "status.identity.id: "),
        ({"identity": 5}, "status.identity: "),
        ({"networking": {"addressing": [{"ipv6": "x"}]}}, "status.networking.addressing[0].ipv6: 'x'"),
        ({"networking": {"addressing": {}}}, "status.networking.addressing: "),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], told: str):
    with pytest.raises(WireError) as raised:
        crds.endpoint(with_status(**fields), "c")
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize(
    ("fields", "fault", "rows"),
    [
        ({"named-ports": [{"name": "a", "port": 70000}]}, "status.named-ports[0].port: expected int <= 65535", 2),
        (
            {"networking": {"addressing": [{"ipv6": "x", "ipv4": "10.0.0.1"}]}},
            "status.networking.addressing[0].ipv6: 'x'",
            1,
        ),
        (
            {"networking": {"addressing": [{"ipv4": []}, {"ipv4": "10.0.0.1"}]}},
            "status.networking.addressing[0].ipv4",
            1,
        ),
    ],
)
def test_one_bad_part_of_an_endpoint_costs_only_itself(fields: dict[str, Any], fault: str, rows: int):
    found = crds.endpoint(with_status(**fields), "c")
    assert len(found) == rows
    (told,) = faults_of(found)
    assert told.startswith(fault)


status_objects = st.fixed_dictionaries(
    {},
    optional={
        "identity": st.fixed_dictionaries({"id": st.integers(0, 2**32 - 1)}),
        "networking": st.fixed_dictionaries(
            {"addressing": st.lists(st.fixed_dictionaries({}, optional={"ipv4": addresses, "ipv6": addresses}))},
            optional={"node": addresses | st.just("")},
        ),
        "encryption": st.fixed_dictionaries({"key": st.integers(0, 1000)}),
        "named-ports": st.lists(
            st.fixed_dictionaries({"name": texts, "port": ports, "protocol": protocols}), max_size=2
        ),
        "service-account": texts,
    },
)


@given(status_objects, st.text("abc-", min_size=1), st.text("abc-"))
def test_an_object_and_the_etcd_filled_from_it_tell_the_same(status: dict[str, Any], name: str, namespace: str):
    rows = crds.endpoint({"metadata": {"name": name, "namespace": namespace}, "status": status}, "c")
    for row in rows:
        assert ips.decode("c", ips.name(row), ips.encode(row)) == row
    of_slice = copy.deepcopy(status)
    of_slice |= {"name": name, "id": of_slice.pop("identity", {}).get("id", 0)}
    own = {**CES, "namespace": namespace or "default", "endpoints": [of_slice]}
    assert crds.endpoint_slice_of_cilium(own, "c") == rows
