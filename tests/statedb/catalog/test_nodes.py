"""Nodes: cilium/cilium pkg/node/types (prefix_test.go) and clustermesh-apiserver's testdata/ciliumnodes.txtar."""

import json
from typing import Any

import pytest

from statedb.catalog import Node, NodeAddress, NodeKey
from statedb.catalog.wire import WireError, cidr, crds, nodes

VALUE = (
    b'{"Name":"test-node-1","Cluster":"cluster3","IPAddresses":[{"Type":"InternalIP","IP":"172.18.0.2"},'
    b'{"Type":"InternalIP","IP":"fc00:c111::2"},{"Type":"CiliumInternalIP","IP":"10.244.0.10"},'
    b'{"Type":"CiliumInternalIP","IP":"fd00:10:244::e2d6"}],"IPv4AllocCIDR":{"IP":"10.244.0.0","Mask":"////AA=="},'
    b'"IPv4SecondaryAllocCIDRs":null,"IPv6AllocCIDR":{"IP":"fd00:10:244::","Mask":"//////////8AAAAAAAAAAA=="},'
    b'"IPv6SecondaryAllocCIDRs":null,"IPv4HealthIP":"10.244.0.134","IPv6HealthIP":"fd00:10:244::d812",'
    b'"IPv4IngressIP":"","IPv6IngressIP":"","ClusterID":3,"Source":"custom-resource","EncryptionKey":0,'
    b'"Labels":{"kubernetes.io/hostname":"test-node-1"},"Annotations":{"network.cilium.io/wg-pub-key":'
    b'"VRksOB6ZNds4oXWIGfSVpvc0gBhcOWFmzvTDcyvULlI="},"WireguardPubKey":'
    b'"VRksOB6ZNds4oXWIGfSVpvc0gBhcOWFmzvTDcyvULlI=","BootID":"570d3fd1-93db-4862-ba99-6a3c2c10c38f"}'
)
NAME = "cluster3/test-node-1"
OBJECT: dict[str, Any] = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumNode",
    "metadata": {
        "name": "test-node-1",
        "labels": {"kubernetes.io/hostname": "test-node-1"},
        "annotations": {"network.cilium.io/wg-pub-key": "VRksOB6ZNds4oXWIGfSVpvc0gBhcOWFmzvTDcyvULlI="},
    },
    "spec": {
        "addresses": [
            {"ip": "172.18.0.2", "type": "InternalIP"},
            {"ip": "fc00:c111::2", "type": "InternalIP"},
            {"ip": "10.244.0.10", "type": "CiliumInternalIP"},
            {"ip": "fd00:10:244::e2d6", "type": "CiliumInternalIP"},
        ],
        "bootid": "570d3fd1-93db-4862-ba99-6a3c2c10c38f",
        "health": {"ipv4": "10.244.0.134", "ipv6": "fd00:10:244::d812"},
        "ingress": {},
        "encryption": {},
        "ipam": {"podCIDRs": ["10.244.0.0/24", "fd00:10:244::/64"]},
    },
}


def with_cidr(form: str) -> bytes:
    return VALUE.replace(b'{"IP":"10.244.0.0","Mask":"////AA=="}', form.encode())


def test_the_literal_of_upstream_both_ways():
    node = nodes.decode("cluster3", NAME, VALUE, cluster_id=3)
    assert node.key == NodeKey("cluster3", "test-node-1")
    assert node.addresses[0] == NodeAddress("InternalIP", "172.18.0.2")
    assert node.pod_cidrs == ("10.244.0.0/24", "fd00:10:244::/64")
    assert node.health_ips == ("10.244.0.134", "fd00:10:244::d812")
    assert nodes.encode(node) == VALUE


def test_the_object_gives_the_same_row():
    assert crds.node(OBJECT, "cluster3", 3) == (nodes.decode("cluster3", NAME, VALUE),)


@pytest.mark.parametrize(
    ("form", "network"),
    [
        ('{"IP":"10.244.1.0","Mask":"////AA=="}', ("10.244.1.0/24",)),
        ('"10.244.1.0/24"', ("10.244.1.0/24",)),
        ('"10.244.1.5/24"', ("10.244.1.0/24",)),
        ('{"IP":"10.244.1.5","Mask":"////AA=="}', ("10.244.1.0/24",)),
        ('{"ip":"10.244.1.5","MASK":"////AA==","more":1}', ("10.244.1.0/24",)),
        ('"fd00::/64"', ("fd00::/64",)),
        ("null", ()),
    ],
)
def test_all_forms_of_a_network_are_read(form: str, network: tuple[str, ...]):
    cidrs = nodes.decode("cluster3", NAME, with_cidr(form)).pod_cidrs
    assert set(cidrs) == {*network, "fd00:10:244::/64"}


@pytest.mark.parametrize(
    "form",
    ['"not-a-cidr"', '{"IP":"garbage","Mask":"////AA=="}', "42", '"10.0.0.0"', '{"IP":"10.0.0.0","Mask":"/w=="}'],
)
def test_what_is_no_network_is_refused(form: str):
    with pytest.raises(WireError, match="IPv4AllocCIDR"):
        nodes.decode("cluster3", NAME, with_cidr(form))


@pytest.mark.parametrize(
    ("network", "address", "mask"),
    [
        ("10.244.1.0/24", "10.244.1.0", "ffffff00"),
        ("fd00::/64", "fd00::", "ffffffffffffffff0000000000000000"),
        ("0.0.0.0/0", "0.0.0.0", "00000000"),
        ("10.0.0.1/32", "10.0.0.1", "ffffffff"),
    ],
)
def test_networks_as_address_and_mask(network: str, address: str, mask: str):
    assert cidr.mask_of(network) == (address, bytes.fromhex(mask))
    assert cidr.from_mask(address, bytes.fromhex(mask)) == network


def test_a_mask_with_holes_is_refused():
    with pytest.raises(WireError, match="is not contiguous"):
        cidr.from_mask("10.0.0.0", bytes([255, 0, 255, 0]))


def test_names_without_case_and_without_most_fields():
    node = nodes.decode("foo", "foo/node-1", b'{"cluster":"foo","name":"node-1"}')
    assert node == Node(NodeKey("foo", "node-1"), source="")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"Cluster": ""}, "cluster is unset"),
        ({"Name": ""}, "name is unset"),
        ({"Cluster": "other"}, "unexpected cluster name: got other, expected cluster3"),
        ({"Name": "other"}, "does not match the key"),
        ({"ClusterID": 4}, "unexpected cluster ID: got 4, expected 3"),
        ({"IPv4HealthIP": "x"}, "IPv4HealthIP"),
        ({"IPAddresses": [{"Type": "InternalIP", "IP": "x"}]}, "IPAddresses"),
        ({"EncryptionKey": 256}, "EncryptionKey"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], told: str):
    value = json.dumps({**json.loads(VALUE), **change}).encode()
    with pytest.raises(WireError) as raised:
        nodes.decode("cluster3", NAME, value, cluster_id=3)
    assert told in str(raised.value)


def test_further_networks_of_an_object():
    ipam = {"podCIDRs": ["fd00::/64"], "pools": {"allocated": [{"pool": "a", "cidrs": ["10.1.0.0/24", "10.2.0.0/24"]}]}}
    (node,) = crds.node({**OBJECT, "spec": {"ipam": ipam}}, "c", 1)
    assert node.pod_cidrs == ("10.1.0.0/24", "10.2.0.0/24", "fd00::/64")
    assert nodes.decode("c", "c/test-node-1", nodes.encode(node)) == node
