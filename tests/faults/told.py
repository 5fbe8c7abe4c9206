"""The table in docs/monitoring.md of what is told of each fault: ``python -m tests.faults.told``, by a run.

Exit status 1 where a fault that the reader can know of does not have its one line at its beginning and its one line at
its end, a metric, and an alert that promtool lets fire.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from ..apiserver import binary
from ..deploy.alerts import END_MIN, quiet, series
from .__main__ import SITES, say
from .apis import FakeApiSite, KubernetesSite
from .kinds import FAULTS
from .play import play
from .telling import Episode, Line, Log, TellingRun

RULES = Path(__file__).parents[2] / "deploy/alerts.yaml"
BEGIN, END = "<!-- told: written by make faults-told -->", "<!-- told: end -->"
_TABLE = "endpoints"
_GOOD = ("synced", "connecting", "syncing")
_STATES = {
    "stale": ("StatedbSourceStale", "StatedbSourceStaleForLong"),
    "failed": ("StatedbSourceFailed",),
    "connecting": ("StatedbSourceNotRead",),
    "syncing": ("StatedbSourceNotRead",),
}
_OTHERS = {
    "statedb_source_withheld_deletes": "StatedbDeletesWithheld",
    "statedb_source_rejected": "StatedbObjectsRejected",
}
_CHANGED = "statedb_source_state_changed_timestamp_seconds"
_SAMPLE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$", re.MULTILINE)


def main(arguments: Sequence[str] | None = None) -> int:
    """All faults at all sites, once each; at the fake API server those that the real one does not do on demand.

    The flood is left out: to a reader it begins as a cut and ends as one.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.faults.told", description=__doc__)
    parser.add_argument("--fault", action="append", choices=[fault.name for fault in FAULTS])
    parser.add_argument("--backend", action="append", choices=[site.backend for site in SITES])
    parser.add_argument("--page", type=Path, help="the page with the table")
    parser.add_argument("--notes", type=Path, help="a file for what was seen; what stands there already is not tried")
    chosen = parser.parse_args(arguments)
    episodes, problems = _noted(chosen.notes), list[str]()
    tried = {(episode.backend, episode.fault) for episode in episodes}
    for site in SITES:
        if chosen.backend and site.backend not in chosen.backend:
            continue
        try:
            if site is KubernetesSite:
                binary.find()
        except binary.Missing as error:
            problems.append(f"{site.backend}: left out: {error}")
            continue
        for fault in FAULTS:
            is_double = fault.name == "flood" or (site is FakeApiSite and fault.only != (FakeApiSite,))
            is_double |= (site.backend, fault.name) in tried
            if not is_double and (not chosen.fault or fault.name in chosen.fault):
                with Log() as log:
                    found: list[Episode] = []
                    try:
                        cell = play(site, fault, 1, lambda site, cell: TellingRun(site, cell, log, found))  # noqa: B023
                    except AssertionError as error:
                        problems.append(f"{site.backend} {fault.name}: {error}")
                        continue
                if not cell.left_out:
                    found = found or [Episode(backend=site.backend, fault=fault.name)]
                    episodes += found
                    _note(chosen.notes, found)
                    say(f"{site.backend:26}{fault.name:20}{len(found)} episodes")
    problems += [problem for episode in episodes for problem in not_told(episode)]
    problems += alerts_that_differ(episodes)
    if chosen.page is not None:
        _write(chosen.page, "\n".join(table(episodes)))
    for problem in problems:
        say(problem)
    return 1 if problems else 0


def _noted(path: Path | None) -> list[Episode]:
    if path is None or not path.exists():
        return []
    return [msgspec.json.decode(line, type=Episode) for line in path.read_bytes().splitlines()]


def _note(path: Path | None, episodes: Iterable[Episode]) -> None:
    if path is not None:
        with path.open("ab") as file:
            file.writelines(msgspec.json.encode(episode) + b"\n" for episode in episodes)


def not_told(episode: Episode) -> list[str]:
    """What is wrong with the lines about the table that the fault befalls: each reader tells one beginning, one end."""
    lines = [line for line in episode.lines if _TABLE in line.tables.split(", ")]
    told, in_trouble = [""], False
    for line in lines:
        begins, ends = _begins(line), in_trouble and line.after in ("synced", "absent")
        in_trouble = (in_trouble or begins) and not ends
        told[-1] += "B" * begins + "E" * ends
        if line.after == "absent":
            told.append("")  # the next reader
    if set(told) - {"", "BE"} or (episode.during and not any(told)):
        return [f"{episode.backend} {episode.fault}: {[line.text for line in lines] or 'no line'}"]
    if episode.during and not expected_alerts(episode.during):
        return [f"{episode.backend} {episode.fault}: no metric tells of it"]
    if any(told) and episode.before and _changed(episode.before) == _changed(episode.ended):
        return [f"{episode.backend} {episode.fault}: no metric tells afterwards that it was"]
    return []


