"""Endpoint slices of shared services: Cilium's own bytes, what of them becomes rows, and what is refused."""

import base64
import sys

import pytest
from hypothesis import given, strategies as st
from msgspec import structs

from statedb.catalog import Backend, BackendKey
from statedb.catalog.wire import WireError, _zstd, faults_of
from statedb.catalog.wire.endpoint_slices import (
    Conditions,
    EndpointSlice,
    SliceEndpoint,
    SlicePort,
    can_decompress,
    decode,
    encode,
    name,
    parse,
    read,
    write,
)

EMPTY = EndpointSlice("default", 0, "bar", "foo")
SMALL = EndpointSlice(
    "cluster-a",
    1,
    "default",
    "backend",
    endpoints=(SliceEndpoint(("10.0.0.1",), Conditions(True, True, False)),),
    ports=(SlicePort("http", "TCP", 80),),
)
# clustermesh-apiserver/clustermesh/testdata/endpointslices.txtar
ECHO = EndpointSlice(
    "cluster3",
    3,
    "test",
    "echo-kvlm2",
    labels=(("kubernetes.io/service-name", "echo"),),
    endpoints=(
        SliceEndpoint(
            ("10.244.1.1",), Conditions(True, True, False), node="nodeport-worker", zone="zone1", zone_hints=("zone1",)
        ),
        SliceEndpoint(("10.244.1.2",), Conditions(False, False, False), node="nodeport-worker"),
    ),
    ports=(SlicePort("http", "TCP", 8080),),
)
HEX = {
    EMPTY: "0a0764656661756c7410001a036261722203666f6f3a0449507634",
    SMALL: "0a09636c75737465722d6110011a0764656661756c7422076261636b656e643a044950763442120a0831302e302e302e3112060801"
    "100118004a0d0a046874747012035443501850",
    ECHO: "0a08636c75737465723310031a0474657374220a6563686f2d6b766c6d322a220a1a6b756265726e657465732e696f2f736572766963"
    "652d6e616d6512046563686f3a044950763442370a0a31302e3234342e312e311206080110011800320f6e6f6465706f72742d776f726b6572"
    "3a057a6f6e653142090a070a057a6f6e653142250a0a31302e3234342e312e321206080010001800320f6e6f6465706f72742d776f726b6572"
    "4a0e0a0468747470120354435018903f",
}
FRAMES = {
    EMPTY: "KLUv/SAb2QAACgdkZWZhdWx0EAAaA2JhciIDZm9vOgRJUHY0",
    SMALL: "KLUv/SBIQQIACgljbHVzdGVyLWEQARoHZGVmYXVsdCIHYmFja2VuZDoESVB2"
    "NEISCggxMC4wLjAuMRIGCAEQARgASg0KBGh0dHASA1RDUBhQ",
}


@pytest.mark.parametrize("of", HEX)
def test_the_bytes_that_cilium_writes(of: EndpointSlice):
    assert write(of).hex() == HEX[of]
    assert parse(bytes.fromhex(HEX[of])) == of


@pytest.mark.parametrize("of", FRAMES)
def test_the_frames_that_cilium_writes(of: EndpointSlice):
    assert read(base64.b64decode(FRAMES[of])) == of


def test_a_slice_gives_its_backends():
    assert decode("cluster3", name(ECHO), encode(ECHO), cluster_id=3) == (
        Backend(
            key=BackendKey("cluster3", "test", "echo", "10.244.1.1", 8080, "TCP"),
            port_names=("http",),
            zone="zone1",
            zone_hints=("zone1",),
            node="nodeport-worker",
        ),
        Backend(
            key=BackendKey("cluster3", "test", "echo", "10.244.1.2", 8080, "TCP"),
            port_names=("http",),
            ready=False,
            serving=False,
            node="nodeport-worker",
        ),
    )


def test_node_and_zone_may_stand_in_the_deprecated_topology():
    topology = (("kubernetes.io/hostname", "n"), ("topology.kubernetes.io/zone", "z"))
    endpoints = (
        SliceEndpoint(("10.0.0.1",), topology=topology),
        SliceEndpoint(("10.0.0.2",), topology=topology, node="m"),
    )
    rows = decode("cluster3", name(ECHO), encode(structs.replace(ECHO, endpoints=endpoints)))
    assert [(row.node, row.zone) for row in rows] == [("n", "z"), ("m", "z")]


def test_one_bad_address_costs_only_itself():
    endpoints = (SliceEndpoint(("x", "10.0.0.1")), SliceEndpoint(("10.0.0.2",)), SliceEndpoint(("",)))
    rows = decode("cluster3", name(ECHO), encode(structs.replace(ECHO, endpoints=endpoints)))
    assert [row.key.ip for row in rows] == ["10.0.0.1", "10.0.0.2"]
    assert [fault.partition(":")[0] for fault in faults_of(rows)] == [
        "endpoints[0].addresses[0]",
        "endpoints[2].addresses[0]",
    ]


