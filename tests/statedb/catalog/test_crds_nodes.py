"""CiliumNode: cilium/cilium pkg/k8s/node.go (ParseCiliumNode) and testdata/ciliumnodes.txtar."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from statedb.catalog import Node, NodeAddress, NodeKey
from statedb.catalog.wire import WireError, crds, faults_of, nodes

from .strategies import addresses, ipv4, ipv6, names, networks, texts
from .test_nodes import OBJECT

KEY = "VRksOB6ZNds4oXWIGfSVpvc0gBhcOWFmzvTDcyvULlI="


def read(annotations: dict[str, str] | None = None, **spec: Any) -> Node:
    (row,) = crds.node({"metadata": {"name": "n", "annotations": annotations}, "spec": spec}, "c", 1)
    return row


def test_every_field_of_the_object_of_upstream():
    (row,) = crds.node(OBJECT, "cluster3", 3)
    assert row == Node(
        key=NodeKey("cluster3", "test-node-1"),
        addresses=(
            NodeAddress("InternalIP", "172.18.0.2"),
            NodeAddress("InternalIP", "fc00:c111::2"),
            NodeAddress("CiliumInternalIP", "10.244.0.10"),
            NodeAddress("CiliumInternalIP", "fd00:10:244::e2d6"),
        ),
        pod_cidrs=("10.244.0.0/24", "fd00:10:244::/64"),
        health_ips=("10.244.0.134", "fd00:10:244::d812"),
        ingress_ips=(),
        encryption_key=0,
        labels=(("kubernetes.io/hostname", "test-node-1"),),
        annotations=(("network.cilium.io/wg-pub-key", KEY),),
        wireguard_key=KEY,
        boot_id="570d3fd1-93db-4862-ba99-6a3c2c10c38f",
        cluster_id=3,
        source="custom-resource",
    )


@pytest.mark.parametrize("spec", [{}, None, {"ipam": None, "health": None, "addresses": None, "encryption": None}])
def test_a_node_that_says_nothing_has_a_name_only(spec: Any):
    wanted = (Node(NodeKey("c", "n"), cluster_id=1),)
    assert crds.node({"metadata": {"name": "n"}, "spec": spec}, "c", 1) == wanted
    assert crds.node({"metadata": {"name": "n"}}, "c", 1) == wanted


def test_networks_of_all_pools_in_order_ipv4_first():
    ipam = {
        "podCIDRs": ["fd00:1::/64", "10.1.0.9/24"],
        "pools": {
            "allocated": [
                {"pool": "a", "cidrs": ["10.2.0.0/24", "fd00:2::/64"]},
                {"pool": "b"},
                {"pool": "c", "cidrs": ["10.3.0.0/24"]},
            ]
        },
    }
    assert read(ipam=ipam).pod_cidrs == ("10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24", "fd00:1::/64", "fd00:2::/64")


def test_health_and_ingress_addresses():
    node = read(health={"ipv6": "FD00::1"}, ingress={"ipv4": "10.0.0.3", "ipv6": "fd00::3"})
    assert node.health_ips == ("fd00::1",)
    assert node.ingress_ips == ("10.0.0.3", "fd00::3")


@pytest.mark.parametrize(("key", "cut"), [(7, 7), (255, 255), (256, 0), (263, 7), ("7", 7)])
def test_an_encryption_key_is_cut_to_a_byte(key: Any, cut: int):
    assert read(encryption={"key": key}).encryption_key == cut


@pytest.mark.parametrize(
    ("annotations", "key"),
    [
        ({}, ""),
        ({"network.cilium.io/wg-pub-key": "new"}, "new"),
        ({"io.cilium.network.wg-pub-key": "old"}, "old"),
        ({"io.cilium.network.wg-pub-key": "old", "network.cilium.io/wg-pub-key": "new"}, "new"),
    ],
)
def test_the_wireguard_key_is_an_annotation_that_stays_one(annotations: dict[str, str], key: str):
    node = read(annotations)
    assert node.wireguard_key == key
    assert node.annotations == tuple(sorted(annotations.items()))


def test_host_names_are_left_out_and_no_fault():
    spec = {"addresses": [{"type": "Hostname", "ip": "node-1"}, {"type": "InternalDNS", "ip": "10.0.0.1"}]}
    rows = crds.node({"metadata": {"name": "n"}, "spec": spec}, "c", 1)
    assert rows[0].addresses == (NodeAddress("InternalDNS", "10.0.0.1"),)
    assert faults_of(rows) == ()
    assert nodes.decode("c", "c/n", nodes.encode(rows[0])) == rows[0]


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({"addresses": [{}, {"ip": "10.0.0.1"}]}, "spec.addresses[0].ip: '' is not"),
        ({"addresses": [{"type": "InternalIP", "ip": "node-1"}]}, "spec.addresses[0].ip: 'node-1' is not"),
        ({"addresses": [{"type": "InternalIP", "ip": []}]}, "spec.addresses[0].ip: expected str"),
        ({"ipam": {"podCIDRs": ["10.0.0.0/8", "x"]}}, "spec.ipam.podCIDRs[1]: 'x' is not"),
        ({"ipam": {"pools": {"allocated": [{"cidrs": [""]}]}}}, "spec.ipam.pools.allocated[0].cidrs[0]: '' is not"),
        ({"health": {"ipv4": "x", "ipv6": "fd00::1"}}, "spec.health.ipv4: 'x' is not"),
        ({"ingress": {"ipv6": "x"}}, "spec.ingress.ipv6: 'x' is not"),
    ],
)
def test_one_part_that_cannot_be_read_costs_only_itself(spec: dict[str, Any], fault: str):
    rows = crds.node({"metadata": {"name": "n"}, "spec": {"bootid": "b", **spec}}, "c", 1)
    assert rows[0].boot_id == "b"
    (told,) = faults_of(rows)
    assert told.startswith(fault)
    kept = [each.ip for each in rows[0].addresses] + [*rows[0].pod_cidrs, *rows[0].health_ips]
    assert set(kept) <= {"10.0.0.1", "10.0.0.0/8", "fd00::1"}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"addresses": {}}, "spec.addresses: expected array"),
        ({"bootid": []}, "spec.bootid: expected str"),
        ({"encryption": {"key": "x"}}, "spec.encryption.key: expected int"),
    ],
)
def test_what_is_wrong_is_named(spec: dict[str, Any], told: str):
    with pytest.raises(WireError) as raised:
        read(**spec)
    assert str(raised.value).startswith(told)


def ips(found: st.SearchStrategy[str], other: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    return st.fixed_dictionaries({}, optional={"ipv4": found, "ipv6": other})


objects = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": names},
            optional={
                "labels": st.dictionaries(texts, texts, max_size=2),
                "annotations": st.dictionaries(
                    texts | st.just("network.cilium.io/wg-pub-key") | st.just("io.cilium.network.wg-pub-key"),
                    texts,
                    max_size=2,
                ),
            },
        ),
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "addresses": st.lists(
                    st.fixed_dictionaries({"type": st.sampled_from(["InternalIP", "Hostname"]), "ip": addresses}),
                    max_size=2,
                ),
                "bootid": texts,
                "health": ips(ipv4, ipv6),
                "ingress": ips(ipv4, ipv6),
                "encryption": st.fixed_dictionaries({}, optional={"key": st.integers(0, 1000)}),
                "ipam": st.fixed_dictionaries(
                    {},
                    optional={
                        "podCIDRs": st.lists(networks, max_size=3),
                        "pools": st.fixed_dictionaries(
                            {"allocated": st.lists(st.fixed_dictionaries({"cidrs": st.lists(networks, max_size=2)}))}
                        ),
                    },
                ),
            },
        ),
    }
)


@given(objects, st.integers(0, 511))
def test_an_object_and_the_etcd_filled_from_it_tell_the_same(value: dict[str, Any], cluster_id: int):
    (node,) = crds.node(value, "c", cluster_id)
    assert nodes.decode("c", nodes.name(node), nodes.encode(node), cluster_id=cluster_id) == node
