"""``python -m benchmarks.informers``: what clients take that follow pods, by turns on one API server."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from tests.apiserver.server import ApiServer

from ..cfp44774.page import whole
from ..golang import Missing, go_program
from ..harness import surroundings
from ..report import with_block
from .figures import table_of
from .load import Load
from .measure import Run, measure
from .process import IN_GO, NAMES, Failed

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


@click.command(help="What clients take that follow pods; some forty minutes with all of them.")
@click.option("--pods", type=click.IntRange(60), multiple=True, default=(5_000, 20_000), show_default=True)
@click.option("--changes", type=click.IntRange(10), default=1_000, show_default=True, help="At each rate.")
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True)
@click.option("--only", multiple=True, help="Clients whose name contains this; by default all.")
@click.option("--report", is_flag=True, help="Write the tables into docs/performance.md.")
def main(pods: Sequence[int], changes: int, repeat: int, only: Sequence[str], report: bool) -> None:
    """See the help text."""
    names = [name for name in NAMES if not only or any(part in name for part in only)]
    with ApiServer(crds=False) as server:
        turns = Turns(server, names, changes)
        for count in sorted(pods):
            turns.fill(count)
            for name in names * repeat:
                turns.measure(name)
                if report:  # each time: the figures of an interrupted run are not lost
                    PAGE.write_text(with_block(PAGE.read_text(), "informers", turns.text()))
        click.echo(turns.text())


class Turns:
    """Clients by turns. One that is missing, fails or is slow keeps none of the others from being measured."""

    def __init__(self, server: ApiServer, names: Sequence[str], changes: int) -> None:
        """``server`` is not started yet."""
        self._server, self._names, self._changes = server, names, changes
        self._tables: list[str] = []
        self._found: dict[str, list[Run]] = {}
        self._failed: dict[str, str] = {}
        self._program, self._size = "", 0
        try:
            self._program = str(go_program("informers_go"))
        except Missing as error:
            self._failed.update(dict.fromkeys(IN_GO, str(error)))
        server.start()
        self._load = Load(server)

    def fill(self, pods: int) -> None:
        """So many pods, which are more than before. Clients that were slow with fewer are not measured any more."""
        if self._found:
            self._tables.append(self._table())
        for name, runs in self._found.items():
            if any(run.slow for run in runs):
                self._failed[name] = f"too slow with {whole(self._load.pods)}"
        self._size = self._load.fill(pods)
        self._found = {name: [] for name in self._names}

    def measure(self, name: str) -> None:
        """One more run of a client, unless it was missing, failed or slow before."""
        runs = self._found[name]
        if name in self._failed or any(run.slow for run in runs):
            return
        try:
            runs.append(measure(self._server, self._load, name, self._program, self._changes, restart=not runs))
        except Failed as error:
            if not runs:
                self._failed[name] = str(error)
        click.echo(f"{len(runs)}: {name}: {self._failed.get(name) or runs[-1]}", err=True)

    def text(self) -> str:
        """The tables so far."""
        around = surroundings()
        where = f"Python {around['python']}, {around['cpus']} shared cores at a load of {os.getloadavg()[2]:.0f}"
        said = f"{where}, commit {around['commit']}; {whole(self._changes)} changes at each rate."
        return "\n\n".join([said, *self._tables, self._table()])

    def _table(self) -> str:
        head = f"{whole(self._load.pods)} pods of {whole(self._size)} bytes:"
        return f"{head}\n\n{table_of(self._found, self._failed)}"


if __name__ == "__main__":
    main()
