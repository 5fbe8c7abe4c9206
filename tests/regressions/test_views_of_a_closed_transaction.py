"""What a transaction's views still say after its end: nothing but that it is closed."""

from collections.abc import Callable
from typing import Any

import pytest

from statedb import StateDBError, TransactionClosed

from ..statedb.engine.tables import Pod, Pods, database

USES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "revision": lambda pods, by_tag, by_network: pods.revision,
    "initialized": lambda pods, by_tag, by_network: pods.initialized,
    "pending initializers": lambda pods, by_tag, by_network: pods.pending_initializers,
    "in an index": lambda pods, by_tag, by_network: "t" in by_tag,
    "in a prefix index": lambda pods, by_tag, by_network: "10.0.0.0/8" in by_network,
}


@pytest.mark.parametrize("close", ["commit", "abort"])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_it_says_that_it_is_closed(use: Callable[[Any, Any, Any], Any], close: str):
    db = database(Pod("a", tags=("t",), networks=("10.0.0.0/8",)))
    txn = db.write(Pods)
    views = txn[Pods], txn[Pods.by_tag], txn[Pods.by_network]
    txn[Pods].delete("a")
    getattr(txn, close)()
    with pytest.raises(TransactionClosed):
        use(*views)


def test_a_list_of_tables_is_no_table_of_a_transaction_and_the_error_says_so():
    with database().write(Pods) as txn, pytest.raises(StateDBError, match=r"neither a table nor an index|not open"):
        txn[[Pods]]
