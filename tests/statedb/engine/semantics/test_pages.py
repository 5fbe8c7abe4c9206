"""The pages name tests; these must exist, in the files where the pages say they are."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
FILES: dict[str, set[str]] = {}
"""File name -> the tests in it; two files of one name count as one."""
for path in (ROOT / "tests").rglob("test_*.py"):
    FILES.setdefault(path.name, set()).update(re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE))
DEFINED = set().union(*FILES.values())
NAMED = re.compile(r"`(?:tests/\S*?)?(test_\w+?)(\.py)?`")


def page(name: str) -> str:
    return (ROOT / f"docs/{name}.md").read_text()


@pytest.mark.parametrize("name", ["guarantees", "semantics", "informers"])
def test_every_test_that_a_page_names_is_there(name: str):
    named = {test for test, suffix in NAMED.findall(page(name)) if not suffix}
    assert len(named) > 15
    assert named <= DEFINED, f"no such tests: {sorted(named - DEFINED)}"
    files = {test + suffix for test, suffix in NAMED.findall(page(name)) if suffix}
    assert files <= FILES.keys(), f"no such files: {sorted(files - FILES.keys())}"


def test_every_test_stands_in_the_file_that_its_row_or_its_section_names():
    wrong: list[str] = []
    for section in re.split(r"^## ", page("semantics"), flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        here: set[str] = FILES["".join(NAMED.findall(title)[0])] if NAMED.search(title) else set()
        for row in body.splitlines():
            waiting: list[str] = []  # for the file in brackets behind them: the last is there, the others may be here
            for test, suffix in NAMED.findall(row):
                if not suffix:
                    waiting.append(test)
                    continue
                there = FILES[test + suffix]
                wrong += [each for each in waiting if each not in there and (each is waiting[-1] or each not in here)]
                waiting = []
            wrong += [each for each in waiting if here and each not in here]
    assert wrong == []


def test_every_row_of_behaviour_names_a_test_or_says_that_there_is_none():
    rows = [row for row in page("semantics").splitlines() if row.startswith("| ") and row.count(" | ") == 2]
    assert len(rows) > 80
    bare = [row for row in rows if not NAMED.search(row) and not row.endswith(("| none |", "| test |"))]
    assert bare == []


def test_every_fault_of_the_original_has_its_line():
    tests = FILES["test_oddities.py"]
    section = page("semantics").partition("## Faults of the original")[2].partition("\n## ")[0]
    assert {test for test, _ in NAMED.findall(section)} - {"test_oddities"} == tests
