"""Users' code passes mypy --strict, and misuse does not."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"tests/typing/(?P<file>\w+)\.py:(?P<line>\d+): error: .* \[(?P<code>[a-z-]+)\]$")


def test_right_use_passes_and_misuse_is_found():
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context"]
    files = ["tests/typing/must_pass.py", "tests/typing/must_fail.py"]
    done = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True, check=False)
    found = [match.groupdict() for line in done.stdout.splitlines() if (match := LINE.match(line))]
    assert [each for each in found if each["file"] == "must_pass"] == [], done.stdout + done.stderr
    lines = (ROOT / "tests/typing/must_fail.py").read_text().splitlines()
    expected = {
        number: line.rpartition("# expect: ")[2] for number, line in enumerate(lines, 1) if "# expect: " in line
    }
    assert {int(each["line"]): each["code"] for each in found} == expected, done.stdout + done.stderr
