"""Addresses have one text: Go's (net/netip and net.IP.String)."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given, strategies as st

from statedb.catalog.wire import WireError, addresses


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("fd00:10:244:2::e024", "fd00:10:244:2::e024"),
        ("FD00:0:0::01", "fd00::1"),
        ("::", "::"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::ffff:a00:1", "10.0.0.1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("::1.2.3.4", "::102:304"),
        ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
    ],
)
def test_the_one_form(text: str, canonical: str):
    assert addresses.canonical(text) == canonical
    assert addresses.is_canonical(text) is (text == canonical)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<nil>",
        "10.0.0",
        "10.0.0.1.2",
        "10.0.0.01",
        "10.0.0.256",
        "1",
        "0x7f.0.0.1",
        " 10.0.0.1",
        "10.0.0.1 ",
        "10.0.0.1\n",
        "10.0.0.1\0",
        "fd00::1\0",
        "10.0.0.1@0",
        "10.0.0.1/32",
        "fe80::1%eth0",
        "fd00:::1",
        "fd00::1::2",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "12345::",
        "[fd00::1]",
        "::ffff:10.0.0.01",
        "host",
        "١.0.0.1",
        "\ud800",
    ],
)
def test_what_is_no_address_is_refused(text: str):
    with pytest.raises(WireError, match="is not an IP address"):
        addresses.canonical(text)
    assert not addresses.is_canonical(text)


def test_an_absent_address_is_no_error_and_a_bad_one_names_its_field():
    assert addresses.canonical_or_empty("", "HostIP") == ""
    assert addresses.canonical_or_empty("FD00::1", "HostIP") == "fd00::1"
    with pytest.raises(WireError, match=r"^HostIP: 'x' is not an IP address$"):
        addresses.canonical_or_empty("x", "HostIP")


def test_families_keep_the_order_within_them():
    mixed = ["fd00::2", "10.0.0.2", "fd00::1", "10.0.0.1"]
    assert addresses.by_family(mixed) == (["10.0.0.2", "10.0.0.1"], ["fd00::2", "fd00::1"])
    assert addresses.ipv4_first(mixed) == ("10.0.0.2", "10.0.0.1", "fd00::2", "fd00::1")


def go_text(address: IPv4Address | IPv6Address) -> str:
    """As Go shows it: mapped IPv4 as IPv4, else the shortest form."""
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).compressed


@given(st.ip_addresses())
@example(ip_address("::102:304"))
@example(ip_address("::ffff:1.2.3.4"))
@example(ip_address("::fffe:1.2.3.4"))
@example(ip_address("1::"))
def test_all_spellings_of_an_address_have_the_one_form(address: IPv4Address | IPv6Address):
    shown = go_text(address)
    for spelling in {address.compressed, address.exploded, address.exploded.upper()}:
        assert addresses.canonical(spelling) == shown
    assert addresses.is_canonical(shown)


@given(st.lists(st.sampled_from([0, 0, 0, 1, 0xFFFF, 0x0A00]), min_size=8, max_size=8))
def test_runs_of_zeros_are_shortened_as_others_shorten_them(groups: list[int]):
    address = IPv6Address(b"".join(group.to_bytes(2) for group in groups))
    assert addresses.canonical(address.exploded) == go_text(address)


@given(st.text("0123456789abcdefABCDEF:.%/ \0", max_size=24) | st.text(max_size=10))
def test_any_text_is_an_address_for_us_and_for_python_or_for_neither(text: str):
    try:
        expected = go_text(ip_address(text)) if "%" not in text else None
    except ValueError:
        expected = None
    try:
        found = addresses.canonical(text)
    except WireError:
        found = None
    assert found == expected
