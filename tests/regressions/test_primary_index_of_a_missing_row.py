"""``snapshot[T.primary][key]`` of a row that is not there."""

import pytest

from statedb import Database, RowNotFound
from statedb.testing import Hosts


def test_the_primary_index_view_raises_row_not_found() -> None:
    with pytest.raises(RowNotFound):
        Database(Hosts).snapshot()[Hosts.primary]["no"]
