"""No handover: no accepted configuration gives a table two owners, and a refused one says which two."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ingest import BACKENDS
from statedb.agent.errors import ConfigError
from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config

REQUIRED: dict[str, dict[str, Any]] = {
    "manifests": {"directory": "d"},
    "kubernetes": {"server": "http://127.0.0.1:1"},
    "kvstore": {"endpoints": ["http://127.0.0.1:1"]},
    "clustermesh": {"endpoints": ["http://127.0.0.1:1"]},
    "etcd": {"endpoints": ["http://127.0.0.1:1"], "tables": BACKENDS["etcd"].tables},
}


def some_tables(backend: str) -> Any:
    of = st.lists(st.sampled_from(BACKENDS[backend].tables), min_size=1, max_size=3, unique=True)
    return st.none() | of.map(tuple) | of.map(tuple)


ingests = st.fixed_dictionaries({}, optional={name: some_tables(name) for name in REQUIRED}).filter(bool)


def text_of(ingest: dict[str, tuple[str, ...] | None]) -> str:
    sections = {
        name: REQUIRED[name] | ({} if tables is None else {"tables": tables}) for name, tables in ingest.items()
    }
    return json.dumps({"cluster": {"name": "c", "id": 1}, "http": {"listen": "127.0.0.1:0"}, "ingest": sections})


@given(ingests)
def test_a_table_has_one_owner_or_the_configuration_is_refused(ingest: dict[str, tuple[str, ...] | None]):
    carried = {name: set(BACKENDS[name].tables if tables is None else tables) for name, tables in ingest.items()}
    twice = [(a, b, table) for a, b in combinations(carried, 2) for table in carried[a] & carried[b]]
    if twice:
        with pytest.raises(ConfigError) as caught:
            parse_config(text_of(ingest))
        told = caught.value.problems
        for first, second, table in twice:
            assert any(table in line and repr(first) in line and repr(second) in line for line in told), (table, told)
        return
    agent = Agent(parse_config(text_of(ingest)))  # opened, and not started: a second owner would be refused here too
    owned = [(source.cluster, table) for source in agent.sources for table in source.tables]
    assert len(owned) == len(set(owned))
    assert {table.name for _, table in owned} == set().union(*carried.values())
    agent.stop()
