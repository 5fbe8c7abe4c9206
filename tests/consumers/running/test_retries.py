"""The queue of what failed: by due time, doubling, cleared from anywhere."""

import pytest
from hypothesis import given, strategies as st

from consumers.running.retries import Retries, delay_s


@given(failures=st.integers(0, 2000), min_s=st.floats(1e-3, 10), factor=st.floats(1, 1000))
def test_waits_double_never_shrink_and_are_capped(failures, min_s, factor):
    max_s = min_s * factor
    now, later = delay_s(failures, min_s, max_s), delay_s(failures + 1, min_s, max_s)
    assert delay_s(0, min_s, max_s) == min_s
    assert min_s <= now <= later <= max_s
    assert later == pytest.approx(min(2 * now, max_s))


def test_another_failure_waits_longer_and_only_the_last_wait_counts():
    retries = Retries[str](1, 60)
    retries.add("a", 0)
    retries.add("a", 0)
    assert (len(retries), retries.failures("a"), retries.next_due) == (1, 2, 2)


def test_pop_leaves_the_count_and_clear_forgets_it():
    retries = Retries[str](1, 60)
    retries.add("a", 0)
    assert retries.pop_due(1) == "a"
    assert "a" not in retries
    retries.add("a", 1)
    assert retries.next_due == 3
    retries.clear("a")
    assert (len(retries), retries.failures("a"), retries.next_due) == (0, 0, None)
    retries.add("a", 3)
    assert retries.next_due == 4


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(["add", "clear", "pop"]), st.integers(0, 3))))
def test_the_queue_does_what_a_sorted_dict_does(steps):
    retries = Retries[str](1, 8)
    due: dict[str, tuple[float, int]] = {}
    counts: dict[str, int] = {}
    now = 0.0
    for number, (key, step, seconds) in enumerate(steps):
        now += seconds
        match step:
            case "add":
                due[key] = (now + min(8, 2 ** counts.get(key, 0)), number)
                counts[key] = counts.get(key, 0) + 1
                retries.add(key, now)
            case "clear":
                due.pop(key, None)
                counts.pop(key, None)
                retries.clear(key)
            case _:
                ready = [key for key in sorted(due, key=lambda each: due[each]) if due[key][0] <= now]
                expected = ready[0] if ready else None
                assert retries.pop_due(now) == expected
                due.pop(expected, None)
        assert len(retries) == len(due)
        assert retries.next_due == min([when for when, _ in due.values()], default=None)
        assert {key: retries.failures(key) for key in "abcde"} == {key: counts.get(key, 0) for key in "abcde"}
