"""Users' code passes mypy --strict, and misuse does not."""

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[3]
ERROR = re.compile(r"tests/typing/(?P<file>\w+)\.py:(?P<line>\d+): error: .* \[(?P<code>[a-z-]+)\]$")
EXPECT = "# expect: "


def expected(file: str) -> dict[tuple[str, int], list[str]]:
    """The codes that the comments of a file ask for, by line."""
    lines = (ROOT / f"tests/typing/{file}.py").read_text().splitlines()
    return {
        (file, number): sorted(line.rpartition(EXPECT)[2].split(", "))
        for number, line in enumerate(lines, 1)
        if EXPECT in line
    }


def test_right_use_passes_and_misuse_is_found():
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context", "--no-pretty"]
    files = ["tests/typing/must_pass.py", "tests/typing/must_fail.py"]
    done = subprocess.run(
        [*command, "--cache-dir", ".mypy_cache", *files], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found: dict[tuple[str, int], list[str]] = defaultdict(list)
    for line in done.stdout.splitlines():
        if " error: " in line:
            match = ERROR.match(line)
            assert match is not None, line
            found[match["file"], int(match["line"])].append(match["code"])
    wanted = expected("must_pass") | expected("must_fail")
    assert len(wanted) > 50
    assert {place: sorted(codes) for place, codes in found.items()} == wanted, done.stdout + done.stderr
