"""The rules of CONTRIBUTING.md about size and layout, over every module of the three packages."""

import ast
import importlib
import io
import pkgutil
import re
import statistics
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("statedb", "ingest", "consumers")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])

MEDIAN_LINES_MAX = 8
FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 400
EQUAL_LINES_MAX = 10
HTTP_LINES_MAX = 150

LATE_IMPORTS: dict[str, str] = {
    "consumers": "optional packages",
    "ingest": "optional packages, and sources that only their backend loads",
    "statedb/agent/cli": "start-up time of the command line",
    "statedb/agent/demo": "optional packages",
    "statedb/agent/process/consumers.py": "optional packages",
    "statedb/catalog/wire/_zstd.py": "optional packages",
    "statedb/engine/dump.py": "msgspec is needed by dumps alone",
    "statedb/testing/__init__.py": "hypothesis is optional",
}
"""Where a function may import, and why."""

_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            yield node


def length(node: Function) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def test_functions_are_short():
    lengths = {f"{name_of(path)}: {each.name}": length(each) for path in FILES for each in functions(path)}
    assert statistics.median(lengths.values()) <= MEDIAN_LINES_MAX
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES_MAX} == {}


def test_files_are_short():
    long = {name_of(path) for path in FILES if len(path.read_text().splitlines()) > FILE_LINES_MAX}
    assert long == set()


def code_lines(path: Path) -> int:
    """Lines that are code: no comments, no docstrings, no empty ones."""
    text = path.read_text()
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(lines)


def test_hand_written_http_is_little():
    """It is every module that handles the protocol itself, as docs/design.md says."""
    protocol = re.compile(r"^(?:import|from) (?:h11|httptools|http\.server|uvicorn\.protocols)\b", re.MULTILINE)
    agent = [path for path in FILES if "statedb/agent" in name_of(path)]
    found = [path for path in agent if protocol.search(path.read_text())]
    assert [name_of(path) for path in found] == ["statedb/agent/http/connections.py"]
    lines = sum(map(code_lines, found))
    assert lines < HTTP_LINES_MAX
    assert f"{lines} lines without comments" in (ROOT / "docs/design.md").read_text()


def test_imports_stand_on_top_of_a_file_or_say_why_not():
    unexplained = []
    for path in FILES:
        lines = path.read_text().splitlines()
        for function in functions(path):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom) and not explained(path, lines[node.lineno - 1]):
                    unexplained.append(f"{name_of(path)}:{node.lineno}: {ast.unparse(node)}")
    assert unexplained == []


def explained(path: Path, line: str) -> bool:
    """Whether this file may import late; a file of the agent also says why in the line."""
    name = name_of(path)
    listed = any(name == place or name.startswith(f"{place}/") for place in LATE_IMPORTS)
    return listed and ("  # " in line or not name.startswith("statedb/agent/"))


def test_a_name_is_not_both_a_module_and_a_function_of_a_package():
    both = []
    for path in FILES:
        if path.name == "__init__.py":
            package = importlib.import_module(".".join(path.relative_to(ROOT).parent.parts))
            modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
            named = {*vars(package), *getattr(package, "__all__", ())} & modules
            both += [f"{package.__name__}.{name}" for name in named if callable(getattr(package, name))]
    assert both == []


def test_no_code_is_written_twice():
    seen: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for path in FILES:
        text = path.read_text().splitlines()
        lines = [(number, line.strip()) for number, line in enumerate(text, 1) if line.strip()]
        for first in range(len(lines) - EQUAL_LINES_MAX):
            run = lines[first : first + EQUAL_LINES_MAX + 1]
            seen[tuple(line for _, line in run)].add(f"{name_of(path)}:{run[0][0]}")
    assert [sorted(places) for places in seen.values() if len(places) > 1] == []


TREE = "|".join((*PACKAGES, "tests", "benchmarks", "docs", "examples", "deploy"))
PATH = re.compile(rf"`((?:{TREE})/[\w./-]*)`|\]\((?!https?:)([\w./-]+)(?:#[\w-]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_path_on_a_page_exists(page: Path):
    missing = []
    for match in PATH.finditer(page.read_text()):
        path = ROOT / match[1] if match[1] else page.parent / match[2]
        if not path.exists():
            missing.append(match[1] or match[2])
    assert missing == []


def test_every_file_of_the_way_of_an_endpoint_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text().split("## The path of one endpoint")[1].split("\n## ")[0]
    paths = re.findall(r"`([\w/.]+\.py)`", text)
    assert len(paths) >= 10
    assert [path for path in paths if not (ROOT / path).exists()] == []
