"""Networks in their three spellings: cilium/cilium pkg/node/types/prefix_test.go and pkg/labels/cidr_test.go."""

from base64 import b64decode
from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import example, given, strategies as st

from statedb.catalog.wire import WireError, cidr

v4_networks = st.builds(
    lambda address, length: ip_network((address, length), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)
v6_networks = st.builds(
    lambda address, length: ip_network((address.to_bytes(16), length), strict=False),
    st.integers(0, 2**128 - 1),
    st.integers(0, 128),
).filter(lambda network: network.network_address.ipv4_mapped is None)
networks = v4_networks | v6_networks


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.244.1.0/24", "10.244.1.0/24"),
        ("10.244.1.5/24", "10.244.1.0/24"),
        ("fd00::/64", "fd00::/64"),
        ("FD00::5/64", "fd00::/64"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("255.255.255.255/0", "0.0.0.0/0"),
        ("10.0.0.1/32", "10.0.0.1/32"),
        ("::/0", "::/0"),
        ("::1/128", "::1/128"),
    ],
)
def test_host_bits_are_masked_off(text: str, network: str):
    assert cidr.network(text) == network


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not-a-cidr",
        "10.0.0.0",
        "10.0.0.0/",
        "/8",
        "10.0.0.0/33",
        "fd00::/129",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/08",
        "10.0.0.0/8/8",
        "10.0.0.0/ 8",
        "10.0.0.0/٨",
        "10.0.0.0/255.0.0.0",
        "10.0.0/8",
        "fe80::1%eth0/64",
        "garbage/24",
        f"10.0.0.0/{'9' * 5000}",
    ],
)
def test_what_is_no_network_is_refused(text: str):
    with pytest.raises(WireError):
        cidr.network(text)


@pytest.mark.parametrize(
    ("network", "address", "mask"),
    [
        ("10.244.1.0/24", "10.244.1.0", "////AA=="),
        ("10.244.0.0/24", "10.244.0.0", "////AA=="),
        ("fd00::/64", "fd00::", "//////////8AAAAAAAAAAA=="),
        ("0.0.0.0/0", "0.0.0.0", "AAAAAA=="),
        ("10.0.0.1/32", "10.0.0.1", "/////w=="),
        ("10.0.0.0/8", "10.0.0.0", "/wAAAA=="),
    ],
)
def test_a_network_is_an_address_and_a_mask(network: str, address: str, mask: str):
    assert cidr.mask_of(network) == (address, b64decode(mask))
    assert cidr.from_mask(address, b64decode(mask)) == network


def test_the_mask_of_an_address_with_host_bits_is_applied():
    assert cidr.from_mask("10.244.1.5", bytes([255, 255, 255, 0])) == "10.244.1.0/24"


def test_a_mask_of_ipv6_for_an_ipv4_address_counts_if_it_is_a_mapped_one():
    """Go keeps IPv4 in sixteen bytes too."""
    assert cidr.from_mask("10.1.2.3", b"\xff" * 13 + bytes(3)) == "10.0.0.0/8"
    with pytest.raises(WireError, match="has 16 bytes"):
        cidr.from_mask("10.1.2.3", b"\xff" * 8 + bytes(8))


@pytest.mark.parametrize(
    ("address", "mask", "told"),
    [
        ("garbage", "ffffff00", "is not an IP address"),
        ("10.0.0.0", "", "has 0 bytes, not 4"),
        ("10.0.0.0", "ff", "has 1 bytes, not 4"),
        ("fd00::", "ffffff00", "has 4 bytes, not 16"),
        ("10.0.0.0", "ff00ff00", "not contiguous"),
        ("10.0.0.0", "00ffffff", "not contiguous"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(address: str, mask: str, told: str):
    with pytest.raises(WireError, match=told):
        cidr.from_mask(address, bytes.fromhex(mask))


@pytest.mark.parametrize("key", ["", "10.0.0.0", "0--1", "web", "0--1/129", "a-b/8"])
def test_the_key_of_a_label_that_names_no_network_is_refused(key: str):
    with pytest.raises(WireError):
        cidr.from_label_key(key)


@given(networks)
@example(ip_network("::/0"))
@example(ip_network("::102:304/128"))
def test_a_network_is_itself_by_mask_and_by_label(network: IPv4Network | IPv6Network):
    text = network.compressed
    assert cidr.network(text) == text
    assert cidr.from_mask(*cidr.mask_of(text)) == text
    address, mask = cidr.mask_of(text)
    assert (address, mask) == (network.network_address.compressed, network.netmask.packed)
    key = cidr.label_key(text)
    assert not {key[0], key.partition("/")[0][-1]} & {"-", ":"}
    assert cidr.from_label_key(key) == text


@given(st.sampled_from(["10.1.2.3", "fd00::1"]), st.binary(max_size=20))
def test_any_bytes_are_a_mask_or_are_refused(address: str, mask: bytes):
    try:
        network = cidr.from_mask(address, mask)
    except WireError:
        return
    assert cidr.network(network) == network


@given(st.text("0123456789abcdef:./", max_size=24) | st.text(max_size=8))
def test_any_text_is_a_network_in_canonical_text_or_is_refused(text: str):
    try:
        network = cidr.network(text)
    except WireError:
        return
    assert cidr.network(network) == network == ip_network(network).compressed
