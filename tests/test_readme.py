"""What the README and the pages promise: snippets run and print what they say, links lead somewhere."""

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\((?P<target>[^)# ]+)(?:#[^)]*)?\)(?!\()")
PRINTS = re.compile(r"^\s*print\(.*\)  # (?P<told>.*)$")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


HOWTOS = DOCS / "how-to"
"""Their snippets are run by `tests/statedb/agent/test_howtos.py`, in an environment with the wheel."""
WITH_SNIPPETS = [page for page in PAGES if BLOCK.search(page.read_text()) and page.parent != HOWTOS]


def test_there_are_snippets():
    assert {page.name for page in WITH_SNIPPETS} >= {"README.md", "guide.md"}


@pytest.mark.parametrize("page", WITH_SNIPPETS, ids=name_of)
def test_snippets_print_what_their_comments_say(page: Path, monkeypatch: pytest.MonkeyPatch):
    """The snippets of a page run one after the other, in one namespace."""
    monkeypatch.chdir(ROOT)
    text = page.read_text()
    namespace = {"__name__": "snippet"}
    for found in BLOCK.finditer(text):
        promised = [each["told"] for line in found["code"].splitlines() if (each := PRINTS.match(line))]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(found["code"], f"{page.name}:{text[: found.start()].count(chr(10)) + 1}", "exec"), namespace)
        assert printed.getvalue().splitlines() == promised


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files(page: Path):
    for found in LINK.finditer(BLOCK.sub("", page.read_text())):
        target = found["target"]
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_first_screen_says_how_to_try_it():
    screen = (ROOT / "README.md").read_text().splitlines()[:60]
    for command in ("make demo", "make test"):
        assert any(line.strip().startswith(command) for line in screen), command
