"""Where things stand in etcd: the vectors of cilium/cilium pkg/kvstore/kvstore_test.go and allocator_test.go."""

import pytest

from statedb.catalog.wire import WireError, keys


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        (("/foo/bar/", "/baz//", "/qux/"), "/foo/bar/baz/qux"),
        (("foo/bar", "", "", "baz", "", "qux"), "foo/bar/baz/qux"),
        (("/", "/", "/"), ""),
    ],
)
def test_join(parts: tuple[str, ...], joined: str):
    assert keys.join(*parts) == joined


@pytest.mark.parametrize(
    ("key", "cached"),
    [
        ("cilium/state/nodes/v1", "cilium/cache/nodes/v1"),
        ("cilium/state", "cilium/cache"),
        ("cilium/foo/bar/cilium/state/qux", "cilium/foo/bar/cilium/state/qux"),
        ("cilium/statement", "cilium/statement"),
    ],
)
def test_state_to_cache(key: str, cached: str):
    assert keys.state_to_cache(key) == cached


@pytest.mark.parametrize(
    ("labels", "key", "matches"),
    [
        ("foo", "foo/bar", True),
        ("foo/;bar;baz;/;a;", "foo/;bar;baz;/;a;/alice", True),
        ("foo/;bar;baz;", "foo/;bar;baz;/;a;/alice", False),
        ("foo/;bar;baz;/;a;/baz", "foo/;bar;baz;/;a;/alice", False),
        ("foo", "foo", False),
    ],
)
def test_value_keys_match_whole_labels(labels: str, key: str, matches: bool):
    assert keys.is_value_of(labels, key) is matches


def test_the_last_slash_parts_labels_and_node():
    assert keys.split_value_name("k8s:path=/a/b;/172.18.0.3") == ("k8s:path=/a/b;", "172.18.0.3")
    with pytest.raises(WireError):
        keys.split_value_name("k8s:a=b;")


def test_below_a_prefix():
    assert keys.below(keys.NODES, b"cilium/state/nodes/v1/c/n") == "c/n"
    assert keys.below(keys.IPS, "cilium/state/ip/v1/default/fd00::1") == "fd00::1"
    for elsewhere in (b"cilium/state/nodes/v1", b"cilium/state/nodes/v10/x", b"x"):
        with pytest.raises(WireError, match="is not below"):
            keys.below(keys.NODES, elsewhere)
    with pytest.raises(WireError, match="UTF-8"):
        keys.below(keys.NODES, b"cilium/state/nodes/v1/\xff")
