"""An index function that begins to fail for a row that is stored: deleting the row says which function and which row,
and a call that raises leaves the transaction as it was."""

from collections.abc import Iterator

import pytest

from statedb import Database, Index, IndexFunctionError, Table, UniqueIndex


class Files(Table[str, str], name="files"):
    gone: frozenset[str] = frozenset()
    primary = UniqueIndex[str, str](lambda row: row[0])

    @staticmethod
    def _keys(row: str) -> tuple[str, ...]:
        if row in Files.gone:
            raise FileNotFoundError(row)
        return (row,)

    by_text = Index[str, str](_keys)


@pytest.fixture
def db() -> Iterator[Database]:
    db = Database(Files)
    with db.write(Files) as txn:
        for row in "abc":
            txn[Files].insert(row)
    Files.gone = frozenset("b")
    yield db
    Files.gone = frozenset()
    db.check()


def test_a_deletion_names_the_function_and_the_row(db: Database):
    with db.write(Files) as txn, pytest.raises(IndexFunctionError, match=r"'files', index 'by_text': .*row 'b'"):
        txn[Files].delete("b")


def test_a_replacement_names_the_function_and_the_row(db: Database):
    with db.write(Files) as txn, pytest.raises(IndexFunctionError, match=r"'files', index 'by_text': .*row 'b'"):
        txn[Files].insert("b2")


def test_a_clear_that_raises_leaves_the_transaction_as_it_was(db: Database):
    with db.write(Files) as txn:
        with pytest.raises((IndexFunctionError, FileNotFoundError)):
            txn[Files].clear()
        assert list(txn[Files]) == ["a", "b", "c"]
