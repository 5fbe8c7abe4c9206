"""Addresses and their identities: cilium/cilium pkg/ipcache/kvstore.go and clustermesh-apiserver's testdata."""

from typing import Any

import pytest

from statedb.catalog import Endpoint, EndpointKey, NamedPort
from statedb.catalog.wire import WireError, crds, faults_of, ips

V4 = (
    b'{"IP":"10.244.1.79","HostIP":"172.18.0.3","ID":199472,"Key":0,"Metadata":"","K8sNamespace":"foo",'
    b'"K8sPodName":"cep-001","K8sServiceAccount":"default"}'
)
V6 = (
    b'{"IP":"fd00:10:244:2::e024","HostIP":"172.18.0.2","ID":199475,"Key":5,"Metadata":"","K8sNamespace":"bar",'
    b'"K8sPodName":"cep-002","K8sServiceAccount":"default","NamedPorts":[{"Name":"http","Port":8080,"Protocol":"TCP"},'
    b'{"Name":"dns","Port":53,"Protocol":"UDP"}]}'
)
PORTS = (NamedPort("http", 8080, "TCP"), NamedPort("dns", 53, "UDP"))
ROW_V6 = Endpoint(EndpointKey("c", "fd00:10:244:2::e024"), 199475, "172.18.0.2", "bar", "cep-002", "default", 5, PORTS)
CEP: dict[str, Any] = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumEndpoint",
    "metadata": {"name": "cep-002", "namespace": "bar"},
    "status": {
        "id": 1482,
        "identity": {"id": 199475, "labels": ["k8s:app=qux"]},
        "networking": {"addressing": [{"ipv4": "10.244.2.74", "ipv6": "fd00:10:244:2::e024"}], "node": "172.18.0.2"},
        "encryption": {"key": 5},
        "named-ports": [
            {"name": "http", "port": 8080, "protocol": "TCP"},
            {"name": "dns", "port": 53, "protocol": "UDP"},
        ],
        "service-account": "default",
        "state": "ready",
    },
}
CES: dict[str, Any] = {
    "apiVersion": "cilium.io/v2alpha1",
    "kind": "CiliumEndpointSlice",
    "metadata": {"name": "ces-c7hlcxqpt-rwqlm"},
    "namespace": "bar",
    "endpoints": [
        {
            "name": "cep-002",
            "id": 199475,
            "encryption": {"key": 5},
            "networking": CEP["status"]["networking"],
            "service-account": "default",
            "named-ports": CEP["status"]["named-ports"],
        }
    ],
}


def test_the_literals_of_upstream_both_ways():
    row = ips.decode("c", "10.244.1.79", V4)
    assert row == Endpoint(EndpointKey("c", "10.244.1.79"), 199472, "172.18.0.3", "foo", "cep-001", "default")
    assert ips.encode(row) == with_null_mask(V4)
    assert ips.decode("c", "fd00:10:244:2::e024", V6) == ROW_V6
    assert ips.encode(ROW_V6) == with_null_mask(V6)


def with_null_mask(value: bytes) -> bytes:
    """The value as releases up to 1.20 write it, and as we do."""
    return value.replace(b'"HostIP"', b'"Mask":null,"HostIP"')


def test_a_null_mask_is_none():
    assert ips.decode("c", "10.244.1.79", with_null_mask(V4)) == ips.decode("c", "10.244.1.79", V4)


def test_a_network_of_older_writers_has_a_mask_and_a_length_in_its_key():
    value = b'{"IP":"10.0.0.0","Mask":"/wAAAA==","HostIP":"","ID":2,"Key":0,"Metadata":""}'
    row = ips.decode("c", "10.0.0.0/8", value)
    assert row is not None
    assert (row.key.ip, row.identity) == ("10.0.0.0/8", 2)
    with pytest.raises(WireError):
        ips.decode("c", "10.0.0.0/9", value)


@pytest.mark.parametrize("key", ["10.244.1.80", "10.244.1.79/32", "::ffff:10.244.1.79", ""])
def test_a_key_that_is_another_address_is_refused(key: str):
    with pytest.raises(WireError, match="does not match the key"):
        ips.decode("c", key, V4)


def test_no_address_at_all_is_left_out():
    assert ips.decode("c", "<nil>", V4.replace(b"10.244.1.79", b"")) is None
    with pytest.raises(WireError):
        ips.decode("c", "<nil>", V4)


