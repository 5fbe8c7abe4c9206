"""``python -m benchmarks.cfp44774``: both modes, then the publisher's rate limits, then docs/scale.md."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec

from ..harness import surroundings
from . import page
from .mode import Result, run, say
from .plan import scaled

_LIMITS = (20.0, 50.0, 100.0, 500.0, 1000.0)
_AGENTS = 20


@click.command(help="Reproduce the benchmark of CFP-44774 on this machine; about 15 minutes by default.")
@click.option(
    "--scale", type=click.FloatRange(0.001, 1.0), default=0.15, show_default=True, help="1 is the CFP's size."
)
@click.option("--agents", type=click.IntRange(1), help=f"At most so many processes; {_AGENTS} below scale 1.")
@click.option("--rate", type=click.FloatRange(1), default=100.0, show_default=True, help="Pods a second.")
@click.option("--cycles", type=click.IntRange(1), help="Of creation and deletion; 1 below scale 1, else 3.")
@click.option(
    "--limit-seconds",
    type=click.FloatRange(1),
    default=30.0,
    show_default=True,
    help="Of load for each limit that is below the load; the others get a minute.",
)
@click.option("--only", type=click.Choice(["crd", "mesh", "limits"]), multiple=True, help="Only this; repeatable.")
@click.option("--json", "path", type=click.Path(dir_okay=False), help="Append every run as a JSON line.")
@click.option("--report", is_flag=True, help="Write docs/scale.md and its charts.")
@click.option("--from", "source", type=click.Path(exists=True), help="Do not run: take the runs of this file.")
def main(
    scale: float,
    agents: int | None,
    rate: float,
    cycles: int | None,
    limit_seconds: float,
    only: tuple[str, ...],
    path: str | None,
    report: bool,
    source: str | None,
) -> None:
    """See the help text."""
    results: list[Result] = []
    if source is not None:
        results = [msgspec.json.decode(line, type=Result) for line in Path(source).read_bytes().splitlines()]
    else:
        whole = scale == 1.0
        plan = scaled(
            scale, agents=agents or (1000 if whole else _AGENTS), rate=rate, cycles=cycles or (3 if whole else 1)
        )
        begun = time.monotonic()
        wanted = only or ("crd", "mesh", "limits")
        if "crd" in wanted:
            results.append(_kept(run("crd", plan), path))
        if "mesh" in wanted:
            results.append(_kept(run("mesh", plan), path))
        if "limits" in wanted:
            for limit in _LIMITS:
                seconds = limit_seconds if limit <= rate else 60.0
                load = msgspec.structs.replace(plan, deployments=max(1, round(rate * seconds / 10)), cycles=1)
                results.append(_kept(run("mesh", load, rate_limit=limit, deletes=False), path))
        say(f"done after {time.monotonic() - begun:.0f} s")
    _print(results)
    if report:
        _report(results)


def _kept(result: Result, path: str | None) -> Result:
    if path is not None:
        with Path(path).open("ab") as file:
            file.write(msgspec.json.encode(result) + b"\n")
    return result


def _split(results: list[Result]) -> tuple[Result | None, Result | None, list[Result]]:
    crd = next((each for each in results if each.mode == "crd"), None)
    mesh = next((each for each in results if each.mode == "mesh" and not each.rate_limit), None)
    return crd, mesh, [each for each in results if each.rate_limit]


def _print(results: list[Result]) -> None:
    crd, mesh, limited = _split(results)
    if crd is not None and mesh is not None:
        click.echo(page.table_of_modes(crd, mesh) + "\n")
        click.echo(page.table_of_nodes(crd, mesh) + "\n")
    if limited:
        click.echo(page.table_of_limits([*limited, *([mesh] if mesh else [])]))


def _report(results: list[Result]) -> None:
    crd, mesh, limited = _split(results)
    if crd is None or mesh is None or not limited:
        raise click.ClickException("a report needs both modes and the limits; leave --only out")
    around = surroundings()
    said = f"Python {around['python']}, {around['cpus']} cores, commit {around['commit']}; `make bench-cfp`."
    page.write(crd, mesh, limited, said)
    say(f"wrote {page.PAGE}")


if __name__ == "__main__":
    main()
