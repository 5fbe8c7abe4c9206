"""Runs as docs/scale.md: what was measured between its markers; all else on the page is written by people."""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..report import with_block
from .mode import Result
from .probes import Sample

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
_WINDOW_S = 5.0
_EXTRAPOLATED = (1_000, 5_000)
_MOST = 1.05


def write(crd: Result, mesh: Result, limited: Sequence[Result], surroundings: str) -> None:
    """Put tables and charts in their places."""
    page = PAGE.read_text()
    page = with_block(page, "run", surroundings + "\n\n" + table_of_plan(crd))
    page = with_block(page, "modes", table_of_modes(crd, mesh))
    page = with_block(page, "nodes", table_of_nodes(crd, mesh))
    page = with_block(page, "limits", table_of_limits([*limited, mesh]))
    PAGE.write_text(page)
    for name, chart in charts(crd, mesh, limited).items():
        path = PAGE.parent / "charts" / name
        path.write_text(chart)


# -- tables -----------------------------------------------------------------------------------------------------------


def table_of_plan(result: Result) -> str:
    """How large it was, beside the CFP."""
    plan = result.plan
    rows = [
        ("nodes", plan.nodes, "1 000"),
        ("agents (processes)", plan.agents, "1 000"),
        ("namespaces", plan.namespaces, "1 000"),
        ("deployments, identities, services", plan.deployments, "4 000"),
        ("pods", plan.pods, "40 000"),
        ("pods a second", f"{plan.pods_a_second:g}", "100"),
        ("cycles of creation and deletion", plan.cycles, "3"),
    ]
    return table(("", "here", "CFP"), [tuple(map(str, row)) for row in rows])


def table_of_modes(crd: Result, mesh: Result) -> str:
    """Both modes side by side."""
    rows = [
        ("watches open for offloaded kinds", whole(crd.offloaded_watches), whole(mesh.offloaded_watches)),
        ("watches open in all", whole(sum(crd.watches.values())), whole(sum(mesh.watches.values()))),
        ("watch events sent, offloaded kinds", whole(crd.offloaded_events), whole(mesh.offloaded_events)),
        ("API server, CPU", cores(crd.server_cpu_s / crd.seconds), cores(mesh.server_cpu_s / mesh.seconds)),
        ("API server, resident memory, p50", _megabytes(crd, "API server"), _megabytes(mesh, "API server")),
        ("API server, writes, p50 / p99", _latency(crd), _latency(mesh)),
        ("publisher, CPU p50 / p99", "", _quantiles(mesh, "publisher")),
        ("publisher, resident memory, p50", "", _megabytes(mesh, "publisher")),
        ("its etcd, CPU p50 / p99", "", _quantiles(mesh, "mesh etcd")),
        ("its etcd, resident memory, p50", "", _megabytes(mesh, "mesh etcd")),
        ("an agent, CPU, mean", cores(_mean_of_agents(crd)), cores(_mean_of_agents(mesh))),
        ("an agent, resident memory, p50", _megabytes(crd, "agent 0"), _megabytes(mesh, "agent 0")),
        ("pod known to another agent, p50", _delay(crd.delays.p50), _delay(mesh.delays.p50)),
        ("p90", _delay(crd.delays.p90), _delay(mesh.delays.p90)),
        ("p99", _delay(crd.delays.p99), _delay(mesh.delays.p99)),
        ("p50, from the API server's yes on", _delay(crd.delays.accepted_p50), _delay(mesh.delays.accepted_p50)),
        ("pods that an agent did not see", whole(crd.delays.unseen), whole(mesh.delays.unseen)),
        ("addresses left after all was deleted", whole(crd.left_behind), whole(mesh.left_behind)),
    ]
    share = mesh.offloaded_events / crd.offloaded_events
    most = _MOST / crd.plan.agents
    said = (
        f"Watch events of offloaded kinds: {share:.4f} of those of CRD mode; at most 1 publisher / {crd.plan.agents} "
        f"agents x {_MOST} = {most:.4f}{'' if share <= most else ' (**missed**)'}."
    )
    return table(("", "CRD mode", "mesh mode"), rows) + "\n\n" + said


def table_of_nodes(crd: Result, mesh: Result) -> str:
    """What the costs of one agent come to with so many of them."""
    agents = crd.plan.agents
    seconds = crd.seconds
    events = crd.offloaded_events / agents
    watches = crd.offloaded_watches / agents
    cpu_of_agent = max(0.0, crd.server_cpu_s / seconds - mesh.server_cpu_s / mesh.seconds) / max(1, agents - 1)
    rows = []
    for nodes in _EXTRAPOLATED:
        fewer = 1 - mesh.offloaded_events / (events * nodes)
        rows.append(
            (
                f"{nodes:,}".replace(",", " "),
                whole(events * nodes / seconds),
                whole(mesh.offloaded_events / mesh.seconds),
                f"{fewer:.2%}",
                f"{whole(watches * nodes)} / {whole(mesh.offloaded_watches)}",
                cores(cpu_of_agent * nodes),
            )
        )
    heads = ("nodes", "events a second, CRD", "mesh", "fewer", "watches CRD / mesh", "API server's CPU saved")
    return table(heads, rows)


