"""The long race with one mend of the store undone at a time: it must fail each time.

    python -m tests.statedb.engine.undone --seconds 60

Each mend is undone in a copy of the package, by a change of its text. Where chance must help, a run may pass: then it
is raced again, up to ``--times``.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
_AT = re.compile(r"after (\d+) checked reads")
_HANGS_S = 90.0
"""What a race may take longer than it was given: threads that hang are waited for, for a minute."""


class Mend(NamedTuple):
    """What was mended, and what to put in the place of what to have the fault again."""

    what: str
    changes: tuple[tuple[str, str, str], ...]
    """Module, text as it is, text as it was."""


MENDS = (
    Mend(
        "a transaction has one outcome, decided once",
        (
            ("commit", "if self.outcome.setdefault(DECISION, COMMITTED) is not COMMITTED:", "if self.closed:"),
            ("commit", "        self.closed = COMMITTED\n        parts = self.parts\n", "        parts = self.parts\n"),
            (
                "commit",
                "            wake_all(self._wakers)\n\n",
                "            wake_all(self._wakers)\n        self.closed = COMMITTED\n\n",
            ),
            ("transaction", "if not plan.decide(ABORTED) or", "if plan.closed or"),
            (
                "transaction",
                "            return\n        # A thread may",
                "            return\n        plan.closed = ABORTED\n        # A thread may",
            ),
        ),
    ),
    Mend(
        "of several aborts one frees the tables",
        (("transaction", " or plan.outcome.setdefault(RELEASER, call) is not call:", ":"),),
    ),
    Mend(
        "an abort replaces what the committing thread looks at, and does not empty it",
        (
            (
                "transaction",
                "        self._writers = {}\n        self._pins",
                "        self._writers.clear()\n        self._pins",
            ),
            (
                "transaction",
                "for writer in list(self._writers.values()):\n                source",
                "for writer in self._writers.values():\n                source",
            ),
        ),
    ),
    Mend(
        "a table of a transaction that is aborted at this moment is told as closed",
        (("transaction", "pin = self._pins.get(table)", "pin = self._pins[table]"),),
    ),
    Mend(
        "the version of a list of keys is raised before a key goes",
        (("bucket", "        self.version += 1\n        self.discard(key)\n", "        self.discard(key)\n"),),
    ),
    Mend(
        "the version of a list of keys is raised after a key went",
        (("bucket", "        self.discard(key)\n        self.version += 1\n", "        self.discard(key)\n"),),
    ),
    Mend(
        "a finalizer or handler that interrupts a reader does not wait for the turn of another list",
        (
            ("turn", "return is_outermost and self._wait(mine)", "return self._wait(mine)"),
            ("turn", "_WAIT_S = 1.0", "_WAIT_S = 1e6"),
        ),
    ),
)


def undone(mend: Mend, folder: Path) -> None:
    """A copy of the package without this mend. Raises AssertionError where the text is not there exactly once."""
    shutil.copytree(ROOT / "statedb", folder / "statedb", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(__file__).with_name("long_race.py"), folder)
    for module, now, before in mend.changes:
        file = folder / "statedb" / "engine" / f"{module}.py"
        text = file.read_text()
        assert now in text, f"{module}.py no longer has {now!r}"
        file.write_text(text.replace(now, before))


def raced(folder: Path, seconds: float) -> str | None:
    """How the race failed; None where it passed."""
    command = [sys.executable, str(folder / "long_race.py"), "--reads", "10000000", "--seconds", str(seconds)]
    try:
        run = subprocess.run(
            command,
            cwd=folder,
            env={"PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            timeout=seconds + _HANGS_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "the main thread hangs"
    if run.returncode == 0:
        return None
    found = _AT.findall(run.stderr)
    last = run.stderr.strip().splitlines()[-1]
    return f"after {min(map(int, found))} reads: {last}" if found else f"at the end: {last}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("words", nargs="*", help="only the mends with one of these words in what they are")
    given = parser.parse_args()
    passed = 0
    for mend in MENDS:
        if given.words and not any(word in mend.what for word in given.words):
            continue
        begun, how = time.monotonic(), None
        with tempfile.TemporaryDirectory() as name:
            undone(mend, Path(name))
            for _ in range(given.times):
                how = how or raced(Path(name), given.seconds)
        passed += how is None
        print(f"{mend.what}\n    {how or 'PASSES'} ({time.monotonic() - begun:.0f} s)", flush=True)
    return 1 if passed else 0


if __name__ == "__main__":
    sys.exit(main())
