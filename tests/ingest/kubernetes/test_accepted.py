"""What an operator accepts holds for one server. Another one that answers later is doubted anew."""

from __future__ import annotations

import pytest

from ingest.belief import History, No, Yes
from ingest.kubernetes.messages import FullList, Interrupted, Message, Synced
from ingest.kubernetes.progress import Progress
from ingest.kubernetes.resource_spec import Resource
from statedb.catalog import Endpoints

from ..kube_fake import FakeApi
from ..kube_rig import KubeRig, cep
from ..kvstore_rig import Deletions

CEPS = Resource("cilium.io", "v2", "ciliumendpoints", (Endpoints,), lambda _: ())
CUT = Interrupted(CEPS, "cut", refused=False)


def listed(uid: str, history: History) -> FullList:
    return FullList(CEPS, [], history, "another server", uid, "100")


def progress(*messages: Message) -> Progress:
    made = Progress()
    for message in messages:
        made.apply(message, 0.0)
    return made


def doubted(uid: str) -> Progress:
    """It knew server a, and another one answers."""
    return progress(listed(uid and "a", History.NONE), Synced(CEPS), listed(uid, History.OTHER), Synced(CEPS))


@pytest.mark.parametrize("uid", ["b", ""])
def test_what_was_carried_out_does_not_hold_for_the_next_server(uid: str):
    """Found by `make faults`: a server was lost in the moment in which its list was believed."""
    each = doubted(uid)
    each.accept(frozenset(filter(None, [each.doubted_uid])))
    assert isinstance(each.verdict(), Yes)
    each.apply(CUT, 0.0)
    each.nothing_withheld()
    each.apply(listed(uid and "c", History.OTHER), 0.0)
    assert isinstance(each.verdict(), No)


@pytest.mark.parametrize("uid", ["b", ""])
def test_a_third_server_that_answers_before_the_accepted_one_is_not_believed(uid: str):
    each = doubted(uid)
    each.apply(CUT, 0.0)
    each.accept(frozenset(filter(None, [each.doubted_uid])))
    each.apply(listed(uid and "c", History.OTHER), 0.0)
    assert isinstance(each.verdict(), No)


def test_the_accepted_server_is_believed_when_it_answers_again():
    each = doubted("b")
    each.apply(CUT, 0.0)
    each.accept(frozenset({"b"}))
    each.apply(listed("b", History.SAME), 0.0)
    assert isinstance(each.verdict(), Yes)


def test_a_server_that_is_restored_once_more_before_it_answers_again_is_not_believed():
    """Its UID is the one that was accepted, but it has lost more since."""
    each = doubted("a")
    each.apply(CUT, 0.0)
    each.accept(frozenset({"a"}))
    each.apply(listed("a", History.OTHER), 0.0)
    assert isinstance(each.verdict(), No)


def test_a_resource_that_has_not_yet_been_listed_there_follows():
    each = progress(listed("a", History.NONE), Synced(CEPS), CUT)
    each.accept(frozenset({"b"}))  # the server that other resources are from
    other = progress(listed("a", History.NONE), Synced(CEPS), CUT)
    other.accept(frozenset({"b"}))
    each.apply(listed("b", History.OTHER), 0.0)
    other.apply(listed("c", History.OTHER), 0.0)
    assert isinstance(each.verdict(), Yes)
    assert isinstance(other.verdict(), No)


@pytest.mark.parametrize("before", [(), (listed("a", History.NONE), Synced(CEPS), CUT)])
def test_a_server_that_has_not_answered_yet_cannot_be_accepted(before: tuple[Message, ...]):
    """What was accepted while the server was away held for whichever came next."""
    each = progress(*before)
    each.accept(frozenset())
    each.apply(listed("b", History.OTHER), 0.0)
    assert isinstance(each.verdict(), No)


def test_a_server_that_is_lost_as_soon_as_it_is_believed():
    with FakeApi() as api:
        for number in range(5):
            api.put(cep(f"10.0.0.{number}"))
        with KubeRig(api.url, tables=("endpoints",)) as rig, Deletions(rig.db) as deletions:
            rig.synced()
            for gone in range(4):
                api.replace()
                for number in range(gone + 1, 5):
                    api.put(cep(f"10.0.0.{number}"))
                rig.until(lambda s: rig.row(s).withheld_deletes == 1 and "UID" in rig.row(s).last_error)
                rig.source.accept()
                rig.until(lambda s, left=4 - gone: len(s[Endpoints]) == left)
                assert deletions.now() == {f"10.0.0.{number}" for number in range(gone + 1)}
