"""``python -m benchmarks``: run workloads, print figures, one JSON line each to a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from . import changes, kvstore, read, watch, write  # noqa: F401  # they enter their workloads
from .harness import SIZES, WORKLOADS, Figure, Size, Workload, surroundings


def run(workload: Workload, size: Size, around: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The figures of a workload as plain values (Any: JSON)."""
    for figure in workload.run(size):
        yield {
            "workload": workload.name,
            "size": size.name,
            "rows": size.rows,
            "repeats": size.repeats,
            **msgspec.to_builtins(figure),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **around,
        }


@click.command(help="Run benchmarks: all of them, or those named.")
@click.argument("names", nargs=-1)
@click.option("--size", "sizes", type=click.Choice(list(SIZES)), multiple=True, help="Default: full and large.")
@click.option("--rows", type=click.IntRange(1), help="Another number of rows.")
@click.option("--repeats", type=click.IntRange(1), help="Another number of repeats; the median counts.")
@click.option("--json", "path", type=click.Path(dir_okay=False), help="Append the figures to a file, a JSON line each.")
@click.option("--check", is_flag=True, help="Exit with 1 if a figure of the full size misses its target.")
@click.option("--list", "listing", is_flag=True, help="Say which workloads there are.")
def main(
    names: tuple[str, ...],
    sizes: tuple[str, ...],
    rows: int | None,
    repeats: int | None,
    path: str | None,
    check: bool,
    listing: bool,
) -> None:
    """See the help text."""
    unknown = [name for name in names if name not in WORKLOADS]
    if unknown:
        raise click.BadParameter(f"there is no workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}")
    if listing:
        for each in WORKLOADS.values():
            click.echo(f"{each.name:12} {each.about}")
        return
    around, missed = surroundings(), []
    click.echo(f"python {around['python']}, {around['cpus']} cpus, {around['processor']}, commit {around['commit']}")
    for name in sizes or ("full", "large"):
        size = _changed(SIZES[name], rows, repeats)
        for workload in [WORKLOADS[each] for each in names or WORKLOADS]:
            if name in (*workload.sizes, "smoke"):
                missed += _show(workload, size, around, path)
    if check and missed:
        for line in missed:
            click.echo(f"missed: {line}", err=True)
        sys.exit(1)


def _changed(size: Size, rows: int | None, repeats: int | None) -> Size:
    return msgspec.structs.replace(size, rows=rows or size.rows, repeats=repeats or size.repeats)


def _show(workload: Workload, size: Size, around: dict[str, Any], path: str | None) -> list[str]:
    """Run and print a workload; the targets that it missed."""
    click.echo(f"\n{workload.name}, {size.name}, {size.rows} rows, {size.repeats} repeats")
    missed = []
    for line in run(workload, size, around):
        figure = msgspec.convert(line, Figure)
        target = "" if figure.at_most is None else f"  (at most {figure.at_most:g})"
        click.echo(f"  {figure.name:48} {figure.value:10.3f} {figure.unit}{target}")
        if path is not None:
            with Path(path).open("ab") as file:
                file.write(msgspec.json.encode(line) + b"\n")
        if size.name == "full" and figure.missed:
            missed.append(
                f"{workload.name}: {figure.name} {figure.value:.2f} {figure.unit}, at most {figure.at_most:g}"
            )
    return missed


if __name__ == "__main__":
    main()
