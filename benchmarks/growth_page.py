"""What docs/performance.md shows of the workload `growth`: a table of its lines, a chart for each thing that grows."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from .harness import Figure


class Line(NamedTuple):
    """The times of one operation by size, and the two figures that say whether it bends."""

    axis: str
    operation: str
    points: dict[int, float]
    whole: Figure
    steepest: Figure


def lines_of(figures: Iterable[Figure]) -> list[Line]:
    """The lines, in the order of the figures."""
    found: dict[tuple[str, str], dict[str, Figure]] = {}
    for figure in figures:
        axis, _, rest = figure.name.partition(": ")
        operation, _, size = rest.rpartition(", ")
        found.setdefault((axis, operation), {})[size] = figure
    return [
        Line(
            *name,
            {int(size): each.value for size, each in by_size.items() if size.isdigit()},
            by_size["largest by smallest"],
            by_size["steepest step"],
        )
        for name, by_size in found.items()
    ]


def table(figures: Iterable[Figure]) -> str:
    """The lines with their smallest and largest sizes, and whether they bend."""
    rows = ["| | from | to | largest by smallest | steepest step | |", "|---|---|---|---|---|---|"]
    for line in lines_of(figures):
        first, last = min(line.points), max(line.points)
        bends = "bends" if line.whole.missed or line.steepest.missed else ""
        ends = " | ".join([f"{line.points[each] / 1e3:.2f} µs at {_spaced(each)}" for each in (first, last)])
        rows.append(
            f"| {line.axis}: {line.operation} | {ends} | {line.whole.value:.2f} | {line.steepest.value:.2f} | {bends} |"
        )
    return "\n".join(rows)


def charts(figures: Iterable[Figure]) -> dict[str, Any]:
    """A chart for each thing that grows, by file name: sizes to the right, microseconds upwards, both logarithmic.

    Raises ImportError where the package that draws is not there.
    """
    pygal = importlib.import_module("pygal")
    style = importlib.import_module("pygal.style").CleanStyle
    drawn: dict[str, Any] = {}
    for line in lines_of(figures):
        name = f"growth-{line.axis}.svg"
        if name not in drawn:
            drawn[name] = pygal.Line(
                title=f"Microseconds an operation, by number of {line.axis} (both logarithmic)",
                style=style,
                js=(),
                no_prefix=True,
                logarithmic=True,
                legend_at_bottom=True,
                width=1000,
                height=420,
            )
            drawn[name].x_labels = [_spaced(size) for size in line.points]
        drawn[name].add(line.operation, [round(ns / 1e3, 3) for ns in line.points.values()])
    return drawn


def caption(name: str) -> str:
    """What the chart in this file shows."""
    return f"Growth: {name.removeprefix('growth-').removesuffix('.svg')}"


def _spaced(number: int) -> str:
    return f"{number:_}".replace("_", " ")
