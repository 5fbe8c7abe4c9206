"""Prefix indexes: longest match, covering, within."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, strategies as st

from statedb import Database, InvalidKey, PrefixIndex, Table, UniqueIndex

from ..tables import Pod, Pods, database, delete, names, put


def networks(*texts: str) -> Database:
    return database(*[Pod(text, networks=(text,)) for text in texts])


def index(db: Database):
    return db.snapshot()[Pods.by_network]


def test_the_longest_match():
    db = networks("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32")
    assert [names(index(db).longest(address)) for address in ("10.1.2.3", "10.1.2.4", "10.2.0.0", "11.0.0.0")] == [
        ["10.1.2.3/32"],
        ["10.1.0.0/16"],
        ["10.0.0.0/8"],
        ["0.0.0.0/0"],
    ]
    assert index(networks("10.0.0.0/8")).longest("11.0.0.0") == ()


def test_the_longest_match_of_a_network_is_one_that_covers_it():  # upstream answers with one below, or with none
    assert names(index(networks("10.0.0.0/8", "10.1.0.0/24")).longest("10.1.0.0/16")) == ["10.0.0.0/8"]
    assert names(index(networks("10.0.0.0/8", "10.1.0.0/24", "10.1.1.0/24")).longest("10.1.0.0/16")) == ["10.0.0.0/8"]


def test_host_bits_are_masked_off():
    db = networks("10.0.0.100/8")
    assert names(index(db)["10.0.0.0/8"]) == ["10.0.0.100/8"]
    assert names(index(db)["10.9.9.9/8"]) == ["10.0.0.100/8"]


def test_covering_comes_widest_first_and_within_parents_first():
    db = networks("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.2.0.0/16", "192.168.0.0/16", "0.0.0.0/0")
    assert names(index(db).covering("10.1.2.3")) == ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24"]
    assert names(index(db).covering("10.1.0.0/16")) == ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16"]
    assert names(index(db).within("10.0.0.0/8")) == ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.2.0.0/16"]
    assert names(index(db).within("0.0.0.0/0"))[0] == "0.0.0.0/0"
    assert len(index(db).within("0.0.0.0/0")) == 6


def test_within_a_network_is_nothing_outside_of_it():  # upstream's last node slips through
    assert index(networks("10.0.0.0/8")).within("192.168.0.0/16") == ()


def test_the_two_families_do_not_mix():
    db = networks("::/0", "10.0.0.0/8", "fd00::/8")
    assert index(db).longest("192.168.0.1") == ()
    assert names(index(db).longest("fd00::1")) == ["fd00::/8"]
    assert names(index(db).covering("fd00::1")) == ["::/0", "fd00::/8"]


def test_several_rows_may_share_a_network():
    db = database(*[Pod(name, networks=("10.0.0.0/8",)) for name in "cab"], Pod("wide", networks=("0.0.0.0/0",)))
    assert names(index(db).longest("10.0.0.1")) == ["a", "b", "c"]
    delete(db, "a", "b", "c")
    assert names(index(db).longest("10.0.0.1")) == ["wide"]


def test_a_row_may_stand_under_several_and_move():
    db = database(Pod("a", networks=("10.0.0.0/8", "11.0.0.0/8")))
    put(db, Pod("a", networks=("11.0.0.0/8", "12.0.0.0/8")))
    assert [bool(index(db)[f"{n}.0.0.0/8"]) for n in (10, 11, 12)] == [False, True, True]


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/-1", "fd00::/129", "10.0.0.0/8/8"])
def test_what_is_no_network_is_refused(text: str):
    db = networks("10.0.0.0/8")
    with pytest.raises(InvalidKey):
        index(db).longest(text)
    with db.write(Pods) as txn, pytest.raises(InvalidKey, match="by_network"):
        txn[Pods].insert(Pod("x", networks=(text,)))


class Nets(Table[str, str], name="nets"):
    primary = UniqueIndex[str, str](lambda row: row)
    by_network = PrefixIndex[str, str](lambda row: (row,))


short = st.builds(lambda a, b, n: f"10.{a}.{b}.0/{n}", st.integers(0, 3), st.integers(0, 3), st.integers(0, 32))


@given(
    st.lists(short, max_size=12), short, st.builds(lambda a, b: f"10.{a}.{b}.7", st.integers(0, 4), st.integers(0, 4))
)
def test_all_questions_as_the_standard_library_answers_them(rows: list[str], network: str, address: str):
    db = Database(Nets)
    with db.write(Nets) as txn:
        for row in rows:
            txn[Nets].insert(row)
    view = db.snapshot()[Nets.by_network]
    asked = ip_network(network, strict=False)
    known = {row: ip_network(row, strict=False) for row in set(rows)}
    assert set(view.within(network)) == {row for row, net in known.items() if net.subnet_of(asked)}
    assert set(view.covering(network)) == {row for row, net in known.items() if net.supernet_of(asked)}
    covering = [(net.prefixlen, row) for row, net in known.items() if ip_address(address) in net]
    longest = max((length for length, _ in covering), default=-1)
    assert set(view.longest(address)) == {row for length, row in covering if length == longest}


def test_the_same_network_in_any_form_is_one_key():
    db = networks("10.0.0.0/8", "10.1.2.3", "fd00::/16")
    view = index(db)
    for form in ("10.9.9.9/8", ip_network("10.0.0.0/8")):
        assert names(view[form]) == ["10.0.0.0/8"]
    for form in ("10.1.2.3", "10.1.2.3/32", ip_address("10.1.2.3"), bytes((10, 1, 2, 3))):
        assert names(view[form]) == names(view.longest(form)) == ["10.1.2.3"]
    for form in ("fd00::1", ip_address("fd00::1"), b"\xfd" + bytes(15)):
        assert names(view.longest(form)) == ["fd00::/16"]
    assert view.keys() == ("10.0.0.0/8", "10.1.2.3/32", "fd00::/16")


def test_an_exact_network_is_neither_a_wider_nor_a_narrower_one():
    view = index(networks("10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/24"))
    assert [names(view[f"10.0.0.0/{length}"]) for length in (7, 8, 9, 16, 24, 32)] == [
        [],
        ["10.0.0.0/8"],
        [],
        ["10.0.0.0/16"],
        ["10.0.0.0/24"],
        [],
    ]


@pytest.mark.parametrize("gone", ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.0.0/17"])
def test_deleting_one_network_leaves_those_around_it(gone: str):
    texts = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.0.0/17"]
    db = networks(*texts)
    before = index(db)
    delete(db, gone)
    left = [text for text in texts if text != gone]
    assert names(index(db).covering("10.1.0.0")) == left
    assert names(index(db).longest("10.1.0.0")) == left[-1:]
    assert names(before.covering("10.1.0.0")) == texts  # an older snapshot is as it was
    db.check()


@pytest.mark.parametrize("length", range(33))
def test_every_length_of_an_address(length: int):
    view = index(networks(*[f"255.255.255.255/{n}" for n in range(33)]))
    (row,) = view.longest(f"255.255.255.255/{length}")
    assert row.name == f"255.255.255.255/{length}"
    assert len(view.covering(f"255.255.255.255/{length}")) == length + 1
    assert len(view.within(f"255.255.255.255/{length}")) == 33 - length


def test_a_transaction_asks_networks_with_its_own_writes():
    db = networks("10.0.0.0/8", "10.1.0.0/16")
    with db.write(Pods) as txn:
        txn[Pods].delete("10.1.0.0/16")
        txn[Pods].insert(Pod("new", networks=("10.1.2.0/24",)))
        assert names(txn[Pods.by_network].longest("10.1.2.3")) == ["new"]
        assert names(txn[Pods.by_network].within("10.1.0.0/16")) == ["new"]
        assert names(txn[Pods.by_network].longest("10.1.9.9")) == ["10.0.0.0/8"]
    assert names(index(db).covering("10.1.2.3")) == ["10.0.0.0/8", "new"]
