"""``python -m benchmarks.report FIGURES...``: figures as the tables, charts and data of docs/performance.md.

Knows how figures are shown and nothing of how they were measured. The page says with markers where its tables go;
all else on it is written by people. All figures go into files beside the page, as JSON lines and as CSV.
"""

from __future__ import annotations

import csv
import importlib
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from . import growth_page, overview
from .harness import Figure

_NEEDLESS = re.compile(r"<!--.*?-->|<script.*?</script>", re.DOTALL)
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
_GO = "Go statedb"
_OWN_SECTIONS = ("before", "growth")
_LARGE = ("go-million", "memory")
"""What stands on the page of the large size, in a section of its own."""


class Run(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of figures: a workload at one size."""

    workload: str
    size: str
    rows: int
    figures: list[Figure]
    python: str
    cpus: int
    commit: str
    build: str = ""


def read(lines: Iterable[bytes]) -> list[Run]:
    """The runs; of a workload that was run again at the same size the last. Raises msgspec.DecodeError."""
    runs = [msgspec.json.decode(line, type=Run) for line in lines if line.strip()]
    return list({(run.workload, run.size): run for run in runs}.values())


# -- tables ---------------------------------------------------------------------------------------------------------


def table_of_missed(runs: Iterable[Run]) -> str:
    """The figures that missed their targets, and how many there are with and without one."""
    figures = [(run, figure) for run in runs for figure in run.figures]
    missed = [(run, figure) for run, figure in figures if figure.missed]
    with_target = sum(1 for _, figure in figures if figure.target)
    told = f"{len(figures)} figures, {with_target} of them with a target; {len(missed)} missed it"
    if not missed:
        return f"{told}."
    lines = [f"{told}:", "", "| workload | figure | measured | target |", "|---|---|---|---|"]
    for run, figure in missed:
        lines.append(f"| `{run.workload}` | {figure.name} | {_short(figure.value)} {figure.unit} | {figure.target} |")
    return "\n".join(lines)


def as_csv(runs: Iterable[Run]) -> str:
    """Every figure on a line of its own."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n").writerow
    write(("workload", "size", "figure", "value", "unit", "at_most", "at_least", "missed", "python", "commit"))
    for run in runs:
        for each in run.figures:
            bounds = ["" if bound is None else f"{bound:g}" for bound in (each.at_most, each.at_least)]
            missed = "yes" if each.missed else ""
            value = f"{each.value:.6g}"
            write((run.workload, run.size, each.name, value, each.unit, *bounds, missed, run.python, run.commit))
    return out.getvalue()


