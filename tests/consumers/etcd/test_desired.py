"""What is to be done about keys: a pure decision, without a server."""

from __future__ import annotations

import pytest

from consumers.etcd import Rules
from consumers.etcd.batches import LAST, Operation
from consumers.etcd.blocked import Blocked
from consumers.etcd.desired import Desired
from consumers.etcd.present import Present
from consumers.etcd.repairs import Repairs


def test_the_heartbeat_that_stands_there_is_never_asked_about():
    """It was lost with its lease, and another process led before: both once took it for a key that nobody had put."""
    asked: list[str] = []

    def may_delete(key: str) -> bool:
        asked.append(key)
        return True

    desired, present = Desired(lambda _: 0, may_delete, "beat"), Present()
    present.put("beat", b"now", lease=1, revision=1)
    present.put("stray", b"", lease=1, revision=1)
    desired.load(present)
    desired.recheck(["beat"])
    found = {key: desired.operation(key, present, lambda _: True) for key in desired.waiting()}
    assert found["beat"] is None
    assert found["stray"] is not None
    assert asked == ["stray"]


def test_a_key_that_is_changed_after_a_quiet_time_while_its_repair_waits_is_repaired_in_the_end():
    repairs = Repairs(1.0, 1.0, jitter=lambda: 1.0)
    assert repairs.record_change("a", 0.0)
    assert not repairs.record_change("a", 0.0)
    assert not repairs.record_change("a", 1000.0)
    assert repairs.pop_due(1002.0) == "a"


class Counted(str):
    """A key that counts how often a mapping asks for it."""

    hashed = 0

    def __hash__(self) -> int:
        Counted.hashed += 1
        return super().__hash__()


def test_to_delete_nothing_more_first_does_not_touch_the_keys_that_wait():
    """A mesh cache asks so for each key that it puts: with a look at the whole queue the time grew with its square."""
    desired = Desired(lambda _: 0, lambda _: False)
    keys = [Counted(f"k{number}") for number in range(100)]
    for key in keys:
        desired.put(key, b"")
    desired.delete_first(keys[90:])
    assert set(desired.waiting()[:10]) == set(keys[90:])
    Counted.hashed = 0
    desired.delete_first([])
    desired.delete_first(keys[95:])
    assert Counted.hashed <= 5


def test_a_mark_that_waits_comes_after_keys_that_are_lost_or_retried():
    """It was written before them where there were more of them than fit into a transaction."""
    desired, present = Desired(lambda _: 0, lambda _: False), Present()
    desired.mark("mark")
    for key in ("a", "b", "c"):
        desired.put(key, b"")
    desired.recheck(["a"])
    assert desired.waiting()[-1] == "mark"
    desired.refuse(Operation("mark", b"", LAST), "denied")
    desired.refuse(Operation("b", desired.operation("b", present, bool).value), "denied")  # type: ignore[union-attr]
    desired.try_again(["mark", "b"])
    assert desired.waiting() == ["b", "a", "c", "mark"]


def test_a_mark_that_is_to_be_deleted_first_stays_before_keys_that_are_lost():
    desired, present = Desired(lambda _: 0, lambda _: False), Present()
    present.put("mark", b"then", lease=1, revision=1)
    desired.mark("mark")
    desired.put("a", b"")
    desired.withdraw_marks(present)
    desired.recheck(["b"])
    assert desired.waiting() == ["mark", "a", "b"]


def test_a_mark_that_is_to_be_deleted_first_stays_before_other_keys_when_it_is_marked_again():
    desired, present = Desired(lambda _: 0, lambda _: False), Present()
    present.put("mark", b"then", lease=1, revision=1)
    desired.put("a", b"")
    desired.delete_first(["mark"])
    desired.mark("mark")
    assert desired.waiting() == ["mark", "a"]
    assert desired.operation("mark", present, bool) == Operation("mark", None, 0)


def test_keys_that_are_to_be_deleted_first_stay_before_those_that_are_retried():
    desired, present = Desired(lambda _: 0, lambda _: False), Present()
    present.put("x", b"", lease=1, revision=1)
    for key in ("a", "b"):
        desired.put(key, b"")
    desired.refuse(Operation("b", desired.operation("b", present, bool).value), "denied")  # type: ignore[union-attr]
    desired.delete_first(["x"])
    desired.try_again(["b"])
    assert desired.waiting() == ["x", "b", "a"]


def test_a_mark_that_was_to_be_deleted_first_already_holds_up_the_key_that_requires_it():
    rules = Rules(prefixes=("",), delete_first=lambda key, _, present: ["mark"] if key == "config" else [])
    desired, present = Desired(lambda _: 0, lambda _: False), Present()
    blocked = Blocked(rules, desired, 1.0, 1.0)
    present.put("mark", b"then", lease=1, revision=1)
    desired.put("config", b"")
    desired.mark("mark")
    desired.delete_first(["mark"])
    config = desired.operation("config", present, bool)
    assert config is not None
    assert not blocked.must_wait(config, present)
    assert blocked.blocks("mark", "denied", 0.0)
    assert blocked.sets_aside(config)


@pytest.mark.parametrize("is_required", [False, True])
def test_a_mark_that_cannot_be_deleted_holds_up_its_part_only_if_another_key_requires_it(is_required: bool):
    first = {"config": ["mark"]} if is_required else {}
    rules = Rules(prefixes=("",), delete_first=lambda key, _, present: [k for k in first.get(key, []) if k in present])
    desired, present = Desired(lambda _: 0, lambda _: False), Present()
    blocked = Blocked(rules, desired, 1.0, 1.0)
    present.put("mark", b"then", lease=1, revision=1)
    desired.put("config", b"")
    desired.mark("mark")
    config = desired.operation("config", present, bool)
    assert config is not None
    assert blocked.must_wait(config, present) == is_required
    desired.delete_first(["mark"])
    assert blocked.blocks("mark", "denied", 0.0) == is_required
    assert blocked.sets_aside(config) == is_required