def _changed(scrape: str) -> set[str]:
    """When the state of each table began."""
    return {sample[0] for sample in _SAMPLE.finditer(scrape) if sample["name"] == _CHANGED}


def _told_afterwards(episode: Episode) -> bool:
    """Whether it was over before a scrape, and is told by when the present state began."""
    return not episode.during and any(map(_begins, episode.lines))


def _begins(line: Line) -> bool:
    """Whether the trouble of a table begins with this line; not where one trouble becomes another."""
    is_late = line.before == line.after == "connecting"
    return is_late or (line.after in ("stale", "failed") and line.before in _GOOD)


def metrics_of(scrape: str) -> list[str]:
    """The samples that tell of trouble, without what the backends differ in."""
    found = []
    for sample in _SAMPLE.finditer(scrape):
        labels, value = sample["labels"] or "", float(sample["value"])
        state = re.search(r'state="(\w+)"', labels)
        if sample["name"] == "statedb_source_state" and state and value and state[1] not in ("synced", "absent"):
            found.append(f'statedb_source_state{{state="{state[1]}"}} 1')
        elif sample["name"] in _OTHERS and value:
            found.append(f"{sample['name']} {value:.0f}")
        elif sample["name"] == "statedb_ready" and not value:
            found.append("statedb_ready 0")
    return list(dict.fromkeys(found))


def expected_alerts(scrape: str) -> list[str]:
    """The alerts that fire where it stays as in this scrape."""
    alerts: dict[str, None] = {}
    for sample in metrics_of(scrape):
        state = re.search(r'state="(\w+)"', sample)
        if state:
            alerts |= dict.fromkeys(_STATES[state[1]])
        elif sample == "statedb_ready 0":
            alerts["StatedbAgentNotReady"] = None
        else:
            alerts[_OTHERS[sample.partition(" ")[0]]] = None
    return list(alerts)


def alerts_that_differ(episodes: Iterable[Episode]) -> list[str]:
    """What promtool finds: which alerts fire on what was scraped during a fault, and that none does after it."""
    cases = []
    first = {(each.backend, each.fault): each for each in reversed(list(episodes))}
    for number, each in enumerate(first.values()):
        if each.during:
            name = f"{number} {each.backend} {each.fault}"
            cases.append(_case(f"{name} during", each.during, expected_alerts(each.during)))
            cases.append(_case(f"{name} after", each.ended, []))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "told.test.yaml"
        file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": cases}))
        run = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    return [] if run.returncode == 0 else [run.stdout + run.stderr]


def _case(name: str, scrape: str, alerts: Sequence[str]) -> dict[str, object]:
    rules = RULES.read_text()
    samples = {key: value for key, value in quiet(scrape).items() if key[0] in rules}
    seen = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(alerts)]
    firing = f'max by (alertname) (max_over_time(ALERTS{{alertstate="firing"}}[{END_MIN}m]))'
    return {
        "name": name,
        "interval": "1m",
        "input_series": series(samples, None),
        "promql_expr_test": [{"expr": firing, "eval_time": f"{END_MIN}m", "exp_samples": seen}],
    }


def table(episodes: Iterable[Episode]) -> list[str]:
    """A row for each fault and for all backends at which the same is told of it."""
    rows: dict[tuple[str, str, str, str], list[str]] = {}
    about = {fault.name: fault.about for fault in FAULTS}
    by_fault = sorted(episodes, key=lambda each: list(about).index(each.fault))
    first = dict[tuple[str, str], Episode]()
    for each in by_fault:
        first.setdefault((each.fault, each.backend), each)
    for (fault, backend), each in first.items():
        metrics, alerts = _quoted(metrics_of(each.during)), _quoted(expected_alerts(each.during))
        if _told_afterwards(each):
            metrics, alerts = f"afterwards `{_CHANGED}`", "if again and again: `StatedbSourceFlaps`"
        cells = _lines(each), metrics, alerts
        rows.setdefault((about[fault], *cells), []).append(backend)
    head = [
        "| fault | where | lines of the log | metrics meanwhile | alerts, where it stays so |",
        "|---|---|---|---|---|",
    ]
    return head + [
        f"| {fault} | {', '.join(backends)} | {lines} | {metrics} | {alerts} |"
        for (fault, lines, metrics, alerts), backends in rows.items()
    ]


def _lines(episode: Episode) -> str:
    lines = [line for line in episode.lines if _TABLE in line.tables.split(", ")]
    shown = [
        f"`{line.before} -> {line.after}`" if line.before != line.after else "`still connecting`" for line in lines
    ]
    return ", ".join(shown) or "none: the tables follow"


def _quoted(words: Iterable[str]) -> str:
    return ", ".join([f"`{word}`" for word in words]) or "–"


def _write(page: Path, text: str) -> None:
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    sys.exit(main())