def table_of_limits(results: Iterable[Result]) -> str:
    """What the publisher's rate limit does to propagation."""
    rows = [
        (
            f"{each.rate_limit:g}" if each.rate_limit else "none",
            f"{each.pods_a_second:.0f}",
            _delay(each.delays.p50),
            _delay(each.delays.p90),
            _delay(each.delays.p99),
            whole(each.queue_most),
            "longer than 10 s" if each.drained_s is None else f"{each.drained_s:.1f} s",
            f"{each.delays.unseen / each.delays.count:.1%}",
        )
        for each in results
    ]
    heads = (
        "writes a second",
        "pods a second",
        "p50",
        "p90",
        "p99",
        "queue at most",
        "drained after",
        "not seen in time",
    )
    return table(heads, rows)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def whole(value: float) -> str:
    """A number without its fraction."""
    return f"{value:,.0f}".replace(",", " ")


def cores(value: float) -> str:
    """Cores in use."""
    return f"{value:.3f} cores"


def _delay(seconds: float) -> str:
    if seconds == float("inf"):
        return "not seen"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _latency(result: Result) -> str:
    return f"{_delay(result.latency_p50)} / {_delay(result.latency_p99)}"


def _megabytes(result: Result, group: str) -> str:
    return f"{statistics.median([each.resident for each in result.samples[group]]) / 1e6:.0f} MB"


def _quantiles(result: Result, group: str) -> str:
    cores = sorted(each.cores for each in result.samples[group])
    return f"{cores[len(cores) // 2]:.2f} / {cores[len(cores) * 99 // 100]:.2f} cores"


def _mean_of_agents(result: Result) -> float:
    found = [each.cores for name, samples in result.samples.items() if name.startswith("agent") for each in samples]
    return statistics.mean(found)


# -- charts -----------------------------------------------------------------------------------------------------------


def charts(crd: Result, mesh: Result, limited: Sequence[Result]) -> dict[str, str]:
    """SVG by file name. Raises ImportError where the package that draws is not there."""
    drawn = {
        "scale-cpu.svg": _over_time("Cores in use, p50 and p90 of 5 s", crd, mesh, lambda each: each.cores),
        "scale-memory.svg": _over_time("Resident MB, p50 and p90 of 5 s", crd, mesh, lambda each: each.resident / 1e6),
        "scale-queue.svg": _queues([*limited, mesh]),
    }
    return {name: chart.render(disable_xml_declaration=True, is_unicode=True) for name, chart in drawn.items()}


def _chart(title: str) -> Any:
    pygal = importlib.import_module("pygal")
    style = importlib.import_module("pygal.style").CleanStyle
    return pygal.XY(title=title, style=style, js=(), no_prefix=True, show_dots=False, x_title="seconds", width=1000)


def _over_time(title: str, crd: Result, mesh: Result, value: Any) -> Any:
    """The servers of both modes on one chart; of the agents their median."""
    chart = _chart(title)
    for result, name in ((crd, "CRD"), (mesh, "mesh")):
        groups = {group: samples for group, samples in result.samples.items() if not group.startswith("agent")}
        agents = [samples for group, samples in result.samples.items() if group.startswith("agent")]
        groups["all agents, mean"] = [
            Sample(
                each[0].at,
                statistics.mean([one.cores for one in each]),
                round(statistics.mean([one.resident for one in each])),
            )
            for each in zip(*agents)
        ]
        for group, samples in groups.items():
            for share, dashes in ((0.5, ""), (0.9, "4,4")):
                points = _windows(samples, value, share)
                label = f"{name}: {group}, p{share * 100:.0f}"
                chart.add(label, points, stroke_style={"width": 2, "dasharray": dashes} if dashes else {"width": 2})
    return chart


def _windows(samples: Sequence[Sample], value: Any, share: float) -> list[tuple[float, float]]:
    windows: dict[int, list[float]] = {}
    for each in samples:
        windows.setdefault(int(each.at / _WINDOW_S), []).append(value(each))
    return [
        (number * _WINDOW_S, round(sorted(found)[min(len(found) - 1, int(len(found) * share))], 3))
        for number, found in sorted(windows.items())
    ]


def _queues(results: Iterable[Result]) -> Any:
    chart = _chart("Keys that wait in the publisher, by its rate limit")
    for each in results:
        label = f"{each.rate_limit:g} a second" if each.rate_limit else "no limit"
        chart.add(label, [(round(at, 1), size) for at, size in each.queue if size == size])
    return chart
