"""The pages name tests; these must exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
WRITTEN = set(re.findall(r"^def (test_\w+)|^async def (test_\w+)", TESTS, re.MULTILINE))
DEFINED = {name for pair in WRITTEN for name in pair if name}


@pytest.mark.parametrize("page", ["guarantees", "semantics"])
def test_every_test_that_a_page_names_is_there(page: str):
    text = (ROOT / f"docs/{page}.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", text))
    assert len(named) > 15
    assert named <= DEFINED
    files = set(re.findall(r"`(?:tests/\S*?)?(test_\w+\.py)`", text))
    assert files <= {path.name for path in (ROOT / "tests").rglob("test_*.py")}


def test_every_fault_of_the_original_has_its_line():
    source = (Path(__file__).parent / "test_oddities.py").read_text()
    page = (ROOT / "docs/semantics.md").read_text()
    assert [name for name in re.findall(r"^def (test_\w+)", source, re.MULTILINE) if f"`{name}`" not in page] == []
