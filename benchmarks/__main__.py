"""``python -m benchmarks``: run workloads, print a JSON line for each, and a table for people."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from . import (  # noqa: F401  # they enter their workloads
    agents,
    before,
    changes,
    consuming,
    following,
    gopeer,
    growth,
    kvstore,
    memory,
    mesh,
    peers,
    queries,
    read,
    watch,
    write,
)
from .harness import SIZES, WORKLOADS, Digest, Figure, Size, Workload, digest, surroundings


class Report(msgspec.Struct, frozen=True):
    """What one workload gave at one size."""

    workload: str
    size: str
    rows: int
    repeats: int
    figures: list[Figure]
    digest: str
    seconds: float
    date: str

    def missed(self) -> list[str]:
        """A line for each missed target; at another size than that of the workload's targets there are none."""
        if self.size != WORKLOADS[self.workload].target_size:
            return []
        return [
            f"{self.workload}: {figure.name} {figure.value:.2f} {figure.unit}, {figure.target}"
            for figure in self.figures
            if figure.missed
        ]


def run(workload: Workload, size: Size) -> Report:
    """Run a workload. Raises AssertionError where it does not do what it should."""
    date, started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), time.monotonic()
    outcomes = list(workload.run(size))
    figures = [each for each in outcomes if isinstance(each, Figure)]
    digests = [each.value for each in outcomes if isinstance(each, Digest)]
    seconds = round(time.monotonic() - started, 1)
    return Report(workload.name, size.name, size.rows, size.repeats, figures, digest(digests).value, seconds, date)


@click.command(help="Run benchmarks: those named, or all but those that run only when named.")
@click.argument("names", nargs=-1)
@click.option("--size", "sizes", type=click.Choice(list(SIZES)), multiple=True, help="Default: full and large.")
@click.option("--rows", type=click.IntRange(1), help="Another number of rows.")
@click.option("--repeat", "--repeats", type=click.IntRange(1), help="Another number of repeats; the median counts.")
@click.option("--json", "path", type=click.Path(dir_okay=False), help="Append the JSON lines to a file, not to stdout.")
@click.option("--check", is_flag=True, help="Exit with 1 if a figure misses its target.")
@click.option("--list", "listing", is_flag=True, help="Say which workloads there are.")
def main(
    names: tuple[str, ...],
    sizes: tuple[str, ...],
    rows: int | None,
    repeat: int | None,
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
            click.echo(f"{each.name:18} {each.about}")
        return
    around, missed = surroundings(), []
    chosen = [WORKLOADS[name] for name in names] or [each for each in WORKLOADS.values() if not each.on_request]
    for name in sizes or ("full", "large"):
        size = _changed(SIZES[name], rows, repeat)
        for workload in chosen:
            if name in (*workload.sizes, "smoke"):
                report = run(workload, size)
                _show(report, around, to_stderr=path is None)
                _write(report, around, path)
                missed += report.missed()
    for line in missed:
        click.echo(f"missed: {line}", err=True)
    if check and missed:
        sys.exit(1)


def _changed(size: Size, rows: int | None, repeats: int | None) -> Size:
    return msgspec.structs.replace(size, rows=rows or size.rows, repeats=repeats or size.repeats)


def _show(report: Report, around: dict[str, Any], *, to_stderr: bool) -> None:
    """The table for people, kept apart from the lines for programs."""
    head = f"{report.workload}, {report.size}, {report.rows} rows, {report.repeats} repeats"
    foot = f"digest {report.digest}, {report.seconds:g} s, python {around['python']}, commit {around['commit']}"
    click.echo(f"\n{head}", err=to_stderr)
    for figure in report.figures:
        target = f"  ({figure.target})" if figure.target else ""
        click.echo(f"  {figure.name:56} {figure.value:12.3f} {figure.unit:8}{target}".rstrip(), err=to_stderr)
    click.echo(f"  {foot}", err=to_stderr)


def _write(report: Report, around: dict[str, Any], path: str | None) -> None:
    line = msgspec.json.encode({**msgspec.to_builtins(report), **around})
    if path is None:
        click.echo(line)
        return
    with Path(path).open("ab") as file:
        file.write(line + b"\n")


if __name__ == "__main__":
    main()
