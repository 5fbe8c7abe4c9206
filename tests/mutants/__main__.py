"""``make mutants``: every mutant of the core, or one in ``--every``; writes docs/mutants.md."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from .changes import Mutant, mutants_of
from .children import HANGS, KILLED, LIVES, ROOT, Child
from .covering import SLOW, Covering
from .page import page

CORE = ("store", "commit", "watch", "streams")
BUILD = ROOT / "build" / "mutants"
FAST_S, SLOW_S = 300.0, 900.0
"""Wall-clock time for the tests of one mutant: many times what they take."""


def chosen(every: int, modules: list[str]) -> list[tuple[str, Mutant]]:
    """The mutants to try: all, or an even sample."""
    found = [
        (module, mutant)
        for module in modules
        for mutant in mutants_of((ROOT / "statedb" / "engine" / f"{module}.py").read_text())
    ]
    return found[::every]


def run(work: list[tuple[str, Mutant, list[str]]], jobs: int, limit_s: float) -> dict[tuple[str, int], str]:
    """The outcome of every mutant, by module and number."""
    outcomes: dict[tuple[str, int], str] = {}
    waiting = list(reversed(work))
    running: list[Child] = []
    while waiting or running:
        while waiting and len(running) < jobs:
            module, mutant, tests = waiting.pop()
            running.append(Child(module, mutant, tests, BUILD / f"{module}-{mutant.number}.log", limit_s))
        for child in list(running):
            outcome = child.outcome()
            if outcome is not None:
                running.remove(child)
                outcomes[child.module, child.mutant.number] = outcome
                where = f"{child.module}.py:{child.mutant.line}"
                print(f"{len(outcomes)}/{len(work)} {outcome:6} {where} {child.mutant.name}", flush=True)
        time.sleep(0.05)
    return outcomes


def main() -> int:
    """Measure what the tests cover, try the fast ones on every mutant and the slow ones on those that live on."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="try one mutant in N")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--page", type=Path, help="write the page there, of all modules that were tried")
    parser.add_argument("--keep-covering", action="store_true", help="use what was measured before")
    parser.add_argument("modules", nargs="*", default=list(CORE))
    given = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    covering = BUILD / "covering.json"
    if not (given.keep_covering and covering.exists()):
        subprocess.run([sys.executable, "-m", "tests.mutants.covering", str(covering)], cwd=ROOT, check=False)
    tests = Covering(covering)
    mutants = chosen(given.every, given.modules)
    fast = run(
        [(module, mutant, tests.of(module, mutant.line, slow=False)) for module, mutant in mutants], given.jobs, FAST_S
    )
    left = [(module, mutant) for module, mutant in mutants if fast[module, mutant.number] == LIVES]
    last = [f"tests/statedb/engine/{name}" for name in SLOW]
    slow = run([(m, mutant, [*tests.of(m, mutant.line, slow=True), *last]) for m, mutant in left], given.jobs, SLOW_S)
    outcomes = {**fast, **slow}
    results = [
        {"module": module, "line": mutant.line, "name": mutant.name, "outcome": outcomes[module, mutant.number]}
        for module, mutant in mutants
    ]
    for module in given.modules:
        found = [result for result in results if result["module"] == module]
        (BUILD / f"{module}.json").write_text(json.dumps({"every": given.every, "results": found}, indent=1))
    if given.page:
        files = [BUILD / f"{module}.json" for module in CORE]
        given.page.write_text(page([json.loads(file.read_text()) for file in files if file.exists()]))
    killed = sum([result["outcome"] in (KILLED, HANGS) for result in results])
    print(f"{killed} of {len(results)} mutants killed, {killed / max(1, len(results)):.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
