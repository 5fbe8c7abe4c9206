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
Some test must fail then. The quick tests that run the changed line are tried first, then the slow ones, the model and
the tests that raise at every line among them. Survivors that are judged below are not tried again. A kill of an earlier
run counts as long as the code is the same: tests are added and not taken away. This page is made by that command.
"""


def judgements() -> dict[str, dict[str, str]]:
    """Why no test can, or need, notice a mutant, by module and change."""
    return json.loads(JUDGED.read_text()) if JUDGED.exists() else {}


def page(runs: list[dict[str, Any]]) -> str:
    """The page as text. Each run is that of one module: its results, and how many mutants there are."""
    judged = judgements()
    lines = [_HEAD, "| module | at commit | tried | mutants | killed | share |", "|---|---|---|---|---|---|"]
    for run in runs:
        tried = "all" if run["there"] == len(run["results"]) else f"a random sample of {run['there']}"
        lines.append(_row(f"`{run['results'][0]['module']}.py` | {run['commit']} | {tried}", run["results"]))
    results = [result for run in runs for result in run["results"]]
    lines += [_row("all | |", results), "", "## Survivors", "", "| where | change | judgement |", "|---|---|---|"]
    for result in results:
        if result["outcome"] == LIVES:
            why = judged.get(result["module"], {}).get(result["name"], "not judged yet")
            code = result["name"].replace("|", "\\|")
            lines.append(f"| `{result['module']}.py:{result['line']}` | `{code}` | {why} |")
    return "\n".join(lines) + "\n"


def _row(name: str, results: list[dict[str, Any]]) -> str:
    killed = sum([result["outcome"] != LIVES for result in results])
    return f"| {name} | {len(results)} | {killed} | {killed / len(results):.0%} |"