def table_of_peers(runs: Iterable[Run]) -> str:
    """How many times as fast ours is (of memory: as small), a column for each peer."""
    cells = {(what, peer): value for what, peer, value in _peers(runs)}
    peers = list(dict.fromkeys(peer for _, peer in cells))
    lines = [f"| | {' | '.join(peers)} |", f"|---|{'---|' * len(peers)}"]
    for what in dict.fromkeys(what for what, _ in cells):
        shown = [_short(cells[what, peer]) if (what, peer) in cells else "" for peer in peers]
        lines.append(f"| {what} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _peers(runs: Iterable[Run]) -> Iterator[tuple[str, str, float]]:
    for run in runs:
        for figure in run.figures:
            if found := re.fullmatch(r"(.+), times as (?:fast|small) as (?:the )?(.+)", figure.name):
                yield found[1], found[2], figure.value


_SHARE = ", share of before"


def table_of_before(run: Run) -> str:
    """What the store takes now and took before its rewrite, the share, and the goal that was set for the share."""
    figures = {figure.name: figure for figure in run.figures}
    lines = ["| | now | before | share | at most | |", "|---|---|---|---|---|---|"]
    for name, figure in figures.items():
        before, share = figures.get(f"{name}, before"), figures.get(f"{name}{_SHARE}")
        goal = share or figure
        if name.endswith((", before", _SHARE)) or not (before or goal.at_most):
            continue
        then = f"{_short(before.value)} {before.unit}" if before else ""
        bound = f"{goal.at_most:.3g}" + ("" if share else f" {goal.unit}")
        shown = (f"{_short(figure.value)} {figure.unit}", then, _short(share.value) if share else "", bound)
        lines.append(f"| {name} | {' | '.join(shown)} | {'missed' if goal.missed else ''} |")
    return "\n".join(lines)


def _short(value: float) -> str:
    """Three digits that count, whole numbers from a hundred on."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def around(runs: list[Run]) -> str:
    """Where and of what the figures are."""
    run = runs[-1]
    rows = f"{run.rows:_}".replace("_", " ")
    build = f" ({run.build})" if run.build else ""
    return f"Python {run.python}{build}, {run.cpus} shared cores, {rows} rows, commit {run.commit}."


def with_block(page: str, name: str, text: str) -> str:
    """The page with the text between its two markers of this name. Raises ClickException where they are missing."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise click.ClickException(f"the page has no place for {name}; write {begin} and {end} where they belong")
    head, rest = page.split(begin)
    return f"{head}{begin}\n{text}\n{end}{rest.split(end)[1]}"


# -- charts ---------------------------------------------------------------------------------------------------------


def charts(runs: list[Run]) -> dict[str, str]:
    """SVG by file name; what there are no figures for is not drawn. Raises ImportError where the package that draws is
    not there."""
    peers = list(dict.fromkeys(peer for _, peer, _ in _peers(runs)))
    return _rendered(
        {
            "limit.svg": _against_the_limit(runs),
            "peers.svg": _against(runs, [peer for peer in peers if peer != _GO]),
            "go.svg": _against(runs, [_GO]),
            "age.svg": _by_age(runs),
            "memory.svg": _by_memory(runs),
        }
    )


def charts_of_large(runs: list[Run]) -> dict[str, str]:
    """As `charts`, for the section of the large size."""
    return _rendered({"million.svg": _against(runs, [_GO]), "memory-million.svg": _by_memory(runs)})


def _rendered(drawn: dict[str, Any]) -> dict[str, str]:
    charts = {name: chart for name, chart in drawn.items() if chart.x_labels}
    return {name: chart.render(disable_xml_declaration=True, is_unicode=True) for name, chart in charts.items()}


def shown(drawn: Iterable[str], captions: dict[str, str]) -> str:
    """The charts among those drawn that have a caption, as paragraphs of the page."""
    return "".join(f"\n\n![{caption}](charts/{name})" for name, caption in captions.items() if name in drawn)


def _bars(title: str, labels: list[str], series: int = 2, **options: Any) -> Any:
    """Bars from the first label downwards, so many at each. It is drawn from below: values come the other way round."""
    pygal = importlib.import_module("pygal")
    chart = pygal.HorizontalBar(
        title=title,
        style=importlib.import_module("pygal.style").CleanStyle,
        js=(),
        no_prefix=True,
        print_values=True,
        legend_at_bottom=True,
        height=120 + max(40, 18 * series) * len(labels),
        value_formatter=_short,
        **options,
    )
    chart.x_labels = labels[::-1]
    return chart


def _against_the_limit(runs: list[Run]) -> Any:
    """Measured and allowed, of what is compared with plain dicts."""
    wanted = [
        (f"{run.workload}: {figure.name.removesuffix(', ratio')}", figure)
        for run in runs
        for figure in run.figures
        if figure.at_most is not None and figure.unit == "x"
    ]
    chart = _bars("Times the time of the limit", [label for label, _ in wanted])
    chart.add("measured", [round(figure.value, 2) for _, figure in reversed(wanted)])
    chart.add("at most", [figure.at_most for _, figure in reversed(wanted)])
    return chart


def _against(runs: list[Run], peers: list[str]) -> Any:
    """How many times as fast ours is as each of these."""
    cells = {(what, peer): value for what, peer, value in _peers(_without_memory(runs)) if peer in peers}
    labels = list(dict.fromkeys(what for what, _ in cells))
    series = list(dict.fromkeys(peer for _, peer in cells))
    chart = _bars("Times as fast (logarithmic; 1 is equal)", labels, len(series), logarithmic=True)
    for peer in series:
        chart.add(peer, [_digits(cells[what, peer]) if (what, peer) in cells else None for what in labels[::-1]])
    return chart


def _digits(value: float) -> float:
    """Three digits that count: a value as small as it is may not be drawn as nothing."""
    return float(f"{value:.3g}")


def _without_memory(runs: list[Run]) -> list[Run]:
    return [run for run in runs if run.workload != "memory"]


def _by_memory(runs: list[Run]) -> Any:
    """Bytes of a row, ours and everybody's."""
    figures = {
        figure.name: figure.value
        for run in runs
        if run.workload == "memory"
        for figure in run.figures
        if figure.unit == "B/row"
    }
    chart = _bars("Bytes of memory for each row, two indexes included", list(figures))
    chart.add("bytes", [round(value) for value in reversed(figures.values())])
    return chart


def _by_age(runs: list[Run]) -> Any:
    """The same questions to snapshots of several ages."""
    figures = {figure.name: figure.value for run in runs if run.workload == "queries" for figure in run.figures}
    named = [name.rpartition(", ") for name in figures if ", " in name]
    questions, ages = list(dict.fromkeys(n[0] for n in named)), list(dict.fromkeys(n[2] for n in named))
    chart = _bars(
        "Microseconds a question, by age of the snapshot (logarithmic)", questions, len(ages), logarithmic=True
    )
    for age in ages:
        chart.add(age, [round(figures[f"{question}, {age}"], 2) for question in questions[::-1]])
    return chart


@click.command(help="Write the tables and charts of docs/performance.md from files of JSON lines.")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--page", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=PAGE, show_default=True)
def main(files: tuple[Path, ...], page: Path) -> None:
    """See the help text."""
    try:
        runs = read(line for file in files for line in file.read_bytes().splitlines())
    except msgspec.DecodeError as error:
        raise click.ClickException(
            f"{', '.join(map(str, files))}: no figures: {error}; make them with --json"
        ) from None
    full = [run for run in runs if run.size == "full"]
    large = [run for run in runs if run.size == "large" and run.workload in _LARGE]
    if not full and not large:
        raise click.ClickException("there are no figures of the full size; make them with --size full --json FILE")
    text, drawn = page.read_text(), dict[str, str]()
    try:
        if full:
            text, drawn = _with_full(text, full)
        if large:
            text, more = _with_large(text, large)
            drawn.update(more)
    except ImportError as error:
        raise click.ClickException(f"{error}; pip install 'statedb[bench]'") from None
    page.write_text(text)
    _write_data(page.parent / "data", [*full, *large])
    folder = page.parent / "charts"
    folder.mkdir(exist_ok=True)
    for name, svg in drawn.items():
        (folder / name).write_text(f"{_NEEDLESS.sub('', svg).rstrip()}\n")
        click.echo(f"wrote {folder / name}")
    click.echo(f"wrote {page}")


def _write_data(folder: Path, runs: list[Run]) -> None:
    """The figures themselves. Runs of other workloads or sizes that are there already stay."""
    folder.mkdir(exist_ok=True)
    lines = folder / "performance.jsonl"
    before = lines.read_bytes().splitlines() if lines.exists() else []
    runs = read([*before, *(msgspec.json.encode(run) for run in runs)])
    lines.write_bytes(b"".join(msgspec.json.encode(run) + b"\n" for run in runs))
    (folder / "performance.csv").write_text(as_csv(runs))
    click.echo(f"wrote {lines} and performance.csv")


def _with_full(page: str, runs: list[Run]) -> tuple[str, dict[str, str]]:
    """The page with the figures of the full size, and their charts. Raises ImportError, ClickException.

    The workloads that have sections of their own leave the others' as they are.
    """
    drawn = dict[str, str]()
    for run in runs:
        if run.workload == "before":
            page = with_block(page, "before", f"{around([run])}\n\n{table_of_before(run)}")
        elif run.workload == "growth":
            drawn.update(_rendered(growth_page.charts(run.figures)))
            captions = {name: growth_page.caption(name) for name in drawn}
            text = f"{around([run])}\n\n{growth_page.table(run.figures)}{shown(drawn, captions)}"
            page = with_block(page, "growth", text)
    others = [run for run in runs if run.workload not in _OWN_SECTIONS]
    if not others:
        return page, drawn
    page, more = _with_others(page, others)
    return page, {**drawn, **more}


def _with_others(page: str, runs: list[Run]) -> tuple[str, dict[str, str]]:
    """The page with what is told of all workloads together."""
    page = with_block(page, "figures", f"{around(runs)} {table_of_missed(runs)}")
    drawn = charts(runs)
    by_name = {(run.workload, figure.name): figure for run in runs for figure in run.figures}
    first = {"peers.svg": "Beside others", "memory.svg": "Memory of a row", "age.svg": "By age of the snapshot"}
    page = with_block(page, "overview", f"{around(runs)}\n\n{overview.table(by_name)}{shown(drawn, first)}")
    links = shown(drawn, {"go.svg": "Beside the Go original"})
    return with_block(page, "peers", f"{table_of_peers(runs)}{links}"), drawn


def _with_large(page: str, runs: list[Run]) -> tuple[str, dict[str, str]]:
    """The page with the section of the large size, and its charts. Raises ImportError, ClickException."""
    drawn = charts_of_large(runs)
    captions = {"million.svg": "Beside the Go original", "memory-million.svg": "Memory of a row"}
    return with_block(page, "million", f"{around(runs)} {table_of_missed(runs)}{shown(drawn, captions)}"), drawn


if __name__ == "__main__":
    main()
