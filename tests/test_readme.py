"""What the README and the pages promise: snippets run and print what they say, links lead somewhere."""

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\((?P<target>[^)# ]+)(?:#[^)]*)?\)(?!\()")
PRINTS = re.compile(r"^\s*print\(.*\)  # (?P<told>.*)$")

SNIPPETS = [
    pytest.param(found["code"], id=f"{page.name}:{page.read_text()[: found.start()].count(chr(10)) + 1}")
    for page in PAGES
    for found in BLOCK.finditer(page.read_text())
]


def test_there_are_snippets():
    assert SNIPPETS


@pytest.mark.parametrize("code", SNIPPETS)
def test_a_snippet_prints_what_its_comments_say(code: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    promised = [found["told"] for line in code.splitlines() if (found := PRINTS.match(line))]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "snippet", "exec"), {"__name__": "snippet"})
    assert printed.getvalue().splitlines() == promised


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path):
    for found in LINK.finditer(BLOCK.sub("", page.read_text())):
        target = found["target"]
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_first_screen_says_how_to_try_it():
    screen = (ROOT / "README.md").read_text().splitlines()[:60]
    for command in ("make demo", "make test"):
        assert any(line.strip().startswith(command) for line in screen), command