@pytest.mark.parametrize(("kind", "good", "other"), [("IPv4", "10.0.0.1", "fd00::1"), ("IPv6", "fd00::1", "10.0.0.1")])
def test_an_address_of_the_other_kind_is_left_out(kind: str, good: str, other: str):
    """Cilium's reader refuses the whole slice then."""
    of = structs.replace(ECHO, address_type=kind, endpoints=(SliceEndpoint((good, other)),))
    rows = decode("cluster3", name(ECHO), encode(of))
    assert [row.key.ip for row in rows] == [good]
    assert faults_of(rows) == (f"endpoints[0].addresses[1]: {other!r} is not an {kind} address",)


@pytest.mark.parametrize("old_first", [True, False])
def test_of_two_pods_with_one_address_the_ready_one_counts(old_first: bool):
    old = SliceEndpoint(("10.0.0.1",), Conditions(False, True, True), node="a")
    new = SliceEndpoint(("10.0.0.1",), Conditions(True, True, False), node="b")
    of = structs.replace(ECHO, endpoints=(old, new) if old_first else (new, old))
    (row,) = decode("cluster3", name(ECHO), encode(of))
    assert (row.ready, row.terminating, row.node) == (True, False, "b")


def test_a_slice_of_no_service_gives_nothing():
    assert decode("cluster-a", name(SMALL), encode(SMALL)) == ()


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        (Conditions(), (True, True, False)),
        (Conditions(False, True, True), (False, True, True)),
        (Conditions(True, None, None), (True, True, False)),
        (Conditions(False, None, None), (False, True, False)),
        (Conditions(False, False, True), (False, False, True)),
    ],
)
def test_conditions(conditions: Conditions, told: tuple[bool, bool, bool]):
    of = EndpointSlice(
        "c", 1, "n", "s", (("kubernetes.io/service-name", "web"),), (), "IPv4",
        (SliceEndpoint(("10.0.0.1",), conditions),), (SlicePort("", "TCP", 80),),
    )  # fmt: skip
    rows = [(row.ready, row.serving, row.terminating) for row in decode("c", "c/n/s", encode(of))]
    assert rows == [told]


@pytest.mark.parametrize(
    ("cluster", "key", "cluster_id", "told"),
    [
        ("other", "cluster3/test/echo-kvlm2", 3, "cluster: unexpected cluster name: got cluster3, expected other"),
        ("cluster3", "cluster3/test/x", 3, "name: cluster3/test/echo-kvlm2 does not match the key, cluster3/test/x"),
        ("cluster3", "cluster3/test/echo-kvlm2", 4, "clusterID: unexpected cluster ID: got 3, expected 4"),
    ],
)
def test_what_does_not_belong_there_is_refused(cluster: str, key: str, cluster_id: int, told: str):
    with pytest.raises(WireError) as caught:
        decode(cluster, key, encode(ECHO), cluster_id=cluster_id)
    assert str(caught.value) == told


def test_without_the_codec_a_value_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    frame = encode(ECHO)
    for name_of_codec in ("backports", "compression"):
        monkeypatch.setitem(sys.modules, name_of_codec, None)
    assert not can_decompress()
    with pytest.raises(WireError, match=r"install 'statedb\[zstd\]'"):
        read(frame)


@pytest.mark.parametrize("frame", [b"", b"x" * 9, encode(ECHO)[:-3]])
def test_what_is_no_whole_frame_is_refused(frame: bytes):
    with pytest.raises(WireError, match="frame"):
        read(frame)


def test_a_bomb_does_not_go_off():
    with pytest.raises(WireError, match="more than 16 MiB"):
        read(_zstd.compress(bytes(17 << 20)))


texts = st.text(max_size=6)
slices = st.builds(
    EndpointSlice,
    st.text(min_size=1, max_size=6),
    st.integers(0, 511),
    st.text(min_size=1, max_size=6),
    st.text(min_size=1, max_size=6),
    st.dictionaries(texts, texts, max_size=3).map(lambda pairs: tuple(sorted(pairs.items()))),
    st.dictionaries(texts, texts, max_size=3).map(lambda pairs: tuple(sorted(pairs.items()))),
    st.sampled_from(["IPv4", "IPv6", "FQDN"]),
    st.lists(
        st.builds(
            SliceEndpoint,
            st.lists(texts, max_size=2).map(tuple),
            st.builds(Conditions, *[st.sampled_from([None, True, False])] * 3),
            st.none() | texts,
            st.dictionaries(texts, texts, max_size=2).map(lambda pairs: tuple(sorted(pairs.items()))),
            st.none() | texts,
            st.none() | texts,
            st.none() | st.lists(texts, max_size=2).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    st.lists(st.builds(SlicePort, texts, texts, st.none() | st.integers(0, 65535), st.none() | texts), max_size=3).map(
        tuple
    ),
)


@given(slices)
def test_every_slice_reads_back(of: EndpointSlice):
    assert read(encode(of)) == of


@given(st.binary(max_size=60) | slices.flatmap(lambda of: st.integers(0, 40).map(lambda cut: write(of)[cut:-1])))
def test_whatever_stands_there_is_a_slice_or_an_error(message: bytes):
    for decoded in (read, parse):
        try:
            decoded(message)
        except WireError:
            pass
