"""Labels as text: the vectors of cilium/cilium pkg/labels/labels_test.go and cidr_test.go."""

import pytest
from hypothesis import given, strategies as st

from statedb.catalog.wire import WireError, cidr, labels
from statedb.catalog.wire.labels import Label


@pytest.mark.parametrize(
    ("text", "source", "key", "value"),
    [
        ("source1:key1=value1", "source1", "key1", "value1"),
        ("key1=value1", "unspec", "key1", "value1"),
        ("value1", "unspec", "value1", ""),
        ("source1:key1", "source1", "key1", ""),
        ("source1:key1==value1", "source1", "key1", "=value1"),
        ("source::key1=value1", "source", ":key1", "value1"),
        ("$key1=value1", "reserved", "key1", "value1"),
        ("1foo", "unspec", "1foo", ""),
        (":2foo", "unspec", "2foo", ""),
        (":3foo=", "unspec", "3foo", ""),
        ("reserved:=key", "reserved", "key", ""),
        ("4blah=:foo=", "4blah=", "foo", ""),
        ("5blah::foo=", "5blah", ":foo", ""),
        ("6foo==", "unspec", "6foo", "="),
        ("7foo=bar", "unspec", "7foo", "bar"),
        ("k8s:foo=bar:", "k8s", "foo", "bar:"),
        ("reservedz=host", "unspec", "reservedz", "host"),
        (":", "unspec", "", ""),
        ("", "unspec", "", ""),
        ("reserved:host", "reserved", "host", ""),
    ],
)
def test_parsing(text: str, source: str, key: str, value: str):
    assert labels.parse(text) == Label(source, key, value)


def test_a_selector_without_a_source_means_any():
    assert labels.parse_selector("app=web") == Label("any", "app", "web")
    assert labels.parse_selector("k8s:app=web") == Label("k8s", "app", "web")


def test_the_sorted_list_of_upstream():
    given_labels = {
        "%": "%ed",
        "//=/": "",
        "foo": "bar",
        "foo2": "=bar2",
        "foo==": "==",
        r"foo\\=": r"\=",
        "key": "",
    }
    written = labels.sorted_list(Label("unspec", key, value) for key, value in given_labels.items())
    assert written == (
        r"unspec:%=%ed;unspec://=/=;unspec:foo=bar;unspec:foo2==bar2;unspec:foo=====;unspec:foo\\==\=;unspec:key=;"
    )


def test_keys_that_hold_an_equals_sign_do_not_read_back_and_that_is_so_upstream():
    (read,) = labels.parse_list("unspec:foo=====;")
    assert (read.key, read.value) == ("foo", "====")


def test_a_list_drops_what_has_no_key_and_keeps_the_last_of_two():
    assert labels.parse_list("k8s:b=1;;:;k8s:a=2;cni:b=3;") == (Label("k8s", "a", "2"), Label("cni", "b", "3"))


def test_a_semicolon_cannot_be_written():
    with pytest.raises(WireError, match="';'"):
        labels.sorted_list([Label("k8s", "a", "1;2")])


def test_short_texts_leave_out_the_equals_sign_of_nothing():
    assert Label("reserved", "host").short == "reserved:host"
    assert Label("reserved", "host").text == "reserved:host="


@given(st.dictionaries(st.text("abc/.:", min_size=1).filter(lambda key: "=" not in key), st.text("abc=:/"), min_size=1))
def test_a_sorted_list_reads_back(mapping: dict[str, str]):
    of = tuple(Label("k8s", key, mapping[key]) for key in sorted(mapping))
    assert labels.parse_list(labels.sorted_list(of)) == of


@pytest.mark.parametrize(
    ("network", "key"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("::1/128", "0--1/128"),
        ("2001:db8::1/128", "2001-db8--1/128"),
        ("1.1.1.1/32", "1.1.1.1/32"),
        ("2001::fffc/126", "2001--fffc/126"),
        ("::/0", "0--0/0"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_networks_as_keys_of_labels(network: str, key: str):
    assert cidr.label_key(network) == key
    assert cidr.from_label_key(key) == network
