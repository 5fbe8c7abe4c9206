"""Consumers that do not know where rows come from: ``python consumer.py AGENT.yaml``.

Starts an agent in this process, keeps an address cache and routes, and prints what they hold.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

from consumers.tables.ipcache import IPCache, derive_ipcache
from consumers.tables.routes import Routes, derive_routes
from statedb.agent import Agent, load_config


def main(path: str) -> None:
    """Print every route and every address, once both tables are there."""
    config = load_config(path)
    with Agent(config) as agent, ExitStack() as running:
        cluster = config.cluster.name
        for consumer in (derive_ipcache(agent.db, cluster), derive_routes(agent.db, cluster)):
            running.enter_context(consumer)
        if not agent.db.wait_initialized(IPCache, Routes, timeout=60):
            sys.exit("the tables did not come; see 'statedb sources'")
        snapshot = agent.db.snapshot()
        for route in snapshot[Routes].values():
            print(f"route {route.pod_cidr} via {route.via}")
        for entry in snapshot[IPCache].values():
            print(f"{entry.network} identity {entry.identity} at {entry.host_ip or '-'} {entry.namespace}/{entry.pod}")


if __name__ == "__main__":
    main(sys.argv[1])
