"""Address objects that say more than an address: an interface is its network as its text is, a scope is refused."""

from ipaddress import ip_address, ip_interface

import pytest

from statedb import InvalidKey

from ..statedb.engine.tables import Pod, Pods, database, names


@pytest.mark.parametrize("text", ["10.1.2.3/8", "fd00::1/16"])
def test_an_interface_is_the_network_that_its_text_is(text: str):
    view = database(Pod("text", networks=(text,))).snapshot()[Pods.by_network]
    assert names(view[text]) == ["text"]
    assert names(view[ip_interface(text)]) == ["text"]


def test_an_address_with_a_scope_is_refused_as_its_text_is():
    view = database(Pod("a", networks=("fe80::1",))).snapshot()[Pods.by_network]
    with pytest.raises(InvalidKey, match="fe80::1%eth0"):
        view.longest("fe80::1%eth0")
    with pytest.raises(InvalidKey, match="fe80::1%eth0"):
        view.longest(ip_address("fe80::1%eth0"))
