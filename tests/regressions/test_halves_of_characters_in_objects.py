"""JSON can spell half a character; an object that holds one is read as Go reads it, and nothing else goes wrong."""

import pytest

from statedb.catalog.wire import WireError, crds


def test_in_a_field_it_becomes_the_replacement_character():
    row = crds.namespace({"metadata": {"name": "a", "labels": {"x\ud800": "\udfff"}}}, "c")
    assert row.labels == (("x\ufffd", "\ufffd"),)


def test_instead_of_an_object_it_is_a_wire_error():
    with pytest.raises(WireError):
        crds.namespace("\ud800", "c")


def test_in_the_selector_of_a_policy():
    row = crds.policy(
        {
            "kind": "CiliumNetworkPolicy",
            "metadata": {"name": "a"},
            "spec": {"endpointSelector": {"matchLabels": {"app\ud800": "x"}, "other": None}},
        }
    )
    assert row.selectors[0].requirements[0].key == "app\ufffd"
    assert '"other":null' in row.specs[0]
    assert row.specs[0].encode()
