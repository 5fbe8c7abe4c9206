"""The page of figures is written from figures, and only where it says so."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

# As a program of its own: the package that draws changes how Python imports, and tests have better things to do.
PAGE = """before
<!-- overview -->
<!-- end of overview -->
<!-- figures -->
of yesterday
<!-- end of figures -->
between
<!-- peers -->
<!-- end of peers -->
after
"""
PAGE_OF_MILLION = f"{PAGE}<!-- million -->\n<!-- end of million -->\nlast\n"


def line(workload: str, *figures: tuple[Any, ...], size: str = "full") -> str:
    named = [dict(zip(("name", "value", "unit", "at_most", "at_least"), figure)) for figure in figures]
    head: dict[str, Any] = {"workload": workload, "size": size, "rows": 40000, "figures": named}
    return json.dumps({**head, "python": "3.11.7", "cpus": 2, "commit": "abc1234"})


LINES = [
    line("insert", ("transactions of 1, ratio", 99.0, "x", 9.0)),
    line("insert", ("transactions of 1, ratio", 9.98, "x", 9.0), ("plain dicts", 0.512, "us/row", None)),
    line("insert", ("transactions of 1, ratio", 77.0, "x", 9.0), size="large"),
    line(
        "peers",
        ("get, times as fast as sqlite3", 20.25, "x", None, 21.0),
        ("list, times as fast as immutables", 1.1, "x", None),
    ),
    line("queries", ("unique get, fresh", 0.8, "us", None), ("unique get, 1000 commits old", 1.4, "us", None)),
]


MORE = [
    line("go", ("snapshot, times as fast as the Go statedb", 0.004, "x", None)),
    line("memory", ("ours", 475.5, "B/row", None), ("memory of a row, times as small as sqlite3", 0.55, "x", None)),
]
MILLION = [
    line("go-million", ("insert in 1s, times as fast as the Go statedb", 0.9, "x", None, 1.0), size="large"),
    line("memory", ("ours", 466.6, "B/row", None), size="large"),
    LINES[2],
]


def written(tmp_path: Path, lines: list[str], page: str = PAGE) -> tuple[subprocess.CompletedProcess[str], Path]:
    figures, place = tmp_path / "figures.jsonl", tmp_path / "page.md"
    figures.write_text("\n".join(lines) + "\n")
    place.write_text(page)
    command = [sys.executable, "-W", "error::DeprecationWarning", "-m", "benchmarks.report", figures, "--page", place]
    return subprocess.run(command, capture_output=True, text=True), place


def test_tables_go_where_the_page_says_and_nowhere_else(tmp_path: Path):
    done, page = written(tmp_path, LINES)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    head = "Python 3.11.7, 2 shared cores, 40 000 rows, commit abc1234."
    assert text.startswith(
        f"before\n<!-- overview -->\n{head}\n\n| what you do | it takes | elsewhere |\n|---|---|---|\n"
    )
    assert f"<!-- figures -->\n{head} 6 figures, 2 of them with a target; 2 missed it:\n" in text
    assert "| `insert` | transactions of 1, ratio | 9.98 x | at most 9 |\n" in text
    assert "plain dicts" not in text
    assert "| | sqlite3 | immutables |\n|---|---|---|\n| get | 20.2 |  |\n| list |  | 1.1 |\n" in text
    assert "| `peers` | get, times as fast as sqlite3 | 20.2 x | at least 21 |\n" in text
    assert "yesterday" not in text
    assert "77" not in text
    assert text.endswith("<!-- end of peers -->\nafter\n")
    data = [json.loads(each) for each in (tmp_path / "data" / "performance.jsonl").read_text().splitlines()]
    assert [(run["workload"], run["size"]) for run in data] == [
        ("insert", "full"),
        ("peers", "full"),
        ("queries", "full"),
    ]
    assert (
        "insert,full,plain dicts,0.512,us/row,,,,3.11.7,abc1234\n"
        in (tmp_path / "data" / "performance.csv").read_text()
    )
    again, _ = written(tmp_path, LINES, text)
    assert again.returncode == 0
    assert page.read_text() == text


def test_charts_are_drawings_that_fetch_nothing(tmp_path: Path):
    done, page = written(tmp_path, LINES)
    assert done.returncode == 0, done.stderr
    drawn = sorted((page.parent / "charts").iterdir())
    assert [path.name for path in drawn] == ["age.svg", "limit.svg", "peers.svg"]
    for path in drawn:
        ET.parse(path)
        assert "<script" not in path.read_text()
        assert "href" not in path.read_text()


def test_the_go_original_and_memory_have_a_column_and_charts_where_there_are_figures(tmp_path: Path):
    done, page = written(tmp_path, LINES + MORE)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert "| | sqlite3 | immutables | Go statedb |\n" in text
    assert "| snapshot |  |  | 0.004 |\n| memory of a row | 0.55 |  |  |\n\n![Beside the Go original]" in text
    first = text.partition("<!-- end of overview -->")[0]
    assert "| keep a row in memory | 476 bytes |  |\n" in first
    assert "\n\n![Memory of a row](charts/memory.svg)\n" in first
    drawn = {path.name: path.read_text() for path in (page.parent / "charts").iterdir()}
    assert {*drawn} == {"age.svg", "limit.svg", "peers.svg", "go.svg", "memory.svg"}
    assert "snapshot" in drawn["go.svg"]
    assert "0.004" in drawn["go.svg"]
    assert "snapshot" not in drawn["peers.svg"]
    assert "476" in drawn["memory.svg"]


def test_the_large_size_has_a_section_of_its_own(tmp_path: Path):
    done, page = written(tmp_path, MILLION, PAGE_OF_MILLION)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    head, section = text.split("<!-- million -->\n")
    assert head == PAGE
    assert "| `go-million` | insert in 1s, times as fast as the Go statedb | 0.9 x | at least 1 |\n" in section
    assert "77" not in section
    assert section.endswith("](charts/memory-million.svg)\n<!-- end of million -->\nlast\n")
    assert {path.name for path in (page.parent / "charts").iterdir()} == {"million.svg", "memory-million.svg"}


def test_the_page_in_the_repository_is_what_its_data_say(tmp_path: Path):
    page = Path(__file__).parent.parent / "docs" / "performance.md"
    data = (page.parent / "data" / "performance.jsonl").read_text()
    done, place = written(tmp_path, data.splitlines(), page.read_text())
    assert done.returncode == 0, done.stderr
    assert place.read_text() == page.read_text()
    for name in ("performance.jsonl", "performance.csv"):
        assert (tmp_path / "data" / name).read_text() == (page.parent / "data" / name).read_text()
    assert len(re.findall(r"^\| .* \|$", page.read_text().partition("<!-- end of overview -->")[0], re.MULTILINE)) == 21


@pytest.mark.parametrize(
    ("lines", "page", "told"),
    [
        (["nonsense"], PAGE, "no figures"),
        ([LINES[2]], PAGE, "there are no figures of the full size"),
        (LINES, "no markers", "the page has no place for figures"),
        (MILLION, PAGE, "the page has no place for million"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_leaves_the_page(tmp_path: Path, lines: list[str], page: str, told: str):
    done, place = written(tmp_path, lines, page)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert place.read_text() == page
    assert not (tmp_path / "charts").exists()


def test_the_store_before_its_rewrite_stands_beside_the_one_of_today(tmp_path: Path):
    before = line(
        "before",
        ("get", 300.0, "ns", None),
        ("get, before", 400.0, "ns", None),
        ("get, share of before", 0.75, "x", 0.7),
        ("commits beside a stream", 20.0, "%", 25.0),
    )
    place = "<!-- before -->\n<!-- end of before -->\n"
    done, page = written(tmp_path, [*LINES, before], f"{PAGE}{place}")
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert "| get | 300 ns | 400 ns | 0.75 | 0.7 | missed |\n" in text
    assert "| commits beside a stream | 20 % |  |  | 25 % |  |\n" in text


def test_growth_and_the_store_before_leave_the_other_sections_as_they_are(tmp_path: Path):
    growth = line(
        "growth",
        ("rows: get, 10000", 1500.0, "ns", None),
        ("rows: get, 3000000", 4500.0, "ns", None),
        ("rows: get, largest by smallest", 2.9, "x", 6.0),
        ("rows: get, steepest step", 0.7, "power", 0.6),
    )
    place = "<!-- growth -->\n<!-- end of growth -->\n"
    done, page = written(tmp_path, [growth], f"{PAGE}{place}")
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert text.startswith(PAGE)
    assert "| rows: get | 1.50 µs at 10 000 | 4.50 µs at 3 000 000 | 2.90 | 0.70 | bends |\n" in text
    assert "![Growth: rows](charts/growth-rows.svg)" in text
    assert {path.name for path in (page.parent / "charts").iterdir()} == {"growth-rows.svg"}
