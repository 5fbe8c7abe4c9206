"""What a cluster of a mesh says of itself: Cilium's own value, every field, and what is refused."""

import pytest
from hypothesis import given, strategies as st

from statedb.catalog.wire import WireError
from statedb.catalog.wire.cluster_configs import (
    BOTH,
    ENDPOINT_SLICES_ONLY,
    ClusterConfig,
    decode,
    encode,
    is_cluster_name,
    why_incompatible,
)

# clustermesh-apiserver/clustermesh/testdata/clusterconfig.txtar
VALUE = (
    b'{"id":3,"capabilities":{"syncedCanaries":true,"maxConnectedClusters":255,"serviceExportsEnabled":false,'
    b'"endpointSlicesExportMode":"services-and-endpointslices"}}'
)


def test_the_value_that_cilium_writes():
    config = ClusterConfig(3, True, False, 255, False, BOTH)
    assert decode(VALUE) == config
    assert encode(config) == VALUE


def test_what_is_left_out_is_zero_and_names_have_no_case():
    assert decode(b"{}") == ClusterConfig(0)
    assert decode(b'{"ID":7,"Capabilities":{"Cached":true,"later":1}}') == ClusterConfig(7, cached=True)
    assert encode(ClusterConfig(0)) == b'{"capabilities":{}}'


configs = st.builds(
    ClusterConfig,
    st.integers(0, 511),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 255, 511]),
    st.sampled_from([None, True, False]),
    st.sampled_from(["", BOTH, ENDPOINT_SLICES_ONLY]),
)


@given(configs)
def test_every_config_reads_back(config: ClusterConfig):
    assert decode(encode(config)) == config


@pytest.mark.parametrize(
    "value",
    [b"", b"[]", b"null", b'{"id":"3"}', b'{"id":-1}', b'{"capabilities":{"endpointSlicesExportMode":"all"}}'],
)
def test_what_is_none_is_refused(value: bytes):
    with pytest.raises(WireError):
        decode(value)


@pytest.mark.parametrize(
    ("config", "max_clusters", "told"),
    [
        (ClusterConfig(3), 255, ""),
        (ClusterConfig(255, max_connected_clusters=255), 255, ""),
        (ClusterConfig(511, max_connected_clusters=511), 511, ""),
        (ClusterConfig(0), 255, "its id 0 is not between 1 and 255"),
        (ClusterConfig(256), 255, "its id 256 is not between 1 and 255"),
        (ClusterConfig(512, max_connected_clusters=511), 511, "its id 512 is not between 1 and 511"),
        (ClusterConfig(3), 511, "its mesh has at most 255 clusters, ours 511, so identity numbers are not compatible"),
        (
            ClusterConfig(3, max_connected_clusters=511),
            255,
            "its mesh has at most 511 clusters, ours 255, so identity numbers are not compatible",
        ),
    ],
)
def test_who_may_be_in_a_mesh(config: ClusterConfig, max_clusters: int, told: str):
    assert why_incompatible(config, max_clusters) == told


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("a", True), ("cluster-3", True), ("a" * 32, True), ("a" * 33, False), ("", False), ("-a", False), ("a-", False),
     ("A", False), ("a.yaml", False)],
)  # fmt: skip
def test_names_of_clusters(text: str, is_one: bool):
    assert is_cluster_name(text) is is_one
