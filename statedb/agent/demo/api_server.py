"""The demonstration with resources of an API server: that of kubectl, or that of a test."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from statedb import Change
from statedb.catalog import Object, SourceRow, Sources

from ..errors import StartError
from ..process.agent import Agent
from ..process.config import parse_config
from .terminal import keep_running, show_command

_WAIT_S = 30.0
_CHANGES_S = 10.0
_CONFIG = """
ingest:
  kubernetes:
    resources:
    - pods
    - deployments.apps
    - {resource: services, table: k8s-services}
    - {resource: nodes, table: k8s-nodes}
http: {listen: '127.0.0.1:0'}
"""


def run_on_api_server(
    *, keep: bool, say: Callable[[str], None], stay_s: float = 0.0, act: Callable[[], None] | None = None
) -> None:
    """Show pods, deployments, services and nodes of kubectl's cluster as tables. Raises StartError.

    Then the agent runs for ``stay_s`` seconds or, with ``keep``, until Ctrl-C. ``act`` changes
    pods, and the changes are printed. Without it nothing in the cluster is changed.
    """
    logging.getLogger().addHandler(logging.NullHandler())  # errors are in what it prints
    config = parse_config(_CONFIG)
    began = time.monotonic()
    with Agent(config) as agent:
        if not agent.wait_synced(_WAIT_S):
            states = ", ".join(f"{row.key.table}: {row.last_error or row.state}" for row in _states(agent))
            raise StartError(f"the tables were not filled in {_WAIT_S:.0f} s: {states}")
        say(f"Filled from the API server in {time.monotonic() - began:.1f} s:")
        for table in agent.sources[0].tables:
            say(f"    {table.name:14} {len(agent.db.snapshot()[table]):5} rows")
        if act is not None:
            _show_changes(agent, act, say)
        _show_queries(agent.address, say)
        say("\nAny other resource is one more line below `resources:` of the configuration.")
        if keep or stay_s:
            keep_running(agent, None if keep else stay_s, agent.sources[0].tables[0].name, say)


def _states(agent: Agent) -> list[SourceRow]:
    names = {table.name for table in agent.sources[0].tables}
    return [row for row in agent.db.snapshot()[Sources].values() if row.key.table in names and row.state != "synced"]


def _show_changes(agent: Agent, act: Callable[[], None], say: Callable[[str], None]) -> None:
    """Call ``act``, and print the first changes after it."""
    pods = agent.sources[0].tables[0]
    say("\nSomebody changes pods; a follower sees:")
    with agent.db.changes(pods, since=agent.db.snapshot()) as stream:
        act()
        while (batch := stream.next(timeout=_CHANGES_S)) is not None:
            for change in batch:
                say(f"    {_description(change)}")
            if any(change.deleted for change in batch):
                return


def _description(change: Change[Object]) -> str:
    row = change.row
    labels = ",".join(f"{name}={value}" for name, value in row.labels)
    return f"{'gone' if change.deleted else 'is':4} {row.key.namespace}/{row.key.name}  {labels}"


def _show_queries(address: str, say: Callable[[str], None]) -> None:
    columns = ["--columns", "namespace,name,labels,created"]
    for arguments in (["show", "pods", *columns, "--limit", "5"], ["show", "deployments", *columns, "--limit", "5"]):
        show_command(address, arguments, say)