def test_the_host_of_another_node_is_a_remote_node():
    row = ips.decode("c", "10.244.1.79", V4.replace(b"199472", b"1"))
    assert row is not None
    assert row.identity == 6


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (b"199472", b'"many"', "ID: expected int, got str"),
        (b"199472", b"-1", "ID: "),
        (b"199472", b"4294967296", "ID: "),
        (b'"Key":0', b'"Key":256', "Key: "),
        (b"172.18.0.3", b"somewhere", "HostIP: 'somewhere' is not an IP address"),
        (b'"10.244.1.79"', b'"10.244.1.079"', "IP: "),
        (V4, b"[]", "not a JSON object"),
        (V4, b"", "not JSON"),
    ],
)
def test_what_is_wrong_is_named(before: bytes, after: bytes, told: str):
    with pytest.raises(WireError) as raised:
        ips.decode("c", "10.244.1.79", V4.replace(before, after))
    assert told in str(raised.value)


def test_absent_fields_are_zero_and_names_have_no_case():
    row = ips.decode("c", "10.0.0.1", b'{"ip":"10.0.0.1","id":7,"unknown":[1]}')
    assert row == Endpoint(EndpointKey("c", "10.0.0.1"), 7)


def test_the_objects_give_the_same_rows_as_the_etcd_that_was_filled_from_them():
    from_cep = crds.endpoint(CEP, "c")
    assert [row.key.ip for row in from_cep] == ["10.244.2.74", "fd00:10:244:2::e024"]
    assert from_cep[1] == ROW_V6
    assert crds.endpoint_slice_of_cilium(CES, "c") == from_cep
    for row in from_cep:
        assert ips.decode("c", ips.name(row), ips.encode(row)) == row


def test_an_endpoint_without_a_network_has_no_rows():
    status = {key: value for key, value in CEP["status"].items() if key != "networking"}
    assert crds.endpoint({**CEP, "status": status}, "c") == ()
    assert crds.endpoint({**CEP, "status": {}}, "c") == ()


def test_what_an_endpoint_does_not_say_is_zero():
    value = {**CEP, "status": {"networking": {"addressing": [{"ipv4": "10.0.0.1"}]}}}
    assert crds.endpoint(value, "c") == (Endpoint(EndpointKey("c", "10.0.0.1"), 0, "", "bar", "cep-002"),)


def test_an_encryption_key_is_cut_to_a_byte():
    value = {**CEP, "status": {**CEP["status"], "encryption": {"key": 257}}}
    assert {row.encryption_key for row in crds.endpoint(value, "c")} == {1}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            {"networking": {"addressing": [{"ipv4": "10.0.0.300"}]}},
            "networking.addressing[0].ipv4: '10.0.0.300' is not",
        ),
        ({"networking": {"addressing": [{"ipv4": "10.0.0.2/24"}]}}, "networking.addressing[0].ipv4: '10.0.0.2/24'"),
        ({"networking": {"addressing": "x"}}, "networking.addressing: expected array"),
        ({"id": -1}, "id: expected int >= 0"),
        ({"name": ""}, "name: name is unset"),
        ({"named-ports": [{"port": 65536}]}, "named-ports[0].port: expected int <= 65535"),
    ],
)
def test_one_bad_endpoint_of_a_slice_costs_only_itself(change: dict[str, Any], fault: str):
    good, bad = CES["endpoints"][0], {**CES["endpoints"][0], **change}
    rows = crds.endpoint_slice_of_cilium({**CES, "endpoints": [bad, good]}, "c")
    assert rows == crds.endpoint_slice_of_cilium(CES, "c")
    (told,) = faults_of(rows)
    assert told.startswith(f"endpoints[0].{fault}")


def test_one_bad_address_of_an_endpoint_costs_only_itself():
    networking = {"addressing": [{"ipv4": "10.0.0.1", "ipv6": "x"}], "node": "y"}
    rows = crds.endpoint({**CEP, "status": {"networking": networking}}, "c")
    assert [(row.key.ip, row.host_ip) for row in rows] == [("10.0.0.1", "")]
    assert [fault.partition(":")[0] for fault in faults_of(rows)] == [
        "status.networking.addressing[0].ipv6",
        "status.networking.node",
    ]


def test_the_namespace_of_a_slice_is_what_it_says():
    assert {row.namespace for row in crds.endpoint_slice_of_cilium({**CES, "namespace": ""}, "c")} == {""}
