"""docs/mutants.md: how many mutants are killed, and every survivor with its judgement."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .children import LIVES

JUDGED = Path(__file__).with_name("judged.json")
"""Survivors by module and change: why no test can, or need, notice them. Written by hand."""

_HEAD = """# Mutants of the core

`make mutants` changes one thing at a time in the core of the store (`store.py`, `commit.py`, `watch.py`,
`streams.py`): a comparison, a condition, a number, a result, an exception handler, or it leaves a statement out.
Some test must fail then. The fast tests that run the changed line are tried first, then the model and the tests that
raise at every line. This page is made by that command.
"""


def page(runs: list[dict[str, Any]]) -> str:
    """The page as text. Each run is that of one module: its results, and one mutant in how many was tried."""
    judged = json.loads(JUDGED.read_text()) if JUDGED.exists() else {}
    lines = [_HEAD, "| module | tried | mutants | killed | share |", "|---|---|---|---|---|"]
    for run in runs:
        tried = "all" if run["every"] == 1 else f"one in {run['every']}, evenly"
        lines.append(_row(f"`{run['results'][0]['module']}.py` | {tried}", run["results"]))
    results = [result for run in runs for result in run["results"]]
    lines += [_row("all |", results), "", "## Survivors", "", "| where | change | judgement |", "|---|---|---|"]
    for result in results:
        if result["outcome"] == LIVES:
            why = judged.get(result["module"], {}).get(result["name"], "not judged yet")
            code = result["name"].replace("|", "\\|")
            lines.append(f"| `{result['module']}.py:{result['line']}` | `{code}` | {why} |")
    return "\n".join(lines) + "\n"


def _row(name: str, results: list[dict[str, Any]]) -> str:
    killed = sum([result["outcome"] != LIVES for result in results])
    return f"| {name} | {len(results)} | {killed} | {killed / len(results):.0%} |"
