"""Which of the fast tests run which line of the core, and how long each takes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import coverage
import pytest

ROOT = Path(__file__).parents[2]

ENGINE_TESTS = ROOT / "tests" / "statedb" / "engine"
ALWAYS = "tests/statedb/engine/test_gaps.py"
"""Traces the store itself, so no other tracer sees what it runs: its tests are tried on every mutant."""
QUICK_S = 0.5
SLOW = (
    "test_memory.py",
    "test_injection.py",
    "test_injection_twice.py",
    "test_injection_reads.py",
    "test_state_machine.py",
)
"""For what the fast tests leave alive."""
LEFT_OUT = (
    *SLOW,
    "test_injection_staging.py",
    "test_networks_model.py",
    "test_race.py",
    "test_long_race.py",
    "test_signals.py",
    "test_typing.py",
)


class _Contexts:
    """A pytest plugin: tells the coverage which test runs, and keeps how long each took."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._measured.switch_context(item.nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.add(report.nodeid)


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
    failed = sorted(plugin.failed)
    into.write_text(json.dumps({"tests": tests, "seconds": seconds, "failed": failed, "covered": covered}))
    return int(code)


class Covering:
    """The tests to try on a mutant, the quickest first; those that failed while they were measured are left out."""

    def __init__(self, file: Path) -> None:
        known = json.loads(file.read_text())
        self._tests: list[str] = known["tests"]
        self._seconds: list[float] = known["seconds"]
        self._covered: dict[str, dict[str, list[int]]] = known["covered"]
        self._failed = set(known["failed"])
        self._always = [number for number, name in enumerate(self._tests) if name.startswith(ALWAYS)]

    def of(self, module: str, line: int, *, slow: bool) -> list[str]:
        """Those that run this line: the quick ones, or the others."""
        numbers = {*self._covered.get(module, {}).get(str(line), []), *self._always}
        names = [self._tests[number] for number in sorted(numbers, key=self._seconds.__getitem__)]
        chosen = [name for name in names if name not in self._failed]
        return [name for name in chosen if (self._seconds[self._tests.index(name)] > QUICK_S) == slow]


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(measure(Path(sys.argv[1])))
