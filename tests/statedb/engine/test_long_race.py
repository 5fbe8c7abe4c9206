"""The long race, a short form always and ten million checked reads by `make stress`."""

import pytest

from .long_race import ALWAYS, race


def test_reads_from_everywhere_while_commits_are_aborted():
    counts = race(5_000, seconds=60).counts
    assert all(counts[who] for who in ALWAYS), counts


@pytest.mark.stress
@pytest.mark.timeout(7300)
def test_ten_million_checked_reads():
    long = race(10_000_000, seconds=7200)
    assert long.reads >= 10_000_000, long.counts
    assert all(long.counts.values()), long.counts
