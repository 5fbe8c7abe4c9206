"""Which of the fast tests run which line of the core, and how long each takes."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import coverage
import pytest

ROOT = Path(__file__).parents[2]

ENGINE_TESTS = ROOT / "tests" / "statedb" / "engine"
ALWAYS = (
    "tests/statedb/engine/test_gaps.py",
    "tests/statedb/engine/test_one_outcome.py",
    "tests/statedb/engine/test_torn_commits.py",
)
"""They trace the store themselves, so no other tracer sees what they run: their tests are tried on every mutant."""
QUICK_S = 0.5
SLOW_S = 5.0
"""About how long a file of the slow ones takes until it fails."""
LIKELY = 20
FIRST, QUICK, LAST = "first", "quick", "last"
"""The stages: a few likely tests, for collecting hundreds takes longer than running them; all quick ones; the slow
ones."""
SLOW = (
    "test_memory.py",
    "test_injection.py",
    "test_injection_twice.py",
    "test_injection_reads.py",
    "test_state_machine.py",
)
"""For what the quick tests leave alive."""
LEFT_OUT = (
    *SLOW,
    "test_injection_staging.py",
    "test_networks_model.py",
    "test_race.py",
    "test_long_race.py",
    "test_signals.py",
    "test_typing.py",
)


class _Outcomes:
    """A pytest plugin: keeps how long each test took, and which ones failed."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.add(report.nodeid)


class _Contexts(_Outcomes):
    """Tells the coverage which test runs, too."""

    def __init__(self, measured: coverage.Coverage) -> None:
        super().__init__()
        self._measured = measured

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._measured.switch_context(item.nodeid)


def measure(into: Path) -> int:
    """Run all fast tests once, in this process, and write down what they cover. Gives pytest's exit code."""
    modules = ROOT / "statedb" / "engine"
    measured = coverage.Coverage(include=[f"{modules}/*"], data_file=None)
    plugin = _Contexts(measured)
    measured.start()
    tests = ["tests/statedb/engine", "tests/regressions"]
    ignored = [f"--ignore=tests/statedb/engine/{name}" for name in LEFT_OUT]
    code = pytest.main(["-p", "no:cacheprovider", "-p", "no:xdist", *ignored, *tests], plugins=[plugin])
    measured.stop()
    data = measured.get_data()
    tests = list(plugin.seconds)
    number_of = {name: number for number, name in enumerate(tests)}
    covered = {
        Path(file).stem: {
            str(line): [number_of[name] for name in names if name in number_of]
            for line, names in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
    }
    seconds = list(plugin.seconds.values())
    failed = _failing(sorted(plugin.failed))
    into.write_text(json.dumps({"tests": tests, "seconds": seconds, "failed": failed, "covered": covered}))
    return int(code)


def _failing(tests: list[str]) -> list[str]:
    """Which of these fail without the tracer too. An exception thrown into a coroutine is lost to it on Python 3.11."""
    if not tests:
        return []
    plugin = _Outcomes()
    pytest.main(["-p", "no:cacheprovider", "-p", "no:xdist", *tests], plugins=[plugin])
    return sorted(plugin.failed)


class Covering:
    """The tests to try on a mutant, in stages; those that failed while they were measured are left out.

    Those that killed other mutants of the module come first, then the quickest.
    """

    def __init__(self, file: Path) -> None:
        known = json.loads(file.read_text())
        self._failed = set(known["failed"])
        self._tests: list[str] = known["tests"]
        self._seconds: dict[str, float] = dict(zip(self._tests, known["seconds"]))
        self._covered: dict[str, dict[str, list[int]]] = known["covered"]
        self._always = [name for name in self._tests if name.startswith(ALWAYS)]
        self._kills: Counter[tuple[str, str]] = Counter()

    def learn(self, module: str, killer: str) -> None:
        """Note that this test killed a mutant of the module."""
        self._kills[module, killer] += 1

    def of(self, module: str, line: int, stage: str) -> list[str]:
        """Those of one stage that run this line."""
        covering = [self._tests[number] for number in self._covered.get(module, {}).get(str(line), [])]
        names = [name for name in dict.fromkeys([*covering, *self._always]) if name not in self._failed]
        names.sort(key=lambda name: (-self._kills[module, name], self._seconds[name]))
        quick = [name for name in names if self._seconds[name] <= QUICK_S]
        if stage == FIRST:
            return quick[:LIKELY]
        if stage == QUICK:
            return quick  # the likely ones again: which they are has changed with every kill since
        slow = [*names, *[f"tests/statedb/engine/{name}" for name in SLOW]]
        slow = [name for name in slow if self._seconds.get(name, SLOW_S) > QUICK_S]
        return sorted(slow, key=lambda name: (-self._kills_of(module, name), self._seconds.get(name, SLOW_S)))

    def _kills_of(self, module: str, name: str) -> int:
        """Of a test, or of all tests of a file."""
        found = [kills for (where, killer), kills in self._kills.items() if where == module and killer.startswith(name)]
        return sum(found)


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(measure(Path(sys.argv[1])))
