"""Identities and their numbers: cilium/cilium pkg/kvstore/allocator and pkg/identity."""

import pytest

from statedb.catalog import Identity, IdentityKey
from statedb.catalog.wire import WireError, crds, identities

VALUE = b"k8s:app=baz;k8s:io.cilium.k8s.policy.cluster=cluster3;k8s:io.kubernetes.pod.namespace=bar;"
ROW = Identity(
    IdentityKey("cluster3", 196915),
    ("k8s:app=baz", "k8s:io.cilium.k8s.policy.cluster=cluster3", "k8s:io.kubernetes.pod.namespace=bar"),
    "bar",
)
OBJECT = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumIdentity",
    "metadata": {"name": "196915", "labels": {"io.kubernetes.pod.namespace": "bar"}},
    "security-labels": {
        "k8s:app": "baz",
        "k8s:io.cilium.k8s.policy.cluster": "cluster3",
        "k8s:io.kubernetes.pod.namespace": "bar",
    },
}


def test_the_literal_of_upstream_both_ways():
    assert identities.decode("cluster3", "196915", VALUE) == ROW
    assert identities.encode(ROW) == VALUE
    assert ROW.label_set.encode() == VALUE


def test_the_object_gives_the_same_row():
    assert crds.identity(OBJECT, "cluster3") == ROW


def test_an_object_without_labels_says_nothing():
    assert crds.identity({**OBJECT, "security-labels": {}}, "cluster3") is None


@pytest.mark.parametrize("name", ["", "x", "-1", "4294967296", "1.5", "0x10", "٣"])
def test_a_key_that_is_no_number_is_refused(name: str):
    with pytest.raises(WireError):
        identities.decode("c", name, VALUE)
    with pytest.raises(WireError):
        crds.identity({**OBJECT, "metadata": {"name": name}}, "c")


@pytest.mark.parametrize("value", [b"", b";", b":;", b"\xff"])
def test_a_value_without_a_label_is_refused(value: bytes):
    with pytest.raises(WireError):
        identities.decode("c", "70000", value)


@pytest.mark.parametrize(
    ("cluster_id", "clusters", "first", "last"),
    [
        (0, 255, 256, 65535),
        (1, 255, 65536, 131071),
        (3, 255, 196608, 262143),
        (5, 255, 327680, 393215),
        (255, 255, 16711680, 16777215),
        (1, 511, 32768, 65535),
    ],
)
def test_the_numbers_that_a_cluster_gives_out(cluster_id: int, clusters: int, first: int, last: int):
    numbers = identities.allocation_range(cluster_id, clusters)
    assert (numbers[0], numbers[-1]) == (first, last)
    if cluster_id:
        assert identities.cluster_of(first, clusters) == identities.cluster_of(last, clusters) == cluster_id


def test_numbers_that_a_cluster_may_announce():
    for number in (0, 1, 102, 255, 327680, 393215):
        assert identities.is_valid_from(number, 5)
    for number in (256, 327679, 393216):
        assert not identities.is_valid_from(number, 5)


def test_scopes_and_the_cluster_in_a_number():
    assert identities.cluster_of(0x2A0000) == 42
    assert [identities.scope(number) for number in (2, 0x01000001, 0x02000001, 0x05000000)] == [
        "global",
        "local",
        "remote-node",
        "",
    ]


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("10", 10), ("0x2A0000", 2752512), ("017", 15), ("0o17", 15), ("0b11", 3)]
)
def test_numbers_as_people_write_them(text: str, number: int):
    assert identities.parse_number(text) == number


@pytest.mark.parametrize("text", ["", "x", "08", "-1", "0x", "4294967296", "1_", "_1"])
def test_numbers_that_are_none(text: str):
    with pytest.raises(WireError):
        identities.parse_number(text)
