"""A quiet hour of an agent as series for promtool, and the same with a fault in it.

The series come from collectors of real agents, so that a rule about a metric that is not there never fires here either.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client.openmetrics.parser import text_string_to_metric_families

FAULT_FROM_MIN, FAULT_TO_MIN, END_MIN = 10, 50, 80

JOB = {"job": "statedb-agent", "instance": "node1:9975"}
_CLOCKS = ("statedb_source_answered_timestamp_seconds",)
_BUSY = ("statedb_source_events_total", "statedb_table_commits_total", "process_cpu_seconds_total")

Labels = tuple[tuple[str, str], ...]


class Fault(msgspec.Struct, frozen=True):
    """What an alert is about: the series of ``metric`` whose labels include ``labels`` are as told while it lasts.

    ``values``: in promtool's notation, for the 40 minutes of the fault; ``also`` are other alerts that it sets off.
    """

    metric: str
    values: str
    labels: Mapping[str, str] = {}
    also: tuple[str, ...] = ()


def quiet(text: str) -> dict[tuple[str, Labels], tuple[float, float]]:
    """By name and labels: the value of each sample of a scrape, and how it grows in a minute of a quiet hour."""
    found: dict[tuple[str, Labels], tuple[float, float]] = {("up", tuple(sorted(JOB.items()))): (1, 0)}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(sorted((dict(sample.labels) | JOB).items()))
            grows = 60 if sample.name in _CLOCKS else 1 if sample.name in _BUSY else 0
            found[sample.name, labels] = (0 if sample.name in _CLOCKS else sample.value, grows)
    return found


def series(samples: Mapping[tuple[str, Labels], tuple[float, float]], fault: Fault | None) -> list[dict[str, str]]:
    """For promtool, a value a minute."""
    return [
        {"series": f"{name}{{{', '.join(f'{k}={json.dumps(v)}' for k, v in labels)}}}", "values": values}
        for (name, labels), (value, grows) in samples.items()
        for values in [_values(name, dict(labels), value, grows, fault)]
    ]


def _values(name: str, labels: Mapping[str, str], value: float, grows: float, fault: Fault | None) -> str:
    if fault is None or name != fault.metric or not fault.labels.items() <= labels.items():
        return f"{value}+{grows}x{END_MIN}"
    after = value + grows * FAULT_TO_MIN
    left = END_MIN - FAULT_TO_MIN
    return f"{value}+{grows}x{FAULT_FROM_MIN - 1} {fault.values} {after}+{grows}x{left}"


def unit_tests(rules: Path, samples: Any, faults: Mapping[str, Fault]) -> str:
    """A file for ``promtool test rules``: one test for each fault and one for the quiet hour, which has all series."""
    cases = [_case("quiet", series(samples, None), (), "ALERTS")]
    text = rules.read_text()
    asked = {key: value for key, value in samples.items() if key[0] in text}
    for alert, fault in faults.items():
        firing = 'ALERTS{alertstate="firing"}'
        cases.append(_case(alert, series(asked, fault), sorted({alert, *fault.also}), firing))
    return json.dumps({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": cases})


def _case(name: str, given: list[dict[str, str]], alerts: Iterable[str], selector: str) -> dict[str, Any]:
    seen = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts]
    ever = f"max by (alertname) (max_over_time({selector}[{END_MIN}m]))"
    return {
        "name": name,
        "interval": "1m",
        "input_series": given,
        "promql_expr_test": [
            {"expr": ever, "eval_time": f"{END_MIN}m", "exp_samples": seen},
            {"expr": "ALERTS", "eval_time": f"{END_MIN}m", "exp_samples": []},
        ],
    }
