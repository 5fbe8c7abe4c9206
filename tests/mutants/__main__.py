"""``make mutants``: every mutant of the core, or a random sample; writes docs/mutants.md."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TypeAlias

from .changes import Mutant, mutants_of
from .children import HANGS, KILLED, LIVES, ROOT, Child
from .covering import FIRST, LAST, QUICK, Covering
from .page import judgements, page

CORE = ("store", "commit", "watch", "streams")
BUILD = ROOT / "build" / "mutants"
LIMIT_S = {FIRST: (60, 300), QUICK: (120, 900), LAST: (900, 3600)}
"""Wall-clock time for one test of a stage, and for all that are tried on a mutant: many times what they take."""

Outcomes: TypeAlias = dict[tuple[str, int], str]
"""By module and number of the mutant."""


def chosen(modules: list[str], sample: int | None) -> list[tuple[str, Mutant]]:
    """The mutants to try: all, or of each module so many at random, the same ones each time."""
    found: list[tuple[str, Mutant]] = []
    for module in modules:
        mutants = mutants_of((ROOT / "statedb" / "engine" / f"{module}.py").read_text())
        if sample is not None and sample < len(mutants):
            mutants = random.Random(module).sample(mutants, sample)
        found += [(module, mutant) for mutant in sorted(mutants, key=lambda mutant: mutant.number)]
    return found


def before(mutants: list[tuple[str, Mutant]]) -> Outcomes:
    """What came of these mutants in the last run."""
    found: Outcomes = {}
    for module in dict.fromkeys([module for module, _ in mutants]):
        file = BUILD / f"{module}.json"
        results = json.loads(file.read_text())["results"] if file.exists() else []
        outcome_of: dict[tuple[int, str], str] = {}
        for result in results:  # of several on one line that read the same, one that lives on has all tried again
            where = result["line"], result["name"]
            outcome_of[where] = LIVES if outcome_of.get(where) == LIVES else result["outcome"]
        for of, mutant in mutants:
            if of == module and (mutant.line, mutant.name) in outcome_of:
                found[module, mutant.number] = outcome_of[mutant.line, mutant.name]
    return found


def run(work: list[tuple[str, Mutant]], tests: Covering, stage: str, jobs: int) -> Outcomes:
    """The outcome of every mutant in one stage."""
    outcomes: Outcomes = {}
    waiting = list(reversed(work))
    running: list[Child] = []
    while waiting or running:
        while waiting and len(running) < jobs:
            module, mutant = waiting.pop()
            log = BUILD / f"{module}-{mutant.number}.log"
            running.append(Child(module, mutant, tests.of(module, mutant.line, stage), log, LIMIT_S[stage]))
        for child in list(running):
            outcome = child.outcome()
            if outcome is not None:
                running.remove(child)
                outcomes[child.module, child.mutant.number] = outcome
                killer = child.killer()
                if killer is not None:
                    tests.learn(child.module, killer)
                where = f"{child.module}.py:{child.mutant.line}"
                told = f"{outcome:6} {where} {child.mutant.name}" + (f" [{killer}]" if killer else "")
                print(f"{stage} {len(outcomes)}/{len(work)} {told}", flush=True)
        time.sleep(0.05)
    return outcomes


def outcomes_of(
    mutants: list[tuple[str, Mutant]], known: Outcomes, tests: Covering, jobs: int, stages: tuple[str, ...]
) -> Outcomes:
    """Stage after stage for what lives on. Those judged as survivors are not tried: they count as such."""
    judged = judgements()
    outcomes = {(module, mutant.number): known.get((module, mutant.number), LIVES) for module, mutant in mutants}
    left = [(module, mutant) for module, mutant in mutants if outcomes[module, mutant.number] == LIVES]
    left = [(module, mutant) for module, mutant in left if mutant.name not in judged.get(module, {})]
    for stage in stages:
        outcomes.update(run(left, tests, stage, jobs))
        left = [(module, mutant) for module, mutant in left if outcomes[module, mutant.number] == LIVES]
    return outcomes


def commit() -> str:
    """The commit that is tested, for the page."""
    return subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()


def main() -> int:
    """Measure what the tests cover, then try them on the mutants."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--sample", type=int, metavar="N", help="try N mutants of each module, chosen at random")
    parser.add_argument("--jobs", type=int, default=4, help="more than cores: some mutants only wait")
    parser.add_argument("--quick", action="store_true", help="leave the slow tests out")
    parser.add_argument("--slow", action="store_true", help="only the slow tests, on what lived on in the last run")
    parser.add_argument("--again", action="store_true", help="all tests, on what lived on: when tests were added")
    parser.add_argument("--page", type=Path, help="write the page there, of all modules that were tried")
    parser.add_argument("--keep-covering", action="store_true", help="use what was measured before")
    parser.add_argument("modules", nargs="*", default=list(CORE))
    given = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    covering = BUILD / "covering.json"
    if not (given.keep_covering and covering.exists()):
        subprocess.run([sys.executable, "-m", "tests.mutants.covering", str(covering)], cwd=ROOT, check=False)
    tests = Covering(covering)
    mutants = chosen(given.modules, given.sample)
    stages = (FIRST, QUICK) if given.quick else (LAST,) if given.slow else (FIRST, QUICK, LAST)
    outcomes = outcomes_of(mutants, before(mutants) if given.slow or given.again else {}, tests, given.jobs, stages)
    results = [
        {"module": module, "line": mutant.line, "name": mutant.name, "outcome": outcomes[module, mutant.number]}
        for module, mutant in mutants
    ]
    for module in given.modules:
        found = [result for result in results if result["module"] == module]
        there = len(mutants_of((ROOT / "statedb" / "engine" / f"{module}.py").read_text()))
        told = {"commit": commit(), "there": there, "results": found}
        (BUILD / f"{module}.json").write_text(json.dumps(told, indent=1))
    if given.page:
        files = [BUILD / f"{module}.json" for module in CORE]
        given.page.write_text(page([json.loads(file.read_text()) for file in files if file.exists()]))
    killed = sum([result["outcome"] in (KILLED, HANGS) for result in results])
    print(f"{killed} of {len(results)} mutants killed, {killed / max(1, len(results)):.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
