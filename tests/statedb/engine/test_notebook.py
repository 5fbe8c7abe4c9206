"""What tables show in a notebook: HTML of a bounded size that a browser reads; nothing of a row is taken for HTML."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

import pytest

from statedb import Database, Table, UniqueIndex

from .tables import Accounts, Pod, Pods, database


class Reader(HTMLParser):
    """Counts elements, and collects the text of the cells, line by line."""

    def __init__(self, shown: Any) -> None:
        super().__init__()
        self.lines: list[list[str]] = []
        self.tags: Counter[str] = Counter()
        self.rest = ""
        self._open: list[str] = []
        self.feed(shown._repr_html_())
        assert self._open == []  # each element was closed, in order

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._open.append(tag)
        self.tags[tag] += 1
        if tag == "tr":
            self.lines.append([])
        if tag in ("td", "th"):
            self.lines[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1] in ("td", "th"):
            self.lines[-1][-1] += data
        elif self._open[-1] == "p":
            self.rest = data


def test_a_table_shows_its_rows_by_their_fields():
    read = Reader(database(Pod("a"), Pod("b", "n2")).snapshot()[Pods])
    assert read.lines[0][:2] == ["name", "node"]
    assert [line[:2] for line in read.lines[1:]] == [["a", "n1"], ["b", "n2"]]
    assert read.rest == ""


def test_a_large_table_shows_its_first_rows_and_counts_the_rest():
    db = database(*[Pod(f"{number:05}") for number in range(3000)])
    read = Reader(db.snapshot()[Pods])
    assert [line[0] for line in read.lines[1:]] == [f"{number:05}" for number in range(20)]
    assert read.rest == "and 2,980 more"


def test_a_long_value_is_cut_and_nothing_in_a_row_is_taken_for_html():
    read = Reader(database(Pod("<script>alert('&amp;')</script>"), Pod("x" * 5000)).snapshot()[Pods])
    assert read.tags["script"] == 0
    assert read.lines[1][0] == "<script>alert('&amp;')</script>"
    assert len(read.lines[2][0]) == 80


def test_indexes_show_their_keys_as_users_write_them():
    snapshot = database(Pod("a", networks=("10.0.0.0/8",)), Pod("b")).snapshot()
    assert [line[0] for line in Reader(snapshot[Pods.by_node]).lines] == ["key", "n1"]
    assert [line[0] for line in Reader(snapshot[Pods.by_network]).lines] == ["key", "10.0.0.0/8"]
    assert [line[0] for line in Reader(snapshot[Pods.primary]).lines] == ["name", "a", "b"]


def test_a_snapshot_and_its_database_show_every_table():
    db = database(Pod("a"))
    lines = [["table", "rows", "revision", "initialized"], ["pods", "1", "1", "True"], ["accounts", "0", "0", "True"]]
    assert Reader(db.snapshot()).lines == Reader(db).lines == lines


def test_a_transaction_shows_what_is_staged_and_nothing_after_its_end():
    db = database(Pod("a"))
    with db.write(Pods) as txn:
        pods, index = txn[Pods], txn[Pods.by_node]
        pods.insert(Pod("b"))
        assert [line[0] for line in Reader(pods).lines[1:]] == ["a", "b"]
    assert pods._repr_html_() is None
    assert index._repr_html_() is None


@dataclass(frozen=True)
class Point:
    x: int
    y: int


class Points(Table[int, Point], name="points"):
    primary = UniqueIndex[int, Point](lambda point: point.x)


class Words(Table[str, str], name="words"):
    primary = UniqueIndex[str, str](lambda word: word)


@pytest.mark.parametrize(
    ("table", "row", "lines"),
    [(Points, Point(1, 2), [["x", "y"], ["1", "2"]]), (Words, "a", [["row"], ["a"]]), (Accounts, None, [["row"]])],
    ids=["dataclass", "plain value", "no row"],
)
def test_rows_of_any_class(table: Any, row: Any, lines: list[list[str]]):
    db = Database(table)
    if row is not None:
        with db.write(table) as txn:
            txn[table].insert(row)
    assert Reader(db.snapshot()[table]).lines == lines
